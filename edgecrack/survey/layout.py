"""Key frames laid out on one plane: how they lie, how sure that is, and how bright each is.

Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgecrack.survey.adjustment import Adjusted, Tie, adjust, place_covariance
from edgecrack.survey.matching import Features
from edgecrack.survey.plane_geometry import (
    Matrix,
    corners,
    implausible,
    inverse,
    local_scale,
    moved,
    normal,
)

Pair = tuple[int, int]

# Key frames that are laid out at once: their places are solved together, which takes memory by the
# square of their number and time by its cube.
MOST_KEYS = 400

# Of a distance in the plane, 95 % lie within so many of the larger standard deviation.
_WITHIN_95 = 2.45
# Points of a match share what the lens and an uneven wall do to them: so many count as one.
_ALIKE = 8.0
# What following frames between two key frames adds.
_BETWEEN_KEYS_PX = 1.0
_LEAST_SIGMA_PX = 0.3
# A gain is drawn towards 1 as if it were measured there with this standard deviation (log).
_GAIN_SPREAD, _GAIN_NOISE = 0.2, 0.05
# Key frames that are asked for the reference at most; what a frame's length away counts.
_MOST_ASKED, _FAR = 40, 0.15


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """A frame that a sheet is made from.

    Attributes:
        number: of the frame in the run.
        hw: height and width in pixels.
        features: by which it is found again.
    """

    number: int
    hw: tuple[int, int]
    features: Features


@dataclass(frozen=True, eq=False)
class Layout:
    """Key frames on one plane; each by its place in the list of a run's key frames.

    Attributes:
        homographies: by key frame, float64 [3, 3], from its pixels to the plane's.
        ties: by pair of key frames, the lower one first.
        begins: why it is a layout of its own, as a clause; "" for a run's first.
        reference: the key frame whose pixels are the plane's.
        sigma_px: standard deviation with which a place in two frames meets.
        drift_px: 95 % bound of how far a place is from where the reference would show it.
        doubtful: pairs that ought to show the same and in which it was not found.
    """

    homographies: dict[int, Matrix]
    ties: dict[Pair, Tie]
    begins: str
    reference: int
    sigma_px: float = _LEAST_SIGMA_PX
    drift_px: float = _BETWEEN_KEYS_PX
    doubtful: tuple[Pair, ...] = field(default=())


def settled(layout: Layout, keys: Sequence[KeyFrame]) -> Layout:
    """All key frames moved so that they agree, in the pixels of one of them.

    Args:
        layout: to begin with.
        keys: a run's key frames.
    """
    chosen = reference_of(layout.homographies, keys)
    chosen = layout.reference if chosen is None else chosen
    based = based_on(chosen, layout.homographies)
    free = [key for key in based if key != chosen]
    unit_px = unit_of(keys[chosen])
    adjusted = adjust(based, list(layout.ties.values()), free, unit_px)
    return replace(
        layout,
        homographies=adjusted.homographies,
        reference=chosen,
        sigma_px=max(_LEAST_SIGMA_PX, adjusted.sigma_px),
        drift_px=_drift_px(adjusted, keys, unit_px),
    )


def unit_of(key: KeyFrame) -> float:
    """Half a frame's longer side, in which `adjust` reckons."""
    return max(key.hw) / 2


def reference_of(homographies: dict[int, Matrix], keys: Sequence[KeyFrame]) -> int | None:
    """The key frame in whose pixels the others are least distorted, and that lies in the middle.

    Args:
        homographies: by key frame, float64 [3, 3], to one plane.
        keys: a run's key frames.

    Returns:
        None where in none's pixels all others are plausible.
    """
    numbers = list(homographies)
    costs = {}
    for key in numbers[:: 1 + len(numbers) // _MOST_ASKED]:
        based = based_on(key, homographies)
        if not any(implausible(keys[each].hw, way) for each, way in based.items()):
            costs[key] = max(_distortion(way, keys[each].hw) for each, way in based.items())
    return min(costs, key=lambda key: costs[key]) if costs else None


def based_on(reference: int, homographies: dict[int, Matrix]) -> dict[int, Matrix]:
    """The same in the pixels of one of the key frames."""
    back = inverse(homographies[reference])
    return {key: normal(back @ each) for key, each in homographies.items()}


def distances_px(homographies: dict[int, Matrix], tie: Tie) -> NDArray[np.float64]:
    """How far a tie's points are from each other, float64 [N], in pixels of its second frame."""
    both = inverse(homographies[tie.second]) @ homographies[tie.first]
    return np.asarray(np.hypot(*(moved(tie.first_xy, both) - tie.second_xy).T), np.float64)


def gains_of(layout: Layout, keys: Sequence[KeyFrame]) -> dict[int, float]:
    """By frame number of a key frame, what its grey values are multiplied by to be like the others.

    Least squares over the matches, each gain drawn a little towards 1 (M. Brown and D. Lowe,
    "Automatic panoramic image stitching using invariant features", IJCV 74, 2007).
    """
    at = {key: place for place, key in enumerate(layout.homographies)}
    matrix = np.eye(len(at)) / _GAIN_SPREAD**2
    right = np.zeros(len(at))
    for tie in layout.ties.values():
        if tie.brighter is None:
            continue
        one, other = at[tie.first], at[tie.second]
        weight = 1 / _GAIN_NOISE**2
        matrix[[one, other], [one, other]] += weight
        matrix[one, other] -= weight
        matrix[other, one] -= weight
        right[one] += weight * np.log(tie.brighter)
        right[other] -= weight * np.log(tie.brighter)
    logs = np.linalg.solve(matrix, right)
    return {keys[key].number: float(np.exp(logs[place])) for key, place in at.items()}


def _distortion(homography: Matrix, hw: tuple[int, int]) -> float:
    """How much a frame is enlarged or shrunk, and a little of how far it is away."""
    height, width = hw
    middle = np.array([[width / 2, height / 2]])
    away = np.hypot(*(moved(middle, homography) - middle)[0]) / max(hw)
    return float(abs(np.log(local_scale(homography, middle)[0])) + _FAR * away)


def _drift_px(adjusted: Adjusted, keys: Sequence[KeyFrame], unit_px: float) -> float:
    """95 % bound over the corners of all key frames."""
    worst = 0.0
    for key, covariance in adjusted.covariances.items():
        places = place_covariance(
            adjusted.homographies[key], _ALIKE * covariance, corners(keys[key].hw), unit_px
        )
        worst = max(worst, float(np.linalg.eigvalsh(places).max()))
    return float(np.hypot(_WITHIN_95 * np.sqrt(worst), _BETWEEN_KEYS_PX))
