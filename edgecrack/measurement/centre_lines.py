"""Crack centre lines: thin the mask, trace the lines, smooth them and measure their length."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

# Counter-clockwise from the right, as (row, column): the paper's x1 to x8. Bit k of a pixel's code
# is neighbour k + 1.
_NEIGHBOURS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """The skeleton of a mask.

        >>> bar = np.zeros((5, 9), np.uint8)
        >>> bar[1:4, 1:8] = 255
        >>> np.argwhere(thin(bar)).tolist()
        [[2, 2], [2, 3], [2, 4], [2, 5], [2, 6]]

    Connectivity is preserved, and lines get shorter by about half their width at each end. Two
    kinds of passes alternately remove border pixels; each examines only pixels whose neighbourhood
    has changed since the last pass of its kind.

    Args:
        mask: [H, W]; non-zero is crack. Pixels outside the image are background.

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
    """Each pixel once, in any order; `places` is a buffer with one number per pixel."""
    numbers = np.arange(pixels.size, dtype=np.int32)
    places[pixels] = numbers
    return np.asarray(pixels[places[pixels] == numbers], np.intp)


def _removable() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each neighbour code, whether the first and the second pass remove the pixel."""
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
# Half of the 8 neighbours, as (row, column); the opposite pixel covers the others.
_FORWARD = ((0, 1), (1, -1), (1, 0), (1, 1))
_SMOOTHED_POINTS = 5
_TOLERANCE_PX = 0.5
_SPUR_PX = 8.0
# Limits on crack pixels per image; above them, tracing would take longer than detection.
_FEWEST_FOLLOWED, _SHARE_FOLLOWED = 20_000, 0.1
_MOST_MEETINGS = 300
_Path = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class CentreLine:
    """One line along the middle of a crack.

    Attributes:
        pixels: intp [N], the skeleton pixels along it, as indices into the input list; the first
            pixel of a ring is repeated at its end.
        xy: float64 [N, 2], smoothed points in pixels, x and y; the centre of the first pixel of an
            image is (0.5, 0.5).
        length_px: along the smoothed points.
    """

    pixels: NDArray[np.intp]
    xy: NDArray[np.float64]

    @property
    def length_px(self) -> float:
        """Along the smoothed points."""
        return float(np.hypot(*np.diff(self.xy, axis=0).T).sum())

    def simplified(self, tolerance_px: float = _TOLERANCE_PX) -> NDArray[np.float64]:
        """Fewer points, float64 [M, 2], with every point of `xy` within the tolerance.

        Douglas-Peucker algorithm; both ends stay.
        """
        if not np.array_equal(self.xy[0], self.xy[-1]):
            return _simplified(self.xy, tolerance_px)
        # A ring has no ends, so split it in two halves.
        far = int(np.argmax(((self.xy - self.xy[0]) ** 2).sum(axis=1)))
        halves = [_simplified(half, tolerance_px) for half in (self.xy[: far + 1], self.xy[far:])]
        return np.concatenate([halves[0], halves[1][1:]])


def follow(
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
    spur_px: float | NDArray[np.float64] = 0.0,
) -> list[CentreLine]:
    """Trace the lines of a skeleton.

        >>> line, = follow(np.array([4, 4, 4, 4]), np.array([1, 2, 3, 4]))
        >>> line.xy.tolist(), line.length_px
        ([[1.5, 4.5], [2.5, 4.5], [3.5, 4.5], [4.5, 4.5]], 3.0)

    Args:
        rows: integers [N], rows of the skeleton pixels, in any order, each pixel once.
        columns: integers [N].
        spur_px: shorter dead-end branches are removed; thinning creates them along ragged crack
            edges. Isolated lines stay. One value, or float [N] with the same value for all
            connected pixels.

    Returns:
        Lines ordered by the row and column of their first pixel; an isolated pixel is not a line.
    """
    if not len(rows):
        return []
    order = np.lexsort((columns, rows))  # makes the lines independent of the input order
    rows, columns = rows[order], columns[order]
    first, second = _steps(rows, columns)
    paths = _paths(first, second, len(rows))
    spurs_px = np.broadcast_to(spur_px, len(order))[order]
    if spurs_px.any():
        kept = _without_spurs(paths, rows, columns, spurs_px)
        if len(kept) < len(paths):
            steps = [np.stack([path[:-1], path[1:]]) for path in kept]
            joined = np.concatenate(steps, axis=1) if steps else np.zeros((2, 0), np.intp)
            paths = _paths(joined[0], joined[1], len(rows))
    ends = Counter(end for path in paths for end in _ends(path))
    paths.sort(key=lambda path: (int(path[0]), int(path[1])))  # no step is on two paths
    return [_line(path, rows, columns, order, is_ring=ends[int(path[0])] == 2) for path in paths]


@dataclass(frozen=True, eq=False)
class BoundedSkeleton:
    """The skeleton of a mask, cropped to the bounding box of its cracks.

    Attributes:
        pixels: bool [h, w].
        left: left edge of the box in pixels.
        top: top edge of the box in pixels.
    """

    pixels: NDArray[np.bool_]
    left: int
    top: int


def lines_of(
    mask: NDArray[np.uint8], skeleton: BoundedSkeleton | None = None
) -> tuple[NDArray[np.float64], ...]:
    """The centre lines of a mask, simplified to within half a pixel, longest first.

        >>> mask = np.zeros((9, 20), np.uint8)
        >>> mask[3:6, 2:18] = 255
        >>> [line.tolist() for line in lines_of(mask)]
        [[[3.5, 4.5], [16.5, 4.5]]]

    Args:
        mask: uint8 [H, W]; non-zero is crack.
        skeleton: skeleton of this mask, if already computed.

    Returns:
        float64 [N, 2] each, x and y in pixels; the centre of the first pixel is (0.5, 0.5). Empty
        for a mask that is noise rather than cracks: a tenth of an image, or a web of junctions.
    """
    skeleton = skeleton or bounded_skeleton(mask)
    rows, columns = np.nonzero(skeleton.pixels)
    lines = follow(rows, columns, _SPUR_PX)
    lines.sort(key=lambda line: -line.length_px)
    corner = np.array([skeleton.left, skeleton.top])
    return tuple(line.simplified() + corner for line in lines)


def bounded_skeleton(mask: NDArray[np.uint8]) -> BoundedSkeleton:
    """Compute the skeleton of a mask within its bounding box.

    Args:
        mask: uint8 [H, W]; non-zero is crack.

    Returns:
        Has no pixels if the mask is empty, or is noise rather than cracks, which would take seconds
        to trace.
    """
    left, top, width, height = cv2.boundingRect(mask)
    budget = max(_FEWEST_FOLLOWED, int(_SHARE_FOLLOWED * mask.size))
    nothing = BoundedSkeleton(np.zeros((0, 0), bool), 0, 0)
    if width == 0 or cv2.countNonZero(mask) > budget:
        return nothing
    skeleton = thin(mask[top : top + height, left : left + width])
    ones = np.ones((3, 3), np.uint8)
    around = cv2.filter2D(skeleton.astype(np.uint8), -1, ones, borderType=cv2.BORDER_CONSTANT)
    if np.count_nonzero(skeleton & (around > 3)) > _MOST_MEETINGS:
        return nothing
    return BoundedSkeleton(skeleton, left, top)


def _steps(
    rows: NDArray[np.integer], columns: NDArray[np.integer]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of neighbouring pixels; no diagonal step where two straight steps exist."""
    stride = int(columns.max()) + 3
    keys = rows.astype(np.int64) * stride + columns + 1
    order = np.argsort(keys)
    ordered = keys[order]

    def find(wanted: NDArray[np.int64]) -> NDArray[np.intp]:
        """Pixel numbers by key; -1 where there is none."""
        at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
        return np.where(ordered[at] == wanted, order[at], -1)

    pairs = []
    for row, column in _FORWARD:
        other = find(keys + row * stride + column)
        is_there = other >= 0
        if row and column:
            is_there &= (find(keys + column) < 0) & (find(keys + row * stride) < 0)
        pairs.append(np.stack([np.flatnonzero(is_there), other[is_there]]))
    joined = np.concatenate(pairs, axis=1)
    return joined[0], joined[1]


def _paths(first: NDArray[np.intp], second: NDArray[np.intp], count: int) -> list[_Path]:
    """Trace from each end or junction to the next, and around each ring."""
    degree = np.bincount(first, minlength=count) + np.bincount(second, minlength=count)
    ends = np.concatenate([first, second])
    order = np.argsort(ends, kind="stable")
    # Memory views return plain ints; lists would take ten times the memory.
    begins = np.concatenate([[0], np.cumsum(degree)]).astype(np.int64).data
    others = np.concatenate([second, first])[order].astype(np.int64).data
    numbers = np.tile(np.arange(len(first)), 2)[order].astype(np.int64).data
    degrees = degree.astype(np.int64).data
    walked = bytearray(len(first))

    def walk(start: int, slot: int) -> _Path:
        path, here = array("q", [start]), start
        while True:
            walked[numbers[slot]] = 1
            here = others[slot]
            path.append(here)
            if degrees[here] != 2 or here == start:
                return np.asarray(path, np.intp)
            slot = begins[here]
            if walked[numbers[slot]]:
                slot += 1

    paths = []
    nodes, on_rings = np.flatnonzero((degree != 2) & (degree > 0)), np.flatnonzero(degree == 2)
    for starts in (nodes, on_rings):
        for start in starts.astype(np.int64).data:
            for slot in range(begins[start], begins[start + 1]):
                if not walked[numbers[slot]]:
                    paths.append(walk(start, slot))
    return paths


def _ends(path: _Path) -> tuple[int, int]:
    return int(path[0]), int(path[-1])


def _without_spurs(
    paths: list[_Path],
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
    spurs_px: NDArray[np.float64],
) -> list[_Path]:
    """Remove short paths with one free end and one at a junction, shortest first.

    Two paths always stay at a junction, so a line that forks at its very end keeps an end.
    """
    meeting = Counter(end for path in paths for end in _ends(path))
    lengths_px = {}
    for number, path in enumerate(paths):
        is_free = [meeting[end] == 1 for end in _ends(path)]
        if sum(is_free) == 1:
            steps = np.diff(rows[path].astype(float)), np.diff(columns[path].astype(float))
            lengths_px[number] = float(np.hypot(*steps).sum())
    gone = set()
    for number in sorted(lengths_px, key=lambda each: (lengths_px[each], each)):
        ends = _ends(paths[number])
        if lengths_px[number] < spurs_px[ends[0]] and max(meeting[end] for end in ends) > 2:
            gone.add(number)
            meeting.subtract(ends)
    return [path for number, path in enumerate(paths) if number not in gone]


def _line(
    path: NDArray[np.intp],
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
    order: NDArray[np.intp],
    *,
    is_ring: bool,
) -> CentreLine:
    xy = np.stack([columns[path], rows[path]], axis=1).astype(np.float64) + 0.5
    is_ring = is_ring and path[0] == path[-1]
    return CentreLine(order[path], _smoothed(xy, is_ring=is_ring))


def _simplified(xy: NDArray[np.float64], tolerance_px: float) -> NDArray[np.float64]:
    if len(xy) < 3:
        return xy
    origin = xy[0]  # single precision is enough relative to it
    near = (xy - origin).astype(np.float32)[:, None]
    simple = cv2.approxPolyDP(near, tolerance_px, False)[:, 0]
    kept: NDArray[np.float64] = np.add(simple, origin, dtype=np.float64)
    kept[[0, -1]] = xy[[0, -1]]
    return kept


def _smoothed(xy: NDArray[np.float64], *, is_ring: bool) -> NDArray[np.float64]:
    """Moving average, because pixel-to-pixel steps are up to 8 % too long.

    The window shrinks near an end, and the end itself does not move.
    """
    smooth = xy.copy()
    count = len(xy)
    if is_ring and count > 2 * _SMOOTHED_POINTS:
        half = _SMOOTHED_POINTS // 2
        wrapped = np.take(xy[:-1], range(-half, count + half), axis=0, mode="wrap")
        around = [wrapped[first : first + count] for first in range(_SMOOTHED_POINTS)]
        return np.asarray(np.mean(around, axis=0), np.float64)
    for reach in range(1, _SMOOTHED_POINTS // 2 + 1):
        if count < 2 * reach + 1:
            break
        window = [xy[i : count - 2 * reach + i] for i in range(2 * reach + 1)]
        smooth[reach : count - reach] = np.mean(window, axis=0)
    return smooth
