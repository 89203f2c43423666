"""What an evaluation found: each image's counts, and the scores of the whole set.

Knows counts and scores; must not know how predictions are made or how results are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgecrack import metrics
from edgecrack.errors import ConfigError
from edgecrack.metrics import TOLERANCES, Score, ThresholdCounts, Tolerance

CHOOSING_TOLERANCE: Tolerance = "square"
"""The paper's measure: ODS and the threshold called `test` are the best by it."""
VALIDATION_TOLERANCE: Tolerance = "strict"
"""A threshold to run with is chosen as training chooses it: a tolerance does not punish masks that
are too wide, so the best tolerant F1 would often lie at a threshold far too low."""
TOLERANCE_NAMES: Mapping[Tolerance, str] = {
    "square": "5x5 square (paper)",
    "euclidean": "2.0 px radius",
    "strict": "none (strict)",
}
Choice = Literal["test", "validation", "given"]


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
        validation_threshold: the one with the best strict F1 on the validation samples, or None.
        operating: which of the thresholds a user would run with; None takes the given one, else
            that of validation, else that of test.
        given_name: what a report calls the given threshold.
    """

    images: tuple[ImageResult, ...]
    threshold: float | None = None
    validation_threshold: float | None = None
    operating: Choice | None = None
    given_name: str = "given"

    def __post_init__(self) -> None:
        if not self.images:
            raise ConfigError("there are no samples to evaluate", "give at least one sample")
        if self.operating is not None and self.operating not in self.thresholds():
            raise ConfigError(
                f"there is no {self.operating} threshold to report at",
                f"choose one of: {', '.join(self.thresholds())}",
            )
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

    def thresholds(self) -> dict[Choice, float]:
        """The thresholds that scores are reported at, by how each was chosen.

        `test`: best tolerant F1 on the evaluated set, which flatters; `validation` (best strict F1)
        and `given` where there are such.
        """
        chosen: dict[Choice, float | None] = {
            "test": self.ods(CHOOSING_TOLERANCE).threshold,
            "validation": self.validation_threshold,
            "given": self.threshold,
        }
        return {name: value for name, value in chosen.items() if value is not None}

    @property
    def operating_threshold(self) -> float:
        """The threshold that a user would run with; see `operating`."""
        return self.thresholds()[self.operating_choice]

    @property
    def operating_choice(self) -> Choice:
        """How the operating threshold was chosen."""
        return self.operating or list(self.thresholds())[-1]

    def threshold_names(self) -> dict[Choice, str]:
        """How each threshold was chosen, in words for a table."""
        names: dict[Choice, str] = {
            "test": "test: best on this very set",
            "validation": "best strict F1 on validation",
            "given": self.given_name,
        }
        return {choice: names[choice] for choice in self.thresholds()}

    def to_dict(self) -> dict[str, Any]:
        """All scores as plain values for JSON; F1, precision, recall, IoU from 0 to 1."""
        return {
            "images": len(self.images),
            "crack_ratio": self._crack_ratio(),
            "thresholds": self.thresholds(),
            "operating": {"chosen": self.operating_choice, "threshold": self.operating_threshold},
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
