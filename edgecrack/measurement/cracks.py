"""The cracks of one image: centre lines, lengths, and widths along them.

The mask or probability map locates a crack; the grey values of the image measure its width.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.measurement.bars import GAMMA, WidthPrior
from edgecrack.measurement.budget import width_figures
from edgecrack.measurement.centre_lines import (
    BoundedSkeleton,
    CentreLine,
    bounded_skeleton,
    follow,
    thin,
)
from edgecrack.measurement.regions import label_groups
from edgecrack.measurement.width import Width, estimate_together

ROWS_PX = 5.0  # crack length that one profile averages over
_LEAST_ROWS_PX = 3.0
_REACH_PX = 12.0  # of a profile beyond the crack edge
# Few lengths, so that profiles are measured in batches.
_HALVES_PX = (16, 22, 32, 45, 64)
_NEAR_JUNCTION_PX = 3.0
_BORDER_PX = 4
_AT_BORDER = "it is at the image border"

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Statistic:
    """One crack width statistic with its 95 % interval, in pixels.

    Averaging over rows reduces the noise. The uncertainty of the blur and of the light from inside
    the crack is common to all rows and remains.
    """

    value_px: float
    low_px: float
    high_px: float


@dataclass(frozen=True, slots=True)
class WidthRow:
    """The crack width at one profile.

    Attributes:
        xy: position on the centre line, in pixels.
        normal: unit vector across the crack, x and y.
        along_px: distance from the start of the line.
        line: index of the line in the crack's lines.
        width: the width measured there.
    """

    xy: tuple[float, float]
    normal: tuple[float, float]
    along_px: float
    line: int
    width: Width


@dataclass(frozen=True)
class Crack:
    """One connected crack.

    Attributes:
        lines: centre lines between ends and junctions; a branch is a line.
        length_px: total length of all lines.
        area_px: number of crack pixels in the mask.
        xyxy: bounding box in pixels, right and bottom exclusive.
        orientation_deg: overall direction, 0 along x, 90 along y (down), below 180.
        confidence: mean probability of its pixels, 0 to 1; 1 for a mask.
        rows: widths along the lines, including rows that could not be measured.
        mean, median, percentile_95, largest: over the measurable rows; None if there are none.
    """

    lines: tuple[CentreLine, ...]
    length_px: float
    area_px: int
    xyxy: tuple[int, int, int, int]
    orientation_deg: float
    confidence: float
    rows: tuple[WidthRow, ...]
    mean: Statistic | None
    median: Statistic | None
    percentile_95: Statistic | None
    largest: Statistic | None

    @property
    def measurable(self) -> bool:
        """Whether at least one row could be measured."""
        return self.mean is not None

    def with_rows(self, rows: Sequence[WidthRow]) -> Crack:
        """The same crack with other rows."""
        mean, median, high, largest = _statistics(
            [row.width for row in rows if row.width.measurable]
        )
        return replace(
            self,
            rows=tuple(rows),
            mean=mean,
            median=median,
            percentile_95=high,
            largest=largest,
        )

    @property
    def refused(self) -> dict[str, int]:
        """Number of rows that could not be measured, by reason."""
        return dict(Counter(row.width.reason for row in self.rows if not row.width.measurable))


def measure_image(
    image: NDArray[np.uint8],
    crack: NDArray[Any],
    *,
    threshold: float = 0.5,
    least_length_px: float = 10.0,
    spur_px: float = 8.0,
    gamma: float = GAMMA,
) -> list[Crack]:
    """Measure the centre lines, lengths and widths of the cracks in an image, in pixels.

    Args:
        image: uint8 [H, W] or [H, W, 3] in BGR order, as the camera delivered it: not sharpened,
            equalised or contrast-stretched.
        crack: bool [H, W], a mask; uint8 [H, W], a mask of 0 and 1 or of 0 and 255, or a
            probability of 0 to 255; or float [H, W], a probability of 0 to 1.
        threshold: probability that each crack reaches somewhere; it is traced down to half of it.
        least_length_px: shorter cracks are left out.
        spur_px: branches shorter than this or the crack width are treated as ragged edge.
        gamma: see `bars.WidthPrior`.

    Returns:
        Longest first.

    Raises:
        ConfigError: the image has an unsupported type or shape, or `crack` has a different size or
            is not a probability.
    """
    _check(image, crack, threshold)
    gray = (
        image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    )
    probability = _probability(crack)
    mask = _followed(probability, threshold)
    labels, stats = label_groups(mask)
    confidence = _mean_of_groups(probability, labels, stats)
    depth_px = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 5), np.float32)
    parts = _traced(thin(mask), labels, depth_px, least_length_px, spur_px)
    placed = [
        (number, row)
        for number, (_, lines) in enumerate(parts)
        for row in _stations(lines, gray.shape, depth_px)
    ]
    measured = _measured(gray, placed, gamma)
    by_part: dict[int, list[WidthRow]] = {}
    for (number, _), row in zip(placed, measured, strict=True):
        by_part.setdefault(number, []).append(row)
    found = [
        _crack(lines, stats[label], float(confidence[label]), by_part.get(number, []))
        for number, (label, lines) in enumerate(parts)
    ]
    return sorted(found, key=lambda each: -each.length_px)


def trace_cracks(
    mask: NDArray[np.uint8],
    probability: NDArray[np.uint8],
    skeleton: BoundedSkeleton | None = None,
    *,
    least_length_px: float = 10.0,
    spur_px: float = 8.0,
) -> list[Crack]:
    """The cracks of a mask without widths, fast enough for every frame of a stream.

    Args:
        mask: uint8 [H, W]; non-zero is crack.
        probability: uint8 [H, W], 255 = certain crack.
        skeleton: skeleton of this mask, if already computed.
        least_length_px: shorter cracks are left out.
        spur_px: see `measure_image`.

    Returns:
        Longest first; empty for a mask that is noise rather than cracks, see `lines_of`.
    """
    skeleton = skeleton or bounded_skeleton(mask)
    left, top, (height, width) = skeleton.left, skeleton.top, skeleton.pixels.shape
    if not height:
        return []
    inside = np.s_[top : top + height, left : left + width]
    own = (mask[inside] != 0).astype(np.uint8)
    labels, stats = label_groups(own)
    confidence = _mean_of_groups(probability[inside], labels, stats) / 255
    depth_px = np.asarray(cv2.distanceTransform(own, cv2.DIST_L2, 5), np.float32)
    cracks = []
    for label, lines in _traced(skeleton.pixels, labels, depth_px, least_length_px, spur_px):
        moved = [CentreLine(line.pixels, line.xy + np.array([left, top])) for line in lines]
        placed = stats[label] + np.array([left, top, 0, 0, 0], np.int32)
        cracks.append(_crack(moved, placed, float(confidence[label]), []))
    return sorted(cracks, key=lambda each: -each.length_px)


def _traced(
    skeleton: NDArray[np.bool_],
    labels: NDArray[np.int32],
    depth_px: NDArray[np.float32],
    least_length_px: float,
    spur_px: float,
) -> list[tuple[int, list[CentreLine]]]:
    """The lines of each connected crack, with its label."""
    rows, columns = np.nonzero(skeleton)
    groups = labels[rows, columns]
    # A mask without background has infinite depths.
    widest_px = np.zeros(int(groups.max(initial=0)) + 1, np.float64)
    np.maximum.at(widest_px, groups, 2 * depth_px[rows, columns].astype(np.float64))
    parts: dict[int, list[CentreLine]] = {}
    for line in follow(rows, columns, np.maximum(spur_px, widest_px)[groups]):
        parts.setdefault(int(groups[line.pixels[0]]), []).append(line)
    return [
        (label, lines)
        for label, lines in sorted(parts.items())
        if label and sum(line.length_px for line in lines) >= least_length_px
    ]


def _mean_of_groups(
    values: NDArray[Any], labels: NDArray[np.int32], stats: NDArray[np.int32]
) -> NDArray[np.float64]:
    """The mean value over each group, float64 [N]; 0 for the background."""
    inside = labels > 0
    total = np.bincount(labels[inside], values[inside], len(stats))
    return np.asarray(total / np.maximum(stats[:, cv2.CC_STAT_AREA], 1), np.float64)


def _check(image: NDArray[Any], crack: NDArray[Any], threshold: float) -> None:
    is_gray, is_bgr = image.ndim == 2, image.ndim == 3 and image.shape[-1] == 3
    if image.dtype != np.uint8 or not (is_gray or is_bgr) or not image.size:
        raise ConfigError(
            f"an image of {image.dtype} {image.shape} cannot be measured",
            "give uint8 [height, width] or [height, width, 3]",
        )
    if image.shape[:2] != crack.shape:
        raise ConfigError(
            f"the image has {image.shape[1]}x{image.shape[0]} px, but the mask has the shape "
            f"{crack.shape}",
            "give the mask of this image",
        )
    if crack.dtype not in (np.bool_, np.uint8) and not (
        np.isfinite(crack).all() and crack.min() >= 0 and crack.max() <= 1
    ):
        raise ConfigError(
            f"the {crack.dtype} probability has values outside 0 to 1",
            "use uint8 for probabilities of 0 to 255",
        )
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold is {threshold}", "give a number above 0, at most 1")


def _probability(crack: NDArray[Any]) -> NDArray[np.float32]:
    if crack.dtype == np.bool_:
        return crack.astype(np.float32)
    values = np.asarray(crack, np.float32)
    # A mask of 0 and 1 is also accepted; a probability that never exceeds 1/255 finds nothing.
    if crack.dtype == np.uint8 and crack.max(initial=0) > 1:
        values = np.asarray(values / 255, np.float32)
    return values


def _followed(probability: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Hysteresis: pixels above half the threshold, connected to pixels above the threshold."""
    weak = (probability >= threshold / 2).astype(np.uint8)
    _, labels = cv2.connectedComponents(weak, None, 8)
    kept = np.unique(labels[probability >= threshold])
    chosen = np.isin(labels, kept[kept > 0])
    return chosen.astype(np.uint8)


@dataclass(frozen=True, slots=True)
class _Station:
    """A position on a line where a profile is taken."""

    xy: tuple[float, float]
    normal: tuple[float, float]
    along_px: float
    line: int
    mask_width_px: float
    refused: str = ""


def _stations(
    lines: list[CentreLine], hw: tuple[int, ...], depth_px: NDArray[np.float32]
) -> list[_Station]:
    """Positions along the lines, one every `ROWS_PX`, refused near junctions and borders."""
    meetings = Counter(tuple(end) for line in lines for end in (line.xy[0], line.xy[-1]))
    stations = []
    for number, line in enumerate(lines):
        steps = np.hypot(*np.diff(line.xy, axis=0).T)
        along = np.concatenate([[0.0], np.cumsum(steps)])
        if along[-1] < _LEAST_ROWS_PX:
            continue
        count = max(1, int(along[-1] / ROWS_PX))
        at = (np.arange(count) + 0.5) * along[-1] / count
        xs, ys = (np.interp(at, along, line.xy[:, axis]) for axis in (0, 1))
        tangents = _tangents(line.xy, along, at)
        for place, x, y, (dx, dy) in zip(at, xs, ys, tangents, strict=True):
            row, column = min(int(y), hw[0] - 1), min(int(x), hw[1] - 1)
            half_px = float(depth_px[row, column])
            refused = ""
            for end, distance in ((line.xy[0], place), (line.xy[-1], along[-1] - place)):
                if meetings[tuple(end)] > 2 and distance < half_px + _NEAR_JUNCTION_PX:
                    refused = "cracks meet there"
            if min(x, y, hw[1] - x, hw[0] - y) < _BORDER_PX:
                refused = _AT_BORDER
            stations.append(
                _Station(
                    (float(x), float(y)), (float(-dy), float(dx)), float(place), number,
                    2 * half_px, refused,
                )
            )  # fmt: skip
    return stations


def _tangents(xy: Points, along: Points, at: Points) -> Points:
    """Unit vectors along a line, each over about two rows."""
    ends = [
        np.stack(
            [np.interp(np.clip(at + step, 0, along[-1]), along, xy[:, axis]) for axis in (0, 1)]
        )
        for step in (-ROWS_PX, ROWS_PX)
    ]
    across = (ends[1] - ends[0]).T
    lengths = np.hypot(*across.T)[:, None]
    return np.asarray(across / np.maximum(lengths, 1e-9), np.float64)


def _measured(
    gray: NDArray[np.uint8], placed: list[tuple[int, _Station]], gamma: float
) -> list[WidthRow]:
    """Measure the rows at positions, each with the number of its crack."""
    stations = [station for _, station in placed]
    profiles = [None if station.refused else _profile(gray, station) for station in stations]
    plain = [np.zeros(0) if profile is None else profile for profile in profiles]
    widths = estimate_together(plain, [crack for crack, _ in placed], WidthPrior(gamma=gamma))
    rows = []
    for station, profile, width in zip(stations, profiles, widths, strict=True):
        cut_off = profile is not None and not len(profile)
        if refused := station.refused or (_AT_BORDER if cut_off else ""):
            width = Width(None, None, None, False, refused)
        rows.append(WidthRow(station.xy, station.normal, station.along_px, station.line, width))
    return rows


def _profile(gray: NDArray[np.uint8], station: _Station) -> NDArray[np.float64]:
    """Grey values across the crack, averaged along `ROWS_PX` of it."""
    wanted = _REACH_PX + 1.5 * station.mask_width_px
    half = next((each for each in _HALVES_PX if each >= wanted), _HALVES_PX[-1])
    x, y = station.xy
    nx, ny = station.normal
    across = np.arange(-half, half + 1)
    along = np.arange(ROWS_PX) - (ROWS_PX - 1) / 2
    # The centre of the first pixel is (0.5, 0.5) for lines and (0, 0) for OpenCV.
    xs = x - 0.5 + across[None] * nx + along[:, None] * ny
    ys = y - 0.5 + across[None] * ny - along[:, None] * nx
    height, width = gray.shape
    inside = ((xs >= 0) & (xs <= width - 1) & (ys >= 0) & (ys <= height - 1)).all(axis=0)
    # The same length on both sides.
    reach = half
    for step in range(half + 1):
        if not (inside[half - step] and inside[half + step]):
            reach = step - 1
            break
    if reach < 4:
        return np.zeros(0)
    kept = slice(half - reach, half + reach + 1)
    sampled = cv2.remap(
        gray, xs[:, kept].astype(np.float32), ys[:, kept].astype(np.float32), cv2.INTER_CUBIC
    )
    return np.asarray(np.clip(sampled.mean(axis=0, dtype=np.float64), 0, None), np.float64)


def _crack(
    lines: list[CentreLine],
    stats: NDArray[np.int32],
    confidence: float,
    rows: list[WidthRow],
) -> Crack:
    left, top, width, height, area = (int(value) for value in stats)
    points = np.concatenate([line.xy for line in lines])
    return Crack(
        tuple(lines),
        float(sum(line.length_px for line in lines)),
        area,
        (left, top, left + width, top + height),
        _orientation_deg(points),
        confidence,
        tuple(rows),
        *_statistics([row.width for row in rows if row.width.measurable]),
    )


def _orientation_deg(points: Points) -> float:
    """Direction in which the points spread most."""
    centred = points - points.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    x, y = vectors[:, -1]
    return float(math.degrees(math.atan2(y, x)) % 180)


def _statistics(
    widths: list[Width],
) -> tuple[Statistic | None, Statistic | None, Statistic | None, Statistic | None]:
    """Mean, median, 95th percentile and largest, in pixels."""
    figures = width_figures(widths)
    if figures is None:
        return None, None, None, None
    mean, median, high, largest = (
        Statistic(figure.value, figure.low, figure.high) for figure in figures
    )
    return mean, median, high, largest
