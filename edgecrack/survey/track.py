"""How the picture moved from one frame to the next, on every frame that was captured.

Corners are followed forwards and back (B. Lucas and T. Kanade, IJCAI 1981; Z. Kalal et al.,
"Forward-backward error", ICPR 2010) at half the size, and a homography is fitted to them (D. Barath
et al., "MAGSAC++", CVPR 2020, as OpenCV has it). Knows arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.survey.plane_geometry import Matrix, Points, implausible, moved, normal

TrackState = Literal["first", "tracked", "lost"]

_MOST_CORNERS, _QUALITY, _BETWEEN_PX = 300, 0.004, 7
# Fewer corners than these, as a share of the most, and new ones are looked for.
_RENEWED = 0.6
# Size of the window that is compared, and levels of the pyramid; the larger one costs three times
# as much, and is tried where the other one loses the track: after a jerk, in the dark.
_SMALL_WINDOW, _LARGE_WINDOW = (21, 4), (35, 5)
# Where what is seen repeats itself, as bricks do, corners are found again one repetition away. So a
# motion is believed only where it is like the shift by which the whole pictures agree best (C.
# Kuglin and D. Hines, "The phase correlation image alignment method", 1975), or, where they agree
# nowhere clearly, like the last motion: how far the middle may be from there, as a share of the
# frame's shorter side, and which response is clear.
_BELIEVED, _CLEAR = 0.06, 0.05
_FORTH_AND_BACK_PX = 0.7
_FITTED_PX = 1.0  # at half the size
_LEAST_INLIERS = 20
_FEW_INLIERS, _FEWER_INLIERS, _MOST_RMS_PX = 80, 50, 0.6
_LEAST_SHARE = 0.4
# So much of a frame's width and height the inliers have to span.
_LEAST_SPREAD = 0.3
SMALLEST_PX = 32


@dataclass(frozen=True, eq=False)
class Step:
    """From one frame to the next.

    Attributes:
        number: of the frame; 0 for the first that was added unless it was given.
        time_ns: of the frame, as it was given.
        hw: height and width of the frame.
        state: "first" of all, "tracked" or "lost".
        reason: why it is lost, as a clause; "" otherwise.
        homography: float64 [3, 3], from the previous frame's pixels to this one's; None unless
            tracked.
        inliers: corners that agree with it.
        error_px: root mean square of their distances, in pixels; 0 unless tracked.
    """

    number: int
    time_ns: int | None
    hw: tuple[int, int]
    state: TrackState
    reason: str = ""
    homography: Matrix | None = field(default=None, repr=False)
    inliers: int = 0
    error_px: float = 0.0


class FrameTracker:
    """Follows frames; for one thread.

        tracker = FrameTracker()
        for frame in frames:
            step = tracker.add(gray, frame.capture_time_ns)
            if step.state == "lost":
                print(step.reason)

    After a loss the next frame is followed from the one that could not be.
    """

    def __init__(self) -> None:
        self._count = 0
        self._hw: tuple[int, int] | None = None
        self._small = np.zeros((0, 0), np.uint8)
        self._points = np.zeros((0, 2), np.float32)
        # At half the size, from the frame before the last one to the last one.
        self._motion: Matrix | None = None
        self._hann = np.zeros((0, 0), np.float32)

    def add(
        self, gray: NDArray[np.uint8], time_ns: int | None = None, number: int | None = None
    ) -> Step:
        """Take the next frame.

        Args:
            gray: uint8 [H, W].
            time_ns: when it was captured; kept in the step and not used.
            number: of the frame, above that of the one before; None counts.

        Raises:
            ConfigError: it is of another type or shape, or smaller than 32 px.
        """
        if gray.dtype != np.uint8 or gray.ndim != 2 or min(gray.shape) < SMALLEST_PX:
            raise ConfigError(
                f"a frame of {gray.dtype} {gray.shape} cannot be followed",
                f"give uint8 [height, width] of at least {SMALLEST_PX} px",
            )
        height, width = gray.shape
        self._count = self._count if number is None else number
        half = cv2.resize(gray, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        small = np.asarray(half, np.uint8)
        step, kept = self._step((height, width), small, time_ns)
        self._points = self._renewed(small, kept)
        self._hw, self._small = (height, width), small
        self._count += 1
        return step

    def _step(
        self, hw: tuple[int, int], small: NDArray[np.uint8], time_ns: int | None
    ) -> tuple[Step, NDArray[np.float32]]:
        """The step, and the corners that go on, float32 [N, 2]."""
        none = np.zeros((0, 2), np.float32)
        if self._hw is None:
            return Step(self._count, time_ns, hw, "first"), none
        if hw != self._hw:
            was = f"{self._hw[1]}x{self._hw[0]}"
            reason = f"the frame has {hw[1]}x{hw[0]} px and the one before {was}"
            return Step(self._count, time_ns, hw, "lost", reason), none
        if len(self._points) < _LEAST_INLIERS:
            reason = f"the frame before shows {len(self._points)} corners"
            return Step(self._count, time_ns, hw, "lost", reason), none
        fitted, before, after, inside, reason = self._found(small, hw)
        self._motion = fitted
        if fitted is None:
            return Step(self._count, time_ns, hw, "lost", reason), none
        chosen = before[inside].astype(np.float64), after[inside].astype(np.float64)
        homography = _at_full_size(fitted, hw)
        error_px = 2 * _rms(fitted, *chosen)
        step = Step(
            self._count, time_ns, hw, "tracked", "", homography, int(inside.sum()), error_px
        )
        return step, after[inside]

    def _found(
        self, small: NDArray[np.uint8], hw: tuple[int, int]
    ) -> tuple[Matrix | None, NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], str]:
        """The motion at half the size, the corners before and after, which agree, or why none."""
        begin = self._points.astype(np.float64)
        shift, is_clear = self._shift(small)
        last = begin if self._motion is None else moved(begin, self._motion)
        expected = self._middle(np.eye(3)) + shift
        if not is_clear and self._motion is not None:
            expected = self._middle(self._motion)
        for window, guess in (
            (_SMALL_WINDOW, begin + shift),
            (_SMALL_WINDOW, last),
            (_SMALL_WINDOW, begin),
            (_LARGE_WINDOW, begin + shift),
        ):
            before, after = self._followed(small, window, guess)
            fitted, inside, reason = _fitted(before, after, hw)
            if fitted is not None and self._is_near(fitted, expected):
                return fitted, before, after, inside, ""
            if fitted is not None:
                reason = "the picture looks alike in several places"
        return None, before, after, inside, reason

    def _shift(self, small: NDArray[np.uint8]) -> tuple[NDArray[np.float64], bool]:
        """By which shift both pictures agree best as a whole, float64 [2], and whether clearly."""
        if self._hann.shape != small.shape:
            window = cv2.createHanningWindow(small.shape[::-1], cv2.CV_32F)
            self._hann = np.asarray(window, np.float32)
        (x, y), response = cv2.phaseCorrelate(
            self._small.astype(np.float32), small.astype(np.float32), self._hann
        )
        return np.array([x, y], np.float64), response >= _CLEAR

    def _middle(self, motion: Matrix) -> Points:
        """Where the middle of the frame before is now, float64 [1, 2]."""
        height, width = self._small.shape
        return moved(np.array([[width / 2, height / 2]]), motion)

    def _is_near(self, motion: Matrix, expected: Points) -> bool:
        away = float(np.hypot(*(self._middle(motion) - expected)[0]))
        return away <= _BELIEVED * min(self._small.shape)

    def _followed(
        self, small: NDArray[np.uint8], window: tuple[int, int], guess: Points
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Corners of the frame before and where they are now, at half the size."""
        side_px, levels = window
        size, highest, how = (side_px, side_px), levels - 1, cv2.OPTFLOW_USE_INITIAL_FLOW
        start, begin = self._points, guess.astype(np.float32)
        there, found, _ = cv2.calcOpticalFlowPyrLK(
            self._small, small, start, begin, winSize=size, maxLevel=highest, flags=how
        )
        back, returned, _ = cv2.calcOpticalFlowPyrLK(
            small, self._small, there, start.copy(), winSize=size, maxLevel=highest, flags=how
        )
        away = np.abs(back - start).max(axis=1)
        sound = (found[:, 0] == 1) & (returned[:, 0] == 1) & (away < _FORTH_AND_BACK_PX)
        return start[sound], np.asarray(there[sound], np.float32)

    def _renewed(self, small: NDArray[np.uint8], kept: NDArray[np.float32]) -> NDArray[np.float32]:
        """The corners to follow next, float32 [N, 2]: those that are left, and new ones."""
        if len(kept) >= _RENEWED * _MOST_CORNERS:
            return kept
        free = np.full(small.shape, 255, np.uint8)
        for x, y in np.round(kept).astype(int).tolist():
            cv2.circle(free, (x, y), _BETWEEN_PX, 0, -1)
        wanted = _MOST_CORNERS - len(kept)
        new = cv2.goodFeaturesToTrack(small, wanted, _QUALITY, _BETWEEN_PX, mask=free)
        if new is None:
            return kept
        return np.concatenate([kept, np.asarray(new, np.float32).reshape(-1, 2)])


def _fitted(
    before: NDArray[np.float32], after: NDArray[np.float32], hw: tuple[int, int]
) -> tuple[Matrix | None, NDArray[np.bool_], str]:
    """A homography at half the size, which points agree with it, or why there is none."""
    none = np.zeros(len(before), bool)
    if len(before) < _LEAST_INLIERS:
        return None, none, f"only {len(before)} corners were found again"
    found, agree = cv2.findHomography(
        before, after, cv2.USAC_MAGSAC, _FITTED_PX, maxIters=500, confidence=0.999
    )
    if found is None:
        return None, none, "no homography fits the corners"
    inside = agree[:, 0] != 0
    count = int(inside.sum())
    if count < _LEAST_INLIERS or count < _LEAST_SHARE * len(before):
        return None, none, f"only {count} of {len(before)} corners move as one plane"
    spread = np.ptp(before[inside], axis=0) / (hw[1] / 2, hw[0] / 2)
    if spread.min() < _LEAST_SPREAD:
        return None, none, "the corners that were found again lie in one part of the frame"
    homography = normal(np.asarray(found, np.float64))
    if count < _FEW_INLIERS:
        affine = _affine(before[inside], after[inside])
        if _rms(affine, before[inside], after[inside]) <= _MOST_RMS_PX:
            homography = affine
        elif count < _FEWER_INLIERS:
            return None, none, f"the {count} corners that were found again do not move as one plane"
    if reason := implausible(hw, _at_full_size(homography, hw)):
        return None, none, reason
    return homography, inside, ""


def _affine(before: NDArray[np.float32], after: NDArray[np.float32]) -> Matrix:
    """The affine motion that fits points best.

    Few points tell the perspective badly: a frame's corners, where none of them lies, would be
    anywhere.
    """
    design = np.c_[before.astype(np.float64), np.ones(len(before))]
    found, *_ = np.linalg.lstsq(design, after.astype(np.float64), rcond=None)
    return np.vstack([found.T, [0.0, 0.0, 1.0]])


def _at_full_size(homography: Matrix, hw: tuple[int, int]) -> Matrix:
    """From OpenCV's pixels at half the size, where the middle of the first is (0, 0), to ours."""
    height, width = hw
    half = np.array(
        [[width // 2 / width, 0, -0.5], [0, height // 2 / height, -0.5], [0, 0, 1]], np.float64
    )
    return normal(np.asarray(np.linalg.inv(half) @ homography @ half, np.float64))


def _rms(homography: Matrix, before: NDArray[Any], after: NDArray[Any]) -> float:
    mapped = before @ homography[:, :2].T + homography[:, 2]
    away = mapped[:, :2] / mapped[:, 2:] - after
    return float(np.sqrt((away**2).sum(axis=1).mean()))
