"""Homographies between views of one plane: points, outlines, overlaps, and which are plausible.

A point's coordinates are x and y in pixels; the middle of the first pixel is (0.5, 0.5). Knows
arrays only.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Points = NDArray[np.float64]

# Seen through a plausible homography, a frame's sides and its area change by no more than this.
_MOST_STRETCH = 6.0
# How much nearer one corner may be to the camera than another.
_MOST_TILT = 3.0


def moved(points: Points, homography: Matrix) -> Points:
    """Points seen through a homography.

        >>> moved(np.array([[1.0, 2.0]]), np.diag([2.0, 2.0, 1.0])).tolist()
        [[2.0, 4.0]]

    Args:
        points: float [N, 2].
        homography: float [3, 3].

    Returns:
        float64 [N, 2].
    """
    mapped = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(mapped[:, :2] / mapped[:, 2:], np.float64)


def normal(homography: Matrix) -> Matrix:
    """The same homography with a lower right element of 1."""
    return np.asarray(homography / homography[2, 2], np.float64)


def inverse(homography: Matrix) -> Matrix:
    """The way back."""
    return normal(np.asarray(np.linalg.inv(homography), np.float64))


def corners(hw: tuple[int, int]) -> Points:
    """The corners of a frame, float64 [4, 2], from the upper left, clockwise."""
    height, width = hw
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)


def through_corners(hw: tuple[int, int], places: Points) -> Matrix:
    """The homography that brings a frame's corners to four places, float64 [4, 2]."""
    found = cv2.getPerspectiveTransform(corners(hw).astype(np.float32), places.astype(np.float32))
    return np.asarray(found, np.float64)


def overlap(hw: tuple[int, int], other_hw: tuple[int, int], homography: Matrix) -> float:
    """Share of a frame that shows what another one shows, too.

    Args:
        hw: height and width of the frame.
        other_hw: of the other.
        homography: float [3, 3], from the other's pixels to the frame's.

    Returns:
        0 to 1; 0 where the homography is not plausible.
    """
    if implausible(other_hw, homography):
        return 0.0
    seen = moved(corners(other_hw), homography).astype(np.float32)
    shared, _ = cv2.intersectConvexConvex(corners(hw).astype(np.float32), seen)
    return float(min(1.0, shared / (hw[0] * hw[1])))


def local_scale(homography: Matrix, points: Points) -> NDArray[np.float64]:
    """By how much a homography enlarges, at places.

    Args:
        homography: float [3, 3].
        points: float [N, 2].

    Returns:
        float64 [N], the root of the change of area.
    """
    depth = points @ homography[2, :2] + homography[2, 2]
    area = np.abs(np.linalg.det(homography) / depth**3)
    return np.asarray(np.sqrt(area), np.float64)


def implausible(hw: tuple[int, int], homography: Matrix) -> str:
    """Why a homography cannot be another view of the plane that a frame shows.

    Args:
        hw: height and width of the frame.
        homography: float [3, 3], from the frame's pixels.

    Returns:
        A clause; "" where it can.
    """
    outline = corners(hw)
    depth = outline @ homography[2, :2] + homography[2, 2]
    if not np.isfinite(homography).all() or depth.min() <= 0:
        return "the plane would lie behind the camera"
    if depth.max() > _MOST_TILT * depth.min():
        return "the plane would be seen nearly edge on"
    places = moved(outline, homography)
    sides = np.diff(np.concatenate([places, places[:1]]), axis=0)
    after = np.roll(sides, -1, axis=0)
    if (sides[:, 0] * after[:, 1] - sides[:, 1] * after[:, 0]).min() <= 0:
        return "the picture would be mirrored or folded"
    ratios = np.hypot(*sides.T) / np.array([hw[1], hw[0], hw[1], hw[0]])
    if ratios.max() > _MOST_STRETCH or ratios.min() < 1 / _MOST_STRETCH:
        return f"the scale would change by more than {_MOST_STRETCH:.0f} times"
    return ""
