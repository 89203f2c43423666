"""When a crack counts as one: the same rule while a robot drives and in its survey."""

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
# Of the fit frames that show a crack's place, so many have to show the crack.
_LEAST_SHARE = 0.5
# Shorter ones, as a share of a frame's shorter side, are pits as often as cracks.
_LEAST_LENGTH = 0.2


def is_confirmed(frames: int, views: int, length_px: float, side_px: float) -> bool:
    """Whether a crack is confirmed.

        >>> is_confirmed(3, 6, 100.0, 480.0), is_confirmed(3, 7, 100.0, 480.0)
        (True, False)

    Args:
        frames: fit frames that show it.
        views: fit frames that show its place.
        length_px: how long it is.
        side_px: shorter side of a frame, in the same pixels.
    """
    is_seen = frames >= max(LEAST_FRAMES, _LEAST_SHARE * views)
    return is_seen and is_long(length_px, side_px)


def is_long(length_px: float, side_px: float) -> bool:
    """Whether a crack is long enough to be confirmed; see `is_confirmed`."""
    return length_px >= _LEAST_LENGTH * side_px


ANGLE_DEG = 25.0
# Of sightings of so few points the direction is not known better.
_SHORT_POINTS, _SHORT_ANGLE_DEG = 10, 50.0
LEAST_TOLERANCE_PX = 3.0
_SIGMAS = 2.0
_SHARED = 0.5
_MARGIN_PX = 4.0
_LEAST_POINTS = 3  # that have to meet
# From so many views on a point lasts that was found in such a share of them.
_JUDGED_VIEWS, _LASTING_SHARE = 5, 0.3
# Frames in which a sighting runs along two cracks, from which on these are one.
_LEAST_VOTES = 2
# Gaps, and how far one crack goes on beside where the other ends: as a share of a frame's shorter
# side; and of the shorter crack's length.
_GAP, _ASIDE, _GAP_SHARE = 0.1, 0.04, 0.5
# Over which the direction of an end is taken, as shares of the same side.
_END_REACHES = (0.04, 0.1, 0.2)


@dataclass(frozen=True, eq=False)
class Sighting:
    """One connected crack in one frame.

    Attributes:
        frame: its number.
        lines: float64 [N, 2] each, along its middle, in the frame's pixels.
    """

    frame: int
    lines: tuple[Points, ...]


@dataclass(eq=False)
class Track:
    """A crack on a sheet, by the sightings of it.

    Attributes:
        curve: where it runs, in the sheet's pixels.
        views: int [N], how many frames showed each point's place.
        hits: int [N], in how many of them a crack was found there.
        members: places of its sightings in the list that was given.
    """

    curve: CrackCurve
    views: NDArray[np.int64]
    hits: NDArray[np.int64]
    members: list[int] = field(default_factory=list)

    @property
    def lasting(self) -> NDArray[np.bool_]:
        """Points that are found again, bool [N]; all as long as few frames showed them."""
        is_new = self.views < _JUDGED_VIEWS
        return np.asarray(is_new | (self.hits >= _LASTING_SHARE * self.views))

    def grow(self, curve: CrackCurve) -> None:
        """Points that were not there before, seen once."""
        ones = np.ones(len(curve.xy), np.int64)
        self.curve = joined([self.curve, curve])
        self.views, self.hits = (np.concatenate([each, ones]) for each in (self.views, self.hits))


def tolerance_px(sigma_px: float) -> float:
    """How far apart two curves of one crack may be, by the registration's standard deviation."""
    return max(LEAST_TOLERANCE_PX, _SIGMAS * sigma_px)


def associate(
    sightings: Sequence[Sighting],
    placements: Mapping[int, Placement],
    frames: Iterable[int],
    sigma_px: float,
) -> list[Track]:
    """The cracks of one sheet.

    Args:
        sightings: in frames of this sheet.
        placements: by frame.
        frames: numbers of the frames that were looked at, those without a crack included.
        sigma_px: with which a place in two frames meets.

    Returns:
        By the first sighting of each.
    """
    by_frame: dict[int, list[tuple[int, CrackCurve]]] = {frame: [] for frame in sorted(frames)}
    for number, sighting in enumerate(sightings):
        placement = placements[sighting.frame]
        curve = curve_of(moved(line, placement.homography) for line in sighting.lines)
        # At a frame's border half of a crack's width is cut off, and its middle is elsewhere.
        curve = curve.chosen(in_view(curve.xy, placement))
        if len(curve.xy):
            by_frame[sighting.frame].append((number, curve))
    work = Association(tolerance_px(sigma_px))
    for frame, seen in by_frame.items():
        work.add(placements[frame], seen)
    return [work.together(group) for group in work.groups()]


@dataclass(eq=False)
class _Part:
    """What of a track a frame shows.

    Attributes:
        at: places of the points among the track's.
        curve: the points.
        inside: bool [N], in view for certain; the others lie just outside.
        found: bool [N], where a sighting of this frame runs; filled in on the way.
        lasting: bool [N], as the track has it.
        low: float64 [2], the corner of the box around the points.
        high: the other one.
    """

    at: NDArray[np.intp]
    curve: CrackCurve
    inside: NDArray[np.bool_]
    found: NDArray[np.bool_]
    lasting: NDArray[np.bool_]
    low: Points
    high: Points

    def may_meet(self, low: Points, high: Points, within_px: float) -> bool:
        """Whether points in a box can lie near any of these."""
        return bool((low <= self.high + within_px).all() and (high >= self.low - within_px).all())


class Association:
    """What has been seen of one sheet so far.

    Args:
        within_px: how far apart two curves of one crack may be.

    Attributes:
        tracks: by number, in the order in which they were first seen; curves may be moved, and
            tracks taken out, between two calls.
    """

    def __init__(self, within_px: float) -> None:
        self._within_px = within_px
        self.tracks: dict[int, Track] = {}
        self._votes: Counter[tuple[int, int]] = Counter()
        self._next = 0

    def add(self, placement: Placement, seen: Sequence[tuple[int, CrackCurve]]) -> dict[int, int]:
        """Lay a frame's sightings on what is there.

        Args:
            placement: where the frame lies.
            seen: number and curve of each sighting, in the same pixels as the tracks.

        Returns:
            By sighting, the number of its track.
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
        """Numbers of tracks that are one crack each, by the lowest of each."""
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
        """Tracks that are one crack, as one."""
        own = [self.tracks[each] for each in group]
        return Track(
            joined([each.curve for each in own]),
            np.concatenate([each.views for each in own]),
            np.concatenate([each.hits for each in own]),
            sorted(number for each in own for number in each.members),
        )

    def _parts(self, placement: Placement) -> dict[int, _Part]:
        """What a frame shows of each track, by number, of those that it shows at all."""
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
        """The tracks that a sighting shows, most of it first, and which points none of them has."""
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
    curves: Sequence[CrackCurve], told: Callable[[Points], NDArray[np.bool_]]
) -> list[NDArray[np.bool_]]:
    """What is told of the points of curves, asked once for all of them together.

    Args:
        curves: any number.
        told: bool [N] of float64 [N, 2].

    Returns:
        bool [N] of each curve.
    """
    ends = np.cumsum([0, *(len(curve.xy) for curve in curves)]).tolist()
    everything = told(joined(curves).xy)
    return [everything[first:end] for first, end in pairwise(ends)]


def in_view(
    points: Points, placement: Placement, margin_px: float = _MARGIN_PX
) -> NDArray[np.bool_]:
    """Which places of a sheet a frame shows, bool [N]."""
    back = placement.back
    depth = points @ back[2, :2] + back[2, 2]
    places = moved(points, back)
    height, width = placement.hw
    inside = (places >= margin_px) & (places <= (width - margin_px, height - margin_px))
    return np.asarray(inside.all(axis=1) & (depth > 0))


def looked_at(
    points: Points, placement: Placement, ignored: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Which places of a sheet a frame shows where it was not ignored, bool [N]."""
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
        crack: place of the crack in the list.
        xy: float64 [2].
        out: float64 [3, 2], unit vectors outwards, over a short and longer reaches.
        side_px: a frame's shorter side there, in pixels of the sheet.
    """

    crack: int
    xy: Points
    out: Points
    side_px: float


def bridged(
    lines: Sequence[Sequence[Points]], side_px: Callable[[int, Points], float]
) -> list[tuple[int, int, Points]]:
    """Cracks of which one goes on where another ends.

    Args:
        lines: of each crack, float [N, 2] each.
        side_px: tells a frame's shorter side in the same pixels, at a place of a crack in the list.

    Returns:
        Pairs of places in the list, the lower one first, with the gap's ends, float64 [2, 2]; one
        of the two ends is in no pair before.
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
    """Whether two ends point at each other, or past each other close by."""
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
    """Things put together in pairs.

        >>> grouped(4, [(2, 3), (0, 2)])
        [[0, 2, 3], [1]]

    Args:
        count: of the things, which are 0, 1, ...
        pairs: that belong together.
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
