"""Points, homographies and curves on the plane of a wall."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.measurement.centre_lines import follow, thin

Matrix = NDArray[np.float64]
Points = NDArray[np.float64]
# Largest change of a frame's sides under a plausible homography.
_MOST_STRETCH = 6.0
# Largest ratio of two corners' distances from the camera.
_MOST_TILT = 3.0


def moved(points: Points, homography: Matrix) -> Points:
    """Apply a homography to points.

        >>> moved(np.array([[1.0, 2.0]]), np.diag([2.0, 2.0, 1.0])).tolist()
        [[2.0, 4.0]]

    Args:
        points: float [N, 2].
        homography: float [3, 3].

    Returns:
        float64 [N, 2].
    """
    mapped = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(mapped[:, :2] / mapped[:, 2:], np.float64)


def normal(homography: Matrix) -> Matrix:
    """The homography scaled so that its lower right element is 1."""
    return np.asarray(homography / homography[2, 2], np.float64)


def inverse(homography: Matrix) -> Matrix:
    """The inverse homography, normalized."""
    return normal(np.asarray(np.linalg.inv(homography), np.float64))


def corners(hw: tuple[int, int]) -> Points:
    """The corners of a frame, float64 [4, 2], clockwise from the upper left."""
    height, width = hw
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def through_corners(hw: tuple[int, int], places: Points) -> Matrix:
    """The homography that maps a frame's corners to four points, float64 [4, 2]."""
    found = cv2.getPerspectiveTransform(corners(hw).astype(np.float32), places.astype(np.float32))
    return np.asarray(found, np.float64)


def overlap(hw: tuple[int, int], other_hw: tuple[int, int], homography: Matrix) -> float:
    """Share of a frame's area that another frame shows, too.

    Args:
        hw: height and width of the frame.
        other_hw: of the other.
        homography: float [3, 3], from the other's pixels to the frame's.

    Returns:
        0 to 1; 0 if the homography is not plausible.
    """
    if implausible(other_hw, homography):
        return 0.0
    seen = moved(corners(other_hw), homography).astype(np.float32)
    shared, _ = cv2.intersectConvexConvex(corners(hw).astype(np.float32), seen)
    return float(min(1.0, shared / (hw[0] * hw[1])))


def local_scale(homography: Matrix, points: Points) -> NDArray[np.float64]:
    """Local magnification of a homography.

    Args:
        homography: float [3, 3].
        points: float [N, 2].

    Returns:
        float64 [N], the square root of the change of area.
    """
    depth = points @ homography[2, :2] + homography[2, 2]
    area = np.abs(np.linalg.det(homography) / depth**3)
    return np.asarray(np.sqrt(area), np.float64)


def implausible(hw: tuple[int, int], homography: Matrix) -> str:
    """Why a homography cannot be another view of the plane that a frame shows.

    Args:
        hw: height and width of the frame.
        homography: float [3, 3], from the frame's pixels.

    Returns:
        A clause; "" if it can.
    """
    outline = corners(hw)
    depth = outline @ homography[2, :2] + homography[2, 2]
    if not np.isfinite(homography).all() or depth.min() <= 0:
        return "the plane would be behind the camera"
    if depth.max() > _MOST_TILT * depth.min():
        return "the plane would be seen nearly edge-on"
    places = moved(outline, homography)
    sides = np.diff(np.concatenate([places, places[:1]]), axis=0)
    after = np.roll(sides, -1, axis=0)
    if (sides[:, 0] * after[:, 1] - sides[:, 1] * after[:, 0]).min() <= 0:
        return "the image would be mirrored or folded"
    ratios = np.hypot(*sides.T) / np.array([hw[1], hw[0], hw[1], hw[0]])
    if ratios.max() > _MOST_STRETCH or ratios.min() < 1 / _MOST_STRETCH:
        return f"the scale would change by more than a factor of {_MOST_STRETCH:.0f}"
    return ""


STEP_PX = 3.0
_TANGENT_STEPS = 3  # to either side
_TOGETHER = 2_000_000  # distances computed at the same time
_DRAWN_PX = 5
_FILLED_PX = 400  # area of holes between two courses of one line
_SPUR_PX = 20.0
_LARGEST_PX = 40_000_000


@dataclass(frozen=True, eq=False)
class CrackCurve:
    """Points along one or more lines, `STEP_PX` apart.

    Attributes:
        xy: float64 [N, 2], in pixels of the sheet.
        along: float64 [N, 2], unit tangents of arbitrary sign.
    """

    xy: Points
    along: Points

    @property
    def length_px(self) -> float:
        """Total length of all lines."""
        return len(self.xy) * STEP_PX

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> CrackCurve:
        """A subset of the points, by mask, bool [N], or indices."""
        return CrackCurve(self.xy[which], self.along[which])


def curve_of(lines: Iterable[Points]) -> CrackCurve:
    """Sample lines at even steps.

    Args:
        lines: float [N, 2] each.
    """
    places, tangents = [np.zeros((0, 2))], [np.zeros((0, 2))]
    for line in lines:
        steps = np.hypot(*np.diff(line, axis=0).T)
        way = np.concatenate([[0.0], np.cumsum(steps)])
        if way[-1] <= 0:
            continue
        at = (np.arange(max(1, round(way[-1] / STEP_PX))) + 0.5) * STEP_PX
        at = np.minimum(at, way[-1])
        places.append(_at(line, way, at))
        reach = _TANGENT_STEPS * STEP_PX
        across = _at(line, way, np.minimum(at + reach, way[-1]))
        across -= _at(line, way, np.maximum(at - reach, 0))
        tangents.append(across / np.maximum(np.hypot(*across.T), 1e-9)[:, None])
    return CrackCurve(np.concatenate(places), np.concatenate(tangents))


def joined(curves: Sequence[CrackCurve]) -> CrackCurve:
    """Concatenate curves."""
    empty = np.zeros((0, 2))
    return CrackCurve(
        np.concatenate([empty, *(each.xy for each in curves)]),
        np.concatenate([empty, *(each.along for each in curves)]),
    )


def near(
    curve: CrackCurve, other: CrackCurve, within_px: float, angle_deg: float
) -> NDArray[np.bool_]:
    """Which points of one curve match which of another: close, and with a similar direction.

    Returns:
        bool [N, M].
    """
    low, high = other.xy.min(axis=0, initial=np.inf), other.xy.max(axis=0, initial=-np.inf)
    inside = (curve.xy >= low - within_px) & (curve.xy <= high + within_px)
    result = np.zeros((len(curve.xy), len(other.xy)), bool)
    at = np.flatnonzero(inside.all(axis=1))
    rows = max(1, _TOGETHER // max(1, len(other.xy)))
    least = np.float32(np.cos(np.radians(angle_deg)))
    origin = low if len(other.xy) else np.zeros(2)
    one, two = ((each.xy - origin).astype(np.float32) for each in (curve, other))
    along = [each.along.astype(np.float32) for each in (curve, other)]
    for first in range(0, len(at), rows):
        part = at[first : first + rows]
        across = one[part, 0, None] - two[None, :, 0]
        down = one[part, 1, None] - two[None, :, 1]
        close = across * across + down * down <= np.float32(within_px**2)
        result[part] = close & (np.abs(along[0][part] @ along[1].T) >= least)
    return result


def middle_lines(
    drawings: Sequence[Iterable[Points]], near_to: CrackCurve, least: int, fill_px: float
) -> tuple[Points, ...]:
    """Average several drawings of a crack into one set of lines.

    Args:
        drawings: lines of each sighting, float [N, 2] each.
        near_to: lasting points of the crack; whatever is not near one of them is left out.
        least: parts shown by fewer drawings are left out.
        fill_px: line width, such that drawings of the same course overlap.

    Returns:
        float64 [N, 2] each, longest first; the lines of the drawing with the most points if the
        drawings cover too large an area.
    """
    drawn = [[np.asarray(line, np.float64) for line in lines] for lines in drawings]
    everything = np.concatenate([line for lines in drawn for line in lines] or [np.zeros((1, 2))])
    margin = int(fill_px) + _DRAWN_PX + 2
    low = np.floor(everything.min(axis=0)).astype(int) - margin
    width, height = (np.ceil(everything.max(axis=0)).astype(int) + margin - low).tolist()
    if width * height > _LARGEST_PX:
        return tuple(max(drawn, key=lambda lines: sum(map(len, lines))))
    votes = np.zeros((height, width), np.uint16)
    thick = max(_DRAWN_PX, round(fill_px))
    for lines in drawn:
        _vote(votes, [line - low for line in lines], thick)
    mask = (votes >= max(1, least)).astype(np.uint8) & _around(near_to.xy - low, votes.shape, thick)
    mask = _filled(mask)
    rows, columns = np.nonzero(thin(mask))
    found = follow(rows, columns, max(_SPUR_PX, 2.0 * thick))
    found.sort(key=lambda line: -line.length_px)
    return tuple(line.simplified() + low for line in found if line.length_px > 0)


def middle_of(line: Points) -> Points:
    """The point halfway along a line, float64 [2]."""
    way = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    return np.array([np.interp(way[-1] / 2, way, line[:, axis]) for axis in (0, 1)])


def length_of(lines: Iterable[Points]) -> float:
    """Total length of lines, in pixels."""
    return float(sum(np.hypot(*np.diff(line, axis=0).T).sum() for line in lines))


def _at(line: Points, way: NDArray[np.float64], at: NDArray[np.float64]) -> Points:
    return np.stack([np.interp(at, way, line[:, axis]) for axis in (0, 1)], axis=1)


def _vote(votes: NDArray[np.uint16], lines: Sequence[Points], thick: int) -> None:
    """Add 1 along lines, in place."""
    outline = np.concatenate(lines)
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - thick, 0)
    high = np.ceil(outline.max(axis=0)).astype(int) + thick + 1
    part = votes[low[1] : high[1], low[0] : high[0]]
    once = np.zeros(part.shape, np.uint8)
    for line in lines:
        points = np.round((line - low - 0.5) * 16).astype(np.int32)
        cv2.polylines(once, [points], False, 1, thick, cv2.LINE_8, 4)
    part += once


def _around(points: Points, shape: tuple[int, ...], thick: int) -> NDArray[np.uint8]:
    """1 near points, uint8 [H, W]."""
    marked = np.zeros(shape, np.uint8)
    rows, columns = np.floor(points[:, ::-1]).astype(int).T
    marked[rows, columns] = 1
    side = 2 * thick + 1
    return np.asarray(cv2.dilate(marked, np.ones((side, side), np.uint8)), np.uint8)


def _filled(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask with small holes filled."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - mask, None, None, None, 4)
    small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < _FILLED_PX)
    small = small[small > 0]
    if len(small):
        mask = mask | np.isin(labels, small).astype(np.uint8)
    return mask
