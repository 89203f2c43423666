"""Lays a run's frames out on sheets, one plane each.

A frame that overlaps the last key frame by less than 70 % becomes a key frame. It is matched with
the ones before it, and the latest are adjusted together. A new sheet begins where tracking is lost
or the scene is not a plane; `layout.py` joins sheets that certainly show the same.
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
# Earlier key frames that a new one is matched with, and number of the latest ones adjusted.
_MATCHED, _MATCHED_OVERLAP, _WINDOW = 4, 0.25, 6
_TRACKED_SIGMA_PX = 2.0
# Key frames whose features are kept; older ones are dropped to limit the memory of long runs.
_MOST_FEATURES = 3000
# Largest distance between match and track, as a share of the frame's longer side.
_MATCHED_SHARE = 0.06
# Points with a larger median distance are not on one plane.
_NO_PLANE_PX = 3.0


@dataclass(frozen=True, eq=False)
class Placement:
    """The position of a frame on its sheet.

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
        number: from 0, in the order of the first frames.
        frames: numbers of its frames, in order.
        key_frames: the key frames among them.
        reference_frame: the frame whose pixels are the sheet's.
        begins: why a new sheet began here, as a clause; "" for a run's first.
        sigma_px: registration error between two frames, one standard deviation.
        drift_px: 95 % bound of a point's distance from its position in the reference frame, if the
            scene is a plane.
        doubtful: pairs of key frames that should overlap but could not be matched, so that a crack
            may appear twice.
        gains: by key frame, factors that equalize its brightness with the others'.
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
    """All sheets of a run; their relative positions are unknown.

    Attributes:
        sheets: ordered by number.
        placements: by frame number, of all frames added.
    """

    sheets: tuple[Sheet, ...]
    placements: dict[int, Placement] = field(repr=False)


@dataclass(frozen=True, eq=False)
class _Frame:
    """A frame relative to the key frame before it; `key` is an index in the list of key frames."""

    hw: tuple[int, int]
    key: int
    from_key: Matrix


class SheetBuilder:
    """Builds sheets from a run's frames; not thread-safe.

        tracker, builder = FrameTracker(), SheetBuilder()
        for gray in grays:
            builder.add(tracker.add(gray), gray)
        for sheet in builder.finish().sheets:
            print(sheet.number, len(sheet.frames), sheet.drift_px, sheet.begins)

    Keeps the features of the last 3,000 key frames, about 0.1 MB each, but no pictures.
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
        """Add the next frame.

        Args:
            step: from the tracker.
            gray: uint8 [H, W], the frame; None if it was not kept. Only key frames are used;
                without a picture, a key frame is placed by tracking alone.

        Returns:
            Whether it is a key frame, whose picture the map will need.

        Raises:
            ConfigError: the frame's size differs from the step's.
        """
        if gray is not None and gray.shape != step.hw:
            raise ConfigError(
                f"the frame has shape {gray.shape}, but the step has {step.hw}",
                "give the same frame to the tracker and the sheet builder",
            )
        if step.homography is None or not self._keys:
            reason = f"tracking was lost: {step.reason}" if self._keys else ""
            self._begin(self._new_key(step, gray), reason)
            return True
        self._from_key = normal(step.homography @ self._from_key)
        if is_far(step.hw, self._keys[-1].hw, self._from_key):
            self._extend(step, gray)
            return True
        self._note(step)
        return False

    def finish(self) -> Sheets:
        """The sheets of all frames so far; more frames may be added afterwards."""
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
        """Begin a new sheet with one key frame."""
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
        """Add a key frame to the sheet, or begin a new sheet if it does not fit."""
        layout, last, tracked = self._layouts[-1], len(self._keys) - 1, self._from_key
        key = self._new_key(step, gray)
        if bad := implausible(self._keys[last].hw, tracked):
            self._begin(key, f"the frame does not fit on the previous sheet: {bad}")
            return
        self._tracks[last] = tracked
        if len(layout.homographies) >= MOST_KEYS:
            self._begin(key, f"the previous sheet has {MOST_KEYS} key frames, the most it can hold")
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
        """Change the reference if the newest key frame is implausible in its pixels."""
        newest = max(places)
        if implausible(self._keys[newest].hw, places[newest]):
            other = reference_of(places, self._keys)
            if other is not None:
                return other, based_on(other, places)
        return reference, places

    def _misfit(self, places: dict[int, Matrix], ties: Sequence[Tie]) -> str:
        """Why the newest key frame does not belong on the sheet; "" if it does."""
        newest = max(places)
        if bad := implausible(self._keys[newest].hw, places[newest]):
            return f"the frame does not fit on the previous sheet: {bad}"
        away_px = max(float(np.median(distances_px(places, tie))) for tie in ties)
        if away_px > _NO_PLANE_PX:
            return f"the scene is not a plane: matched points are {away_px:.1f} px apart"
        return ""

    def _ties(self, places: dict[int, Matrix], tracked: Matrix) -> list[Tie]:
        """Corresponding points of the newest key frame and the ones before it."""
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
        """Interpolate between the placements by the key frames before and after it.

        Also returns a bound of the tracking error, from their distance at the frame's corners.
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
            # The key frames themselves are exact, so the error between them is at most this.
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
    """Whether a frame overlaps the last key frame so little that it becomes the next one.

    Args:
        hw: height and width of the frame.
        key_hw: of the last key frame.
        from_key: float64 [3, 3], from the last key frame's pixels to the frame's.
    """
    return overlap(hw, key_hw, from_key) < _NEW_KEY_OVERLAP


def _tracked_tie(key: int, old_hw: tuple[int, int], new_hw: tuple[int, int], way: Matrix) -> Tie:
    """A grid of points on the previous key frame, with their tracked positions."""
    shares = np.linspace(0.1, 0.9, 5)
    points = np.stack(np.meshgrid(shares, shares), axis=-1).reshape(-1, 2) * (old_hw[1], old_hw[0])
    there = moved(points, way)
    inside = np.asarray(((there >= 0) & (there <= (new_hw[1], new_hw[0]))).all(axis=1))
    if inside.sum() < 6:
        inside[:] = True
    return Tie(key - 1, key, points[inside], there[inside], _TRACKED_SIGMA_PX)


def _share(from_key: Matrix, whole: Matrix, hw: tuple[int, int]) -> float:
    """Position between two key frames, 0 to 1."""
    outline = corners(hw)
    done, left = (
        float(np.hypot(*(moved(outline, from_key) - moved(outline, each)).T).mean())
        for each in (np.eye(3), whole)
    )
    return done / max(done + left, 1e-9)
