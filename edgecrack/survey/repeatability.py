"""Compares two halves of a survey's frames: how repeatable the results are.

Frames are assigned to the halves alternately, and each half gets its own inventory. Camera, model,
scale and sheets are common to both, so the differences show random errors only, not accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecrack.survey.association import LEAST_FRAMES
from edgecrack.survey.combined_widths import CombinedWidth, WidthPlace, combined_width
from edgecrack.survey.inventory import (
    Count,
    FrameCracks,
    Inventory,
    SurveyCrack,
    count_of,
    cracks_of_sheet,
    seen_rows,
    shows,
)
from edgecrack.survey.plane_geometry import curve_of
from edgecrack.survey.sheets import Placement, Sheet, Sheets

_MOST = 95.0  # percentile

Halves = tuple[list[FrameCracks], list[FrameCracks]]


@dataclass(frozen=True)
class WidthDifference:
    """Absolute differences of the two halves' widths at the same stations.

    Attributes:
        median: of the absolute differences.
        percentile_95: of the same.
        places: number of stations that both halves measured.
    """

    median: float
    percentile_95: float
    places: int


@dataclass(frozen=True, eq=False)
class CrackAgreement:
    """A confirmed crack in both halves, the odd one first.

    Attributes:
        id: of the crack.
        views: number of frames that cover its location or show the crack, whichever is larger.
        confirmed: whether the half confirms it, by the rule for all frames.
        length_px: from the half, in the sheet's pixels; 0 if the half does not confirm it.
        mean_px: mean width from the half; None if not measured.
        mean_mm: the same in millimetres; None without a scale.
        apart_px: float64 [N], absolute width differences at the stations of the longest line that
            both measured, in the sheet's pixels.
        apart_mm: the same in millimetres; None without a scale.
    """

    id: int
    views: tuple[int, int]
    confirmed: tuple[bool, bool]
    length_px: tuple[float, float]
    mean_px: tuple[float | None, float | None]
    mean_mm: tuple[float | None, float | None]
    apart_px: NDArray[np.float64] = field(repr=False)
    apart_mm: NDArray[np.float64] | None = field(repr=False)

    @property
    def is_known(self) -> bool:
        """Whether each half covers its location often enough to be able to confirm it."""
        return min(self.views) >= LEAST_FRAMES

    @property
    def in_both(self) -> bool:
        """Whether both halves confirm it."""
        return all(self.confirmed)

    @property
    def length_ratio(self) -> float | None:
        """Its length in the odd half over that in the even one; None if a half lacks it."""
        return self.length_px[0] / self.length_px[1] if self.in_both else None


@dataclass(frozen=True)
class Repeatability:
    """How well two halves of a survey agree, the odd one first.

    Attributes:
        frames: number in each half.
        confirmed: number of cracks that each half confirms independently.
        cracks: those confirmed by all frames together.
    """

    frames: tuple[int, int]
    confirmed: tuple[Count, Count]
    cracks: tuple[CrackAgreement, ...]

    @property
    def known(self) -> tuple[CrackAgreement, ...]:
        """The cracks that both halves cover often enough."""
        return tuple(crack for crack in self.cracks if crack.is_known)

    @property
    def in_both(self) -> int:
        """Number of these that both halves confirm."""
        return sum(crack.in_both for crack in self.known)

    @property
    def length_ratio(self) -> float | None:
        """Total length of the cracks that both halves confirm, odd half over even half."""
        both = [crack.length_px for crack in self.known if crack.in_both]
        odd, even = (sum(lengths) for lengths in zip(*both, strict=True)) if both else (0.0, 0.0)
        return odd / even if even else None

    @property
    def width_px(self) -> WidthDifference | None:
        """Over all stations of `known` cracks."""
        return width_difference([crack.apart_px for crack in self.known])

    @property
    def width_mm(self) -> WidthDifference | None:
        """The same in millimetres; None if a crack has no scale."""
        apart = [crack.apart_mm for crack in self.known if crack.apart_px.size]
        in_mm = [each for each in apart if each is not None]
        return width_difference(in_mm) if len(in_mm) == len(apart) else None


def width_difference(apart: Sequence[NDArray[np.float64]]) -> WidthDifference | None:
    """Median and 95th percentile of absolute differences; None if there are none.

    Args:
        apart: float64 [N] each.
    """
    together = np.concatenate([np.zeros(0), *apart])
    if not together.size:
        return None
    most = float(np.percentile(together, _MOST))
    return WidthDifference(float(np.median(together)), most, int(together.size))


def repeatability(
    sheets: Sheets, inventory: Inventory, found_on: Callable[[Sheet], Iterable[FrameCracks]]
) -> Repeatability:
    """Compare two halves of a survey's frames.

    Each half must meet the rule for all frames: three of its frames, and half of those that cover
    a crack's location, have to show the crack.

    Args:
        sheets: of the run, from all frames.
        inventory: of all frames.
        found_on: returns the results of a sheet's frames, as for the inventory; called once per
            sheet.
    """
    frames = [0, 0]
    confirmed: tuple[list[SurveyCrack], list[SurveyCrack]] = ([], [])
    own: dict[int, list[SurveyCrack]] = {}
    for crack in inventory.cracks:
        if crack.confirmed:
            own.setdefault(crack.sheet, []).append(crack)
    agreements: list[CrackAgreement] = []
    for sheet in sheets.sheets:
        halves = dealt(found_on(sheet))
        of_half = []
        for which, half in enumerate(halves):
            frames[which] += len(half)
            # Widths are compared along the course from all frames, so none are needed here.
            unmeasured = [replace(each, verdict="detect") for each in half]
            found = cracks_of_sheet(sheet, sheets.placements, unmeasured)
            found = [each for each in found if each.confirmed]
            of_half.append(found)
            confirmed[which].extend(found)
        agreements += [
            _agreement(crack, halves, (of_half[0], of_half[1]), sheets)
            for crack in own.get(sheet.number, [])
        ]
    agreements.sort(key=lambda each: each.id)
    counts = count_of(confirmed[0], sheets), count_of(confirmed[1], sheets)
    return Repeatability((frames[0], frames[1]), counts, tuple(agreements))


def dealt(found: Iterable[FrameCracks]) -> Halves:
    """Split the frames that are not unfit into two halves, alternately, odd positions first.

    Frames fit to measure are split separately, so that both halves have equally many.
    """
    placed = sorted(found, key=lambda each: each.frame)
    halves: Halves = ([], [])
    for is_measured in (True, False):
        own = [
            each
            for each in placed
            if each.verdict != "unfit" and (each.verdict == "measure") is is_measured
        ]
        first = len(halves[0]) > len(halves[1])
        halves[first].extend(own[::2])
        halves[not first].extend(own[1::2])
    for half in halves:
        half.sort(key=lambda each: each.frame)
    return halves


def _agreement(
    crack: SurveyCrack,
    halves: Halves,
    found: tuple[list[SurveyCrack], list[SurveyCrack]],
    sheets: Sheets,
) -> CrackAgreement:
    curve, own = curve_of(crack.lines), set(crack.sightings)
    views, lengths = [], []
    for half, cracks in zip(halves, found, strict=True):
        shown = sum(shows(curve, sheets.placements[each.frame], each.ignored) for each in half)
        # No frame shows most of a crack that is longer than a frame.
        views.append(max(shown, len({each.frame for each in half} & set(crack.frames))))
        # A half may see the crack in pieces; a piece that is mostly another crack does not count.
        pieces = [
            each for each in cracks if 2 * len(own & set(each.sightings)) > len(each.sightings)
        ]
        lengths.append(sum(each.length_px for each in pieces))
    odd, even = (_widths(crack, half, sheets.placements) for half in halves)
    apart_px, apart_mm = _apart(_by_place(odd), _by_place(even))
    return CrackAgreement(
        crack.id,
        (views[0], views[1]),
        (lengths[0] > 0, lengths[1] > 0),
        (lengths[0], lengths[1]),
        (_mean(odd, "px"), _mean(even, "px")),
        (_mean(odd, "mm"), _mean(even, "mm")),
        apart_px,
        apart_mm,
    )


def _widths(
    crack: SurveyCrack, half: Sequence[FrameCracks], placements: Mapping[int, Placement]
) -> CombinedWidth | None:
    """The width measured by a half along the crack's course from all frames."""
    measured = {each.frame: each for each in half if each.verdict == "measure"}
    rows = [
        row
        for frame, number in crack.sightings
        if frame in measured
        for row in seen_rows(measured[frame], number, placements[frame])
    ]
    return combined_width(crack.lines, rows)


def _mean(found: CombinedWidth | None, unit: Literal["px", "mm"]) -> float | None:
    figures = None if found is None else getattr(found, unit)
    return None if figures is None else float(figures.mean.value)


def _by_place(found: CombinedWidth | None) -> dict[float, WidthPlace]:
    """Stations of the longest line, by their distance along it.

    Others are left out: beside branches, rows switch between lines, which is not a width error.
    """
    places = () if found is None else found.profile
    return {place.along_px: place for place in places if place.line == 0}


def _apart(
    odd: dict[float, WidthPlace], even: dict[float, WidthPlace]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Absolute differences at common stations, in pixels of the sheet and in millimetres."""
    pairs = [(odd[place], even[place]) for place in sorted(odd.keys() & even.keys())]
    apart_px = np.array([abs(one.px[0] - other.px[0]) for one, other in pairs], np.float64)
    in_mm = [
        abs(one.mm[0] - other.mm[0])
        for one, other in pairs
        if one.mm is not None and other.mm is not None
    ]
    has_scale = bool(pairs) and len(in_mm) == len(pairs)
    return apart_px, np.array(in_mm, np.float64) if has_scale else None
