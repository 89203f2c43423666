"""Scoring a predictor on labelled images, and writing the report."""

from edgecrack.evaluation.evaluate import (
    LabelledSample,
    Predict,
    evaluate,
)
from edgecrack.evaluation.false_positives import FalsePositives, false_positive_ratio
from edgecrack.evaluation.report import write_report
from edgecrack.evaluation.results import Evaluation, ImageResult

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
