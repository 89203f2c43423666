"""Combines the widths of a crack from many frames.

Rows of the finest frames that are fit to measure are grouped by where they cross the crack, and
weighted by 1 / u^2 of their noise. Errors common to all frames of a camera (light from inside the
crack, blur, model, scale) do not average out, nor does the half of the noise that is due to the
surface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgecrack.measurement.budget import WITHIN_95, WidthFigures, width_figures
from edgecrack.measurement.width import Width
from edgecrack.survey.plane_geometry import Points

_STATION_PX = 10.0  # along the crack, in pixels of the sheet
_FINEST = 8  # most frames used at one station
# Frames coarser than this, relative to the finest at a station, are left out.
_FINE_SHARE = 0.7
# Share of the noise variance due to the surface beside the crack, which is the same in all frames.
_SURFACE_SHARE = 0.5
_LEAST_NOISE_PX = 0.02


@dataclass(frozen=True, eq=False)
class SeenRow:
    """The crack width at one profile of one frame.

    Attributes:
        frame: frame number.
        xy: position in the sheet's pixels.
        width: measured width, in the frame's pixels.
        fineness: the frame's pixels per pixel of the sheet at this position.
        mm_per_px: of the frame, across the crack; None without a scale.
        scale_terms: the scale's relative standard uncertainties, by source.
    """

    frame: int
    xy: tuple[float, float]
    width: Width
    fineness: float
    mm_per_px: float | None = None
    scale_terms: Mapping[str, float] | None = None


@dataclass(frozen=True)
class WidthPlace:
    """The width at one station along a crack, from all frames used there.

    Attributes:
        line: index of the crack's line.
        along_px: distance from the start of the line, in pixels of the sheet.
        px: value and 95 % interval in pixels of the sheet.
        mm: the same in millimetres, without the scale's own uncertainty; None without a scale.
    """

    line: int
    along_px: float
    px: tuple[float, float, float]
    mm: tuple[float, float, float] | None


@dataclass(frozen=True)
class CombinedWidth:
    """The width of a crack from all its frames.

    Attributes:
        px: in pixels of the sheet.
        mm: in millimetres; None unless every station has a scale.
        places: number of stations at which it was measured.
        frames: numbers of the frames used.
        profile: all stations, ordered by line.
    """

    px: WidthFigures
    mm: WidthFigures | None
    places: int
    frames: tuple[int, ...]
    profile: tuple[WidthPlace, ...] = field(default=(), repr=False)


def combined_width(lines: Sequence[Points], rows: Sequence[SeenRow]) -> CombinedWidth | None:
    """Combine the widths of a crack.

    Args:
        lines: centre lines, float [N, 2] each, in the sheet's pixels.
        rows: of all frames that are fit to measure; those without a width are ignored.

    Returns:
        None if no row has a width.
    """
    measured = [row for row in rows if row.width.width_px is not None]
    if not measured or not lines:
        return None
    groups: dict[tuple[int, int], list[SeenRow]] = {}
    for row, place in zip(measured, _stations(lines, measured), strict=True):
        groups.setdefault(place, []).append(row)
    stations = sorted(groups)
    chosen = [_finest(groups[station]) for station in stations]
    px = width_figures([_one_width([_in_sheet(row) for row in group]) for group in chosen])
    if px is None:
        return None
    mm = None
    if all(row.mm_per_px is not None for group in chosen for row in group):
        mm = _in_mm(chosen)
    frames = tuple(sorted({row.frame for group in chosen for row in group}))
    profile = tuple(
        _place(station, group, has_scale=mm is not None)
        for station, group in zip(stations, chosen, strict=True)
    )
    return CombinedWidth(px, mm, len(chosen), frames, profile)


def _place(station: tuple[int, int], group: Sequence[SeenRow], *, has_scale: bool) -> WidthPlace:
    line, number = station
    px = _one_width([_in_sheet(row) for row in group])
    mm = None
    if has_scale:
        mm = _ends(_one_width([_times(row.width, row.mm_per_px or 0.0) for row in group]))
    return WidthPlace(line, (number + 0.5) * _STATION_PX, _ends(px), mm)


def _ends(width: Width) -> tuple[float, float, float]:
    return width.width_px or 0.0, width.low_px or 0.0, width.high_px or 0.0


def _in_mm(chosen: Sequence[Sequence[SeenRow]]) -> WidthFigures | None:
    """In millimetres, with the scale's terms, which are fully correlated between frames."""
    scaled = [
        _one_width([_times(row.width, row.mm_per_px or 0.0) for row in group]) for group in chosen
    ]
    names = sorted({name for group in chosen for row in group for name in row.scale_terms or {}})
    terms = {
        name: np.array(
            [np.mean([(row.scale_terms or {}).get(name, 0.0) for row in group]) for group in chosen]
        )
        for name in names
    }
    return width_figures(scaled, None, terms)


def _stations(lines: Sequence[Points], rows: Sequence[SeenRow]) -> list[tuple[int, int]]:
    """For each row, the index of the line that it crosses and of the station along it."""
    points, labels = [], []
    for number, line in enumerate(lines):
        steps = np.hypot(*np.diff(line, axis=0).T)
        way = np.concatenate([[0.0], np.cumsum(steps)])
        at = np.arange(0.0, max(way[-1], 1.0), _STATION_PX / 2)
        points.append(np.stack([np.interp(at, way, line[:, axis]) for axis in (0, 1)], axis=1))
        labels += [(number, int(each / _STATION_PX)) for each in at]
    everything = np.concatenate(points)
    return [labels[int(np.argmin(((everything - row.xy) ** 2).sum(axis=1)))] for row in rows]


def _finest(group: Sequence[SeenRow]) -> list[SeenRow]:
    """The rows of the finest frames at a station, the least noisy one of each frame."""
    by_frame: dict[int, SeenRow] = {}
    for row in group:
        other = by_frame.get(row.frame)
        if other is None or _noise(row.width) < _noise(other.width):
            by_frame[row.frame] = row
    finest = max(row.fineness for row in by_frame.values())
    fine = [row for row in by_frame.values() if row.fineness >= _FINE_SHARE * finest]
    return sorted(fine, key=lambda row: (-row.fineness, row.frame))[:_FINEST]


def _noise(width: Width) -> float:
    return max(_LEAST_NOISE_PX, width.noise_px or 0.0)


def _in_sheet(row: SeenRow) -> Width:
    return _times(row.width, 1 / row.fineness)


def _times(width: Width, factor: float) -> Width:
    def scaled(value: float | None) -> float | None:
        return None if value is None else value * factor

    return replace(
        width,
        width_px=scaled(width.width_px),
        low_px=scaled(width.low_px),
        high_px=scaled(width.high_px),
        noise_px=scaled(width.noise_px),
        depth_px=scaled(width.depth_px),
        blur_px=scaled(width.blur_px),
        step_px=scaled(width.step_px),
    )


def _one_width(widths: Sequence[Width]) -> Width:
    """The weighted mean of one station's widths, with the remaining noise."""
    noise = np.array([_noise(each) for each in widths])
    weights = noise**-2 / (noise**-2).sum()

    def mean(name: str) -> float:
        return float(weights @ np.array([getattr(each, name) or 0.0 for each in widths]))

    value, before = mean("width_px"), float(weights @ noise)
    alone = float(np.sqrt((weights**2 * noise**2).sum()))
    left = float(np.sqrt(_SURFACE_SHARE * before**2 + (1 - _SURFACE_SHARE) * alone**2))
    low, high = mean("low_px"), mean("high_px")
    gained = WITHIN_95 * np.sqrt(max(0.0, before**2 - left**2))
    return Width(
        value,
        max(0.0, value - _less(value - low, gained)),
        value + _less(high - value, gained),
        True,
        noise_px=left,
        depth_px=mean("depth_px"),
        blur_px=mean("blur_px"),
        step_px=mean("step_px"),
    )


def _less(reach: float, gained: float) -> float:
    """One side of an interval without the noise that averaged out."""
    return float(np.sqrt(max(reach**2 - gained**2, (0.3 * reach) ** 2)))
