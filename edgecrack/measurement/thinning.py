"""A mask thinned to lines one pixel wide, by the method of Guo and Hall.

Z. Guo and R. W. Hall, "Parallel thinning with two-subiteration algorithms", Communications of the
ACM 32 (1989), doi 10.1145/62065.62074, the first of its two. OpenCV's wheels have no thinning, and
a robot has neither SciPy nor scikit-image. Knows arrays only.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Against the clock from the right, as (row, column): the paper's x1 to x8. Bit k of a pixel's code
# is neighbour k + 1.
_NEIGHBOURS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """The skeleton of a mask.

        >>> bar = np.zeros((5, 9), np.uint8)
        >>> bar[1:4, 1:8] = 255
        >>> np.argwhere(thin(bar)).tolist()
        [[2, 2], [2, 3], [2, 4], [2, 5], [2, 6]]

    What is connected stays connected, and a line's ends stay but for about half its width. Pixels
    are removed from the rim, in two kinds of passes by turns; one looks only at those beside which
    something changed since the last one of its kind.

    Args:
        mask: [H, W]; non-zero is crack. What lies beyond its border is none.

    Returns:
        bool [H, W], a new array.
    """
    height, width = mask.shape
    padded = np.zeros((height + 2, width + 2), dtype=np.uint8)
    padded[1:-1, 1:-1] = mask != 0
    flat = padded.ravel()
    offsets = np.array([row * (width + 2) + column for row, column in _NEIGHBOURS], dtype=np.intp)
    everything = np.flatnonzero(flat)
    changed = [everything, everything]  # beside what the last two passes removed
    places = np.zeros(flat.size, dtype=np.int32)
    tables = cycle(_REMOVABLE)
    while any(len(each) for each in changed):
        candidates = _unique(np.concatenate(changed), places)
        candidates = candidates[flat[candidates] != 0]
        codes = np.zeros(candidates.size, dtype=np.uint8)
        for bit, offset in enumerate(offsets):
            codes |= flat[candidates + offset] << np.uint8(bit)
        gone = candidates[next(tables)[codes]]
        flat[gone] = 0
        changed = [changed[1], (gone[:, None] + offsets).ravel()]
    return padded[1:-1, 1:-1].astype(bool)


def _unique(pixels: NDArray[np.intp], places: NDArray[np.int32]) -> NDArray[np.intp]:
    """Each pixel once, in any order; `places` is room for one number a pixel."""
    numbers = np.arange(pixels.size, dtype=np.int32)
    places[pixels] = numbers
    return np.asarray(pixels[places[pixels] == numbers], np.intp)


def _removable() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each code of a pixel's neighbours, whether the first and the second pass remove it."""
    tables = np.zeros((2, 256), dtype=bool)
    for code in range(256):
        x1, x2, x3, x4, x5, x6, x7, x8 = (bool(code >> bit & 1) for bit in range(8))
        pairs = ((x1, x2, x3), (x3, x4, x5), (x5, x6, x7), (x7, x8, x1))
        crossings = sum(not first and (second or third) for first, second, third in pairs)
        fewest = min(
            (x1 or x2) + (x3 or x4) + (x5 or x6) + (x7 or x8),
            (x2 or x3) + (x4 or x5) + (x6 or x7) + (x8 or x1),
        )
        if crossings == 1 and 2 <= fewest <= 3:
            tables[0, code] = not ((x2 or x3 or not x8) and x1)
            tables[1, code] = not ((x6 or x7 or not x4) and x5)
    return tables[0], tables[1]


_REMOVABLE = _removable()
