"""Builds the inventory of a run: each crack once, with a persistent id.

Combines the cracks of each frame (`measurement.cracks`) with the frames' placements (`sheets.py`).
Sheets that are not linked may show the same cracks; counts are then ranges.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from edgecrack.measurement.cracks import Crack
from edgecrack.measurement.fitness import Verdict
from edgecrack.survey.association import (
    ANGLE_DEG,
    Sighting,
    Track,
    associate,
    bridged,
    grouped,
    in_view,
    is_confirmed,
    looked_at,
    tolerance_px,
)
from edgecrack.survey.combined_widths import CombinedWidth, SeenRow, combined_width
from edgecrack.survey.plane_geometry import (
    CrackCurve,
    Points,
    curve_of,
    inverse,
    length_of,
    local_scale,
    middle_lines,
    middle_of,
    moved,
    near,
)
from edgecrack.survey.sheets import Placement, Sheet, Sheets

_FRAMES_ASKED = 8  # most frames used for the scale at a point
# Lines shown by fewer of a crack's frames are left out of its course.
_COURSE_SHARE, _COURSE_LEAST = 0.1, 2
_SHARED = 0.5


@dataclass(frozen=True, eq=False)
class FrameCracks:
    """The cracks found in one frame.

    Attributes:
        frame: frame number from the tracker.
        cracks: from `measure_image`.
        verdict: what the frame is fit for, from `assess`.
        mm_per_px: by crack and row, the scale across the crack; None without one.
        scale_terms: the scale's relative standard uncertainties, by source.
        ignored: bool [H, W], True where it was not inspected; None if nowhere.
    """

    frame: int
    cracks: Sequence[Crack] = field(repr=False)
    verdict: Verdict = "measure"
    mm_per_px: Sequence[NDArray[np.float64]] | None = field(default=None, repr=False)
    scale_terms: Mapping[str, float] | None = None
    ignored: NDArray[np.bool_] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Count:
    """A count known to be in a range, both ends included."""

    low: int
    high: int


@dataclass(frozen=True, eq=False)
class SurveyCrack:
    """One crack of a run.

    Attributes:
        id: unchanged when frames are added; merged cracks keep the lowest.
        sheet: number of its sheet.
        lines: centre lines, float64 [N, 2] each, in the sheet's pixels, longest first.
        bridges: gaps across which it continues, float64 [2, 2] each.
        length_px: of its lines and gaps.
        confirmed: seen in at least three fit frames and half of those that cover its location,
            and at least a fifth as long as a frame's shorter side.
        sightings: frame number and index among the frame's cracks, for each sighting.
        views: number of fit frames that cover its location.
        confidence: mean probability of its pixels over the frames, 0 to 1.
        width: None if it could not be measured.
    """

    id: int
    sheet: int
    lines: tuple[Points, ...] = field(repr=False)
    bridges: tuple[Points, ...] = field(repr=False)
    length_px: float
    confirmed: bool
    sightings: tuple[tuple[int, int], ...] = field(repr=False)
    views: int
    confidence: float
    width: CombinedWidth | None = field(repr=False)

    @property
    def frames(self) -> tuple[int, ...]:
        """Numbers of the fit frames that show it, in order."""
        return tuple(sorted({frame for frame, _ in self.sightings}))


@dataclass(frozen=True)
class Inventory:
    """All cracks of a run.

    Attributes:
        cracks: ordered by id.
        confirmed: number of confirmed cracks: a range if sheets are not linked, or if a sheet may
            have drifted so far that it shows a crack twice.
        unconfirmed: number of the others.
        unfit_frames: numbers of the frames whose cracks are ignored.
    """

    cracks: tuple[SurveyCrack, ...]
    confirmed: Count
    unconfirmed: int
    unfit_frames: tuple[int, ...] = field(default=(), repr=False)


class InventoryKeeper:
    """Builds inventories of a run and keeps crack ids from one to the next.

        keeper = InventoryKeeper()
        inventory = keeper.update(builder.finish(), found_in_frames)

    Args:
        ids: from `ids` of an earlier keeper of the same run.
        next_id: from `next_id` of the same keeper.
    """

    def __init__(self, ids: Mapping[tuple[int, int], int] | None = None, next_id: int = 1) -> None:
        self._ids = dict(ids or {})
        self._next = max(next_id, 1 + max(self._ids.values(), default=0))

    @property
    def ids(self) -> dict[tuple[int, int], int]:
        """Crack id by frame number and index among the frame's cracks."""
        return dict(self._ids)

    @property
    def next_id(self) -> int:
        """Id of the next new crack; ids are never reused."""
        return self._next

    def update(self, sheets: Sheets, found: Iterable[FrameCracks]) -> Inventory:
        """Build the inventory of all frames so far.

        Args:
            sheets: of the run so far.
            found: results of all frames so far, each frame once; frames that are on no sheet are
                ignored.
        """
        by_sheet: dict[int, list[FrameCracks]] = {}
        for each in found:
            if each.frame in sheets.placements:
                by_sheet.setdefault(sheets.placements[each.frame].sheet, []).append(each)
        return self.update_by_sheet(sheets, lambda sheet: by_sheet.get(sheet.number, []))

    def update_by_sheet(
        self, sheets: Sheets, found_on: Callable[[Sheet], Iterable[FrameCracks]]
    ) -> Inventory:
        """Like `update`, for runs too large to hold all sheets' results in memory.

        Args:
            sheets: of the run so far.
            found_on: returns the results of a sheet's frames; called once per sheet.
        """
        cracks, unfit = [], []
        for sheet in sheets.sheets:
            placed = sorted(found_on(sheet), key=lambda each: each.frame)
            unfit += [each.frame for each in placed if each.verdict == "unfit"]
            own = [each for each in placed if each.verdict != "unfit"]
            cracks += cracks_of_sheet(sheet, sheets.placements, own)
        named = self._named(cracks)
        confirmed = [each for each in named if each.confirmed]
        return Inventory(
            tuple(named),
            count_of(confirmed, sheets),
            len(named) - len(confirmed),
            tuple(sorted(unfit)),
        )

    def _named(self, found: Sequence[SurveyCrack]) -> list[SurveyCrack]:
        """Give each crack the lowest id of which it has the most sightings, or a new one."""
        heirs: dict[int, Counter[int]] = {}
        for place, each in enumerate(found):
            for member in each.sightings:
                if member in self._ids:
                    heirs.setdefault(self._ids[member], Counter())[place] += 1
        ids: dict[int, int] = {}
        for old in sorted(heirs):
            place = min(heirs[old], key=lambda each: (-heirs[old][each], each))
            ids.setdefault(place, old)
        first = sorted(
            (place for place in range(len(found)) if place not in ids),
            key=lambda place: found[place].sightings,
        )
        for place in first:
            ids[place] = self._next
            self._next += 1
        for place, each in enumerate(found):
            self._ids.update(dict.fromkeys(each.sightings, ids[place]))
        named = [replace(each, id=ids[place]) for place, each in enumerate(found)]
        return sorted(named, key=lambda each: each.id)


def cracks_of_sheet(
    sheet: Sheet, placements: Mapping[int, Placement], found: Sequence[FrameCracks]
) -> list[SurveyCrack]:
    """The cracks of one sheet, without ids.

    Args:
        sheet: the sheet.
        placements: by frame number.
        found: results of the sheet's frames that are not unfit, ordered by number.
    """
    keys = [(each.frame, number) for each in found for number in range(len(each.cracks))]
    sightings = [
        Sighting(each.frame, tuple(line.xy for line in crack.lines))
        for each in found
        for crack in each.cracks
    ]
    frames = [each.frame for each in found]
    tracks = associate(sightings, placements, frames, sheet.sigma_px)
    courses = [_course(track, sightings, placements, sheet) for track in tracks]
    kept = [number for number, lines in enumerate(courses) if lines]
    tracks, courses = [tracks[number] for number in kept], [courses[number] for number in kept]

    def side_px(place: int, xy: Points) -> float:
        own = {sightings[number].frame for number in tracks[place].members}
        return _side_px(xy, [placements[frame] for frame in sorted(own)])

    bridges = bridged(courses, side_px)
    by_frame = {each.frame: each for each in found}
    result = []
    for group in grouped(len(tracks), [(one, other) for one, other, _ in bridges]):
        members = sorted(keys[number] for place in group for number in tracks[place].members)
        lines = tuple(line for place in group for line in courses[place])
        gaps = tuple(gap for one, _, gap in bridges if one in group)
        crack = _described(sheet, lines, gaps, members, placements, by_frame)
        result.append(crack)
    return result


def _side_px(xy: Points, placements: Sequence[Placement]) -> float:
    """A frame's shorter side at a point, in pixels of the sheet; median of some frames there."""
    place = xy[None]
    some = [each for each in placements if in_view(place, each, 0.0)[0]] or list(placements)
    sides = [
        min(each.hw) / local_scale(inverse(each.homography), place)[0]
        for each in some[:: 1 + len(some) // _FRAMES_ASKED]
    ]
    return float(np.median(sides))


def _course(
    track: Track,
    sightings: Sequence[Sighting],
    placements: Mapping[int, Placement],
    sheet: Sheet,
) -> tuple[Points, ...]:
    """Centre lines through all sightings of a crack."""
    drawings = [
        [moved(line, placements[sighting.frame].homography) for line in sighting.lines]
        for sighting in (sightings[number] for number in track.members)
    ]
    lasting = track.curve.chosen(track.lasting)
    drawn = sum(length_of(each) for each in drawings)
    at_once = drawn / max(track.curve.length_px, 1.0)
    least = max(_COURSE_LEAST, math.ceil(_COURSE_SHARE * at_once))
    fill_px = tolerance_px(sheet.sigma_px)
    for fewest in (min(least, len(drawings)), 1):
        if lines := middle_lines(drawings, lasting, fewest, fill_px):
            return lines
    return ()


def _described(
    sheet: Sheet,
    lines: tuple[Points, ...],
    bridges: tuple[Points, ...],
    members: Sequence[tuple[int, int]],
    placements: Mapping[int, Placement],
    by_frame: Mapping[int, FrameCracks],
) -> SurveyCrack:
    lines = tuple(sorted(lines, key=lambda line: -length_of([line])))
    curve = curve_of(lines)
    views = sum(shows(curve, placements[frame], found.ignored) for frame, found in by_frame.items())
    confidences = [by_frame[frame].cracks[number].confidence for frame, number in members]
    rows = [
        row
        for frame, number in members
        if by_frame[frame].verdict == "measure"
        for row in seen_rows(by_frame[frame], number, placements[frame])
    ]
    frames = {frame for frame, _ in members}
    length_px = length_of([*lines, *bridges])
    middle = middle_of(lines[0])
    side_px = _side_px(middle, [placements[frame] for frame in sorted(frames)])
    return SurveyCrack(
        0,
        sheet.number,
        lines,
        bridges,
        length_px,
        is_confirmed(len(frames), views, length_px, side_px),
        tuple(members),
        max(views, len(frames)),
        float(np.mean(confidences)),
        combined_width(lines, rows),
    )


def shows(curve: CrackCurve, placement: Placement, ignored: NDArray[np.bool_] | None) -> bool:
    """Whether a frame inspected most of a crack's location."""
    shown = looked_at(curve.xy, placement, ignored)
    return bool(shown.size) and float(shown.mean()) >= _SHARED


def seen_rows(found: FrameCracks, number: int, placement: Placement) -> list[SeenRow]:
    """The widths along a frame's crack, with their positions on the sheet."""
    rows = found.cracks[number].rows
    if not rows:
        return []
    places = np.array([row.xy for row in rows], np.float64)
    in_sheet = moved(places, placement.homography)
    fineness = local_scale(inverse(placement.homography), in_sheet)
    mm = None if found.mm_per_px is None else found.mm_per_px[number]
    return [
        SeenRow(
            found.frame,
            (float(in_sheet[at, 0]), float(in_sheet[at, 1])),
            row.width,
            float(fineness[at]),
            None if mm is None else float(mm[at]),
            found.scale_terms,
        )
        for at, row in enumerate(rows)
    ]


def count_of(confirmed: Sequence[SurveyCrack], sheets: Sheets) -> Count:
    """Range of the count: at most all of them, at least those of the sheet with the most."""
    fewest = [
        _apart_for_certain([each for each in confirmed if each.sheet == sheet.number], sheet)
        for sheet in sheets.sheets
    ]
    return Count(max(fewest, default=0), len(confirmed))


def _apart_for_certain(cracks: Sequence[SurveyCrack], sheet: Sheet) -> int:
    """Number of cracks of a sheet that are certainly different.

    Two are different if one frame shows both, or if they are further apart than the sheet's drift
    bound. In a group of possible duplicates, only cracks that differ pairwise count.
    """
    curves = [curve_of(each.lines) for each in cracks]
    frames = [set(each.frames) for each in cracks]
    pairs = {
        (one, other)
        for one, other in combinations(range(len(curves)), 2)
        if not frames[one] & frames[other]
        and _may_be_one(curves[one], curves[other], sheet.drift_px)
    }
    count = 0
    for group in grouped(len(curves), pairs):
        maybes = Counter(each for pair in pairs for each in pair)
        different: list[int] = []
        for crack in sorted(group, key=lambda each: (maybes[each], each)):
            if not any((min(crack, each), max(crack, each)) in pairs for each in different):
                different.append(crack)
        count += len(different)
    return count


def _may_be_one(one: CrackCurve, other: CrackCurve, drift_px: float) -> bool:
    shorter, longer = sorted((one, other), key=lambda each: len(each.xy))
    met = np.asarray(near(shorter, longer, drift_px, ANGLE_DEG).any(axis=1))
    return bool(met.size) and float(met.mean()) >= _SHARED
