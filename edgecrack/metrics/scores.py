"""ODS, OIS, precision, recall, IoU and average precision from pixel counts.

Follows section III.A of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.metrics.counting import THRESHOLDS, ThresholdCounts, threshold_index


@dataclass(frozen=True)
class Score:
    """Precision, recall and F1 = 2 P R / (P + R) at one threshold, each 0 to 1."""

    f1: float
    precision: float
    recall: float
    threshold: float


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision, recall and F1 at every threshold: float64 [99] each, 0 to 1."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def curve(counts: ThresholdCounts) -> Curve:
    """Precision, recall and F1 at every threshold.

    Without predicted pixels, precision is 1; without true pixels, recall is 1. So if both are
    empty, F1 is 1, and if only one is empty, F1 is 0.
    """
    precision = _ratio(counts.predicted_matched, counts.predicted)
    recall = _ratio(counts.truth_matched, counts.truth)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return Curve(precision, recall, f1)


def score_at(counts: ThresholdCounts, threshold: float) -> Score:
    """The score at one of the thresholds 0.01, 0.02 .. 0.99.

    Raises:
        ConfigError: the threshold is not one of them.
    """
    return _score(curve(counts), threshold_index(threshold))


def ods(counts: ThresholdCounts) -> Score:
    """The optimal dataset scale: the best F1 over thresholds of pooled counts (paper, eq. 2).

    If several thresholds have the same F1, the middle one is used, since a small shift of the
    probabilities affects it least.
    """
    values = curve(counts)
    return _score(values, _middle_of_best(values.f1))


def ois(counts: Sequence[ThresholdCounts]) -> float:
    """The optimal image scale: the mean of each image's best F1 (paper, eq. 3), 0 to 1.

    An image without any crack counts as 1 if its prediction is empty at some threshold, else 0
    (some probability is 0.99 or more), as `curve` implies.

    Args:
        counts: one item per image.

    Raises:
        ConfigError: there are no images.
    """
    if not counts:
        raise ConfigError("there are no images to average over", "evaluate at least one image")
    return float(np.mean([curve(item).f1.max() for item in counts]))


def average_precision(counts: ThresholdCounts) -> float:
    """The area under precision over recall, in steps between the 99 thresholds, 0 to 1.

    Recall that is not reached at any threshold from 0.01 up adds nothing.
    """
    values = curve(counts)
    steps = values.recall - np.append(values.recall[1:], 0.0)
    # Precision is 1 by convention if nothing is predicted, which must not add area.
    return float(np.sum(steps * np.where(counts.predicted > 0, values.precision, 0.0)))


def iou_curve(counts: ThresholdCounts) -> NDArray[np.float64]:
    """Intersection over union at every threshold, float64 [99]; 1 where both are empty.

    Args:
        counts: strict counts; the union is not defined with a tolerance.

    Raises:
        ConfigError: the counts have a tolerance.
    """
    if counts.tolerance != "strict":
        raise ConfigError(
            f"IoU was requested for counts with tolerance {counts.tolerance}", "give strict counts"
        )
    shared = counts.predicted_matched
    return _ratio(shared, counts.predicted + counts.truth - shared)


def iou(counts: ThresholdCounts, threshold: float | None = None) -> float:
    """Intersection over union of strict counts, 0 to 1.

    Args:
        counts: strict counts.
        threshold: one of 0.01 .. 0.99, or None for the best over thresholds.

    Raises:
        ConfigError: the counts have a tolerance, or the threshold is not one of the 99.
    """
    values = iou_curve(counts)
    return float(values.max() if threshold is None else values[threshold_index(threshold)])


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """The quotient part / whole, and 1 where the whole is empty."""
    return np.divide(part, whole, out=np.ones(part.shape), where=whole > 0)


def _middle_of_best(values: NDArray[np.float64]) -> int:
    best = np.flatnonzero(values == values.max())
    return int(best[(best.size - 1) // 2])


def _score(values: Curve, index: int) -> Score:
    return Score(
        f1=float(values.f1[index]),
        precision=float(values.precision[index]),
        recall=float(values.recall[index]),
        threshold=float(THRESHOLDS[index]),
    )
