"""Text burnt into a picture: clocks, names of cameras, coordinates.

White digits in a black box, or with a black outline, are like nothing on a wall. They would take
part in every statistic of the frame, and the network sees their edges far beyond them. Knows gray
levels only.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Lossy formats leave black and white so near to the limits, and blur so far around them.
_LIMIT_LEVELS = 8
_DARK, _BRIGHT = 1, 2
_KINDS = np.zeros(256, dtype=np.uint8)
_KINDS[: _LIMIT_LEVELS + 1] = _DARK
_KINDS[255 - _LIMIT_LEVELS :] = _BRIGHT
_AROUND_PX = 3
# A line of text has at least so many pixels, and all text no more than this share of a frame:
# where more of it is black and white, that is the picture itself.
_LEAST_PX = 150
_MOST = 0.1
# So much of a line of text is black or white, and so much at least is either.
_LIMITED_SHARE = 0.6
_LEAST_SHARE = 0.08
_LETTER_GAP_PX = 17
# A row through text crosses so many edges of strokes; one through a crack in a wall two.
_LEAST_CROSSINGS = 8


def find_text(gray: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Find black and white text.

    Args:
        gray: uint8 [H, W].

    Returns:
        bool [H, W], True on lines of text with their boxes or outlines; None where there are none.
    """
    kinds = np.asarray(cv2.LUT(gray, _KINDS), dtype=np.uint8)
    counts = np.asarray(cv2.calcHist([kinds], [0], None, [3], [0, 3])).ravel()
    if min(counts[_DARK], counts[_BRIGHT]) < _LEAST_SHARE * _LEAST_PX:
        return None
    # Waves interrupt the surfaces; what is thin without them is no text.
    _, limits = cv2.threshold(kinds, 0, 1, cv2.THRESH_BINARY)
    surfaces = cv2.morphologyEx(limits, cv2.MORPH_CLOSE, _box(5), dst=limits)
    cv2.morphologyEx(surfaces, cv2.MORPH_OPEN, _box(5), dst=surfaces)
    lines = cv2.dilate(surfaces, np.ones((_LETTER_GAP_PX // 4, _LETTER_GAP_PX), dtype=np.uint8))
    found = np.zeros(gray.shape, dtype=np.uint8)
    for rows in _bands(lines):
        _mark_text(kinds[rows], surfaces[rows], lines[rows], found[rows])
    if not 0 < cv2.countNonZero(found) <= _MOST * gray.size:
        return None
    return np.asarray(cv2.dilate(found, _box(2 * _AROUND_PX + 1)), dtype=np.bool_)


def _bands(lines: NDArray[Any]) -> list[slice]:
    """Rows that hold something, as runs without an empty row between them.

    No piece reaches from one into another, and the labels of pieces take four bytes per pixel.
    """
    is_used = np.asarray(cv2.reduce(lines, 1, cv2.REDUCE_MAX)).ravel() > 0
    bounds = np.flatnonzero(np.diff(np.pad(is_used, 1).astype(np.int8)))
    return [slice(first, last) for first, last in bounds.reshape(-1, 2).tolist()]


def _mark_text(
    kinds: NDArray[np.uint8],
    surfaces: NDArray[Any],
    lines: NDArray[Any],
    found: NDArray[np.uint8],
) -> None:
    """Set `found` to 1 on the pieces of these rows that are text."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lines, connectivity=8)
    for number in range(1, count):
        left, top, width, height, _ = (int(value) for value in stats[number])
        part = np.s_[top : top + height, left : left + width]
        piece = (labels[part] == number) & (surfaces[part] > 0)
        if _is_text(kinds[part] == _DARK, kinds[part] == _BRIGHT, piece):
            found[part] |= piece.astype(np.uint8)


def _is_text(dark: NDArray[np.bool_], bright: NDArray[np.bool_], piece: NDArray[np.bool_]) -> bool:
    """Whether a piece of a frame is made of many strokes, black on white or white on black."""
    area = np.count_nonzero(piece)
    if area < _LEAST_PX:
        return False
    shares = [np.count_nonzero(pixels & piece) / area for pixels in (dark, bright)]
    if sum(shares) < _LIMITED_SHARE or min(shares) < _LEAST_SHARE:
        return False
    strokes = (bright if shares[1] < shares[0] else dark) & piece
    crossings = np.count_nonzero(strokes[:, 1:] != strokes[:, :-1], axis=1)
    inked = crossings[strokes.any(axis=1)]
    return float(np.median(inked)) >= _LEAST_CROSSINGS


def _box(side_px: int) -> NDArray[np.uint8]:
    return np.ones((side_px, side_px), dtype=np.uint8)
