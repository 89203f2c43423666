"""Where in a profile the crack lies, and about how wide it is. Knows arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecrack.measurement.bars import HALVES_PX, Profile, bank_of_places

FEWEST_PX = 9
# A dip of any depth is taken where a black crack leaves so many times as much of the profile.
_MUCH_WORSE = 2.5
# How far from a profile's middle the crack may be expected, as a standard deviation.
_AWAY_PX = 2.0


@dataclass(frozen=True)
class Cut:
    """The part of a profile in whose middle the crack lies.

    Attributes:
        values: float64 [n], n odd.
        centre_px: where their middle lies in the profile.
        factor: pixels of the profile that a value stands for; more than 1 where the crack is wide.
        widest_px: in values, how wide the crack may be.
    """

    values: Profile
    centre_px: float
    factor: int
    widest_px: float


def crack_in(values: Profile, gamma: float) -> Cut:
    """The part of a profile that shows the crack, shrunk where that is wide.

    Args:
        values: float64 [n], grey values across the crack.
        gamma: light is the grey value to this power.

    Returns:
        Fewer than `FEWEST_PX` values where the crack lies at the profile's end.
    """
    factor = 1
    while True:
        coarse = _shrunk(values, factor, gamma)
        if len(coarse) < FEWEST_PX:
            return Cut(coarse, 0.0, factor, 0.0)
        middle, width_px = _dip(coarse, gamma)
        if width_px < 12 or len(coarse) < 4 * FEWEST_PX:
            break
        factor *= 2
    # Far from a narrow crack there is only more of the surface, and its unevenness.
    half = min(middle, len(coarse) - 1 - middle, max(6, round(1.5 * width_px + 10)))
    half = max((each for each in HALVES_PX if each <= half), default=0)
    cut = coarse[middle - half : middle + half + 1]
    return Cut(cut, middle * factor + (factor - 1) / 2, factor, max(6.0, 3 * width_px))


def _shrunk(values: Profile, factor: int, gamma: float) -> Profile:
    """Means over pixels, of their light: those of grey values would make cracks too wide."""
    if factor == 1:
        return values
    count = len(values) // factor
    light = values[: count * factor].reshape(count, factor) ** gamma
    return np.asarray(light.mean(axis=1) ** (1 / gamma), np.float64)


def _dip(values: Profile, gamma: float) -> tuple[int, float]:
    """Pixel of the crack's middle and about how wide it is.

    A black crack, for that is what most are and grains are not; but a dip of any depth where none
    comes near to the profile, as blur and motion make.
    """
    places = bank_of_places(len(values), gamma)
    y = values.astype(np.float32)
    black = float(y @ y) - (places.first @ y) ** 2 - (places.second @ y) ** 2
    darker = np.maximum(places.dips @ y, 0.0)  # a bright line is no crack
    any_depth = float(without_bar(y[None])[0]) - darker**2
    best = [int(np.argmax(_how_likely(each, places.grid, len(y)))) for each in (black, any_depth)]
    is_shallow = float(black[best[0]]) > _MUCH_WORSE * max(float(any_depth[best[1]]), 1e-9)
    centre, width = places.grid[best[is_shallow]]
    return int(centre), float(width)


def _how_likely(left: NDArray[np.float32], grid: Profile, count: int) -> Profile:
    """Log probability of each place by what it leaves, near the middle before further away."""
    likely = -(count - 5) / 2 * np.log(np.maximum(left, 1e-12))
    away = grid[:, 0] - (count - 1) / 2
    return np.asarray(likely - 0.5 * (away / max(_AWAY_PX, count / 12)) ** 2, np.float64)


def without_bar(y: NDArray[np.float32]) -> Profile:
    """What is left of profiles [m, n] when level and slope alone are fitted: float [m]."""
    x = np.arange(y.shape[1]) - (y.shape[1] - 1) / 2
    plain = y - y.mean(axis=1, keepdims=True)
    slope = (plain @ x)[:, None] * x / (x @ x)
    return np.asarray(((plain - slope) ** 2).sum(axis=1), np.float64)
