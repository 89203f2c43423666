"""What cracks look like in profiles of grey values: bars of all widths behind all blurs.

With what level and slope of the surface add to each, so that a profile is compared with thousands
in two products of matrices. Knows arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
