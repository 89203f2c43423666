"""Small images and masks whose pixels tell where they come from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def numbered(height: int, width: int) -> Bytes:
    """Every pixel differs from its neighbours to the right and below: a window tells its place."""
    y, x = np.mgrid[:height, :width]
    return np.asarray((7 * y + 13 * x + (y * x) % 11) % 256, np.uint8)


def diagonal(height: int, width: int) -> Bytes:
    """A crack one pixel wide from the top-left corner down."""
    mask = np.zeros((height, width), np.uint8)
    index = np.arange(min(height, width))
    mask[index, index] = 255
    return mask


def branches(side: int, width_px: int = 3) -> Bytes:
    """A crack without any symmetry: one arm along, one arm down."""
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 4 + width_px, side // 8 :] = 255
    mask[side // 4 : side // 2, side // 3 : side // 3 + width_px] = 255
    return mask


def wavy(height: int, width: int) -> Bytes:
    """Smooth gray waves, slower than any resampling can lose."""
    y, x = np.mgrid[:height, :width]
    waves = np.sin(x / 9.0) + np.cos(y / 13.0) + np.sin((x + 2 * y) / 31.0)
    return np.asarray(128 + 40 * waves, np.uint8)
