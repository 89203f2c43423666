"""Cross-section model of a crack: a blurred dark bar, dip detection in profiles, and the prior."""

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
    """Templates of one length, as an orthonormal basis for fitting level and slope.

    Attributes:
        first: float32 [K, n], the templates, normalised to unit length.
        second: float32 [K, n], the slope component of each, unit length, orthogonal to `first`.
        widths_px: bar widths, increasing.
        offsets_px: offsets of the bar centres from the profile centre.
        blurs_px: sigmas of the point spread function.
        reflectances: light from the crack as a share of the light from the surface.
    """

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    widths_px: Profile
    offsets_px: Profile
    blurs_px: Profile
    reflectances: Profile

    def up_to(self, widest_px: float) -> Bank:
        """Only the templates up to this width."""
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
    """Candidate positions and widths of the crack in a profile.

    Attributes:
        grid: float64 [K, 2], pixel and width of each candidate.
        first: float32 [K, n], a black crack at each, unit length.
        second: float32 [K, n], the slope component of each, unit length, orthogonal to `first`.
        dips: float32 [K, n], a dip of any depth at each, level and slope removed, unit length.
    """

    grid: Profile
    first: NDArray[np.float32]
    second: NDArray[np.float32]
    dips: NDArray[np.float32]


@lru_cache(maxsize=64)
def bank_of_places(count: int, gamma: float) -> Places:
    """Candidate cracks at every pixel of the middle two thirds of a profile.

    Args:
        count: number of values in the profile.
        gamma: light is the grey value raised to this power.
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
    """Templates of profiles with the crack in the middle.

    Args:
        half_px: pixels on either side of the middle one, one of `HALVES_PX`.
        gamma: light is the grey value raised to this power.
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
    """Widths in increasing steps."""
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
    """The error function to within 1.5e-7, which NumPy lacks.

    M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions (1964), formula 7.1.26.
    """
    t = 1 / (1 + 0.3275911 * abs(x))
    series = t * (
        0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))
    )
    return np.asarray(np.sign(x) * (1 - series * np.exp(-x * x)), np.float64)


def _orthonormal(shapes: Profile, x: Profile) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Level and slope of each template as two orthogonal unit vectors."""
    first = shapes / np.linalg.norm(shapes, axis=1, keepdims=True)
    sloped = shapes * x
    sloped = sloped - first * (sloped * first).sum(axis=1, keepdims=True)
    second = sloped / np.linalg.norm(sloped, axis=1, keepdims=True)
    return first.astype(np.float32), second.astype(np.float32)


FEWEST_PX = 9
# A dip of any depth is used where the black-crack residual is this many times larger.
_MUCH_WORSE = 2.5
# Expected offset of the crack from the middle of the profile, as a standard deviation.
_AWAY_PX = 2.0


@dataclass(frozen=True)
class Cut:
    """The part of a profile that is centred on the crack.

    Attributes:
        values: float64 [n], n odd.
        centre_px: position of the middle value in the profile.
        factor: profile pixels per value; more than 1 where the crack is wide.
        widest_px: upper limit of the crack width, in values.
    """

    values: Profile
    centre_px: float
    factor: int
    widest_px: float


def crack_in(values: Profile, gamma: float) -> Cut:
    """Cut out the part of a profile that shows the crack, downsampled if the crack is wide.

    Args:
        values: float64 [n], grey values across the crack.
        gamma: light is the grey value raised to this power.

    Returns:
        Fewer than `FEWEST_PX` values where the crack is at the end of the profile.
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
    # Far from a narrow crack, a profile adds only uneven surface.
    half = min(middle, len(coarse) - 1 - middle, max(6, round(1.5 * width_px + 10)))
    half = max((each for each in HALVES_PX if each <= half), default=0)
    cut = coarse[middle - half : middle + half + 1]
    return Cut(cut, middle * factor + (factor - 1) / 2, factor, max(6.0, 3 * width_px))


def _shrunk(values: Profile, factor: int, gamma: float) -> Profile:
    """Mean light over groups of pixels; averaging grey values would make cracks too wide."""
    if factor == 1:
        return values
    count = len(values) // factor
    light = values[: count * factor].reshape(count, factor) ** gamma
    return np.asarray(light.mean(axis=1) ** (1 / gamma), np.float64)


def _dip(values: Profile, gamma: float) -> tuple[int, float]:
    """Centre pixel and approximate width of the crack.

    A black crack is preferred: most cracks are black, and grains are not. Where none fits, as after
    blur or motion, a dip of any depth is used.
    """
    places = bank_of_places(len(values), gamma)
    y = values.astype(np.float32)
    black = float(y @ y) - (places.first @ y) ** 2 - (places.second @ y) ** 2
    darker = np.maximum(places.dips @ y, 0.0)  # a bright line is not a crack
    any_depth = float(without_bar(y[None])[0]) - darker**2
    best = [int(np.argmax(_how_likely(each, places.grid, len(y)))) for each in (black, any_depth)]
    is_shallow = float(black[best[0]]) > _MUCH_WORSE * max(float(any_depth[best[1]]), 1e-9)
    centre, width = places.grid[best[is_shallow]]
    return int(centre), float(width)


def _how_likely(left: NDArray[np.float32], grid: Profile, count: int) -> Profile:
    """Log probability of each candidate from its residual, favouring the middle."""
    likely = -(count - 5) / 2 * np.log(np.maximum(left, 1e-12))
    away = grid[:, 0] - (count - 1) / 2
    return np.asarray(likely - 0.5 * (away / max(_AWAY_PX, count / 12)) ** 2, np.float64)


def without_bar(y: NDArray[np.float32]) -> Profile:
    """Residual of profiles [m, n] after fitting only level and slope: float [m]."""
    x = np.arange(y.shape[1]) - (y.shape[1] - 1) / 2
    plain = y - y.mean(axis=1, keepdims=True)
    slope = (plain @ x)[:, None] * x / (x @ x)
    return np.asarray(((plain - slope) ** 2).sum(axis=1), np.float64)


GAMMA = 2.2  # of 8-bit images from nearly all cameras
# Of clean cracks; dusty and wet ones may reflect more.
LIKELY_REFLECTANCE = (0.04, 0.26)
# Downsampled and rendered images may be sharper.
_LEAST_USUAL_BLUR_PX = 0.5
_WIDTH_POWER = -2.0  # of the prior density: narrow cracks are more common than wide ones


@dataclass(frozen=True, slots=True)
class WidthPrior:
    """Prior knowledge about a profile.

    Attributes:
        reflectance: mean and standard deviation of the light from the crack, as a share of the
            light from the surface; None treats 0.05 to 0.25 as likely and more as possible.
        blur_px: mean and standard deviation of the blur (sigma of the point spread function); None
            assumes 0.5 to 2.5.
        gamma: light is the grey value raised to this power, 0.2 to 5; 1 for grey values
            proportional to light.

    Raises:
        ConfigError: a value is out of range.
    """

    reflectance: tuple[float, float] | None = None
    blur_px: tuple[float, float] | None = None
    gamma: float = GAMMA

    def __post_init__(self) -> None:
        if not 0.2 <= self.gamma <= 5:
            raise ConfigError(f"gamma is {self.gamma}", "give 0.2 to 5; 2.2 suits most images")
        if self.reflectance is not None and not (
            0 <= self.reflectance[0] < 1 and self.reflectance[1] >= 0
        ):
            raise ConfigError(
                f"the reflectance is {self.reflectance}",
                "give a mean of 0 to 1 and its standard deviation",
            )
        if self.blur_px is not None and not (self.blur_px[0] > 0 and self.blur_px[1] >= 0):
            raise ConfigError(
                f"the blur is {self.blur_px}",
                "give a mean above 0 and its standard deviation, in pixels",
            )

    def of_shrunk(self, factor: int) -> WidthPrior:
        """The prior for a profile whose values are each the mean of this many pixels."""
        if factor == 1 or self.blur_px is None:
            return self
        mean, spread = self.blur_px
        # Averaging over pixels adds blur.
        blurred = math.sqrt(mean**2 + (factor**2 - 1) / 12)
        return replace(self, blur_px=(blurred / factor, spread / factor))


@lru_cache(maxsize=32)
def log_prior(half: int, prior: WidthPrior) -> NDArray[np.float32]:
    """Log prior of each template, float [K], weighted by its grid cell.

    Args:
        half: pixels on either side of the middle one, one of `HALVES_PX`.
        prior: prior knowledge.
    """
    bank = bank_of(half, prior.gamma)
    widths = _WIDTH_POWER * np.log(bank.widths_px) + np.log(np.gradient(bank.widths_px))
    offsets = -0.5 * (bank.offsets_px / 1.0) ** 2
    blurs, reflectances = _log_prior_of_blurs(prior), _log_prior_of_reflectances(prior)
    parts = np.meshgrid(widths, offsets, blurs, reflectances, indexing="ij")
    return np.asarray(sum(parts), np.float32).ravel()


def shared_log_prior(prior: WidthPrior) -> Profile:
    """Log prior of each blur and reflectance, float [S, R]."""
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
