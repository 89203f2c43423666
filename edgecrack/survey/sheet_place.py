"""Where a sheet lies in space: fitted to places of which both the sheet and the world are known.

Such as where the camera was at each frame, or markers whose coordinates were surveyed. Knows arrays
only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgecrack.survey.plane_geometry import Points

_FEWEST = 3
# Places that lie along a line tell nothing of what is beside it: how long the second axis of their
# spread has to be at least, as a share of the first.
_LEAST_BREADTH = 0.15
_OUTLIER_SIGMAS, _ROUNDS = 3.0, 5
_LEAST_SIGMA_M = 1e-4
_MOST_LEFT_OUT = 0.5


@dataclass(frozen=True, eq=False)
class SheetPlace:
    """A sheet in space.

    Attributes:
        origin_m: float64 [3], of the sheet's pixel (0, 0).
        axes_m: float64 [3, 2], what a pixel along x and along y is in space.
        spread_m: standard deviation of the places about the fit, each axis.
        used: how many places counted.
        left_out: how many were too far from the others' fit.
        along_only: the places lie along a line, so that how far something is beside it is not
            known; it is placed on the line.
    """

    origin_m: NDArray[np.float64]
    axes_m: NDArray[np.float64] = field(repr=False)
    spread_m: float
    used: int
    left_out: int
    along_only: bool

    def of(self, points: Points) -> NDArray[np.float64]:
        """Where points of the sheet, float [N, 2], are: float64 [N, 3] in metres."""
        return np.asarray(self.origin_m + points @ self.axes_m.T, np.float64)


def fit_place(points: Points, places_m: NDArray[np.float64]) -> SheetPlace | None:
    """Fit a sheet to places, leaving out those that jump.

        >>> square = np.array([[0.0, 0], [100, 0], [0, 100], [100, 100]])
        >>> place = fit_place(square, np.c_[square / 100, np.ones(4)])
        >>> place.of(np.array([[50.0, 50.0]])).round(6).tolist()
        [[0.5, 0.5, 1.0]]

    Args:
        points: float [N, 2], in the sheet's pixels.
        places_m: float [N, 3], where these are, in metres.

    Returns:
        None of fewer than three places, of places that do not differ, and where half of them do
        not agree with the rest.
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
    """Origin, axes, and whether the points lie along a line."""
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
