"""Crack outlines and the exact share of each pixel that they cover.

An outline consists of two edges, left and right of a centre line. Pixel centres have integer
coordinates, so the pixel (x, y) extends from x - 0.5 to x + 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgecrack.synthetic.canvas import ByteArray, FloatArray, smooth_sequence
from edgecrack.synthetic.crack_paths import normals, walk

IndexArray = npt.NDArray[np.int64]
Points = npt.NDArray[np.float64]

HAIRLINE_PX = 1.5
_SCALE_TOLERANCE = 0.03
_NARROWEST_PX = 0.2
_SPACING_PX = 1.0
_LINES_ACROSS = 40.0
_FEWEST_LINES, _MOST_LINES = 4, 80
_LEAST_SHARE = 1e-9


@dataclass(frozen=True)
class CrackOutline:
    """One unbranched run of crack between its two edges.

    Attributes:
        left: float32 [N, 2], x and y in pixels of the edge left of the direction of travel.
        right: float32 [N, 2], the other edge, point by point opposite.
    """

    left: FloatArray
    right: FloatArray

    @property
    def centre(self) -> FloatArray:
        """Midway between the edges, float32 [N, 2]."""
        return np.asarray(0.5 * (self.left + self.right), dtype=np.float32)

    @property
    def width_px(self) -> FloatArray:
        """Distance from edge to edge, float32 [N]."""
        return np.asarray(np.hypot(*(self.left - self.right).T), dtype=np.float32)

    def moved(self, by_px: float) -> CrackOutline:
        """The same outline further right and down by the same length."""
        return CrackOutline(self.left + np.float32(by_px), self.right + np.float32(by_px))


@dataclass(frozen=True)
class Shape:
    """The shape of a crack: the geometry part of its configuration.

    Attributes:
        width_px: median full width within the picture.
        ragged: roughness of each edge as a share of the width; 0 for smooth edges.
        swell: slow change of the width as a share of it; 0 for a constant width.
        jaggedness: standard deviation of the kinks, radians; 0 for a straight crack.
        crosses: whether it runs from border to border, or ends within the picture.
        spalls: number of chips broken off its edges per 100 px.
    """

    width_px: float
    ragged: float
    swell: float
    jaggedness: float
    crosses: bool
    spalls: float


def draw_outline(hw: tuple[int, int], shape: Shape, rng: np.random.Generator) -> CrackOutline:
    """A crack through a picture of `hw`; it enters it once and leaves it at most once."""
    height, width = hw
    heading = rng.uniform(0.0, 2.0 * np.pi)
    if rng.random() < 0.4:  # Many cracks run roughly along or across a structure.
        heading = rng.integers(0, 4) * np.pi / 2.0 + rng.normal(0.0, 0.25)
    middle = rng.uniform(0.3, 0.7, 2) * (width, height)
    line = _centre_line(rng, heading, 2.2 * float(np.hypot(height, width)), shape)
    line = line - line[len(line) // 2] + middle
    line, first, last = _within(line, hw, 0.5 * shape.width_px + 8.0)
    tips = (False, False)
    if not shape.crosses:
        line = _ending(rng, line, first, last, shape.width_px)
        tips = (False, True)
    return _dressed(rng, line, hw, shape, tips)


def draw_branch(
    parent: CrackOutline, hw: tuple[int, int], shape: Shape, rng: np.random.Generator
) -> CrackOutline | None:
    """A thinner crack that leaves `parent` within the picture and tapers to a tip.

    Returns:
        Its outline, or None if the parent has no place for one.
    """
    inside = np.flatnonzero(_is_inside(parent.centre, hw, -0.1 * min(hw)))
    if len(inside) < 8:
        return None
    at = int(rng.choice(inside))
    ahead = parent.centre[min(at + 8, len(parent.centre) - 1)] - parent.centre[max(at - 8, 0)]
    turn = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.2)
    heading = float(np.arctan2(ahead[1], ahead[0]) + turn)
    length = rng.uniform(0.25, 0.5) * min(hw) + float(parent.width_px[at])
    line = _centre_line(rng, heading, length, shape)
    line = line - line[0] + parent.centre[at]
    line = line[: _first_outside(line, hw)]
    if len(line) < 12:
        return None
    return _dressed(rng, line, hw, shape, (False, True))


def _centre_line(
    rng: np.random.Generator, heading: float, length_px: float, shape: Shape
) -> FloatArray:
    """Points about a pixel apart; the kinks of a wide crack are coarser."""
    if shape.jaggedness <= 0.0:
        along = np.arange(0.0, length_px, _SPACING_PX)
        return np.outer(along, [np.cos(heading), np.sin(heading)]).astype(np.float32)
    scale = max(1.0, shape.width_px / 7.0)
    kinks = shape.jaggedness * min(1.0, (8.0 / shape.width_px) ** 0.3)
    coarse = scale * walk(rng, (0.0, 0.0), heading, length_px / scale, kinks)
    steps = np.hypot(*np.diff(coarse, axis=0).T)
    reach = np.concatenate([[0.0], np.cumsum(steps)])
    along = np.arange(0.0, reach[-1], _SPACING_PX)
    fine = np.stack([np.interp(along, reach, axis) for axis in coarse.T], axis=1)
    return np.asarray(fine, dtype=np.float32)


def _is_inside(points: FloatArray, hw: tuple[int, int], margin_px: float) -> npt.NDArray[np.bool_]:
    """Which points are in the picture, or up to `margin_px` outside it; bool [N]."""
    low, high = -0.5 - margin_px, np.array([hw[1], hw[0]]) - 0.5 + margin_px
    return np.asarray(((points >= low) & (points <= high)).all(axis=1))


def _first_outside(line: FloatArray, hw: tuple[int, int]) -> int:
    """Index of the first point outside the picture, or the number of points."""
    outside = ~_is_inside(line, hw, 0.0)
    return int(np.argmax(outside)) if outside.any() else len(line)


def _within(line: FloatArray, hw: tuple[int, int], margin_px: float) -> tuple[FloatArray, int, int]:
    """The run through the line's middle, extended straight out of the picture at both ends.

    Returns:
        The points, the index of the first one inside, and of the first one outside again.
    """
    middle = len(line) // 2
    ahead = line[middle : middle + _first_outside(line[middle:], hw)]
    behind = line[middle::-1][: _first_outside(line[middle::-1], hw)]
    tail, head = _led_out(ahead, hw, margin_px), _led_out(behind, hw, margin_px)
    joined = np.concatenate([head[::-1], behind[::-1], ahead[1:], tail])
    first = len(head)
    return joined, first, first + len(behind) + len(ahead) - 1


def _led_out(line: FloatArray, hw: tuple[int, int], margin_px: float) -> FloatArray:
    """The straight extension of a line's end until a disc of `margin_px` is outside the picture."""
    if len(line) < 2:
        return line[:0]
    step = line[-1] - line[max(len(line) - 9, 0)]
    nearest = np.array([line[-1][0], hw[1] - 1 - line[-1][0], line[-1][1], hw[0] - 1 - line[-1][1]])
    outwards = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])[int(np.argmin(nearest))]
    # Parallel to the border it would stay in the picture, so it leaves at 30 degrees or more.
    step = step / max(float(np.hypot(*step)), 1e-6)
    step = step + outwards * max(0.0, 0.6 - float(step @ outwards))
    step = step / np.hypot(*step)
    count = int(np.ceil((2.2 * margin_px + 4.0) / _SPACING_PX))
    steps = np.arange(1, count + 1, dtype=np.float32)[:, None] * step.astype(np.float32)
    return np.asarray(line[-1] + steps * np.float32(_SPACING_PX), dtype=np.float32)


def _ending(
    rng: np.random.Generator, line: FloatArray, first: int, last: int, width_px: float
) -> FloatArray:
    """Cut off a line within the picture; at least a few widths of it remain."""
    inside = last - first
    kept = max(int(inside * rng.uniform(0.5, 0.85)), int(2.0 * width_px), 24)
    return line[: first + min(inside, kept)]


def _dressed(
    rng: np.random.Generator,
    line: FloatArray,
    hw: tuple[int, int],
    shape: Shape,
    tips: tuple[bool, bool],
) -> CrackOutline:
    """Both edges along a centre line, with the shape's median width within the picture."""
    count = len(line)
    size = max(shape.width_px, 1.0)
    slow = np.clip(shape.swell * smooth_sequence(rng, count, max(40.0, 2.5 * size)), -0.5, 0.6)
    profile = 0.5 * size * (1.0 + slow) * _taper(count, size, tips)
    roughness = 2.0 * shape.ragged * min(1.0, (5.0 / size) ** 0.6)
    left, right = (
        profile * np.maximum(1.0 + roughness * _roughness(rng, count, size), 0.16) for _ in range(2)
    )
    for half in (left, right):
        _chip(rng, half, shape)
    across = normals(_smoothed(line, 0.7 * size + 1.5))
    for _ in range(4):  # Another width moves the centre points slightly.
        middle = line + across * (0.5 * (left - right))[:, None]
        scale = shape.width_px / float(np.median((left + right)[_is_inside(middle, hw, 0.0)]))
        left, right = left * scale, right * scale
    every = 1 + int(size >= 24.0) + int(size >= 60.0)  # Fine detail of wide cracks is slow.
    line, across, left, right = line[::every], across[::every], left[::every], right[::every]
    middle = line + across * (0.5 * (left - right))[:, None]
    scale = shape.width_px / float(np.median((left + right)[_is_inside(middle, hw, 0.0)]))
    if abs(scale - 1.0) > _SCALE_TOLERANCE:  # too few points are within the picture
        left, right = left * scale, right * scale
    left, right = (np.maximum(half, 0.5 * _NARROWEST_PX)[:, None] for half in (left, right))
    return CrackOutline(
        np.asarray(line + across * left, np.float32),
        np.asarray(line - across * right, np.float32),
    )


def _taper(count: int, width_px: float, tips: tuple[bool, bool]) -> FloatArray:
    """1, falling to nearly 0 towards each end that is a tip; float32 [count]."""
    length = max(2.0, min(0.45 * count, max(20.0, 4.0 * width_px)))
    along = np.arange(count, dtype=np.float32)
    taper = np.ones(count, dtype=np.float32)
    for is_tip, distance in zip(tips, (along, along[::-1]), strict=True):
        if is_tip:
            taper *= np.minimum(1.0, (distance + 0.5) / length) ** 0.8
    return taper


def _roughness(rng: np.random.Generator, count: int, width_px: float) -> FloatArray:
    """Fractal roughness of one edge in widths: coarse waves with finer, weaker ones."""
    total = np.zeros(count, dtype=np.float32)
    scale, strength = max(3.0, 0.9 * width_px), 1.0
    while scale >= 1.5:
        total += np.float32(strength) * smooth_sequence(rng, count, scale)
        scale, strength = 0.5 * scale, 0.6 * strength
    return np.clip(total, -2.5, 2.5)


def _chip(rng: np.random.Generator, half: FloatArray, shape: Shape) -> None:
    """Break chips off one edge, in place: steep at one end, tapering off at the other."""
    for _ in range(rng.poisson(shape.spalls * len(half) / 200.0)):
        length = int(rng.uniform(0.5, 1.6) * shape.width_px) + 3
        at = int(rng.integers(0, max(1, len(half) - length)))
        skew = rng.uniform(0.15, 0.85)
        along = np.linspace(0.0, 1.0, len(half[at : at + length]), dtype=np.float32)
        bump = np.minimum(along / skew, (1.0 - along) / (1.0 - skew)) ** 0.7
        half[at : at + length] += bump * half[at : at + length] * rng.uniform(0.25, 0.7)


def _smoothed(line: FloatArray, sigma_px: float) -> FloatArray:
    """A line without its kinks; the ends are extended straight."""
    reach = min(int(3.0 * sigma_px) + 1, len(line) - 1)
    before = 2.0 * line[:1] - line[1 : reach + 1][::-1]
    after = 2.0 * line[-1:] - line[-reach - 1 : -1][::-1]
    long = np.concatenate([before, line, after]).astype(np.float32)
    smooth = cv2.GaussianBlur(long, (1, 2 * reach + 1), 1.0, sigmaY=sigma_px)
    return np.asarray(smooth.reshape(-1, 2)[len(before) : len(before) + len(line)], np.float32)


def scan_lines(outlines: Sequence[CrackOutline]) -> int:
    """Scan lines per pixel so that the finest crack covers 40 of them, 4 to 80."""
    finest = min(float(np.median(outline.width_px)) for outline in outlines)
    return int(np.clip(np.ceil(_LINES_ACROSS / max(finest, 0.05)), _FEWEST_LINES, _MOST_LINES))


def coverage(outlines: Sequence[CrackOutline], hw: tuple[int, int], lines: int) -> FloatArray:
    """The share of every pixel that is within the outlines.

    Each row of pixels is cut by `lines` horizontal scan lines. The part of each line inside the
    quadrilaterals between neighbouring points of both edges is calculated exactly, overlaps once.
    A pixel's share is the mean over its lines.

    Args:
        outlines: the covering outlines.
        hw: height and width of the picture.
        lines: scan lines per pixel; see `scan_lines`.

    Returns:
        float32 [H, W], 0 to 1.
    """
    rows, starts, stops = _separate(*_spans(outlines, lines, hw[0]))
    changes = np.zeros(hw[0] * (hw[1] + 2), dtype=np.float64)
    for ends, sign in ((starts, 1.0), (stops, -1.0)):
        # A span's end at x counts partly in its own pixel and fully beyond.
        at = np.clip(ends + 0.5, 0.0, float(hw[1]))
        column = np.floor(at).astype(np.int64)
        place = rows // lines * (hw[1] + 2) + column
        part = at - column
        changes += sign * np.bincount(place, 1.0 - part, len(changes))
        changes += sign * np.bincount(place + 1, part, len(changes))
    covered = np.cumsum(changes.reshape(hw[0], hw[1] + 2), axis=1)[:, : hw[1]] / lines
    covered[covered < _LEAST_SHARE] = 0.0  # Rounding errors.
    return np.minimum(covered, 1.0).astype(np.float32)


def _spans(
    outlines: Sequence[CrackOutline], lines: int, height_px: int
) -> tuple[IndexArray, Points, Points]:
    """Where each scan line enters and leaves each quadrilateral.

    Returns:
        The line numbers from the picture's top, and x in pixels of entry and exit.
    """
    quads = np.concatenate([_quads(outline) for outline in outlines])
    ys = (quads[..., 1] + 0.5) * lines
    top = np.clip(np.ceil(ys.min(axis=1) - 0.5), 0, height_px * lines).astype(np.int64)
    bottom = np.clip(np.ceil(ys.max(axis=1) - 0.5), 0, height_px * lines).astype(np.int64)
    count = np.maximum(bottom - top, 0)
    index = np.repeat(np.arange(len(quads)), count)
    rows = top[index] + np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)
    first = np.full(len(rows), np.inf)
    last = np.full(len(rows), -np.inf)
    for corner in range(4):
        begin_y, end_y = ys[:, corner][index], ys[:, corner - 1][index]
        begin_x, end_x = quads[:, corner, 0][index], quads[:, corner - 1, 0][index]
        crossed = (begin_y <= rows + 0.5) != (end_y <= rows + 0.5)
        share = (rows + 0.5 - begin_y) / np.where(crossed, end_y - begin_y, 1.0)
        x = begin_x + share * (end_x - begin_x)
        np.minimum(first, x, out=first, where=crossed)
        np.maximum(last, x, out=last, where=crossed)
    met = last > first
    return rows[met], first[met], last[met]


def _separate(rows: IndexArray, starts: Points, stops: Points) -> tuple[IndexArray, Points, Points]:
    """The same spans without overlaps within a row."""
    order = np.lexsort((starts, rows))
    rows, starts, stops = rows[order], starts[order], stops[order]
    if len(rows) < 2:
        return rows, starts, stops
    # With rows placed end to end, the furthest stop so far is one running maximum.
    stride = 2.0 + float(max(np.abs(starts).max(), np.abs(stops).max())) * 2.0
    furthest = np.maximum.accumulate(rows * stride + stops)[:-1] - rows[1:] * stride
    starts[1:] = np.maximum(starts[1:], furthest)
    kept = stops > starts
    return rows[kept], starts[kept], stops[kept]


def _quads(outline: CrackOutline) -> Points:
    """Quadrilaterals between neighbouring points, float64 [N - 1, 4, 2]."""
    left, right = outline.left.astype(np.float64), outline.right.astype(np.float64)
    return np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)


def exact_mask(covered: FloatArray, outlines: Sequence[CrackOutline]) -> ByteArray:
    """The crack pixels.

    A pixel is crack if at least half of it is covered. For hairlines, narrower than 1.5 px, the
    pixels on the centre line and on the shortest 8-connected line between its points are crack,
    too, so that the mask of a crack has no gaps.

    Args:
        covered: float32 [H, W], from `coverage`.
        outlines: the same as given to `coverage`.

    Returns:
        uint8 [H, W], 255 for crack, else 0.
    """
    mask = np.where(covered >= 0.5, 255, 0).astype(np.uint8)
    for outline in outlines:
        pixels = np.rint(outline.centre).astype(np.int32)
        narrow = outline.width_px < HAIRLINE_PX
        near = _is_inside(outline.centre, mask.shape, 4.0)
        for index in np.flatnonzero((narrow[:-1] | narrow[1:]) & near[:-1]).tolist():
            cv2.line(mask, pixels[index].tolist(), pixels[index + 1].tolist(), 255)
    return mask
