"""A crack in cross-section: the model of a blurred dark bar, dips in profiles, and the prior."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError

Profile = NDArray[np.float64]
MIN_WIDTH_PX = 0.3
HALVES_PX = (4, 5, 6, 8, 10, 12, 15, 20, 25, 32)
BLURS_PX = (0.3, 0.42, 0.55, 0.65, 0.75, 0.87, 1.0, 1.15, 1.3, 1.5, 1.7, 1.95, 2.25)
REFLECTANCES = (0.02, 0.07, 0.12, 0.17, 0.22, 0.3, 0.42, 0.6)
_OFFSETS_PX = (-0.8, -0.4, 0.0, 0.4, 0.8)


@dataclass(frozen=True)
class Bank:
    """Templates of one length, each with what is left when level and slope are fitted to it.

    Attributes:
        first: float32 [K, n], the templates, of unit length.
        second: float32 [K, n], what a slope adds to each, of unit length and orthogonal to it.
        widths_px: of the bars, ever wider.
        offsets_px: of their middles from the profile's.
        blurs_px: sigmas of the point spread.
        reflectances: shares of the surface's light that come out of the crack.
    """

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    widths_px: Profile
    offsets_px: Profile
    blurs_px: Profile
    reflectances: Profile

    def up_to(self, widest_px: float) -> Bank:
        """The templates of narrower cracks alone."""
        kept = int(np.searchsorted(self.widths_px, widest_px)) + 1
        size = kept * len(self.offsets_px) * len(self.blurs_px) * len(self.reflectances)
        return replace(
            self,
            first=self.first[:size],
            second=self.second[:size],
            widths_px=self.widths_px[:kept],
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Numbers of widths, offsets, blurs and reflectances; their product is K."""
        return (
            len(self.widths_px), len(self.offsets_px), len(self.blurs_px), len(self.reflectances)
        )  # fmt: skip


@dataclass(frozen=True)
class Places:
    """Where in a profile a crack may lie, and how wide it may be.

    Attributes:
        grid: float64 [K, 2], pixel and width.
        first: float32 [K, n], a black crack at each, of unit length.
        second: float32 [K, n], what a slope adds to each, of unit length and orthogonal to it.
        dips: float32 [K, n], a dip of any depth at each, without level and slope, of unit length.
    """

    grid: Profile
    first: NDArray[np.float32]
    second: NDArray[np.float32]
    dips: NDArray[np.float32]


@lru_cache(maxsize=64)
def bank_of_places(count: int, gamma: float) -> Places:
    """Cracks at every pixel of the middle two thirds of a profile, to find the one that is there.

    Args:
        count: values of the profile.
        gamma: light is the grey value to this power.
    """
    at = np.arange(count, dtype=np.float64)
    reach = count / 3
    centres = [each for each in range(count) if abs(each - (count - 1) / 2) <= reach]
    widths = np.geomspace(1, max(2.0, count / 2), 8)
    grid = np.array([(centre, width) for centre in centres for width in widths])
    bars = dark_bar(at - grid[:, :1], grid[:, 1:], 1.2)
    first, second = _orthonormal((1 - 0.85 * bars) ** (1 / gamma), at - at.mean())
    plain = np.stack([np.ones(count), at - at.mean()])
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    left = (bars @ plain.T) @ plain - bars
    left /= np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-9)
    return Places(grid, first, second, left.astype(np.float32))


@lru_cache(maxsize=len(HALVES_PX) * 2)
def bank_of(half_px: int, gamma: float) -> Bank:
    """Templates of profiles with their crack in the middle.

    Args:
        half_px: pixels on either side of the middle one, of `HALVES_PX`.
        gamma: light is the grey value to this power.
    """
    x = np.arange(-half_px, half_px + 1, dtype=np.float64)
    widths = _widths(2 * half_px - 3)
    offsets, blurs = np.array(_OFFSETS_PX), np.array(BLURS_PX)
    reflectances = np.array(REFLECTANCES)
    w, c, s = np.meshgrid(widths, offsets, blurs, indexing="ij")
    bars = dark_bar(x - c[..., None], w[..., None], s[..., None])  # [W, C, S, n]
    light = 1 - (1 - reflectances[:, None]) * bars[:, :, :, None, :]
    shapes = (light ** (1 / gamma)).reshape(-1, len(x))
    first, second = _orthonormal(shapes, x)
    return Bank(first, second, widths, offsets, blurs, reflectances)


def _widths(widest_px: float) -> Profile:
    """Ever wider steps, up to those that a blur of the least kind hides."""
    widths = [MIN_WIDTH_PX]
    while widths[-1] < widest_px:
        widths.append(widths[-1] + min(0.14 * widths[-1], 0.3))
    return np.array(widths)


def dark_bar(x: Profile, width_px: Any, blur_px: Any) -> Profile:
    """A bar of height 1 behind a Gaussian blur."""
    scale = np.sqrt(2) * blur_px
    upper, lower = (x + width_px / 2) / scale, (x - width_px / 2) / scale
    return (_erf(upper) - _erf(lower)) / 2


def _erf(x: Profile) -> Profile:
    """The error function within 1.5e-7, for NumPy has none.

    M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions (1964), formula 7.1.26.
    """
    t = 1 / (1 + 0.3275911 * abs(x))
    series = t * (
        0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))
    )
    return np.asarray(np.sign(x) * (1 - series * np.exp(-x * x)), np.float64)


def _orthonormal(shapes: Profile, x: Profile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Level and slope of each template as two orthogonal vectors of unit length."""
    first = shapes / np.linalg.norm(shapes, axis=1, keepdims=True)
    sloped = shapes * x
    sloped = sloped - first * (sloped * first).sum(axis=1, keepdims=True)
    second = sloped / np.linalg.norm(sloped, axis=1, keepdims=True)
    return first.astype(np.float32), second.astype(np.float32)


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


GAMMA = 2.2  # of nearly all cameras' 8-bit pictures
# Of clean cracks; dusty and wet ones may send back more.
LIKELY_REFLECTANCE = (0.04, 0.26)
# Pictures that were made smaller, or by a computer, may be sharper.
_LEAST_USUAL_BLUR_PX = 0.5
_WIDTH_POWER = -2.0  # of the prior's density: there are more narrow cracks than wide ones


@dataclass(frozen=True, slots=True)
class WidthPrior:
    """What is known before a profile is seen.

    Attributes:
        reflectance: mean and standard deviation of the share of the surface's light that comes out
            of the crack; None takes 0.05 to 0.25 as likely, and more as possible.
        blur_px: mean and standard deviation of the blur (sigma of the point spread); None takes 0.5
            to 2.5.
        gamma: light is the grey value to this power, 0.2 to 5; 1 for grey values proportional to
            light.

    Raises:
        ConfigError: a value is out of range.
    """

    reflectance: tuple[float, float] | None = None
    blur_px: tuple[float, float] | None = None
    gamma: float = GAMMA

    def __post_init__(self) -> None:
        if not 0.2 <= self.gamma <= 5:
            raise ConfigError(f"gamma is {self.gamma}", "give 0.2 to 5; 2.2 for usual pictures")
        if self.reflectance is not None and not (
            0 <= self.reflectance[0] < 1 and self.reflectance[1] >= 0
        ):
            raise ConfigError(
                f"the reflectance is {self.reflectance}", "give a mean of 0 to 1 and its deviation"
            )
        if self.blur_px is not None and not (self.blur_px[0] > 0 and self.blur_px[1] >= 0):
            raise ConfigError(
                f"the blur is {self.blur_px}", "give a mean above 0 and its deviation, in pixels"
            )

    def of_shrunk(self, factor: int) -> WidthPrior:
        """What is known of a profile of which each value is the mean over so many pixels."""
        if factor == 1 or self.blur_px is None:
            return self
        mean, spread = self.blur_px
        # The mean over pixels is a blur of its own.
        blurred = math.sqrt(mean**2 + (factor**2 - 1) / 12)
        return replace(self, blur_px=(blurred / factor, spread / factor))


@lru_cache(maxsize=32)
def log_prior(half: int, prior: WidthPrior) -> NDArray[np.float32]:
    """Of each template, float [K]; what stands on a grid counts for the room around it.

    Args:
        half: pixels on either side of a profile's middle one, of `bars.HALVES_PX`.
        prior: what is known.
    """
    bank = bank_of(half, prior.gamma)
    widths = _WIDTH_POWER * np.log(bank.widths_px) + np.log(np.gradient(bank.widths_px))
    offsets = -0.5 * (bank.offsets_px / 1.0) ** 2
    blurs, reflectances = _log_prior_of_blurs(prior), _log_prior_of_reflectances(prior)
    parts = np.meshgrid(widths, offsets, blurs, reflectances, indexing="ij")
    return np.asarray(sum(parts), np.float32).ravel()


def shared_log_prior(prior: WidthPrior) -> Profile:
    """Of each blur and reflectance, float [S, R]."""
    blurs, reflectances = _log_prior_of_blurs(prior), _log_prior_of_reflectances(prior)
    joint = blurs[:, None] + reflectances[None]
    return np.asarray(joint - np.log(np.exp(joint).sum()), np.float64)


def _log_prior_of_blurs(prior: WidthPrior) -> Profile:
    blurs_px = np.array(BLURS_PX)
    if prior.blur_px is None:
        likely = np.where(blurs_px < _LEAST_USUAL_BLUR_PX, 0.1, 1.0)
        return np.asarray(np.log(np.gradient(np.log(blurs_px)) * likely))
    mean, spread = prior.blur_px
    spread = max(spread, 0.07 * mean)
    return np.asarray(-0.5 * ((blurs_px - mean) / spread) ** 2)


def _log_prior_of_reflectances(prior: WidthPrior) -> Profile:
    reflectances = np.array(REFLECTANCES)
    even = np.log(np.gradient(reflectances))
    if prior.reflectance is None:
        low, high = LIKELY_REFLECTANCE
        likely = (reflectances > low) & (reflectances < high)
        return np.asarray(even + np.log(np.where(likely, 1.0, 0.08)))
    mean, spread = prior.reflectance
    spread = max(spread, 0.03)
    return np.asarray(even - 0.5 * ((reflectances - mean) / spread) ** 2)
