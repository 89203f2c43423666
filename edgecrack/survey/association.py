"""Decides which sightings are the same crack; live streams and surveys share these rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgecrack.survey.plane_geometry import (
    CrackCurve,
    Points,
    curve_of,
    joined,
    length_of,
    moved,
    near,
)
from edgecrack.survey.sheets import Placement

LEAST_FRAMES = 3
# Least share of the fit frames covering a crack's location that must show the crack.
_LEAST_SHARE = 0.5
# Shorter marks, as a share of a frame's shorter side, are pits as often as cracks.
_LEAST_LENGTH = 0.2


def is_confirmed(frames: int, views: int, length_px: float, side_px: float) -> bool:
    """Whether a crack is confirmed.

        >>> is_confirmed(3, 6, 100.0, 480.0), is_confirmed(3, 7, 100.0, 480.0)
        (True, False)

    Args:
        frames: number of fit frames that show it.
        views: number of fit frames that cover its location.
        length_px: crack length.
        side_px: shorter side of a frame, in the same pixels.
    """
    is_seen = frames >= max(LEAST_FRAMES, _LEAST_SHARE * views)
    return is_seen and is_long(length_px, side_px)


def is_long(length_px: float, side_px: float) -> bool:
    """Whether a crack is long enough to be confirmed; see `is_confirmed`."""
    return length_px >= _LEAST_LENGTH * side_px


ANGLE_DEG = 25.0
# The direction of a sighting with this few points is less certain.
_SHORT_POINTS, _SHORT_ANGLE_DEG = 10, 50.0
LEAST_TOLERANCE_PX = 3.0
_SIGMAS = 2.0
_SHARED = 0.5
_MARGIN_PX = 4.0
_LEAST_POINTS = 3  # that must coincide
# With at least this many views, a point is lasting if it was detected in this share of them.
_JUDGED_VIEWS, _LASTING_SHARE = 5, 0.3
# Two cracks are merged once a sighting runs along both in this many frames.
_LEAST_VOTES = 2
# Largest gap and largest lateral offset between two ends, as shares of a frame's shorter side; and
# largest gap as a share of the shorter crack's length.
_GAP, _ASIDE, _GAP_SHARE = 0.1, 0.04, 0.5
# Distances over which the direction of an end is measured, as shares of the same side.
_END_REACHES = (0.04, 0.1, 0.2)


@dataclass(frozen=True, eq=False)
class Sighting:
    """One connected crack in one frame.

    Attributes:
        frame: frame number.
        lines: its centre lines, float64 [N, 2] each, in the frame's pixels.
    """

    frame: int
    lines: tuple[Points, ...]


@dataclass(eq=False)
class Track:
    """A crack on a sheet, with its sightings.

    Attributes:
        curve: its course, in the sheet's pixels.
        views: int [N], number of frames that cover each point.
        hits: int [N], number of those in which a crack was detected there.
        members: indices of its sightings in the input list.
    """

    curve: CrackCurve
    views: NDArray[np.int64]
    hits: NDArray[np.int64]
    members: list[int] = field(default_factory=list)

    @property
    def lasting(self) -> NDArray[np.bool_]:
        """Points that are detected repeatedly, bool [N]; all points while they have few views."""
        is_new = self.views < _JUDGED_VIEWS
        return np.asarray(is_new | (self.hits >= _LASTING_SHARE * self.views))

    def grow(self, curve: CrackCurve) -> None:
        """Append new points, each seen once."""
        ones = np.ones(len(curve.xy), np.int64)
        self.curve = joined([self.curve, curve])
        self.views, self.hits = (np.concatenate([each, ones]) for each in (self.views, self.hits))


def tolerance_px(sigma_px: float) -> float:
    """Largest distance between two curves of one crack, from the registration's sigma."""
    return max(LEAST_TOLERANCE_PX, _SIGMAS * sigma_px)


def associate(
    sightings: Sequence[Sighting],
    placements: Mapping[int, Placement],
    frames: Iterable[int],
    sigma_px: float,
) -> list[Track]:
    """Group the sightings of one sheet into cracks.

    Args:
        sightings: in frames of this sheet.
        placements: by frame number.
        frames: numbers of the inspected frames, including those without a crack.
        sigma_px: the sheet's registration error, one standard deviation.

    Returns:
        Tracks, ordered by their first sighting.
    """
    by_frame: dict[int, list[tuple[int, CrackCurve]]] = {frame: [] for frame in sorted(frames)}
    for number, sighting in enumerate(sightings):
        placement = placements[sighting.frame]
        curve = curve_of(moved(line, placement.homography) for line in sighting.lines)
        # At a frame's border part of a crack's width is cut off, which shifts its centre line.
        curve = curve.chosen(in_view(curve.xy, placement))
        if len(curve.xy):
            by_frame[sighting.frame].append((number, curve))
    work = Association(tolerance_px(sigma_px))
    for frame, seen in by_frame.items():
        work.add(placements[frame], seen)
    return [work.together(group) for group in work.groups()]


@dataclass(eq=False)
class _Part:
    """The part of a track that a frame shows.

    Attributes:
        at: indices of the points in the track.
        curve: the points.
        inside: bool [N], certainly in view; the others are just outside.
        found: bool [N], near a sighting of this frame; filled in during matching.
        lasting: bool [N], as in the track.
        low: float64 [2], upper left corner of the points' bounding box.
        high: float64 [2], lower right corner.
    """

    at: NDArray[np.intp]
    curve: CrackCurve
    inside: NDArray[np.bool_]
    found: NDArray[np.bool_]
    lasting: NDArray[np.bool_]
    low: Points
    high: Points

    def may_meet(self, low: Points, high: Points, within_px: float) -> bool:
        """Whether points in a box can be near any of these."""
        return bool((low <= self.high + within_px).all() and (high >= self.low - within_px).all())


class Association:
    """Tracks the cracks of one sheet, frame by frame.

    Args:
        within_px: largest distance between two curves of one crack.

    Attributes:
        tracks: by number, in the order they were first seen; between calls, curves may be moved
            and tracks removed.
    """

    def __init__(self, within_px: float) -> None:
        self._within_px = within_px
        self.tracks: dict[int, Track] = {}
        self._votes: Counter[tuple[int, int]] = Counter()
        self._next = 0

    def add(self, placement: Placement, seen: Sequence[tuple[int, CrackCurve]]) -> dict[int, int]:
        """Match a frame's sightings with the tracks.

        Args:
            placement: of the frame.
            seen: number and curve of each sighting, in the same pixels as the tracks.

        Returns:
            Track number by sighting number.
        """
        parts = self._parts(placement)
        votes: set[tuple[int, int]] = set()
        chosen: dict[int, int] = {}
        for number, curve in seen:
            owners, missing = self._owners(curve, parts)
            if not owners:
                ones = np.ones(len(curve.xy), np.int64)
                self.tracks[self._next] = Track(curve, ones, ones.copy(), [number])
                chosen[number] = self._next
                self._next += 1
                continue
            first = self.tracks[owners[0]]
            first.members.append(number)
            first.grow(curve.chosen(missing))
            chosen[number] = owners[0]
            votes |= {tuple(sorted((owners[0], each))) for each in owners[1:]}  # type: ignore[misc]
        self._votes.update(votes)
        for number, part in parts.items():
            self.tracks[number].views[part.at[part.inside]] += 1
            self.tracks[number].hits[part.at[part.inside & part.found]] += 1
        return chosen

    def groups(self) -> list[list[int]]:
        """Groups of track numbers, one group per crack, ordered by their lowest number."""
        numbers = sorted(self.tracks)
        place = {number: at for at, number in enumerate(numbers)}
        pairs = []
        for (one, other), votes in self._votes.items():
            if one not in place or other not in place:
                continue
            fewest = min(len(self.tracks[each].members) for each in (one, other))
            if votes >= min(_LEAST_VOTES, fewest):
                pairs.append((place[one], place[other]))
        return [[numbers[at] for at in group] for group in grouped(len(numbers), pairs)]

    def together(self, group: Sequence[int]) -> Track:
        """Merge the tracks of one crack."""
        own = [self.tracks[each] for each in group]
        return Track(
            joined([each.curve for each in own]),
            np.concatenate([each.views for each in own]),
            np.concatenate([each.hits for each in own]),
            sorted(number for each in own for number in each.members),
        )

    def _parts(self, placement: Placement) -> dict[int, _Part]:
        """The visible parts of all tracks in view, by track number."""
        curves = [track.curve for track in self.tracks.values()]

        def shown(margin_px: float) -> list[NDArray[np.bool_]]:
            return of_each(curves, lambda xy: in_view(xy, placement, margin_px))

        parts = {}
        views = zip(self.tracks, shown(-3 * self._within_px), shown(_MARGIN_PX), strict=True)
        for number, around, inside in views:
            at = np.flatnonzero(around)
            if len(at):
                track = self.tracks[number]
                curve, found = track.curve.chosen(at), np.zeros(len(at), bool)
                low, high = curve.xy.min(axis=0), curve.xy.max(axis=0)
                lasting = track.lasting[at]
                parts[number] = _Part(at, curve, inside[at], found, lasting, low, high)
        return parts

    def _owners(
        self, curve: CrackCurve, parts: Mapping[int, _Part]
    ) -> tuple[list[int], NDArray[np.bool_]]:
        """Tracks that a sighting matches, best first, and its points that match none of them."""
        owners, missing = [], np.ones(len(curve.xy), bool)
        angle_deg = ANGLE_DEG if len(curve.xy) > _SHORT_POINTS else _SHORT_ANGLE_DEG
        low, high = curve.xy.min(axis=0, initial=np.inf), curve.xy.max(axis=0, initial=-np.inf)
        for number, part in parts.items():
            if not part.may_meet(low, high, self._within_px):
                continue
            met = near(curve, part.curve, self._within_px, angle_deg)
            part.found |= np.asarray(met.any(axis=0))
            covered = np.asarray(met[:, part.lasting].any(axis=1))
            if covered.sum() < min(_LEAST_POINTS, len(curve.xy)):
                continue
            visible = part.lasting & part.inside
            shorter = covered if len(curve.xy) <= visible.sum() else met[:, visible].any(axis=0)
            if shorter.size and float(shorter.mean()) >= _SHARED:
                owners.append((-int(covered.sum()), number))
                missing &= ~np.asarray(met.any(axis=1))
        return [number for _, number in sorted(owners)], missing


def of_each(
    curves: Sequence[CrackCurve], test: Callable[[Points], NDArray[np.bool_]]
) -> list[NDArray[np.bool_]]:
    """Test the points of all curves in a single call.

    Args:
        curves: any number.
        test: maps float64 [N, 2] to bool [N].

    Returns:
        bool [N] for each curve.
    """
    ends = np.cumsum([0, *(len(curve.xy) for curve in curves)]).tolist()
    everything = test(joined(curves).xy)
    return [everything[first:end] for first, end in pairwise(ends)]


def in_view(
    points: Points, placement: Placement, margin_px: float = _MARGIN_PX
) -> NDArray[np.bool_]:
    """Which points of a sheet are in a frame's view, bool [N]."""
    back = placement.back
    depth = points @ back[2, :2] + back[2, 2]
    places = moved(points, back)
    height, width = placement.hw
    inside = (places >= margin_px) & (places <= (width - margin_px, height - margin_px))
    return np.asarray(inside.all(axis=1) & (depth > 0))


def looked_at(
    points: Points, placement: Placement, ignored: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Which points of a sheet are in a frame's view and not ignored, bool [N]."""
    shown = in_view(points, placement)
    if ignored is None or not shown.any():
        return shown
    places = moved(points[shown], placement.back).astype(int)
    height, width = ignored.shape
    columns, rows = np.clip(places, 0, (width - 1, height - 1)).T
    shown[shown] = ~ignored[rows, columns]
    return shown


@dataclass(frozen=True, eq=False)
class _End:
    """A free end of a crack.

    Attributes:
        crack: index of the crack.
        xy: float64 [2].
        out: float64 [3, 2], outward unit vectors, measured over three distances.
        side_px: a frame's shorter side there, in pixels of the sheet.
    """

    crack: int
    xy: Points
    out: Points
    side_px: float


def bridged(
    lines: Sequence[Sequence[Points]], side_px: Callable[[int, Points], float]
) -> list[tuple[int, int, Points]]:
    """Find cracks that continue where another one ends.

    Args:
        lines: of each crack, float [N, 2] each.
        side_px: returns a frame's shorter side in the same pixels, for a crack's index and a point.

    Returns:
        Pairs of crack indices, the lower one first, with the ends of the gap, float64 [2, 2]. At
        least one of the two ends is in no earlier pair.
    """
    ends = [end for crack, each in enumerate(lines) for end in _ends(crack, each, side_px)]
    lengths = [length_of(each) for each in lines]
    found = []
    for place, one in enumerate(ends):
        for other_place in range(place + 1, len(ends)):
            other = ends[other_place]
            shorter = min(lengths[one.crack], lengths[other.crack])
            most = min(_GAP * one.side_px, _GAP_SHARE * shorter)
            distance = float(np.hypot(*(other.xy - one.xy)))
            if one.crack != other.crack and distance <= most and _goes_on(one, other):
                found.append((distance, place, other_place))
    used: set[int] = set()
    pairs = []
    for _, *places in sorted(found):
        if not set(places) <= used:
            used |= set(places)
            one, other = sorted((ends[place] for place in places), key=lambda end: end.crack)
            pairs.append((one.crack, other.crack, np.stack([one.xy, other.xy])))
    return pairs


def _goes_on(one: _End, other: _End) -> bool:
    """Whether two ends point at each other, or past each other at a small lateral offset."""
    least = np.cos(np.radians(ANGLE_DEG))
    gap = other.xy - one.xy
    distance = float(np.hypot(*gap))
    for out in one.out:
        for away in other.out:
            if -out @ away < least:
                continue
            middle = (out - away) / max(float(np.hypot(*(out - away))), 1e-9)
            ahead = float(gap @ middle)
            aside = float(np.sqrt(max(distance**2 - ahead**2, 0.0)))
            if ahead >= least * distance or aside <= _ASIDE * one.side_px:
                return True
    return False


def _ends(
    crack: int, lines: Sequence[Points], side_px: Callable[[int, Points], float]
) -> Iterable[_End]:
    met = Counter(tuple(np.round(end, 1)) for line in lines for end in (line[0], line[-1]))
    for line in lines:
        for course in (line, line[::-1]):
            if met[tuple(np.round(course[0], 1))] > 1 or length_of([line]) <= 0:
                continue
            steps = np.hypot(*np.diff(course, axis=0).T)
            way, side = np.concatenate([[0.0], np.cumsum(steps)]), side_px(crack, course[0])
            reaches = np.array(_END_REACHES) * side
            inner = np.stack([np.interp(reaches, way, course[:, axis]) for axis in (0, 1)], axis=1)
            out = course[0] - inner
            out /= np.maximum(np.hypot(*out.T), 1e-9)[:, None]
            yield _End(crack, course[0], out, side)


def grouped(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected components of pairs.

        >>> grouped(4, [(2, 3), (0, 2)])
        [[0, 2, 3], [1]]

    Args:
        count: number of items, which are 0, 1, ...
        pairs: items that belong together.
    """
    parents = list(range(count))

    def root(number: int) -> int:
        while parents[number] != number:
            number = parents[number]
        return number

    for pair in pairs:
        lower, upper = sorted(map(root, pair))
        parents[upper] = lower
    groups: dict[int, list[int]] = {}
    for number in range(count):
        groups.setdefault(root(number), []).append(number)
    return list(groups.values())
