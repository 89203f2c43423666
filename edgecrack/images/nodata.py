"""Finds image areas without content: constant margins and burnt-in text, and fills them.

Both would distort the frame's statistics, and the network reacts to their edges far beyond them.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

# How far lossy formats move black and white from the limits, and how far they blur around them.
_LIMIT_LEVELS = 8
_DARK, _BRIGHT = 1, 2
_KINDS = np.zeros(256, dtype=np.uint8)
_KINDS[: _LIMIT_LEVELS + 1] = _DARK
_KINDS[255 - _LIMIT_LEVELS :] = _BRIGHT
_AROUND_PX = 3
# Smallest line of text, and the largest share of a frame that is text: where more of it is black
# and white, that is the picture itself.
_LEAST_PX = 150
_MOST = 0.1
# Share of a text line that is black or white, and the least share of each.
_LIMITED_SHARE = 0.6
_LEAST_SHARE = 0.08
_LETTER_GAP_PX = 17
# Stroke edges that a row through text crosses; a row through a crack crosses two.
_LEAST_CROSSINGS = 8


def find_text(gray: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Find black and white text.

    Args:
        gray: uint8 [H, W].

    Returns:
        bool [H, W], True on lines of text with their boxes or outlines; None if there are none.
    """
    kinds = np.asarray(cv2.LUT(gray, _KINDS), dtype=np.uint8)
    counts = np.asarray(cv2.calcHist([kinds], [0], None, [3], [0, 3])).ravel()
    if min(counts[_DARK], counts[_BRIGHT]) < _LEAST_SHARE * _LEAST_PX:
        return None
    # Waves interrupt the surfaces; anything thin without them is not text.
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


_Scalar = TypeVar("_Scalar", bound=np.generic)
# A level must be constant for this many pixels along the border; texture and noise never are.
_RUN_PX = 16
# ... and for this share of half the border in total, part of it at a corner or over a
# quarter of a side: a wide crack, black throughout, may cross the border anywhere else.
_BORDER_SHARE = 1 / 16
_SIDE_SHARE = 1 / 4
_MAX_LEVELS = 3
# Thinner than this is a line or a crushed crack, unless it lies along the border.
_THICK_PX = 7
# Level step just beyond its edge. A vignette or a shadow fades instead.
_EDGE_LEVELS = 6
# Lossy formats leave waves in the blocks along an edge, so far and so high; beyond them the frame
# must differ by more, since a fading shadow has such levels, too.
_WAVE_PX = 8
_WAVE_LEVELS = 16
_LOSSY_EDGE_LEVELS = 32
# At a sharp edge the first pixels differ by nearly as much as those behind them.
_SHARP_SHARE = 0.8
# A long thin object inside it may be a crack in an overexposed wall and stays, with this much
# around it; anything smaller, such as a stuck pixel, goes.
_LONG_PX = 32
_KEPT_PX = 16
_SMALLEST_FRAME_PX = 32
_BLUR_PX = 3
_BLUR_REACH_PX = 4 * _BLUR_PX
# Where less of a frame is left, the constant part is the picture: a flat wall with a crack.
_LEAST_VISIBLE = 1 / 64


def with_mask(image: NDArray[_Scalar], hidden: NDArray[np.bool_]) -> NDArray[_Scalar]:
    """The image as a masked array that hides these pixels in every channel.

    Args:
        image: [H, W] or [H, W, C].
        hidden: bool [H, W].
    """
    mask = hidden if image.ndim == 2 else np.broadcast_to(hidden[..., None], image.shape)
    return np.ma.MaskedArray(image, mask)


def masked_pixels(image: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where any channel of an image is masked, bool [H, W]; None where nothing is.

    Args:
        image: [H, W] or [H, W, C], plain or a masked array.
    """
    if not isinstance(image, np.ma.MaskedArray):
        return None
    mask = np.ma.getmaskarray(image)
    hidden = np.asarray(mask if mask.ndim == 2 else mask.any(axis=2), dtype=np.bool_)
    return hidden if hidden.any() else None


def find_nodata(
    gray: NDArray[np.uint8], ignored: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_] | None:
    """Find the parts of a frame that show nothing.

    Args:
        gray: uint8 [H, W].
        ignored: bool [H, W], where the frame's border says nothing; None for nowhere.

    Returns:
        bool [H, W], True where the frame shows nothing; None where it shows something
        everywhere, or nowhere.
    """
    found = np.zeros(gray.shape, dtype=np.uint8)
    for level in _margin_levels(gray, ignored):
        margin = _margin(gray, level)
        away = np.asarray(cv2.absdiff(gray, np.full_like(gray, level)), dtype=np.uint8)
        whole = _up_to_its_edge(margin, away)
        if whole is not None and _shows_something(1 - whole):
            found |= _without_lines(_with_mixed_pixels(whole, away))
    return found.astype(bool) if found.any() and not found.all() else None


def constant_margins(gray: NDArray[Any]) -> NDArray[np.bool_]:
    """Where one level covers the border, abrupt edge or not; any unsigned type, bool [H, W].

    For statistics alone, which lose nothing by leaving a constant part out.
    """
    found = np.zeros(gray.shape, dtype=np.uint8)
    for level in _margin_levels(gray):
        found |= _margin(gray, level)
    return found.astype(bool)


def fill_nodata(gray: NDArray[np.uint8], nodata: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Mirror what a frame shows into where it shows nothing, so that local statistics see no edge.

    Args:
        gray: uint8 [H, W].
        nodata: bool [H, W]; where it is True everywhere, there is nothing to be mirrored.

    Returns:
        uint8 [H, W], a new array.
    """
    filled = gray.copy()
    filled[nodata] = gray.take(mirrored_places(nodata))
    return filled


def mirrored_places(nodata: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each pixel that shows nothing the one that is mirrored into it.

    Args:
        nodata: bool [H, W]; where it is True everywhere, each pixel stays as it is.

    Returns:
        intp [N], places in a frame laid out row by row, in the order of `np.flatnonzero(nodata)`.
    """
    y, x = np.nonzero(nodata)
    if len(y) in (0, nodata.size):
        return np.asarray(y * nodata.shape[1] + x)
    edge_y, edge_x = _nearest_visible(nodata.astype(np.uint8), y, x)
    from_y = np.clip(2 * edge_y - y, 0, nodata.shape[0] - 1)
    from_x = np.clip(2 * edge_x - x, 0, nodata.shape[1] - 1)
    is_hidden = nodata[from_y, from_x]
    row, column = np.where(is_hidden, edge_y, from_y), np.where(is_hidden, edge_x, from_x)
    return np.asarray(row * nodata.shape[1] + column)


def blur_nodata(gray: NDArray[np.uint8], nodata: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Blur a frame where it shows nothing, so that the network sees neither edge nor crack there.

    A crack that was mirrored would lead it to see less of the one that is there.

    Args:
        gray: uint8 [H, W], with `fill_nodata` done.
        nodata: bool [H, W]; where it is True everywhere, nothing is blurred.

    Returns:
        uint8 [H, W], a new array.
    """
    result = gray.copy()
    left, top, width, height = cv2.boundingRect(nodata.astype(np.uint8))
    if width == 0 or nodata.all():
        return result
    # Nothing farther from it than the blur reaches needs a look.
    near = np.s_[
        max(0, top - _BLUR_REACH_PX) : top + height + _BLUR_REACH_PX,
        max(0, left - _BLUR_REACH_PX) : left + width + _BLUR_REACH_PX,
    ]
    blurred = np.asarray(cv2.GaussianBlur(gray[near], (0, 0), _BLUR_PX), dtype=np.uint8)
    np.copyto(result[near], blurred, where=nodata[near])
    return result


def _nearest_visible(
    hidden: NDArray[np.uint8], y: NDArray[np.intp], x: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of the nearest visible pixel for each hidden one."""
    # It is the neighbour of a hidden one, so nothing farther away than that needs a look.
    top, left = max(0, int(y.min()) - 1), max(0, int(x.min()) - 1)
    part = hidden[top : int(y.max()) + 2, left : int(x.max()) + 2]
    _, nearest = cv2.distanceTransformWithLabels(
        part, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    # Labels number the visible pixels; these are the positions of those that may be nearest.
    edge = np.flatnonzero(_grown(part, 3) > part)
    place_of = np.zeros(int(nearest.max()) + 1, dtype=np.intp)
    place_of[nearest.ravel()[edge]] = edge
    row, column = np.divmod(place_of[nearest[y - top, x - left]], part.shape[1])
    return row + top, column + left


def _margin_levels(gray: NDArray[Any], ignored: NDArray[np.bool_] | None = None) -> list[int]:
    """The levels that may be nodata, by a look at the border alone."""
    height, width = gray.shape
    if min(height, width) < _SMALLEST_FRAME_PX:
        return []
    lengths: Counter[int] = Counter()
    anchored = set()
    for side in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        line = gray[side]
        changes = line[1:] != line[:-1]
        if ignored is not None:
            changes |= ignored[side][1:] != ignored[side][:-1]
        bounds = np.concatenate([[0], np.flatnonzero(changes) + 1, [len(line)]])
        sizes = np.diff(bounds)
        for run in np.flatnonzero(sizes >= _RUN_PX):
            if ignored is not None and ignored[side][bounds[run]]:
                continue
            level = int(line[bounds[run]])
            lengths[level] += int(sizes[run])
            at_corner = run == 0 or run == len(sizes) - 1
            if at_corner or sizes[run] >= _SIDE_SHARE * len(line):
                anchored.add(level)
    needed = _BORDER_SHARE * (height + width)
    common = lengths.most_common(_MAX_LEVELS)
    return [level for level, length in common if length >= needed and level in anchored]


def _margin(gray: NDArray[Any], level: int) -> NDArray[np.uint8]:
    """1 where the frame has exactly this level, in thick pieces that touch its border."""
    equal = np.pad((gray == level).astype(np.uint8), _THICK_PX, constant_values=1)
    # Opening rounds corners off; what it took from an edge comes back.
    whole = _inner(_grown(_opened(equal, _THICK_PX), _THICK_PX) & equal)
    # Single pixels of that level lie along any border.
    return _pieces(whole, _RUN_PX, at_border=True)


def _up_to_its_edge(margin: NDArray[np.uint8], away: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The margin with what a lossy format made of its edge; None where it fades instead.

    Args:
        margin: where the frame has exactly one level.
        away: by how many levels each pixel differs from that.
    """
    waves = _grown(margin, 2 * _WAVE_PX + 1) & (away <= _WAVE_LEVELS).astype(np.uint8)
    whole = margin | waves
    near, beyond = _median_just_outside(margin, away), _median_just_outside(whole, away)
    if near < beyond / 2 and beyond >= _LOSSY_EDGE_LEVELS:
        return whole
    return margin if near >= _EDGE_LEVELS else None


def _with_mixed_pixels(margin: NDArray[np.uint8], away: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The margin with the pixels along its edge that a rotation has mixed from both sides."""
    masks = [margin, *(_grown(margin, side_px) for side_px in (3, 5, 9))]
    rings = [away[outer > inner] for inner, outer in pairwise(masks)]
    if not all(ring.size for ring in rings):
        return margin
    first, second, full = (float(np.median(ring)) for ring in rings)
    if first >= _SHARP_SHARE * full:
        return margin
    return masks[1] if second >= _SHARP_SHARE * full else masks[2]


def _median_just_outside(mask: NDArray[np.uint8], away: NDArray[np.uint8]) -> float:
    outside = _grown(mask, 5) > mask
    return float(np.median(away[outside])) if outside.any() else 0.0


def _without_lines(margin: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The margin without long thin lines in it and their surroundings, but with all specks."""
    visible = 1 - margin
    thin = visible & (1 - _broad(visible))
    lines = _pieces(thin, _LONG_PX) if cv2.countNonZero(thin) >= _LONG_PX else thin
    if cv2.countNonZero(lines) >= _LONG_PX:
        visible |= _grown(lines, 2 * _KEPT_PX + 1)
    return 1 - _pieces(visible, _LONG_PX)


def _pieces(
    mask: NDArray[np.uint8], length_px: int, *, at_border: bool = False
) -> NDArray[np.uint8]:
    """The connected pieces of a mask that are so long in one direction."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    left, top, width, height, _ = np.asarray(stats).T
    kept = np.maximum(width, height) >= length_px
    if at_border:
        right, bottom = left + width == mask.shape[1], top + height == mask.shape[0]
        kept &= (left == 0) | (top == 0) | right | bottom
    kept[0] = False  # the background
    return np.asarray(kept.astype(np.uint8).take(labels), dtype=np.uint8)


def _shows_something(visible: NDArray[np.uint8]) -> bool:
    """Whether more than lines and specks is left; if not, the constant part is the picture."""
    return float(_broad(visible).mean()) >= _LEAST_VISIBLE


def _broad(visible: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The parts of a mask that are not lines, judged at the frame's border."""
    return _inner(_opened(np.pad(visible, _THICK_PX, mode="edge"), _THICK_PX + 2))


def _grown(mask: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.dilate(mask, _box(side_px)), dtype=np.uint8)


def _opened(mask: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, _box(side_px)), dtype=np.uint8)


def _inner(padded: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return padded[_THICK_PX:-_THICK_PX, _THICK_PX:-_THICK_PX]
