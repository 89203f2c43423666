"""What an evaluation found: each image's counts, and the scores of the whole set.

Knows counts and scores; must not know how predictions are made or how results are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgecrack import metrics
from edgecrack.errors import ConfigError
from edgecrack.metrics import TOLERANCES, Score, ThresholdCounts, Tolerance

CHOOSING_TOLERANCE: Tolerance = "square"
"""A deployed model has one threshold; it is chosen by the paper's own measure."""


@dataclass(frozen=True, eq=False)
class ImageResult:
    """What one image contributed.

    Attributes:
        name: the sample's name.
        size_hw: height and width in pixels.
        counts: per tolerance, the image's own counts.
    """

    name: str
    size_hw: tuple[int, int]
    counts: Mapping[Tolerance, ThresholdCounts]

    @property
    def crack_ratio(self) -> float:
        """The share of the image's pixels that are truly crack, 0 to 1."""
        return int(self.counts["strict"].truth[0]) / (self.size_hw[0] * self.size_hw[1])

    def best(self, tolerance: Tolerance) -> Score:
        """The score at this image's own best threshold."""
        return metrics.ods(self.counts[tolerance])

    def score_at(self, tolerance: Tolerance, threshold: float) -> Score:
        """The score at one of the thresholds 0.01 .. 0.99."""
        return metrics.score_at(self.counts[tolerance], threshold)

    def row(self, threshold: float) -> dict[str, Any]:
        """This image's line in a table: F1 and strict IoU at `threshold`, and its own best."""
        values: dict[str, Any] = {"name": self.name, "crack_ratio": self.crack_ratio}
        for tolerance in TOLERANCES:
            best = self.best(tolerance)
            values[f"{tolerance}_f1"] = self.score_at(tolerance, threshold).f1
            values[f"{tolerance}_best_f1"] = best.f1
            values[f"{tolerance}_best_threshold"] = best.threshold
        values["strict_iou"] = metrics.iou(self.counts["strict"], threshold)
        return values


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Every image's counts, and the scores of the set that follow from them.

    Attributes:
        images: one result per sample, in the samples' order.
        threshold: the threshold that was given, e.g. by the model's sidecar, or None.
        validation_threshold: the one with the best F1 on the validation samples, or None.
    """

    images: tuple[ImageResult, ...]
    threshold: float | None = None
    validation_threshold: float | None = None

    def __post_init__(self) -> None:
        if not self.images:
            raise ConfigError("there are no samples to evaluate", "give at least one sample")
        for threshold in (self.threshold, self.validation_threshold):
            if threshold is not None:
                metrics.threshold_index(threshold)

    def counts(self, tolerance: Tolerance) -> ThresholdCounts:
        """The counts of all images together."""
        return metrics.pool(image.counts[tolerance] for image in self.images)

    def ods(self, tolerance: Tolerance) -> Score:
        """The best score over thresholds: its threshold is chosen on the evaluated set itself."""
        return metrics.ods(self.counts(tolerance))

    def ois(self, tolerance: Tolerance) -> float:
        """The mean of each image's best F1, 0 to 1."""
        return metrics.ois([image.counts[tolerance] for image in self.images])

    def score_at(self, tolerance: Tolerance, threshold: float) -> Score:
        """The pooled score at one of the thresholds 0.01 .. 0.99."""
        return metrics.score_at(self.counts(tolerance), threshold)

    def thresholds(self) -> dict[str, float]:
        """The thresholds that scores are reported at, by how each was chosen.

        `test`: best tolerant F1 on the evaluated set, which flatters; `validation` and `given`
        where there are such.
        """
        chosen = {
            "test": self.ods(CHOOSING_TOLERANCE).threshold,
            "validation": self.validation_threshold,
            "given": self.threshold,
        }
        return {name: value for name, value in chosen.items() if value is not None}

    @property
    def operating_threshold(self) -> float:
        """The threshold that a user would run with: given, else validation, else test."""
        return list(self.thresholds().values())[-1]

    def to_dict(self) -> dict[str, Any]:
        """All scores as plain values for JSON; F1, precision, recall, IoU from 0 to 1."""
        return {
            "images": len(self.images),
            "crack_ratio": self._crack_ratio(),
            "thresholds": self.thresholds(),
            "scores": {tolerance: self._scores(tolerance) for tolerance in TOLERANCES},
            "per_image": [image.row(self.operating_threshold) for image in self.images],
        }

    def _crack_ratio(self) -> float:
        pixels = sum(image.size_hw[0] * image.size_hw[1] for image in self.images)
        return int(self.counts("strict").truth[0]) / pixels

    def _scores(self, tolerance: Tolerance) -> dict[str, Any]:
        counts = self.counts(tolerance)
        scores: dict[str, Any] = {
            "ods": asdict(metrics.ods(counts)),
            "ois": self.ois(tolerance),
            "average_precision": metrics.average_precision(counts),
        }
        for name, threshold in self.thresholds().items():
            scores[f"at_{name}_threshold"] = asdict(metrics.score_at(counts, threshold))
        if tolerance == "strict":
            scores["iou"] = {"best": metrics.iou(counts)} | {
                f"at_{name}_threshold": metrics.iou(counts, threshold)
                for name, threshold in self.thresholds().items()
            }
        return scores
