"""Scoring a predictor on labelled images, and writing the report."""

from edgecrack.evaluation.false_positives import FalsePositives, false_positive_ratio
from edgecrack.evaluation.image_results import (
    Evaluation,
    ImageResult,
    LabelledSample,
    Predict,
    evaluate,
)
from edgecrack.evaluation.report import write_report

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
