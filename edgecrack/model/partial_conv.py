"""3x3 convolution with partial-convolution padding.

Zero padding darkens the border of every feature map. Partial-convolution padding (Liu et al.,
"Partial Convolution based Padding", 2018) divides each output by the share of the kernel that is
inside the map: factors 9/9 inside, 9/6 on edges, 9/4 in corners. The bias is not scaled.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
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
    # A tensor made in inference mode cannot be used in training, and this one is cached.
    with torch.inference_mode(False):
        taps_y = torch.full((height,), float(KERNEL_SIZE))
        taps_x = torch.full((width,), float(KERNEL_SIZE))
        for taps in (taps_y, taps_x):
            taps[0] -= 1
            taps[-1] -= 1
        ratio = KERNEL_SIZE**2 / (taps_y[:, None] * taps_x[None, :])
        return ratio[None, None].to(device=device, dtype=dtype)


_EDGE_RATIO = 1.5  # 9 taps over 6; a corner lies on two edges and gets 9 over 4


def _edges(maps: Tensor) -> tuple[Tensor, ...]:
    return maps[:, :, 0], maps[:, :, -1], maps[:, :, :, 0], maps[:, :, :, -1]


def _sum_of_ring(maps: Tensor) -> Tensor:
    """Sum over the outermost ring of every channel, [C], in float32 at least."""
    precision = torch.promote_types(maps.dtype, torch.float32)
    parts = (maps[:, :, 0], maps[:, :, -1], maps[:, :, 1:-1, 0], maps[:, :, 1:-1, -1])
    return torch.stack([part.sum((0, 2), dtype=precision) for part in parts]).sum(0)


class _ScaleRing(torch.autograd.Function):
    """Multiplies `maps - bias` by the border ratio, in place and on the outermost ring only.

    Inside the ring the ratio is 1. Multiplying every pixel by it takes a CPU at least half the time
    of the convolution (benchmarks/border_scaling.py).
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, bias: Tensor) -> Tensor:
        ctx.mark_dirty(maps)
        ctx.bias_dtype = bias.dtype
        offset = bias.to(maps.dtype)[:, None]
        for edge in _edges(maps):
            edge.sub_(offset).mul_(_EDGE_RATIO).add_(offset)
        return maps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        scaled = gradient.clone()
        for edge in _edges(scaled):
            edge.mul_(_EDGE_RATIO)
        bias_gradient = _sum_of_ring(gradient) - _sum_of_ring(scaled)
        return scaled, bias_gradient.to(ctx.bias_dtype)


def scale_ring(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Partial convolution that changes few pixels, for a CPU; maps of at least 2x2 pixels."""
    convolved = functional.conv2d(features, weight, bias, padding=KERNEL_SIZE // 2)
    result: Tensor = _ScaleRing.apply(convolved, bias)  # type: ignore[no-untyped-call]
    return result


def scale_map(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Partial convolution with few operations, for a GPU; maps of any size.

    On a GPU, launching one of the thirty small operations on the ring takes longer than multiplying
    the map. A compiler fuses this single operation with the next.
    """
    convolved = functional.conv2d(features, weight, padding=KERNEL_SIZE // 2)
    # A compiler keeps constants itself, and warns about a cache.
    ratio_of = border_ratio.__wrapped__ if torch.compiler.is_compiling() else border_ratio
    ratio = ratio_of(*convolved.shape[-2:], convolved.dtype, str(convolved.device))
    return torch.addcmul(bias.to(convolved.dtype).view(-1, 1, 1), convolved, ratio)


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
        # In a map one pixel high or wide, the ring's sides coincide.
        has_ring = min(features.shape[-2:]) >= 2
        if has_ring and features.is_cpu and not torch.compiler.is_compiling():
            return scale_ring(features, self.weight, self.bias)
        return scale_map(features, self.weight, self.bias)
