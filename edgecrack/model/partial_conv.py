"""3x3 convolution with partial-convolution padding.

Zero padding darkens the border of every feature map. Partial-convolution padding (Liu et al.,
"Partial Convolution based Padding", 2018) scales each output by the share of the kernel that
lies inside the map: 9/9 inside, 9/6 on edges, 9/4 in corners. The bias is not scaled.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL_SIZE = 3


@lru_cache(maxsize=64)
def border_ratio(
    height: int, width: int, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Tensor:
    """Kernel size over valid taps at every position of a zero-padded 3x3 convolution.

    Returns:
        [1, 1, height, width]: 1 inside, 1.5 on edges, 2.25 in corners (more on maps that are
        one pixel high or wide). Shared between callers: do not change it in place.
    """
    taps_y = torch.full((height,), float(KERNEL_SIZE))
    taps_x = torch.full((width,), float(KERNEL_SIZE))
    for taps in (taps_y, taps_x):
        taps[0] -= 1
        taps[-1] -= 1
    ratio = KERNEL_SIZE**2 / (taps_y[:, None] * taps_x[None, :])
    return ratio[None, None].to(device=device, dtype=dtype)


class PartialConv2d(nn.Module):
    """out = (zero-padded convolution without bias) * border_ratio + bias.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.

    Shape:
        [N, in_channels, H, W] -> [N, out_channels, H, W].
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, KERNEL_SIZE, KERNEL_SIZE))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        """Convolve; see the class."""
        height, width = features.shape[-2:]
        ratio = border_ratio(int(height), int(width), features.dtype, str(features.device))
        convolved = functional.conv2d(features, self.weight, padding=KERNEL_SIZE // 2)
        return torch.addcmul(self.bias[:, None, None], convolved, ratio)
