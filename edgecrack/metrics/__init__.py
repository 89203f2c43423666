"""Scores of crack maps: pixel counts at each threshold, and the scores computed from them.

from edgecrack import metrics

counts = metrics.count_image(probability, truth, "square")
metrics.ods(counts).f1
"""

from edgecrack.metrics.counting import (
    THRESHOLDS,
    TOLERANCE_PX,
    TOLERANCES,
    ThresholdCounts,
    Tolerance,
    binarize,
    count_image,
    dilate,
    pool,
    threshold_index,
    truth_mask,
    uint8_level,
)
from edgecrack.metrics.scores import (
    Curve,
    Score,
    average_precision,
    curve,
    iou,
    iou_curve,
    ods,
    ois,
    score_at,
)

__all__ = [
    "THRESHOLDS",
    "TOLERANCES",
    "TOLERANCE_PX",
    "Curve",
    "Score",
    "ThresholdCounts",
    "Tolerance",
    "average_precision",
    "binarize",
    "count_image",
    "curve",
    "dilate",
    "iou",
    "iou_curve",
    "ods",
    "ois",
    "pool",
    "score_at",
    "threshold_index",
    "truth_mask",
    "uint8_level",
]
