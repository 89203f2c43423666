"""Tracks the motion between consecutive captured frames.

Corners are tracked forwards and backwards at half size (B. Lucas and T. Kanade, IJCAI 1981; Z.
Kalal et al., "Forward-backward error", ICPR 2010), and a homography is fitted to them (D. Barath et
al., "MAGSAC++", CVPR 2020, OpenCV's implementation).
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
# With fewer corners than this share of the most, new ones are detected.
_RENEWED = 0.6
# Window size and pyramid levels. The larger window takes three times as long and is tried where the
# smaller one fails: after a jerk, in the dark.
_SMALL_WINDOW, _LARGE_WINDOW = (21, 4), (35, 5)
# On repetitive texture, such as bricks, corners may be matched one period away. So a motion is
# accepted only if it agrees with the phase correlation of the whole images (C. Kuglin and D. Hines,
# "The phase correlation image alignment method", 1975) or, without a clear peak, with the last
# motion. Largest distance of the image centre, as a share of the frame's shorter side; least
# response of a clear peak.
_BELIEVED, _CLEAR = 0.06, 0.05
_FORTH_AND_BACK_PX = 0.7
_FITTED_PX = 1.0  # at half size
_LEAST_INLIERS = 20
_FEW_INLIERS, _FEWER_INLIERS, _MOST_RMS_PX = 80, 50, 0.6
_LEAST_SHARE = 0.4
# Least span of the inliers, as a share of a frame's width and height.
_LEAST_SPREAD = 0.3
SMALLEST_PX = 32


@dataclass(frozen=True, eq=False)
class Step:
    """The motion from one frame to the next.

    Attributes:
        number: frame number; counted from 0 unless given.
        time_ns: capture time, as given.
        hw: height and width of the frame.
        state: "first", "tracked" or "lost".
        reason: why it is lost, as a clause; "" otherwise.
        homography: float64 [3, 3], from the previous frame's pixels to this one's; None unless
            tracked.
        inliers: number of corners that agree with it.
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
    """Tracks the motion between frames; not thread-safe.

        tracker = FrameTracker()
        for frame in frames:
            step = tracker.add(gray, frame.capture_time_ns)
            if step.state == "lost":
                print(step.reason)

    After a loss, tracking restarts from the frame that was lost.
    """

    def __init__(self) -> None:
        self._count = 0
        self._hw: tuple[int, int] | None = None
        self._small = np.zeros((0, 0), np.uint8)
        self._points = np.zeros((0, 2), np.float32)
        # At half size, from the last frame but one to the last one.
        self._motion: Matrix | None = None
        self._hann = np.zeros((0, 0), np.float32)

    def add(
        self, gray: NDArray[np.uint8], time_ns: int | None = None, number: int | None = None
    ) -> Step:
        """Add the next frame.

        Args:
            gray: uint8 [H, W].
            time_ns: capture time; only copied into the step.
            number: frame number, above the previous one; None counts up.

        Raises:
            ConfigError: wrong dtype or shape, or smaller than 32 px.
        """
        if gray.dtype != np.uint8 or gray.ndim != 2 or min(gray.shape) < SMALLEST_PX:
            raise ConfigError(
                f"a frame of {gray.dtype} {gray.shape} cannot be tracked",
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
        """The step, and the corners that remain, float32 [N, 2]."""
        none = np.zeros((0, 2), np.float32)
        if self._hw is None:
            return Step(self._count, time_ns, hw, "first"), none
        if hw != self._hw:
            was = f"{self._hw[1]}x{self._hw[0]}"
            reason = f"the frame has {hw[1]}x{hw[0]} px and the previous one {was}"
            return Step(self._count, time_ns, hw, "lost", reason), none
        if len(self._points) < _LEAST_INLIERS:
            reason = f"the previous frame has only {len(self._points)} corners"
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
        """The motion at half size, the corners before and after, the inliers, or why it failed."""
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
                reason = "the texture repeats itself, so the motion is ambiguous"
        return None, before, after, inside, reason

    def _shift(self, small: NDArray[np.uint8]) -> tuple[NDArray[np.float64], bool]:
        """Shift by phase correlation of both images, float64 [2], and whether its peak is clear."""
        if self._hann.shape != small.shape:
            window = cv2.createHanningWindow(small.shape[::-1], cv2.CV_32F)
            self._hann = np.asarray(window, np.float32)
        (x, y), response = cv2.phaseCorrelate(
            self._small.astype(np.float32), small.astype(np.float32), self._hann
        )
        return np.array([x, y], np.float64), response >= _CLEAR

    def _middle(self, motion: Matrix) -> Points:
        """Where a motion moves the centre of the previous frame, float64 [1, 2]."""
        height, width = self._small.shape
        return moved(np.array([[width / 2, height / 2]]), motion)

    def _is_near(self, motion: Matrix, expected: Points) -> bool:
        away = float(np.hypot(*(self._middle(motion) - expected)[0]))
        return away <= _BELIEVED * min(self._small.shape)

    def _followed(
        self, small: NDArray[np.uint8], window: tuple[int, int], guess: Points
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Tracked corners in the previous frame and in this one, at half size."""
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
        """The corners to track next, float32 [N, 2]: the remaining ones and new ones."""
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
    """A homography at half size and its inliers, or why there is none."""
    none = np.zeros(len(before), bool)
    if len(before) < _LEAST_INLIERS:
        return None, none, f"only {len(before)} corners could be tracked"
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
        return None, none, "all tracked corners are in one part of the frame"
    homography = normal(np.asarray(found, np.float64))
    if count < _FEW_INLIERS:
        affine = _affine(before[inside], after[inside])
        if _rms(affine, before[inside], after[inside]) <= _MOST_RMS_PX:
            homography = affine
        elif count < _FEWER_INLIERS:
            return None, none, f"the {count} tracked corners do not move as one plane"
    if reason := implausible(hw, _at_full_size(homography, hw)):
        return None, none, reason
    return homography, inside, ""


def _affine(before: NDArray[np.float32], after: NDArray[np.float32]) -> Matrix:
    """The affine motion that fits points best.

    Few points determine the perspective poorly, which would misplace the frame's corners.
    """
    design = np.c_[before.astype(np.float64), np.ones(len(before))]
    found, *_ = np.linalg.lstsq(design, after.astype(np.float64), rcond=None)
    return np.vstack([found.T, [0.0, 0.0, 1.0]])


def _at_full_size(homography: Matrix, hw: tuple[int, int]) -> Matrix:
    """From OpenCV's pixels at half size, with the first one's centre at (0, 0), to ours."""
    height, width = hw
    half = np.array(
        [[width // 2 / width, 0, -0.5], [0, height // 2 / height, -0.5], [0, 0, 1]], np.float64
    )
    return normal(np.asarray(np.linalg.inv(half) @ homography @ half, np.float64))


def _rms(homography: Matrix, before: NDArray[Any], after: NDArray[Any]) -> float:
    mapped = before @ homography[:, :2].T + homography[:, 2]
    away = mapped[:, :2] / mapped[:, 2:] - after
    return float(np.sqrt((away**2).sum(axis=1).mean()))
