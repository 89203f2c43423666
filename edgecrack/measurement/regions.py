"""Crack pixels and connected regions from a probability map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.metrics.counting import uint8_level


class Region(NamedTuple):
    """One connected group of crack pixels.

    Attributes:
        xyxy: bounding box in pixels (left, top, right, bottom); right and bottom exclusive.
        area_px: number of crack pixels in it.
    """

    xyxy: tuple[int, int, int, int]
    area_px: int


@dataclass(frozen=True, slots=True)
class CrackMeasure:
    """Crack pixels of one frame.

    Attributes:
        mask: uint8 [H, W], 0 or 255.
        crack_pixels: number of pixels that are 255.
        regions: 8-connected groups, largest first.
    """

    mask: NDArray[np.uint8]
    crack_pixels: int
    regions: tuple[Region, ...]


# With a larger share of crack pixels than this, OpenCV's own statistics are as fast.
_MOST_LISTED = 1 / 8


def label_groups(mask: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Label the 8-connected groups of a mask.

    OpenCV's statistics also visit the background, which takes seven times as long as labelling.

    Args:
        mask: uint8 [H, W]; non-zero is crack.

    Returns:
        int32 [H, W], the group label of each pixel, 0 for the background; and int32 [N, 5], left,
        top, width, height and area of each label in pixels, as in OpenCV. Row 0 is not
        meaningful.
    """
    # Grana's algorithm, the fastest of OpenCV's on one thread.
    if cv2.countNonZero(mask) > _MOST_LISTED * mask.size:
        _, whole, counted, _ = cv2.connectedComponentsWithStatsWithAlgorithm(
            mask, 8, cv2.CV_32S, cv2.CCL_GRANA
        )
        return np.asarray(whole, np.int32), np.asarray(counted, np.int32)
    count, found = cv2.connectedComponentsWithAlgorithm(mask, 8, cv2.CV_32S, cv2.CCL_GRANA)
    labels = np.asarray(found, np.int32)
    stats: NDArray[np.int32] = np.zeros((count, 5), np.int32)
    points = cv2.findNonZero(mask)
    if points is None:
        return labels, stats
    columns, rows = points.reshape(-1, 2).T
    own = labels[rows, columns]
    low, high = np.full((2, count), max(mask.shape), np.int32), np.zeros((2, count), np.int32)
    for axis, places in enumerate((columns, rows)):
        np.minimum.at(low[axis], own, places)
        np.maximum.at(high[axis], own, places)
    stats[1:, :2], stats[1:, 2:4] = low.T[1:], (high - low).T[1:] + 1
    stats[1:, 4] = np.bincount(own, minlength=count)[1:]
    return labels, stats


def measure_cracks(
    probability: NDArray[np.uint8], threshold: float, min_area_px: int
) -> CrackMeasure:
    """Threshold a probability map and drop groups smaller than `min_area_px`.

    Args:
        probability: uint8 [H, W], 255 = certain crack.
        threshold: decision threshold, above 0, at most 1.
        min_area_px: smallest group of 8-connected pixels that is kept; 0 or 1 keeps all.
    """
    level = uint8_level(threshold)
    mask = np.asarray(cv2.threshold(probability, level - 1, 255, cv2.THRESH_BINARY)[1], np.uint8)
    return _without_specks(mask, min_area_px)


def find_regions(mask: NDArray[np.uint8], min_area_px: int) -> list[Region]:
    """The 8-connected groups of at least `min_area_px` non-zero pixels, largest first.

    Args:
        mask: uint8 [H, W]; non-zero is crack.
        min_area_px: smallest group that is returned.
    """
    return list(_without_specks(mask.copy(), min_area_px).regions)


def _without_specks(mask: NDArray[np.uint8], min_area_px: int) -> CrackMeasure:
    """Zero small groups in `mask`, in place, and describe the rest."""
    left, top, width, height = cv2.boundingRect(mask)
    if width == 0:
        return CrackMeasure(mask, 0, ())
    # Most frames show little or no crack: labelling only their bounding box saves most of the time.
    window = mask[top : top + height, left : left + width]
    labels, stats = label_groups(window)
    areas = stats[:, cv2.CC_STAT_AREA]
    keep = areas >= min_area_px
    keep[0] = False  # label 0 is the background
    if np.count_nonzero(keep) < len(stats) - 1:
        crack = window != 0
        window[crack] = np.where(keep[labels[crack]], 255, 0)
    # Break ties by position, so that equal frames give equal results.
    kept = sorted(np.flatnonzero(keep), key=lambda label: (-areas[label], label))
    regions = tuple(_region(stats[label], left, top) for label in kept)
    return CrackMeasure(mask, sum(region.area_px for region in regions), regions)


def _region(stats: NDArray[np.int32], left: int, top: int) -> Region:
    x, y, width, height, area = (int(value) for value in stats)
    return Region((left + x, top + y, left + x + width, top + y + height), area)
