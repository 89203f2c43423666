"""What one picture of a yardstick contributes to the scores.

Counts cover all thresholds, so the prediction itself need not be kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.constants import MIN_AREA_PX
from edgecrack.errors import DataError
from edgecrack.evaluation.image_results import Predict, predict_sample
from edgecrack.evaluation.strata.detection import Reliability
from edgecrack.measurement.regions import measure_cracks
from edgecrack.metrics import THRESHOLDS, ThresholdCounts, Tolerance
from edgecrack.metrics.counting import TOLERANCE_PX
from edgecrack.yardstick.manifest import MANIFEST, Item, TrueCrack
from edgecrack.yardstick.strata import (
    WIDTH_CLASSES,
    contrast_class,
    contrast_of,
    typical_width_class,
    width_class,
    width_classes,
)

TOLERANT: Tolerance = "square"
STRICT: Tolerance = "strict"
FOUND_SHARE = 0.5  # of a crack's length


@dataclass(frozen=True)
class FoundCrack:
    """The highest threshold at which a crack is found.

    Attributes:
        width_px: its true median width.
        level: highest threshold level at which it is found, 0 to 255.
    """

    width_px: float
    level: int


@dataclass(frozen=True, eq=False)
class ItemResult:
    """One picture's counts and classes.

    Attributes:
        item: the picture.
        width_class: index in `WIDTH_CLASSES` of most of its crack length, None without crack.
        contrast_class: index in `CONTRAST_CLASSES`, or None.
        size_hw: height and width in pixels.
        counts: counts for `TOLERANT` and `STRICT`.
        width_truth: int64 [7], crack pixels of each width class.
        width_found: int64 [7, 99], those within 2 px of the prediction at each threshold.
        reliability: pixel and crack counts by probability.
        cracks: the cracks whose widths are known exactly.
        published_px: pixels flagged at the shipped threshold, without groups that `stream` drops.
    """

    item: Item
    width_class: int | None
    contrast_class: int | None
    size_hw: tuple[int, int]
    counts: Mapping[Tolerance, ThresholdCounts]
    width_truth: NDArray[np.int64]
    width_found: NDArray[np.int64]
    reliability: Reliability
    cracks: tuple[FoundCrack, ...]
    published_px: int

    @property
    def pixels(self) -> int:
        """Number of pixels of the picture."""
        return self.size_hw[0] * self.size_hw[1]


def score_item(predict: Predict, item: Item, threshold: float) -> ItemResult:
    """Predict one picture and count.

    Args:
        predict: from a BGR frame to a probability map of its size.
        item: the picture.
        threshold: the shipped one, a multiple of 0.01.

    Raises:
        DataError: picture, mask and prediction do not fit each other.
    """
    image, truth, probability = predict_sample(predict, item)
    classes = width_classes(truth)
    near = cv2.dilate(probability, np.ones((2 * TOLERANCE_PX + 1,) * 2, np.uint8))
    found = [_passing(near[classes == index]) for index in range(len(WIDTH_CLASSES))]
    contrast = contrast_of(image, truth)
    return ItemResult(
        item,
        _width_class(item, classes),
        None if contrast is None else contrast_class(contrast),
        (truth.shape[0], truth.shape[1]),
        {kind: metrics.count_image(probability, truth, kind) for kind in (TOLERANT, STRICT)},
        np.array([np.count_nonzero(classes == index) for index in range(len(WIDTH_CLASSES))]),
        np.stack(found),
        Reliability.of(probability, truth),
        _found_cracks(probability, item),
        measure_cracks(probability, threshold, MIN_AREA_PX).crack_pixels,
    )


def _width_class(item: Item, classes: NDArray[np.int8]) -> int | None:
    """The exact width's class if known, since a hairline's mask is at least one pixel wide."""
    if item.cracks:
        longest = max(item.cracks, key=lambda crack: len(crack.points))
        return width_class(longest.width_px)
    return typical_width_class(classes)


def _found_cracks(probability: NDArray[np.uint8], item: Item) -> tuple[FoundCrack, ...]:
    found = [find_crack(probability, crack) for crack in item.cracks]
    seen = tuple(crack for crack in found if crack is not None)
    if len(seen) < len(found):
        raise DataError(
            f"{item.name}: a crack of known width lies wholly outside the picture of "
            f"{probability.shape[1]}x{probability.shape[0]} px",
            f"remove it from {MANIFEST}, or fix its points",
        )
    return seen


def _passing(levels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The number of probabilities that pass each threshold, int64 [99]."""
    least = np.array([metrics.uint8_level(value) for value in THRESHOLDS.tolist()])
    from_below = np.searchsorted(np.sort(levels.ravel()), least, side="left")
    return np.asarray(levels.size - from_below, np.int64)


def find_crack(probability: NDArray[np.uint8], crack: TrueCrack) -> FoundCrack | None:
    """The highest level at which at least half of a crack's length is found.

    A point of the centre line is found if a pixel is flagged within half the crack's width of it,
    or in the 5x5 square around it: one marked edge of a wide crack is enough for an inspector.

    Args:
        probability: uint8 [H, W].
        crack: points outside the picture do not count.

    Returns:
            None if no point of the crack is in the picture.
    """
    height, width = probability.shape
    levels: list[int] = []
    for (x, y), width_px in zip(crack.points.tolist(), crack.widths_px.tolist(), strict=True):
        # A pixel's centre has whole coordinates, so it reaches half a pixel to each side.
        column, row = math.floor(x + 0.5), math.floor(y + 0.5)
        if 0 <= column < width and 0 <= row < height:
            levels.append(_highest_near(probability, row, column, width_px))
    if not levels:
        return None
    # The level that half of the points, rounded up, still reach.
    needed = math.ceil(FOUND_SHARE * len(levels))
    return FoundCrack(crack.width_px, sorted(levels, reverse=True)[needed - 1])


def _highest_near(probability: NDArray[np.uint8], row: int, column: int, width_px: float) -> int:
    """The highest probability within half a width of a pixel, or in the 5x5 square around it."""
    reach = max(TOLERANCE_PX, math.floor(width_px / 2))
    top, left = max(0, row - reach), max(0, column - reach)
    window = probability[top : row + reach + 1, left : column + reach + 1]
    down = np.abs(np.arange(top, top + window.shape[0]) - row)[:, None]
    across = np.abs(np.arange(left, left + window.shape[1]) - column)[None, :]
    near = np.hypot(down, across) <= width_px / 2
    near |= np.maximum(down, across) <= TOLERANCE_PX
    return int(window[near].max())
