"""The three poolings that the network can use: Gated Scale, stacked and max.

Gated Scale Pooling is equation (1) of the paper: p(x) = M(x) s(g(x)) + S(x) (1 - s(g(x))), with
M max pooling, S Stacked Pooling, g one 2x2 gating filter per channel and s the sigmoid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgecrack.artifacts import Pooling

_GATE_STANDARD_DEVIATION = 0.1


def stacked_pool(maximum: Tensor) -> Tensor:
    """Mean of three successive max poolings, the first of which is the input.

    The second pools 2x2 at stride 1 and the third 3x3 at stride 1, so together they see 2x2, 4x4
    and 8x8 pixels of the input. Windows that extend beyond the map see only the part inside.

    Args:
        maximum: [N, C, H, W], the input after max pooling 2x2 at stride 2.

    Returns:
        [N, C, H, W].
    """
    padded = functional.pad(maximum, (0, 1, 0, 1), value=float("-inf"))
    second = functional.max_pool2d(padded, kernel_size=2, stride=1)
    third = functional.max_pool2d(second, kernel_size=3, stride=1, padding=1)
    return (maximum + second + third) / 3.0


class MaxPool(nn.Module):
    """Max pooling 2x2 at stride 2, the paper's comparison."""

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H/2, W/2]."""
        return functional.max_pool2d(features, kernel_size=2, stride=2)


class StackedPool(nn.Module):
    """Stacked Pooling alone (Huang et al. 2018), the paper's other ingredient."""

    def forward(self, features: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H/2, W/2]."""
        return stacked_pool(functional.max_pool2d(features, kernel_size=2, stride=2))


class GatedScalePool(nn.Module):
    """Gated Scale Pooling.

    Args:
        channels: channels of the input; one gating filter each.
        gate_bias: give each gating filter a bias (off in the paper's wording).

    Shape:
        [N, channels, H, W] -> [N, channels, H/2, W/2], H and W even.
    """

    def __init__(self, channels: int, *, gate_bias: bool = False) -> None:
        super().__init__()
        self.gate = nn.Conv2d(
            channels, channels, kernel_size=2, stride=2, groups=channels, bias=gate_bias
        )
        nn.init.normal_(self.gate.weight, std=_GATE_STANDARD_DEVIATION)
        if self.gate.bias is not None:
            nn.init.zeros_(self.gate.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Pool; see the class."""
        maximum = functional.max_pool2d(features, kernel_size=2, stride=2)
        stacked = stacked_pool(maximum)
        gate = torch.sigmoid(self.gate(features))
        return stacked + gate * (maximum - stacked)


def make_pool(pooling: Pooling, channels: int, *, gate_bias: bool = False) -> nn.Module:
    """The pooling layer of that name."""
    if pooling == "gated-scale":
        return GatedScalePool(channels, gate_bias=gate_bias)
    if pooling == "stacked":
        return StackedPool()
    return MaxPool()
