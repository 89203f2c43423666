"""Whether a probability of 0.7 is right seven times in ten.

    found = Reliability.of(probability, truth)
    found.expected_error()

Guo et al., "On Calibration of Modern Neural Networks", 2017. Knows counts per level; must not
know pictures' origin or how figures are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
LEAST_LEVEL = 3  # of 255: the first that passes the threshold 0.01
_LEVELS = 256


@dataclass(frozen=True, eq=False)
class Reliability:
    """How many pixels had each probability, and how many of those were crack.

    Attributes:
        pixels: int64 [256].
        crack: int64 [256].
    """

    pixels: NDArray[np.int64]
    crack: NDArray[np.int64]

    @classmethod
    def of(cls, probability: NDArray[np.uint8], truth: NDArray[np.bool_]) -> Reliability:
        """Count one picture: probability uint8 [H, W], truth bool [H, W]."""
        pixels = np.bincount(probability.ravel(), minlength=_LEVELS)
        crack = np.bincount(probability[truth], minlength=_LEVELS)
        return cls(pixels.astype(np.int64), crack.astype(np.int64))

    @classmethod
    def none(cls) -> Reliability:
        """Of no pictures at all."""
        return cls(np.zeros(_LEVELS, np.int64), np.zeros(_LEVELS, np.int64))

    def __add__(self, other: Reliability) -> Reliability:
        """Of both sets of pictures together."""
        return Reliability(self.pixels + other.pixels, self.crack + other.crack)

    def expected_error(self, least_level: int = LEAST_LEVEL) -> float | None:
        """The expected calibration error, 0 to 1: the mean distance of share and probability.

        Over 15 bins of equal width, weighted by their pixels. Nearly all pixels of a wall are
        sure to be none, and would make any model look calibrated: so pixels below `least_level`
        do not count.

        Returns:
            The error, or None where no pixel counts.
        """
        rows = [row for row in self.bins(least_level) if row["pixels"]]
        total = sum(row["pixels"] for row in rows)
        if not total:
            return None
        off = (row["pixels"] * abs(row["crack_share"] - row["mean_probability"]) for row in rows)
        return float(sum(off) / total)

    def bins(self, least_level: int = LEAST_LEVEL) -> list[dict[str, Any]]:
        """The curve: of each bin its range, pixels, mean probability and share of crack.

        The last two are None where a bin has no pixels.
        """
        levels = np.arange(_LEVELS)
        place = np.minimum(levels * BINS // (_LEVELS - 1), BINS - 1)
        rows = []
        for index in range(BINS):
            own = (place == index) & (levels >= least_level)
            pixels, crack = int(self.pixels[own].sum()), int(self.crack[own].sum())
            weighted = float((levels[own] * self.pixels[own]).sum()) / (_LEVELS - 1)
            rows.append(
                {
                    "from": round(index / BINS, 4),
                    "to": round((index + 1) / BINS, 4),
                    "pixels": pixels,
                    "mean_probability": weighted / pixels if pixels else None,
                    "crack_share": crack / pixels if pixels else None,
                }
            )
        return rows
