"""Fits a sheet to points known both on the sheet and in space.

Such points are the camera's position at each frame, or surveyed markers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgecrack.survey.plane_geometry import Points

_FEWEST = 3
# Least second axis of the points' spread, as a share of the first: points along a line do not
# determine positions beside it.
_LEAST_BREADTH = 0.15
_OUTLIER_SIGMAS, _ROUNDS = 3.0, 5
_LEAST_SIGMA_M = 1e-4
_MOST_LEFT_OUT = 0.5


@dataclass(frozen=True, eq=False)
class SheetPlace:
    """A sheet in space.

    Attributes:
        origin_m: float64 [3], of the sheet's pixel (0, 0).
        axes_m: float64 [3, 2], one pixel along x and along y, in space.
        spread_m: standard deviation of the residuals, per axis.
        used: number of points used.
        left_out: number of outliers.
        along_only: the points are on a line, so distances from it are unknown; everything is
            placed on the line.
    """

    origin_m: NDArray[np.float64]
    axes_m: NDArray[np.float64] = field(repr=False)
    spread_m: float
    used: int
    left_out: int
    along_only: bool

    def of(self, points: Points) -> NDArray[np.float64]:
        """Map points of the sheet, float [N, 2], into space, float64 [N, 3] in metres."""
        return np.asarray(self.origin_m + points @ self.axes_m.T, np.float64)


def fit_place(points: Points, places_m: NDArray[np.float64]) -> SheetPlace | None:
    """Fit a sheet to points in space, leaving out outliers.

        >>> square = np.array([[0.0, 0], [100, 0], [0, 100], [100, 100]])
        >>> place = fit_place(square, np.c_[square / 100, np.ones(4)])
        >>> place.of(np.array([[50.0, 50.0]])).round(6).tolist()
        [[0.5, 0.5, 1.0]]

    Args:
        points: float [N, 2], in the sheet's pixels.
        places_m: float [N, 3], their positions in metres.

    Returns:
        None if there are fewer than three points, all points coincide, or more than half of them
        are outliers.
    """
    keep = np.isfinite(points).all(axis=1) & np.isfinite(places_m).all(axis=1)
    points, places = points[keep], places_m[keep]
    if len(points) < _FEWEST:
        return None
    chosen = np.ones(len(points), bool)
    for _ in range(_ROUNDS):
        if chosen.sum() < _FEWEST:
            return None
        fitted = _fitted(points[chosen], places[chosen])
        if fitted is None:
            return None
        origin, axes, along_only = fitted
        away = np.linalg.norm(places - (origin + points @ axes.T), axis=1)
        middle = float(np.median(away))
        sigma = max(1.4826 * float(np.median(np.abs(away - middle))), _LEAST_SIGMA_M)
        better = away <= middle + _OUTLIER_SIGMAS * sigma
        if (better == chosen).all():
            break
        chosen = better
    left_out = int((~chosen).sum())
    if left_out > _MOST_LEFT_OUT * len(points):
        return None
    left = places[chosen] - (origin + points[chosen] @ axes.T)
    free = max(1, 3 * int(chosen.sum()) - (6 if along_only else 9))
    spread = float(np.sqrt((left**2).sum() / free))
    return SheetPlace(origin, axes, spread, int(chosen.sum()), left_out, along_only)


def _fitted(
    points: Points, places: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool] | None:
    """Origin, axes, and whether the points are on a line."""
    middle = np.median(points, axis=0)
    centred = points - middle
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    if sizes[0] <= 1e-6:
        return None
    along_only = bool(sizes[1] < _LEAST_BREADTH * sizes[0])
    basis = directions[:1] if along_only else directions
    design = np.c_[np.ones(len(points)), centred @ basis.T]
    found, *_ = np.linalg.lstsq(design, places, rcond=None)
    axes = np.asarray(found[1:].T @ basis, np.float64)
    return (
        np.asarray(found[0] - axes @ middle, np.float64),
        axes,
        along_only,
    )
