"""Light that falls unevenly: brightness gradients, broad shadows, and shadows of bars.

A bar's or a cable's shadow is a dark line, and so is a crack. What tells them apart is that the
shadow is perfectly straight, of one width and one darkness, and lets the surface show through;
so these are drawn that way and labelled as background.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgecrack.training.augment_settings import AugmentConfig
from edgecrack.training.partial_batch import (
    between,
    between_logarithmically,
    change_members,
    to_device,
)

SHADING_DRAWS = 18
_SECOND_EDGE_SHARE = 0.6  # broad shadows that end at two edges: corners and bands
_RAILING_SHARE = 0.3  # bars that come in parallel rows
_BAR_WIDTH_PX = (2.0, 12.0)
_BAR_SOFTNESS_PX = (0.7, 3.0)
_FAR_PX = 1e6

Draws = NDArray[np.float64]


def shade(patches: Tensor, draws: Draws, config: AugmentConfig) -> None:
    """Shade some of the patches, in place.

    Args:
        patches: float32 [N, side, side], gray levels.
        draws: float64 [N, SHADING_DRAWS] in 0..1.
        config: how many, and how strongly.
    """
    side = patches.shape[-1]
    if config.gradient > 0:
        angle = 2 * np.pi * draws[:, 0]
        slope = config.gradient * draws[:, 1] / ((side - 1) / 2)
        _tilt(patches, np.stack([slope * np.cos(angle), slope * np.sin(angle)]))
    shadowed = draws[:, 2] < config.shadow_probability
    change_members(patches, shadowed, _darken_beyond_edges, _edges(draws[:, 3:11], side, config))
    barred = draws[:, 11] < config.bar_probability
    change_members(patches, barred, _darken_below_bars, _bars(draws[:, 12:], side, config))


def _edges(draws: Draws, side: int, config: AugmentConfig) -> Draws:
    """Two edges per patch, [N, 2, (normal x, normal y, offset, softness, darkness)]."""
    first = 2 * np.pi * draws[:, 0]
    second = first + between(draws[:, 1], np.pi / 4, 7 / 4 * np.pi)
    angle = np.stack([first, second], axis=1)
    offset = between(draws[:, 2:4], -0.35, 0.35) * side
    # A lone edge has its partner so far away that all of the patch lies beyond it.
    offset[draws[:, 4] >= _SECOND_EDGE_SHARE, 1] = -_FAR_PX
    softness = between_logarithmically(draws[:, 5:7], 1.0, side / 6)
    darkness = between(draws[:, 7:8], 0.3, 1) * config.shadow_darkness
    both = np.broadcast_to(darkness, angle.shape)
    return np.stack([np.cos(angle), np.sin(angle), offset, softness, both], axis=-1)


def _bars(draws: Draws, side: int, config: AugmentConfig) -> Draws:
    """A row of bars per patch.

    Returns:
        [N, (normal x, normal y, offset, half width, softness, period, darkness)].
    """
    angle = 2 * np.pi * draws[:, 0]
    offset = between(draws[:, 1], -0.45, 0.45) * side
    width = between_logarithmically(draws[:, 2], *_BAR_WIDTH_PX)
    softness = between(draws[:, 3], *_BAR_SOFTNESS_PX)
    # One draw says whether there is a row, and, stretched, how far apart its bars are.
    spread = draws[:, 4] / _RAILING_SHARE
    period = np.where(spread < 1, between(spread, 3 * width + 8, 0.6 * side + 40), _FAR_PX)
    darkness = between(draws[:, 5], 0.3, 1) * config.shadow_darkness
    normal = np.cos(angle), np.sin(angle)
    return np.stack([*normal, offset, width / 2, softness, period, darkness], axis=-1)


def _tilt(patches: Tensor, slopes: Draws) -> None:
    x, y = _from_middle(patches)
    to_right, down = to_device(slopes, patches.device)[..., None, None]
    patches.mul_((1 + to_right * x) + down * y)


def _darken_beyond_edges(patches: Tensor, edges: Tensor) -> Tensor:
    x, y = _from_middle(patches)
    inside = torch.ones_like(patches)
    for edge in edges.unbind(dim=1):
        normal_x, normal_y, offset, softness, _ = (v[:, None, None] for v in edge.unbind(dim=1))
        depth = (normal_x * x + normal_y * y - offset).div_(softness).add_(0.5).clamp_(0, 1)
        inside.mul_(depth * depth * (3 - 2 * depth))
    darkness = edges[:, 0, -1, None, None]
    return patches.mul_(1 - darkness * inside)


def _darken_below_bars(patches: Tensor, bars: Tensor) -> Tensor:
    x, y = _from_middle(patches)
    normal_x, normal_y, offset, half_width, softness, period, darkness = (
        value[:, None, None] for value in bars.unbind(dim=1)
    )
    distance = normal_x * x + normal_y * y - offset
    distance.sub_(period * torch.round(distance / period)).abs_()
    covered = (half_width - distance).div_(softness).add_(0.5).clamp_(0, 1)
    return patches.mul_(1 - darkness * covered)


def _from_middle(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels to the right of and below the middle, float32 [1, 1, side] and [1, side, 1]."""
    side = patches.shape[-1]
    offset = torch.arange(side, device=patches.device) - (side - 1) / 2
    return offset[None, None, :], offset[None, :, None]
