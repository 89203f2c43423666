"""16-bit pictures made 8-bit ones, whatever part of the 16 bits they use.

Cameras put 10 or 12 bits at the low end of 16, thermal pictures use a sliver of the range; cut to
their upper byte, both are nearly black. Knows pixels, nothing of files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.images.nodata import constant_margins, masked_pixels, with_mask

# Share of pixels at either end that may be stuck and does not count.
_STRAY_SHARE = 0.001
_FEW_LEVELS = 64


def to_8_bits(image: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Cut a picture to 8 bits below its highest bit in use.

    So 12 bits at the low end of 16 lose their lowest 4, and a picture that uses all 16 keeps its
    upper byte. Where fewer than 64 levels would be left of the picture's contrast, its darkest
    level is taken off first. Constant margins and stray pixels do not count; what lies above the
    range becomes 255.

    Args:
        image: uint16 [H, W] or [H, W, 3], gray or any three colours.

    Returns:
        uint8 of the same shape; masked where `image` is.
    """
    darkest, brightest = _range(np.asarray(image))
    offset, shift = 0, max(0, brightest.bit_length() - 8)
    span = brightest - darkest
    if span >> shift < _FEW_LEVELS:
        offset, shift = max(0, darkest - span // 2), max(0, (2 * span).bit_length() - 8)
    levels = np.arange(1 << 16)
    table = np.clip((levels - offset) >> shift, 0, 255).astype(np.uint8)
    cut = table[np.asarray(image)]
    hidden = masked_pixels(image)
    return cut if hidden is None else with_mask(cut, hidden)


def _range(image: NDArray[np.uint16]) -> tuple[int, int]:
    """The levels between which nearly all of a picture lies."""
    low, high = (image, image) if image.ndim == 2 else (image.min(axis=2), image.max(axis=2))
    counts = ~constant_margins(high)
    if not counts.any():
        counts[:] = True
    darkest, brightest = _level(low[counts], _STRAY_SHARE), _level(high[counts], 1 - _STRAY_SHARE)
    if darkest < brightest:
        return darkest, brightest
    return int(low.min()), int(high.max())  # of a flat picture, the strays are all there is to see


def _level(values: NDArray[np.uint16], share: float) -> int:
    """The level below or at which a share of the values lies, without those at the limits."""
    counted: NDArray[Any] = np.bincount(values, minlength=1 << 16)
    if counted[1:-1].any():
        counted[[0, -1]] = 0
    reached = np.cumsum(counted)
    return int(np.searchsorted(reached, share * reached[-1]))
