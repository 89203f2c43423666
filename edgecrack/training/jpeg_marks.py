"""The marks that JPEG compression leaves on gray patches.

What is lost in JPEG is lost where 8x8 blocks of cosine coefficients are rounded; that is done
here, and the lossless rest of the format is left out. Quality has libjpeg's meaning.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK_PX = 8
# ITU-T T.81, table K.1: steps of luminance coefficients at quality 50, by rows.
_LUMINANCE_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.int64,
)

_FINENESS = 8  # libjpeg's coefficients are whole eighths before they are rounded to steps


def quantisation_steps(quality: NDArray[np.int64]) -> NDArray[np.int64]:
    """Steps that coefficients are rounded to.

    Args:
        quality: int64 [N], 1 to 100.

    Returns:
        int64 [N, 8, 8], 1 to 255.
    """
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    scaled = (_LUMINANCE_STEPS * percent[:, None, None] + 50) // 100
    return np.clip(scaled, 1, 255)


def compress(patches: Tensor, steps: Tensor) -> Tensor:
    """Gray patches as they come back from a JPEG file.

    Args:
        patches: float32 [N, H, W], gray levels 0..255; H and W are multiples of 8.
        steps: float32 [N, 8, 8], from `quantisation_steps`.

    Returns:
        float32 [N, H, W], whole gray levels.
    """
    count, height, width = patches.shape
    rows, columns = height // BLOCK_PX, width // BLOCK_PX
    levels = patches.round().clamp_(0, 255).sub_(128)
    blocks = levels.view(count, rows, BLOCK_PX, columns, BLOCK_PX).permute(0, 2, 4, 1, 3)
    blocks = blocks.reshape(count, BLOCK_PX**2, rows * columns)
    # A cosine transform of a block is one product with a 64 x 64 matrix. A product per patch
    # gives each patch the same result, whatever it is compressed together with.
    transform = torch.from_numpy(_cosine_transform()).to(patches.device)
    forward, back = (
        matrix.expand(count, -1, -1) for matrix in (_FINENESS * transform, transform.T)
    )
    step = steps.view(count, BLOCK_PX**2, 1)
    coefficients = torch.bmm(forward, blocks).round_().div_(step * _FINENESS)
    # Halves, which are frequent, go away from zero.
    coefficients.add_(coefficients.sign().mul_(0.5)).trunc_().mul_(step)
    blocks = torch.bmm(back, coefficients)
    blocks = blocks.view(count, BLOCK_PX, BLOCK_PX, rows, columns).permute(0, 3, 1, 4, 2)
    return blocks.reshape(count, height, width).round_().add_(128).clamp_(0, 255)


def _cosine_transform() -> NDArray[np.float32]:
    """Orthonormal two-dimensional DCT-II of 8x8 blocks, [64, 64]."""
    frequency, place = np.mgrid[:BLOCK_PX, :BLOCK_PX]
    one = np.cos(np.pi * (2 * place + 1) * frequency / (2 * BLOCK_PX)) * np.sqrt(2 / BLOCK_PX)
    one[0] /= np.sqrt(2)
    return np.kron(one, one).astype(np.float32)
