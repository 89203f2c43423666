"""Blur patches: out of focus (Gaussian), or moved while the shutter was open (a line)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_GAUSSIAN_REACH_PX = 4  # three standard deviations of the widest one that is drawn, 1.4 px
_STOPS_PER_PX = 4  # how finely a line of motion is drawn


def gaussian_blur(patches: Tensor, sigma_px: Tensor) -> Tensor:
    """Blur each patch, mirrored at its border.

    Args:
        patches: float32 [N, H, W].
        sigma_px: float32 [N], standard deviations in pixels, 0.3 to 1.4.

    Returns:
        float32 [N, H, W].
    """
    reach = _GAUSSIAN_REACH_PX
    distance = torch.arange(reach + 1, device=patches.device)
    weights = torch.exp(-0.5 * (distance / sigma_px[:, None]) ** 2)
    weights = weights / (2 * weights.sum(dim=1, keepdim=True) - weights[:, :1])
    weights = weights[:, :, None, None]
    for axis, padding in ((-1, (reach, reach, 0, 0)), (-2, (0, 0, reach, reach))):
        length = patches.shape[axis]
        padded = functional.pad(patches, padding, mode="reflect")
        patches = patches.mul_(weights[:, 0])
        for offset in range(1, reach + 1):
            both = padded.narrow(axis, reach - offset, length) + padded.narrow(
                axis, reach + offset, length
            )
            patches.addcmul_(both, weights[:, offset])
    return patches


def motion_kernels(
    angle: NDArray[np.float64], length_px: NDArray[np.float64], longest_px: int
) -> NDArray[np.float64]:
    """Kernels of straight even motion.

    Args:
        angle: float64 [N], direction in radians.
        length_px: float64 [N], distance moved, 0 to `longest_px`.
        longest_px: bounds the size of the kernels.

    Returns:
        float64 [N, K, K], each with the sum 1; K is odd and at least `longest_px`.
    """
    count, reach = len(angle), longest_px // 2 + 1
    size = 2 * reach + 1
    stops = max(2, _STOPS_PER_PX * longest_px)
    along = ((np.arange(stops) + 0.5) / stops - 0.5) * length_px[:, None]
    y, x = reach + along * np.sin(angle)[:, None], reach + along * np.cos(angle)[:, None]
    top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    down, right = y - top, x - left
    kernels = np.zeros((count, size, size))
    member = np.arange(count)[:, None]
    for dy, share_y in ((0, 1 - down), (1, down)):
        for dx, share_x in ((0, 1 - right), (1, right)):
            np.add.at(kernels, (member, top + dy, left + dx), share_y * share_x / stops)
    return kernels


def filter_patches(patches: Tensor, kernels: NDArray[np.float64]) -> Tensor:
    """Correlate each patch with its own kernel; its border pixels go on beyond it.

    Args:
        patches: float32 [N, H, W].
        kernels: float64 [N, K, K], on the host, K odd.

    Returns:
        float32 [N, H, W].
    """
    reach, (height, width) = kernels.shape[-1] // 2, patches.shape[-2:]
    padded = functional.pad(patches, (reach,) * 4, mode="replicate")
    weights = torch.from_numpy(kernels.astype(np.float32)).to(patches.device)
    result = torch.zeros_like(patches)
    # A line touches few pixels of its kernel, which the host knows.
    for y, x in np.argwhere(kernels.any(axis=0)).tolist():
        view = padded[:, y : y + height, x : x + width]
        result.addcmul_(view, weights[:, y, x, None, None])
    return result
