"""The soft skeleton of a crack map: its centreline, differentiable by way of pooling.

Shit et al., "clDice - a novel topology-preserving loss function for tubular structure
segmentation", CVPR 2021, algorithm 1. Knows maps of 0 to 1, nothing of losses.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def soft_erode(maps: Tensor) -> Tensor:
    """The least of each pixel and its four neighbours; [N, H, W] both ways."""
    vertical = -functional.max_pool2d(-maps, (3, 1), stride=1, padding=(1, 0))
    horizontal = -functional.max_pool2d(-maps, (1, 3), stride=1, padding=(0, 1))
    return torch.minimum(vertical, horizontal)


def soft_dilate(maps: Tensor) -> Tensor:
    """The greatest of each pixel and its eight neighbours; [N, H, W] both ways."""
    return functional.max_pool2d(maps, 3, stride=1, padding=1)


def soft_skeleton(maps: Tensor, iterations: int) -> Tensor:
    """What successive erosions leave behind, joined: the ridge of every crack.

    Args:
        maps: float [N, H, W] in 0..1, N at least 1.
        iterations: erosions, at least half the width in pixels of the widest crack.

    Returns:
        Float [N, H, W] in 0..1.
    """
    skeleton = functional.relu(maps - soft_dilate(soft_erode(maps)))
    for _ in range(iterations):
        maps = soft_erode(maps)
        ridge = functional.relu(maps - soft_dilate(soft_erode(maps)))
        skeleton = skeleton + functional.relu(ridge - skeleton * ridge)
    return skeleton
