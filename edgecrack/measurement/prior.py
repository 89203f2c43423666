"""What is known of a crack before a profile across it is seen. Knows arrays only."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.measurement.bars import BLURS_PX, REFLECTANCES, Profile, bank_of

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
