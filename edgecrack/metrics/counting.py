"""Counts of hits, false alarms and misses at 99 thresholds, within a tolerance.

A map is never thresholded 99 times. Dilation commutes with thresholding, so one grey
dilation of the map holds D(P) for every threshold, and the counts at all thresholds are
one cumulative histogram. The result is exact, not an approximation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, DataError

Tolerance = Literal["square", "euclidean", "strict"]
"""How near a predicted pixel must be to count as a hit.

`square`: within the 5x5 square around a true pixel (the paper's two pixels); `euclidean`:
at a distance of at most 2.0; `strict`: on it.
"""

TOLERANCES: tuple[Tolerance, ...] = get_args(Tolerance)
TOLERANCE_PX = 2
THRESHOLDS: NDArray[np.float64] = np.arange(1, 100) / 100.0
"""float64 [99], 0.01 to 0.99; a pixel is predicted as crack where probability >= threshold."""

_COUNT_FIELDS = ("predicted", "predicted_matched", "truth", "truth_matched")


@dataclass(frozen=True, eq=False)
class ThresholdCounts:
    """Pixel counts at each of the 99 thresholds, for one image or the sum over many.

    P is the prediction at a threshold, G the truth, D the dilation by the tolerance. Counts
    add with `+`, so images, processes and parts of a stream can be pooled in any order.

    Attributes:
        tolerance: the tolerance they were counted with.
        predicted: int64 [99], |P|.
        predicted_matched: int64 [99], |P and D(G)|.
        truth: int64 [99], |G|, the same at every threshold.
        truth_matched: int64 [99], |G and D(P)|.
    """

    tolerance: Tolerance
    predicted: NDArray[np.int64]
    predicted_matched: NDArray[np.int64]
    truth: NDArray[np.int64]
    truth_matched: NDArray[np.int64]

    def __post_init__(self) -> None:
        _require_tolerance(self.tolerance)
        for name in _COUNT_FIELDS:
            values = getattr(self, name)
            if values.shape != THRESHOLDS.shape or values.dtype != np.int64:
                raise ConfigError(
                    f"{name} is {values.dtype} of shape {values.shape}",
                    f"give int64 of shape {THRESHOLDS.shape}, one count per threshold",
                )

    def __add__(self, other: ThresholdCounts) -> ThresholdCounts:
        """The counts of both sets of images together."""
        if other.tolerance != self.tolerance:
            raise ConfigError(
                f"counts with tolerance {self.tolerance} and {other.tolerance} were added",
                "pool counts of one tolerance only",
            )
        sums = {name: getattr(self, name) + getattr(other, name) for name in _COUNT_FIELDS}
        return ThresholdCounts(self.tolerance, **sums)


def uint8_level(threshold: float) -> int:
    """The least uint8 probability that counts as crack: 255 * threshold, rounded up.

    Args:
        threshold: above 0, at most 1.

    Raises:
        ConfigError: the threshold is out of range.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"the threshold is {threshold}", "give a number above 0, at most 1")
    # 255 * 0.6 is 153 but may be slightly more in floating point, so it is rounded first. A
    # probability of 0 is never crack, however low the threshold.
    return max(1, math.ceil(round(255 * threshold, 6)))


def binarize(probability: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """The prediction P at one threshold.

    Args:
        probability: [H, W], uint8 (255 = certain crack) or floating 0 to 1.
        threshold: above 0, at most 1.

    Returns:
        bool [H, W], true where probability >= threshold.

    Raises:
        DataError: the map is not a probability map.
        ConfigError: the threshold is out of range.
    """
    _require_probability(probability)
    level = uint8_level(threshold)
    if probability.dtype == np.uint8:
        return np.asarray(probability >= level)
    return np.asarray(probability >= probability.dtype.type(threshold))


def truth_mask(truth: NDArray[Any]) -> NDArray[np.bool_]:
    """The crack pixels of a label.

    Args:
        truth: [H, W], bool, or uint8 with 0 as background and either 255 or 1 as crack.

    Returns:
        bool [H, W].

    Raises:
        DataError: another dtype or shape, no pixels, or other values than these.
    """
    if truth.ndim != 2 or truth.size == 0 or truth.dtype not in (np.bool_, np.uint8):
        raise DataError(
            f"a truth mask is {truth.dtype} of shape {truth.shape}", "give bool or uint8 [H, W]"
        )
    if truth.dtype == np.bool_:
        return truth
    mask = truth > 0
    highest = int(truth.max())
    mixed = highest > 0 and np.count_nonzero(truth == highest) != np.count_nonzero(mask)
    if mixed or highest not in (0, 1, 255):
        raise DataError(
            f"a truth mask contains the values {np.unique(truth)[:6].tolist()}",
            "give only 0 for background and 255 for crack",
        )
    return mask


def dilate(mask: NDArray[np.bool_], tolerance: Tolerance) -> NDArray[np.bool_]:
    """D(mask): every pixel within the tolerance of a true pixel; bool [H, W] both ways."""
    return _dilate_grey(mask.astype(np.uint8), tolerance) > 0


def count_image(
    probability: NDArray[Any], truth: NDArray[Any], tolerance: Tolerance
) -> ThresholdCounts:
    """Count hits, false alarms and misses of one image at every threshold.

    Args:
        probability: [H, W], uint8 (255 = certain crack) or floating 0 to 1. A floating map is
            compared in its own precision, so float32 0.7 passes the threshold 0.7.
        truth: [H, W], bool, or uint8 0/255.
        tolerance: see `Tolerance`.

    Raises:
        DataError: the shapes differ, a value is NaN or out of range, or a dtype is wrong.
        ConfigError: the tolerance is unknown.
    """
    _require_tolerance(tolerance)
    _require_probability(probability)
    mask = truth_mask(truth)
    if probability.shape != mask.shape:
        raise DataError(
            f"the probability map has shape {probability.shape}, the truth {mask.shape}",
            "give maps of the same image, both [H, W]",
        )
    passed = _thresholds_passed(probability)
    return ThresholdCounts(
        tolerance,
        predicted=_pixels_passing(passed),
        predicted_matched=_pixels_passing(passed[dilate(mask, tolerance)]),
        truth=np.full(THRESHOLDS.shape, np.count_nonzero(mask), np.int64),
        truth_matched=_pixels_passing(_dilate_grey(passed, tolerance)[mask]),
    )


def pool(counts: Iterable[ThresholdCounts]) -> ThresholdCounts:
    """The sum of the counts of many images.

    Raises:
        ConfigError: there are none, or their tolerances differ.
    """
    total: ThresholdCounts | None = None
    for item in counts:
        total = item if total is None else total + item
    if total is None:
        raise ConfigError("there are no counts to pool", "evaluate at least one image")
    return total


def threshold_index(threshold: float) -> int:
    """The index of a threshold in `THRESHOLDS`.

    Raises:
        ConfigError: it is not one of 0.01, 0.02 .. 0.99.
    """
    hundredths = threshold * 100
    if not (0.5 < hundredths < 99.5 and abs(hundredths - round(hundredths)) < 1e-4):
        raise ConfigError(
            f"the threshold is {threshold}", "give a multiple of 0.01 from 0.01 to 0.99"
        )
    return round(hundredths) - 1


def _require_tolerance(tolerance: str) -> None:
    if tolerance not in TOLERANCES:
        raise ConfigError(f"the tolerance is {tolerance!r}", f"give one of {', '.join(TOLERANCES)}")


def _require_probability(probability: NDArray[Any]) -> None:
    kind = probability.dtype
    known = kind == np.uint8 or np.issubdtype(kind, np.floating)
    if probability.ndim != 2 or probability.size == 0 or not known:
        raise DataError(
            f"a probability map is {kind} of shape {probability.shape}",
            "give uint8 or floating [H, W]",
        )
    # Written so that NaN fails, too.
    if kind != np.uint8 and not (probability.min() >= 0 and probability.max() <= 1):
        raise DataError(
            f"probabilities run from {probability.min()} to {probability.max()}",
            "give finite values from 0 to 1, or uint8",
        )


@cache
def _level_table() -> NDArray[np.uint8]:
    """For each uint8 probability, how many of the 99 thresholds it passes."""
    levels = [uint8_level(threshold) for threshold in THRESHOLDS.tolist()]
    return np.searchsorted(levels, np.arange(256), side="right").astype(np.uint8)


def _thresholds_passed(probability: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 [H, W], 0 to 99: how many thresholds each pixel passes; the lowest ones, always."""
    if probability.dtype == np.uint8:
        return np.asarray(_level_table()[probability], np.uint8)
    thresholds = THRESHOLDS.astype(probability.dtype)
    return np.searchsorted(thresholds, probability, side="right").astype(np.uint8)


def _pixels_passing(passed: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 [99]: how many of these pixels pass each threshold."""
    histogram = np.bincount(passed.ravel(), minlength=THRESHOLDS.size + 1)
    from_highest = np.cumsum(histogram[:0:-1], dtype=np.int64)
    return np.ascontiguousarray(from_highest[::-1])


def _dilate_grey(values: NDArray[np.uint8], tolerance: Tolerance) -> NDArray[np.uint8]:
    """Each pixel's maximum within the tolerance; pixels outside the image do not count."""
    _require_tolerance(tolerance)
    if tolerance == "strict":
        return values
    reach = np.arange(-TOLERANCE_PX, TOLERANCE_PX + 1)
    near = reach[:, None] ** 2 + reach**2 <= TOLERANCE_PX**2
    kernel = np.ones_like(near) if tolerance == "square" else near
    return np.asarray(cv2.dilate(values, kernel.astype(np.uint8)), np.uint8)
