"""Whether two frames show the same part of a plane, by SIFT, and how one lies on the other.

D. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60, 2004. Features are
kept of key frames alone. Knows arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.survey.plane_geometry import Matrix, Points, implausible, moved, normal

_MOST_FEATURES, _LEAST_CONTRAST = 900, 0.015
_RATIO = 0.8
_FITTED_PX = 1.5
_MOST_KEPT = 48  # of a match's points, spread over the frame
_LEAST_INLIERS = 15
_LEAST_SHARE = 0.2
_LEAST_SPREAD = 0.12


@dataclass(frozen=True, eq=False)
class Features:
    """What of a frame is found again in others.

    Attributes:
        xy: float64 [N, 2], in pixels.
        descriptors: uint8 [N, 128].
        hw: height and width of the frame.
        level: float64 [N], the mean grey value around each.
    """

    xy: Points
    descriptors: NDArray[np.uint8]
    hw: tuple[int, int]
    level: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Match:
    """Two frames that show the same plane.

    Attributes:
        homography: float64 [3, 3], from the first frame's pixels to the second's.
        first: float64 [N, 2], points in the first frame that agree with it, spread out.
        second: float64 [N, 2], the same in the second.
        inliers: how many agreed in all.
        brighter: how many times as bright the second frame is there.
    """

    homography: Matrix
    first: Points
    second: Points
    inliers: int
    brighter: float


def find_features(gray: NDArray[np.uint8]) -> Features:
    """The features of a frame.

    Args:
        gray: uint8 [H, W].
    """
    finder = cv2.SIFT.create(nfeatures=_MOST_FEATURES, contrastThreshold=_LEAST_CONTRAST)
    found, descriptors = finder.detectAndCompute(gray, None)
    hw = gray.shape[0], gray.shape[1]
    if descriptors is None or not len(found):
        return no_features(hw)
    xy = np.array([each.pt for each in found], np.float64)
    smooth = cv2.blur(gray, (9, 9))
    rows, columns = np.clip(np.round(xy[:, ::-1]).astype(int), 0, np.array(hw) - 1).T
    level = smooth[rows, columns].astype(np.float64)
    return Features(xy + 0.5, np.asarray(np.rint(descriptors), np.uint8), hw, level)


def no_features(hw: tuple[int, int]) -> Features:
    """Of a frame that shows nothing, or whose picture is lost."""
    return Features(np.zeros((0, 2)), np.zeros((0, 128), np.uint8), hw, np.zeros(0))


def match(
    first: Features,
    second: Features,
    expected: Matrix | None = None,
    within_px: float = np.inf,
    least_inliers: int = _LEAST_INLIERS,
) -> Match | None:
    """How one frame lies on another.

    Args:
        first: of one frame.
        second: of the other.
        expected: float [3, 3], the homography that is expected; None for none.
        within_px: how far features, and the second frame's corners, may be from where they are
            expected.
        least_inliers: fewer are no match.

    Returns:
        None where they do not show the same plane for certain.
    """
    one, other = _paired(first, second, expected, within_px)
    if len(one) < least_inliers:
        return None
    before, after = first.xy[one], second.xy[other]
    found, agree = cv2.findHomography(
        before, after, cv2.USAC_MAGSAC, _FITTED_PX, maxIters=2000, confidence=0.9999
    )
    if found is None:
        return None
    inside = agree[:, 0] != 0
    homography = normal(np.asarray(found, np.float64))
    if not _is_sound(homography, before[inside], len(one), first.hw, least_inliers):
        return None
    if expected is not None and np.isfinite(within_px):
        away = moved(before[inside], homography) - moved(before[inside], expected)
        if np.hypot(*away.T).max() > within_px:
            return None
    levels = first.level[one][inside] + 1, second.level[other][inside] + 1
    kept = _spread(before[inside], first.hw)
    brighter = float(np.exp(np.median(np.log(levels[1] / levels[0]))))
    return Match(homography, before[inside][kept], after[inside][kept], int(inside.sum()), brighter)


def _paired(
    first: Features, second: Features, expected: Matrix | None, within_px: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Numbers of features that look alike and like no other, each at most once."""
    none = np.zeros(0, np.intp)
    if min(len(first.xy), len(second.xy)) < 2:
        return none, none
    squared = _squared_distances(first.descriptors, second.descriptors)
    nearest = np.argpartition(squared, 1, axis=1)[:, :2]
    two = np.take_along_axis(squared, nearest, axis=1)
    best = nearest[np.arange(len(two)), np.argmin(two, axis=1)]
    one = np.flatnonzero(two.min(axis=1) < _RATIO**2 * two.max(axis=1))
    one = one[np.argsort(two.min(axis=1)[one], kind="stable")]
    other = best[one]
    _, own = np.unique(other, return_index=True)
    own.sort()
    one, other = one[own], other[own]
    if expected is not None and np.isfinite(within_px):
        away = moved(first.xy[one], expected) - second.xy[other]
        near = np.hypot(*away.T) <= within_px
        one, other = one[near], other[near]
    return one, other


def _squared_distances(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    one, other = first.astype(np.float32), second.astype(np.float32)
    lengths = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)
    return np.asarray(lengths - 2 * (one @ other.T), np.float32)


def _is_sound(
    homography: Matrix, inside: Points, paired: int, hw: tuple[int, int], least_inliers: int
) -> bool:
    if len(inside) < max(least_inliers, _LEAST_SHARE * paired):
        return False
    spread = np.ptp(inside, axis=0) / (hw[1], hw[0])
    return bool(spread.min() >= _LEAST_SPREAD and not implausible(hw, homography))


def _spread(points: Points, hw: tuple[int, int]) -> NDArray[np.intp]:
    """Numbers of at most 48 points, by turns from the cells of a grid."""
    if len(points) <= _MOST_KEPT:
        return np.arange(len(points))
    cells = np.floor(points / (hw[1], hw[0]) * 6).astype(int) @ (1, 6)
    order = np.argsort(cells, kind="stable")
    begins = np.flatnonzero(np.diff(cells[order], prepend=-1))
    turn = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    chosen: NDArray[np.intp] = order[np.argsort(turn, kind="stable")][:_MOST_KEPT]
    return chosen
