"""Registers frames to each other: feature matching and joint least-squares adjustment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """SIFT features of a frame.

    Attributes:
        xy: float64 [N, 2], in pixels.
        descriptors: uint8 [N, 128].
        hw: height and width of the frame.
        level: float64 [N], mean grey value around each feature.
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
        first: float64 [N, 2], inliers in the first frame, thinned to an even spread.
        second: float64 [N, 2], the same points in the second.
        inliers: number of inliers before thinning.
        brighter: brightness of the second frame relative to the first, at the inliers.
    """

    homography: Matrix
    first: Points
    second: Points
    inliers: int
    brighter: float


def find_features(gray: NDArray[np.uint8]) -> Features:
    """Detect a frame's features.

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
    """Features of a frame without any, or without a picture."""
    return Features(np.zeros((0, 2)), np.zeros((0, 128), np.uint8), hw, np.zeros(0))


def match(
    first: Features,
    second: Features,
    expected: Matrix | None = None,
    within_px: float = np.inf,
    least_inliers: int = _LEAST_INLIERS,
) -> Match | None:
    """Match two frames.

    Args:
        first: features of one frame.
        second: features of the other.
        expected: float [3, 3], the expected homography, if any.
        within_px: largest distance of features from their expected positions.
        least_inliers: fewer are not a match.

    Returns:
        None unless both certainly show the same plane.
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
    """Indices of unambiguous feature pairs, each feature at most once."""
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
    """Indices of at most 48 points, taken in turn from the cells of a grid."""
    if len(points) <= _MOST_KEPT:
        return np.arange(len(points))
    cells = np.floor(points / (hw[1], hw[0]) * 6).astype(int) @ (1, 6)
    order = np.argsort(cells, kind="stable")
    begins = np.flatnonzero(np.diff(cells[order], prepend=-1))
    turn = np.arange(len(order)) - np.repeat(begins, np.diff(begins, append=len(order)))
    chosen: NDArray[np.intp] = order[np.argsort(turn, kind="stable")][:_MOST_KEPT]
    return chosen


_ROUNDS = 12
_ENOUGH_PX = 0.005
_OUTLYING = 2.0  # standard deviations beyond which a distance has less weight
_MEDIAN = 1.1774  # of the length of a vector of two standard normal values
_SIZE = 8  # parameters of a homography
# Basis of the homographies near the identity, without scalar multiples.
_BASIS = np.zeros((_SIZE, 3, 3))
for _k, (_i, _j) in enumerate(((0, 2), (1, 2), (0, 1), (1, 0), (2, 0), (2, 1))):
    _BASIS[_k, _i, _j] = 1
_BASIS[6] = np.diag([1.0, -1.0, 0.0])
_BASIS[7] = np.diag([1.0, 1.0, -2.0])


@dataclass(frozen=True, eq=False)
class Tie:
    """Corresponding points of two frames.

    Attributes:
        first: number of one frame.
        second: number of the other.
        first_xy: float64 [N, 2], in pixels of the first.
        second_xy: float64 [N, 2], the same points in the second.
        sigma_px: standard deviation of a point's position.
        brighter: brightness of the second frame relative to the first; None if unknown.
    """

    first: int
    second: int
    first_xy: Points
    second_xy: Points
    sigma_px: float
    brighter: float | None = None


@dataclass(frozen=True, eq=False)
class Adjusted:
    """Result of an adjustment.

    Attributes:
        homographies: by frame, float64 [3, 3], from its pixels to the plane's.
        covariances: by free frame, float64 [8, 8], of its parameters; see `place_covariance`.
        sigma_px: standard deviation of the points' distances, in pixels of the frames.
    """

    homographies: dict[int, Matrix]
    covariances: dict[int, NDArray[np.float64]]
    sigma_px: float


def adjust(
    homographies: Mapping[int, Matrix], ties: Sequence[Tie], free: Sequence[int], unit_px: float
) -> Adjusted:
    """Adjust free frames by least squares so that corresponding points coincide.

    Args:
        homographies: by frame, float [3, 3], from its pixels to the plane's: initial values.
        ties: between these frames; those between two fixed frames are ignored.
        free: the frames that may move; `homographies` must contain at least one other.
        unit_px: about half a frame's width.

    Returns:
        All frames; fixed ones are unchanged.
    """
    unit = np.diag([1 / unit_px, 1 / unit_px, 1.0])
    back = np.diag([unit_px, unit_px, 1.0])
    # In units in which a frame's coordinates are about 1, so that all parameters are alike.
    now = {frame: unit @ each @ back for frame, each in homographies.items()}
    at = {frame: place for place, frame in enumerate(free)}
    used = [tie for tie in ties if tie.first in at or tie.second in at]
    matrix = np.eye(_SIZE * len(free))
    away = np.zeros(0)
    for _ in range(_ROUNDS if used and free else 0):
        matrix, right, away = _normal_equations(now, used, at, unit_px)
        change = np.linalg.solve(matrix + 1e-9 * np.eye(len(matrix)), -right).reshape(-1, _SIZE)
        for frame, place in at.items():
            now[frame] = now[frame] @ _exponential(change[place])
        if np.abs(change).max(initial=0.0) * unit_px < _ENOUGH_PX:
            break
    sigma_px = float(np.median(away)) / _MEDIAN if len(away) else 0.0
    covariances = _covariances(matrix, at, used, away) if used else {}
    placed = {frame: normal(back @ each @ unit) for frame, each in now.items()}
    return Adjusted(placed, covariances, sigma_px)


def place_covariance(
    homography: Matrix, covariance: NDArray[np.float64], points: Points, unit_px: float
) -> NDArray[np.float64]:
    """Covariance of a frame's points on the plane.

    Args:
        homography: float [3, 3], of the frame.
        covariance: float [8, 8], from `adjust`.
        points: float [N, 2], in the frame's pixels.
        unit_px: as passed to `adjust`.

    Returns:
        float64 [N, 2, 2], in square pixels of the plane.
    """
    scale = np.diag([1 / unit_px, 1 / unit_px, 1.0])
    matrix = scale @ homography @ np.linalg.inv(scale)
    _, slopes = _slopes(matrix, points / unit_px, _BASIS)
    slopes = slopes * unit_px
    return np.asarray(np.einsum("nik,kl,njl->nij", slopes, covariance, slopes), np.float64)


def _normal_equations(
    now: Mapping[int, Matrix], ties: Sequence[Tie], at: Mapping[int, int], unit_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The matrix, the right-hand side, and each point's distance in pixels."""
    size = _SIZE * len(at)
    matrix, right = np.zeros((size, size)), np.zeros(size)
    distances = []
    for tie in ties:
        both = np.linalg.inv(now[tie.second]) @ now[tie.first]
        mapped, first = _slopes(both, tie.first_xy / unit_px, _BASIS)
        _, second = _slopes(np.eye(3), mapped, -_BASIS)
        away = mapped - tie.second_xy / unit_px
        distance_px = np.hypot(*away.T) * unit_px
        distances.append(distance_px)
        sigma = tie.sigma_px / unit_px
        weight = np.minimum(1, _OUTLYING * tie.sigma_px / np.maximum(distance_px, 1e-9)) / sigma**2
        slopes = {tie.first: first, tie.second: second}
        for one in slopes.keys() & at.keys():
            rows = slice(_SIZE * at[one], _SIZE * (at[one] + 1))
            right[rows] += np.einsum("nik,ni,n->k", slopes[one], away, weight)
            for other in slopes.keys() & at.keys():
                columns = slice(_SIZE * at[other], _SIZE * (at[other] + 1))
                matrix[rows, columns] += np.einsum(
                    "nik,nil,n->kl", slopes[one], slopes[other], weight
                )
    return matrix, right, np.concatenate(distances)


def _slopes(
    matrix: Matrix, points: Points, basis: NDArray[np.float64]
) -> tuple[Points, NDArray[np.float64]]:
    """Points mapped by a homography, and their derivatives by small changes applied before it.

    Returns:
        float [N, 2] and float [N, 2, 8].
    """
    ones = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    x, y, w = (ones @ matrix.T).T
    mapped = np.stack([x / w, y / w], axis=1)
    changes = np.einsum("ij,kjl,nl->nik", matrix, basis, ones)
    slopes = (changes[:, :2] - mapped[:, :, None] * changes[:, 2:]) / w[:, None, None]
    return mapped, slopes


def _exponential(change: NDArray[np.float64]) -> Matrix:
    """The homography of a small change, by its series."""
    small = np.einsum("k,kij->ij", change, _BASIS)
    squared = small @ small
    return np.asarray(np.eye(3) + small + squared / 2 + squared @ small / 6, np.float64)


def _covariances(
    matrix: NDArray[np.float64],
    at: Mapping[int, int],
    ties: Sequence[Tie],
    away: NDArray[np.float64],
) -> dict[int, NDArray[np.float64]]:
    """Covariance of each free frame, scaled by the observed distances."""
    sigma = np.concatenate([np.full(len(tie.first_xy), tie.sigma_px) for tie in ties])
    excess = max(0.2, float(np.median(away / sigma)) / _MEDIAN) ** 2
    whole = np.linalg.inv(matrix + 1e-9 * np.eye(len(matrix))) * excess
    blocks = {}
    for frame, place in at.items():
        own = slice(_SIZE * place, _SIZE * (place + 1))
        blocks[frame] = np.asarray(whole[own, own], np.float64)
    return blocks
