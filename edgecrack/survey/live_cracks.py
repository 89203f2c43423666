"""Numbers cracks as they pass the camera; each keeps its number while it is in or near the view.

Uses tracking alone, without a survey's adjustment and loop closure: a crack that returns after it
was far away gets a new number here. `inventory.py` merges both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgecrack.measurement.cracks import Crack
from edgecrack.survey.association import (
    Association,
    Track,
    in_view,
    is_confirmed,
    looked_at,
    of_each,
    tolerance_px,
)
from edgecrack.survey.plane_geometry import (
    STEP_PX,
    CrackCurve,
    Matrix,
    Points,
    curve_of,
    implausible,
    inverse,
    moved,
    normal,
)
from edgecrack.survey.sheets import Placement, is_far
from edgecrack.survey.track import Step

# Tracking error accumulated while a crack passes by.
_SIGMA_PX = 2.5
# Most frames whose results may still be pending.
_REMEMBERED = 512
# A crack is closed when all of it is further outside the view than this share of the frame.
_OUTSIDE = 0.75
_SHARED = 0.5


@dataclass(frozen=True, eq=False)
class LiveCrack:
    """One crack so far.

    Attributes:
        id: from 1; merged cracks keep the lowest.
        closed: whether it has left the view for good.
        confirmed: according to `is_confirmed`.
        first_frame: number of the first fit frame that shows it.
        last_frame: of the last.
        frames: number of fit frames that show it.
        views: number of fit frames that cover its location.
        length_px: length of its lasting points, in pixels of a nearby key frame.
        confidence: mean probability of its pixels over the frames, 0 to 1.
    """

    id: int
    closed: bool
    confirmed: bool
    first_frame: int
    last_frame: int
    frames: int
    views: int
    length_px: float
    confidence: float


@dataclass(eq=False)
class _Tally:
    """Counts of a crack."""

    first_frame: int
    last_frame: int
    side_px: float
    frames: int = 0
    views: int = 0
    confidence: float = 0.0
    sightings: int = 0
    length_px: float = 0.0

    def absorb(self, other: _Tally) -> None:
        self.first_frame = min(self.first_frame, other.first_frame)
        self.last_frame = max(self.last_frame, other.last_frame)
        self.frames += other.frames
        self.views = max(self.views, other.views)
        self.confidence += other.confidence
        self.sightings += other.sightings


@dataclass(eq=False)
class _Stretch:
    """Frames tracked without interruption, in the pixels of the last key frame.

    Attributes:
        key_hw: height and width of that key frame.
        from_key: from its pixels to the newest frame's.
        placed: by frame number, from its pixels to the key frame's.
        ids: crack number by track.
    """

    key_hw: tuple[int, int]
    from_key: Matrix = field(default_factory=lambda: np.eye(3))
    placed: dict[int, Matrix] = field(default_factory=dict)
    association: Association = field(default_factory=lambda: Association(tolerance_px(_SIGMA_PX)))
    ids: dict[int, int] = field(default_factory=dict)

    def rebase(self, hw: tuple[int, int]) -> None:
        """Change to the pixels of the newest frame."""
        way = self.from_key
        for frame, back in self.placed.items():
            self.placed[frame] = normal(way @ back)
        for track in self.association.tracks.values():
            _move(track, way)
        self.key_hw, self.from_key = hw, np.eye(3)


class LiveCracks:
    """Numbers the cracks of a run while it is recorded; not thread-safe.

    live, tracker = LiveCracks(), FrameTracker()
    for number, gray in enumerate(grays):
        live.move(tracker.add(gray))
        ids = live.see(number, trace_cracks(mask, probability))
    for crack in live.finish():
        print(crack.id, crack.confirmed, crack.length_px)
    """

    def __init__(self) -> None:
        self._stretches: list[_Stretch] = []
        self._tallies: dict[int, _Tally] = {}
        self._next = 1

    def move(self, step: Step) -> bool:
        """Add the next captured frame's step.

        Returns:
            Whether it is a key frame.
        """
        if step.homography is None or not self._stretches:
            return self._begin(step)
        stretch = self._stretches[-1]
        stretch.from_key = normal(step.homography @ stretch.from_key)
        if implausible(stretch.key_hw, stretch.from_key):
            return self._begin(step)
        is_key = is_far(step.hw, stretch.key_hw, stretch.from_key)
        if is_key:
            stretch.rebase(step.hw)
        stretch.placed[step.number] = inverse(stretch.from_key)
        while len(stretch.placed) > _REMEMBERED:
            del stretch.placed[next(iter(stretch.placed))]
        return is_key

    def see(
        self,
        frame: int,
        hw: tuple[int, int],
        cracks: Sequence[Crack],
        ignored: NDArray[np.bool_] | None = None,
    ) -> tuple[list[int], list[LiveCrack]]:
        """Add the cracks of a fit frame; frames must be in order.

        Args:
            frame: number from its step; a frame whose step was not added is ignored.
            hw: its height and width.
            cracks: from `trace_cracks`.
            ignored: bool [H, W], True where it was not inspected; None if nowhere.

        Returns:
            The number of each crack, 0 for none; and the cracks that have left the view for good.
        """
        at = next((n for n, each in enumerate(self._stretches) if frame in each.placed), None)
        if at is None:
            return [0] * len(cracks), []
        closed = [crack for each in self._stretches[:at] for crack in self._closed(each)]
        self._stretches = self._stretches[at:]
        stretch = self._stretches[0]
        placement = Placement(0, stretch.placed[frame], hw)
        seen = []
        for number, crack in enumerate(cracks):
            curve = curve_of(moved(line.xy, placement.homography) for line in crack.lines)
            curve = curve.chosen(in_view(curve.xy, placement))
            if len(curve.xy):
                seen.append((number, curve))
        tracks = stretch.association.add(placement, seen)
        self._merge(stretch)
        ids = [0] * len(cracks)
        for number, track in tracks.items():
            ids[number] = self._count(stretch, track, frame, hw, cracks[number])
        self._note_views(stretch, placement, ignored)
        closed += self._drop_passed(stretch, hw)
        return ids, closed

    def cracks(self) -> list[LiveCrack]:
        """Cracks in or near the view, ordered by number."""
        return [self._crack(number, closed=False) for number in sorted(self._tallies)]

    def finish(self) -> list[LiveCrack]:
        """Close all cracks and return them, ordered by number."""
        closed = [crack for each in self._stretches for crack in self._closed(each)]
        self._stretches = []
        return sorted(closed, key=lambda crack: crack.id)

    def _begin(self, step: Step) -> bool:
        self._stretches.append(_Stretch(step.hw, placed={step.number: np.eye(3)}))
        return True

    def _count(
        self, stretch: _Stretch, track: int, frame: int, hw: tuple[int, int], crack: Crack
    ) -> int:
        """Count a sighting and return the crack's number."""
        if track not in stretch.ids:
            stretch.ids[track] = self._next
            self._tallies[self._next] = _Tally(frame, frame, float(min(hw)))
            self._next += 1
        number = stretch.ids[track]
        tally = self._tallies[number]
        if tally.last_frame != frame or not tally.frames:
            tally.frames += 1
        tally.last_frame = frame
        tally.confidence += crack.confidence
        tally.sightings += 1
        return number

    def _merge(self, stretch: _Stretch) -> None:
        """Merge cracks that turned out to be one, under their lowest number."""
        for group in stretch.association.groups():
            numbers = sorted({stretch.ids[each] for each in group if each in stretch.ids})
            for other in numbers[1:]:
                self._tallies[numbers[0]].absorb(self._tallies.pop(other))
            if len(numbers) > 1:
                stretch.ids.update(dict.fromkeys(group, numbers[0]))

    def _note_views(
        self, stretch: _Stretch, placement: Placement, ignored: NDArray[np.bool_] | None
    ) -> None:
        shown = _by_track(stretch, lambda xy: looked_at(xy, placement, ignored))
        for number, tracks in _by_id(stretch).items():
            inside = [shown[each] for each in tracks]
            tally = self._tallies[number]
            tally.length_px = sum(_lasting_px(stretch.association.tracks[each]) for each in tracks)
            if float(np.concatenate(inside).mean()) >= _SHARED:
                tally.views += 1

    def _drop_passed(self, stretch: _Stretch, hw: tuple[int, int]) -> list[LiveCrack]:
        newest = Placement(0, inverse(stretch.from_key), hw)
        closed, margin_px = [], -_OUTSIDE * min(hw)
        shown = _by_track(stretch, lambda xy: in_view(xy, newest, margin_px))
        for number, tracks in _by_id(stretch).items():
            if any(shown[each].any() for each in tracks):
                continue
            closed.append(self._crack(number, closed=True))
            del self._tallies[number]
            for each in tracks:
                del stretch.association.tracks[each], stretch.ids[each]
        return closed

    def _closed(self, stretch: _Stretch) -> list[LiveCrack]:
        numbers = sorted(set(stretch.ids.values()))
        cracks = [self._crack(number, closed=True) for number in numbers]
        for number in numbers:
            del self._tallies[number]
        return cracks

    def _crack(self, number: int, *, closed: bool) -> LiveCrack:
        tally = self._tallies[number]
        views = max(tally.views, tally.frames)
        return LiveCrack(
            number,
            closed,
            is_confirmed(tally.frames, views, tally.length_px, tally.side_px),
            tally.first_frame,
            tally.last_frame,
            tally.frames,
            views,
            tally.length_px,
            tally.confidence / max(tally.sightings, 1),
        )


def _by_track(
    stretch: _Stretch, test: Callable[[Points], NDArray[np.bool_]]
) -> dict[int, NDArray[np.bool_]]:
    """Test the points of each track, by its number."""
    tracks = stretch.association.tracks
    return dict(zip(tracks, of_each([each.curve for each in tracks.values()], test), strict=True))


def _by_id(stretch: _Stretch) -> dict[int, list[int]]:
    tracks: dict[int, list[int]] = {}
    for track, number in stretch.ids.items():
        tracks.setdefault(number, []).append(track)
    return tracks


def _lasting_px(track: Track) -> float:
    return int(np.count_nonzero(track.lasting)) * STEP_PX


def _move(track: Track, way: Matrix) -> None:
    """Transform a track's curve in place; points behind the camera are dropped."""
    depth = track.curve.xy @ way[2, :2] + way[2, 2]
    before = depth > 0
    xy, along = track.curve.xy[before], track.curve.along[before]
    there = moved(xy, way)
    turned = moved(xy + along, way) - there
    turned /= np.maximum(np.hypot(*turned.T), 1e-9)[:, None]
    track.curve = CrackCurve(there, turned)
    track.views, track.hits = track.views[before], track.hits[before]
