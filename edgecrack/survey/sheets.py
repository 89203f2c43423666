"""Frames laid out on planes: a wall, or each part of it that can be laid out without force.

Of a run's frames those become key frames that show less than 70 % of what the last one shows. Each
is matched with those before it, and the latest are moved so that they agree. Where the track is
lost, or what is seen is no plane, another sheet begins; `closure.py` puts sheets together where
they show the same for certain. Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.survey.layout import (
    MATCHED_SIGMA_PX,
    MOST_KEYS,
    Closer,
    KeyFrame,
    Layout,
    based_on,
    distances_px,
    gains_of,
    reference_of,
    unit_of,
)
from edgecrack.survey.plane_geometry import (
    Matrix,
    corners,
    implausible,
    inverse,
    moved,
    normal,
    overlap,
    through_corners,
)
from edgecrack.survey.registration import Tie, adjust, find_features, match, no_features
from edgecrack.survey.track import Step

_NEW_KEY_OVERLAP = 0.7
# Key frames before it that a new one is matched with, and how many of the last ones move.
_MATCHED, _MATCHED_OVERLAP, _WINDOW = 4, 0.25, 6
_TRACKED_SIGMA_PX = 2.0
# Key frames that are found again; older ones are no more, so that a long run stays within memory.
_MOST_FEATURES = 3000
# How far a match may be from what the track says, as a share of the frame's longer side.
_MATCHED_SHARE = 0.06
# Points further apart than this on the whole are not on one plane.
_NO_PLANE_PX = 3.0


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a frame lies.

    Attributes:
        sheet: number of its sheet.
        homography: float64 [3, 3], from the frame's pixels to the sheet's.
        hw: height and width of the frame.
    """

    sheet: int
    homography: Matrix
    hw: tuple[int, int]

    @cached_property
    def back(self) -> Matrix:
        """From the sheet's pixels to the frame's, float64 [3, 3]."""
        return inverse(self.homography)


@dataclass(frozen=True)
class Sheet:
    """One plane, in the pixels of one of its frames.

    Attributes:
        number: from 0, by the first frame.
        frames: numbers of its frames, in order.
        key_frames: of those, the ones it was made from.
        reference_frame: whose pixels are the sheet's.
        begins: why it is a sheet of its own, as a clause; "" for a run's first.
        sigma_px: standard deviation with which the same place in two frames meets.
        drift_px: no place is further than this from where the reference frame would show it, with
            95 % certainty, if what is seen is a plane.
        doubtful: pairs of key frames that ought to show the same and in which it was not found, so
            that a crack may be there twice.
        gains: by key frame, by what its grey values are multiplied to be as bright as the others.
    """

    number: int
    frames: tuple[int, ...]
    key_frames: tuple[int, ...]
    reference_frame: int
    begins: str
    sigma_px: float
    drift_px: float
    doubtful: tuple[tuple[int, int], ...] = ()
    gains: dict[int, float] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Sheets:
    """All sheets of a run; of several it is not known how they lie to each other.

    Attributes:
        sheets: by number.
        placements: by frame number, of every frame that was added.
    """

    sheets: tuple[Sheet, ...]
    placements: dict[int, Placement] = field(repr=False)


@dataclass(frozen=True, eq=False)
class _Frame:
    """A frame by the key frame before it, a place in the list of key frames."""

    hw: tuple[int, int]
    key: int
    from_key: Matrix


class SheetBuilder:
    """Makes sheets of a run's frames; for one thread.

        tracker, builder = FrameTracker(), SheetBuilder()
        for gray in grays:
            builder.add(tracker.add(gray), gray)
        for sheet in builder.finish().sheets:
            print(sheet.number, len(sheet.frames), sheet.drift_px, sheet.begins)

    Keeps the features of the last 3,000 key frames, about 0.1 MB each, and no pictures.
    """

    def __init__(self) -> None:
        self._keys: list[KeyFrame] = []
        self._layouts: list[Layout] = []
        self._frames: dict[int, _Frame] = {}
        # From the newest key frame to the newest frame; from other key frames to the next ones.
        self._from_key = np.eye(3)
        self._tracks: dict[int, Matrix] = {}
        self._closer = Closer(self._keys)

    def add(self, step: Step, gray: NDArray[np.uint8] | None) -> bool:
        """Take the next frame.

        Args:
            step: what the tracker said of it.
            gray: uint8 [H, W], the frame; None where it was not kept. Only key frames are looked
                at: without its picture one has its place from the track alone.

        Returns:
            Whether it is a key frame, so that whoever draws the map keeps its picture.

        Raises:
            ConfigError: the step is of another frame.
        """
        if gray is not None and gray.shape != step.hw:
            raise ConfigError(
                f"the frame has the shape {gray.shape} and the step is of {step.hw}",
                "give the frame that the tracker was given",
            )
        if step.homography is None or not self._keys:
            reason = f"the track was lost: {step.reason}" if self._keys else ""
            self._begin(self._new_key(step, gray), reason)
            return True
        self._from_key = normal(step.homography @ self._from_key)
        if is_far(step.hw, self._keys[-1].hw, self._from_key):
            self._extend(step, gray)
            return True
        self._note(step)
        return False

    def finish(self) -> Sheets:
        """The sheets of all frames so far; more may be added afterwards."""
        layouts = self._closer.link([self._closer.close(each) for each in self._layouts])
        by_key = {key: number for number, each in enumerate(layouts) for key in each.homographies}
        placements, apart_px = {}, dict.fromkeys(range(len(layouts)), 0.0)
        for number, followed in self._frames.items():
            placement, away_px = self._placement(followed, layouts, by_key)
            placements[number] = placement
            apart_px[placement.sheet] = max(apart_px[placement.sheet], away_px)
        members: dict[int, list[int]] = {}
        for frame in sorted(placements):
            members.setdefault(placements[frame].sheet, []).append(frame)
        sheets = [
            self._sheet(number, each, members, apart_px[number])
            for number, each in enumerate(layouts)
        ]
        return Sheets(tuple(sheets), placements)

    def _begin(self, key: int, reason: str) -> None:
        """Another sheet, of one key frame so far."""
        self._layouts.append(Layout({key: np.eye(3)}, {}, reason, key))

    def _new_key(self, step: Step, gray: NDArray[np.uint8] | None) -> int:
        features = no_features(step.hw) if gray is None else find_features(gray)
        self._keys.append(KeyFrame(step.number, step.hw, features))
        if len(self._keys) > _MOST_FEATURES:
            old = len(self._keys) - _MOST_FEATURES - 1
            self._keys[old] = replace(self._keys[old], features=no_features(self._keys[old].hw))
        self._from_key = np.eye(3)
        self._note(step)
        return len(self._keys) - 1

    def _note(self, step: Step) -> None:
        self._frames[step.number] = _Frame(step.hw, len(self._keys) - 1, self._from_key)

    def _extend(self, step: Step, gray: NDArray[np.uint8] | None) -> None:
        """A key frame more on the sheet, or another sheet where it does not fit on it."""
        layout, last, tracked = self._layouts[-1], len(self._keys) - 1, self._from_key
        key = self._new_key(step, gray)
        if bad := implausible(self._keys[last].hw, tracked):
            self._begin(key, f"the frame does not fit on the sheet before: {bad}")
            return
        self._tracks[last] = tracked
        if len(layout.homographies) >= MOST_KEYS:
            self._begin(key, f"the sheet before has {MOST_KEYS} key frames, as many as it can hold")
            return
        placed = normal(layout.homographies[last] @ inverse(tracked))
        reference, places = self._fitting(layout.reference, {**layout.homographies, key: placed})
        ties = self._ties(places, tracked)
        first = key - _WINDOW
        free = [each for each in places if each > first][1:]
        used = [each for each in layout.ties.values() if each.second > first]
        unit_px = unit_of(self._keys[key])
        places = adjust(places, [*used, *ties], free, unit_px).homographies
        reference, places = self._fitting(reference, places)
        if bad := self._misfit(places, ties):
            self._begin(key, bad)
            return
        found = {(tie.first, tie.second): tie for tie in ties}
        self._layouts[-1] = replace(
            layout, homographies=places, ties={**layout.ties, **found}, reference=reference
        )

    def _fitting(self, reference: int, places: dict[int, Matrix]) -> tuple[int, dict[int, Matrix]]:
        """The same in the pixels of another key frame, where the newest fits on it only so."""
        newest = max(places)
        if implausible(self._keys[newest].hw, places[newest]):
            other = reference_of(places, self._keys)
            if other is not None:
                return other, based_on(other, places)
        return reference, places

    def _misfit(self, places: dict[int, Matrix], ties: Sequence[Tie]) -> str:
        """Why the newest key frame does not belong on a sheet; "" where it does."""
        newest = max(places)
        if bad := implausible(self._keys[newest].hw, places[newest]):
            return f"the frame does not fit on the sheet before: {bad}"
        away_px = max(float(np.median(distances_px(places, tie))) for tie in ties)
        if away_px > _NO_PLANE_PX:
            return f"what is seen is no plane: its points are {away_px:.1f} px apart"
        return ""

    def _ties(self, places: dict[int, Matrix], tracked: Matrix) -> list[Tie]:
        """Points that the newest key frame and those before it both show."""
        key, ties = max(places), []
        new = self._keys[key]
        for other in sorted(places)[-_MATCHED - 1 : -1]:
            old = self._keys[other]
            expected = normal(inverse(places[key]) @ places[other])
            if overlap(new.hw, old.hw, expected) < _MATCHED_OVERLAP:
                continue
            within_px = _MATCHED_SHARE * max(new.hw)
            found = match(old.features, new.features, expected, within_px)
            if found is not None:
                sigma, brighter = MATCHED_SIGMA_PX, found.brighter
                ties.append(Tie(other, key, found.first, found.second, sigma, brighter))
        if all(tie.first != key - 1 for tie in ties):
            ties.append(_tracked_tie(key, self._keys[key - 1].hw, new.hw, tracked))
        return ties

    def _placement(
        self, frame: _Frame, layouts: Sequence[Layout], by_key: dict[int, int]
    ) -> tuple[Placement, float]:
        """By the key frame before it and, the nearer it is, the one after it.

        Also how far the two of them are apart on where its corners are: the track's own error.
        """
        sheet, key = by_key[frame.key], frame.key
        places = layouts[sheet].homographies
        placed = normal(places[key] @ inverse(frame.from_key))
        away_px = 0.0
        whole = self._tracks.get(key)
        if whole is not None and key + 1 in places:
            back = normal(whole @ inverse(frame.from_key))
            after = normal(places[key + 1] @ back)
            outline = corners(frame.hw)
            share = _share(frame.from_key, whole, frame.hw)
            one, other = moved(outline, placed), moved(outline, after)
            # Between the two key frames, which are right, it is wrong by no more than this.
            away_px = 2 * min(share, 1 - share) * float(np.hypot(*(one - other).T).max())
            mixed = (1 - share) * one + share * other
            placed = through_corners(frame.hw, mixed)
        return Placement(sheet, placed, frame.hw), away_px

    def _sheet(
        self, number: int, layout: Layout, members: dict[int, list[int]], apart_px: float
    ) -> Sheet:
        return Sheet(
            number,
            tuple(members[number]),
            tuple(self._keys[key].number for key in sorted(layout.homographies)),
            self._keys[layout.reference].number,
            layout.begins,
            layout.sigma_px,
            float(np.hypot(layout.drift_px, apart_px)),
            tuple((self._keys[one].number, self._keys[two].number) for one, two in layout.doubtful),
            gains_of(layout, self._keys),
        )


def is_far(hw: tuple[int, int], key_hw: tuple[int, int], from_key: Matrix) -> bool:
    """Whether a frame shows so little of what the last key frame shows that it is the next one.

    Args:
        hw: height and width of the frame.
        key_hw: of the last key frame.
        from_key: float64 [3, 3], from that one's pixels to the frame's.
    """
    return overlap(hw, key_hw, from_key) < _NEW_KEY_OVERLAP


def _tracked_tie(key: int, old_hw: tuple[int, int], new_hw: tuple[int, int], way: Matrix) -> Tie:
    """Points of a grid on the key frame before, where the track says that they are now."""
    shares = np.linspace(0.1, 0.9, 5)
    points = np.stack(np.meshgrid(shares, shares), axis=-1).reshape(-1, 2) * (old_hw[1], old_hw[0])
    there = moved(points, way)
    inside = np.asarray(((there >= 0) & (there <= (new_hw[1], new_hw[0]))).all(axis=1))
    if inside.sum() < 6:
        inside[:] = True
    return Tie(key - 1, key, points[inside], there[inside], _TRACKED_SIGMA_PX)


def _share(from_key: Matrix, whole: Matrix, hw: tuple[int, int]) -> float:
    """How much of the way to the next key frame is done, 0 to 1."""
    outline = corners(hw)
    done, left = (
        float(np.hypot(*(moved(outline, from_key) - moved(outline, each)).T).mean())
        for each in (np.eye(3), whole)
    )
    return done / max(done + left, 1e-9)
