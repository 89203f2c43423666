"""Scoring a predictor on labelled images, and writing the report."""

from edgecrack.evaluation.false_positives import FalsePositives, false_positive_ratio
from edgecrack.evaluation.image_results import Evaluation, ImageResult
from edgecrack.evaluation.report import write_report
from edgecrack.evaluation.scored_images import (
    LabelledSample,
    Predict,
    evaluate,
)

__all__ = [
    "Evaluation",
    "FalsePositives",
    "ImageResult",
    "LabelledSample",
    "Predict",
    "evaluate",
    "false_positive_ratio",
    "write_report",
]
