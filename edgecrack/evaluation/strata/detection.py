"""Detection probability by crack width with a lower bound, and the calibration of probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.extras import require
from edgecrack.metrics import uint8_level

BINS = 15
LEAST_LEVEL = 3  # of 255: the first that passes the threshold 0.01
_LEVELS = 256


@dataclass(frozen=True, eq=False)
class Reliability:
    """The number of pixels with each probability, and how many of them are crack.

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
        """The counts of no pictures."""
        return cls(np.zeros(_LEVELS, np.int64), np.zeros(_LEVELS, np.int64))

    def __add__(self, other: Reliability) -> Reliability:
        """The counts of both sets of pictures together."""
        return Reliability(self.pixels + other.pixels, self.crack + other.crack)

    def expected_error(self, least_level: int = LEAST_LEVEL) -> float | None:
        """The expected calibration error, 0 to 1: mean difference of crack share and probability.

        The mean is over 15 bins of equal width, weighted by their pixels. Pixels below
        `least_level` are ignored: nearly all pixels are certain background, which would
        make any model look calibrated.

        Returns:
            The error, or None if all pixels are ignored.
        """
        rows = [row for row in self.bins(least_level) if row["pixels"]]
        total = sum(row["pixels"] for row in rows)
        if not total:
            return None
        off = (row["pixels"] * abs(row["crack_share"] - row["mean_probability"]) for row in rows)
        return float(sum(off) / total)

    def bins(self, least_level: int = LEAST_LEVEL) -> list[dict[str, Any]]:
        """The calibration curve: range, pixels, mean probability and crack share of each bin.

        The last two are None if a bin has no pixels.
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


CONFIDENCE = 0.95
EDGES_PX = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 40.0, 80.0)
TARGET = 0.9


@dataclass(frozen=True)
class Trial:
    """One crack on one photo.

    Attributes:
        photo: id of the picture's photo.
        width_px: the crack's true width.
        level: the highest level, 0 to 255, at which it is found.
    """

    photo: str
    width_px: float
    level: int


@dataclass(frozen=True)
class DetectionConfig:
    """Conditions of the detection probability.

    Attributes:
        mm_per_px: millimetres of the surface that one pixel shows, above 0.
        blur_px: standard deviation of the cracks' blur, or None if unknown.
        threshold: minimum probability of a crack pixel.
    """

    mm_per_px: float
    blur_px: float | None
    threshold: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mm_per_px) and 0 < self.mm_per_px <= 1000):
            raise ConfigError(
                f"the scale is {self.mm_per_px} mm/px", "give a number above 0, at most 1000"
            )


def lower_bound(shares: Sequence[float]) -> float:
    """The one-sided 95 % lower bound of a probability.

    Args:
        shares: for each photo, the share of its cracks that were found, 0 to 1.

    Returns:
            0 to 1; 0 if nothing was found or there are no photos.
    """
    beta = require("scipy.stats", extra="train", purpose="bounds of detection").beta
    found, photos = float(sum(shares)), len(shares)
    if found <= 0:
        return 0.0
    return float(beta.ppf(1 - CONFIDENCE, found, photos - found + 1))


def detection_document(trials: Iterable[Trial], config: DetectionConfig) -> dict[str, Any]:
    """Detection probability by width, as plain values for JSON.

    Args:
        trials: every crack of known width.
        config: scale, blur and threshold.

    Returns:
        The conditions, the meaning of "found", a row for each width class with cracks, and the
        number of cracks narrower or wider than all classes.
    """
    level = uint8_level(config.threshold)
    listed = list(trials)
    rows = []
    for low, high in pairwise(EDGES_PX):
        own = [trial for trial in listed if _is_within(trial.width_px, low, high)]
        if own:
            rows.append(_row(own, low, high, level, config.mm_per_px))
    return {
        "schema_version": 1,
        "mm_per_px": config.mm_per_px,
        "blur_px": config.blur_px,
        "threshold": config.threshold,
        "confidence": CONFIDENCE,
        "found_means": "at the threshold, something is flagged within half the crack's width, or "
        "in the 5x5 square, of at least half of its centre line",
        "probability_means": "mean over photos of the share of their cracks that are found",
        "bound": "Clopper-Pearson, one-sided, each photo one trial",
        "smallest_width_mm_with_bound_above_target": _smallest(rows),
        "target": TARGET,
        "cracks_of_other_widths": len(listed) - sum(row["cracks"] for row in rows),
        "widths": rows,
    }


def _is_within(width_px: float, low: float, high: float) -> bool:
    """An edge belongs to the wider class, the last one to the last class."""
    return low <= width_px < high or width_px == high == EDGES_PX[-1]


def _row(
    trials: Sequence[Trial], low: float, high: float, level: int, mm_per_px: float
) -> dict[str, Any]:
    by_photo: dict[str, list[bool]] = {}
    for trial in trials:
        by_photo.setdefault(trial.photo, []).append(trial.level >= level)
    shares = [float(np.mean(outcomes)) for outcomes in by_photo.values()]
    return {
        "width_px": [low, high],
        "width_mm": [round(low * mm_per_px, 4), round(high * mm_per_px, 4)],
        "cracks": len(trials),
        "photos": len(shares),
        "found": sum(trial.level >= level for trial in trials),
        "probability": float(np.mean(shares)),
        "lower_95": lower_bound(shares),
    }


def _smallest(rows: Sequence[dict[str, Any]]) -> float | None:
    """The least width in mm from which every class's bound reaches the target.

    Classes narrower than a class without cracks do not count.
    """
    smallest, beyond_px = None, None
    for row in reversed(rows):
        gap = beyond_px is not None and row["width_px"][1] != beyond_px
        if gap or row["lower_95"] < TARGET:
            break
        smallest, beyond_px = row["width_mm"][0], row["width_px"][0]
    return smallest
