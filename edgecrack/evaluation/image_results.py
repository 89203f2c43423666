"""The counts of each image, and the scores of the whole set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.errors import ConfigError, DataError
from edgecrack.metrics import TOLERANCES, Score, ThresholdCounts, Tolerance

Predict = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""From a frame, uint8 [H, W, 3] BGR, to its crack probability, uint8 [H, W], 255 = certain."""


class LabelledSample(Protocol):
    """An image with its truth; `edgecrack.data.datasets.Sample` is one."""

    @property
    def name(self) -> str:
        """Unique in its set; it appears in reports and file names."""

    def image(self) -> NDArray[np.uint8]:
        """The frame, uint8 [H, W, 3] in BGR order."""

    def mask(self) -> NDArray[np.uint8]:
        """The truth, uint8 [H, W], 255 on cracks, else 0."""


def evaluate(
    predict: Predict,
    samples: Sequence[LabelledSample],
    *,
    threshold: float | None = None,
    validation: Sequence[LabelledSample] | None = None,
    operating: Choice | None = None,
    given_name: str = "given",
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a predictor on labelled images.

    Probability maps are counted and dropped, so memory does not grow with the set.

    Args:
        predict: from a BGR frame to a probability map of the same height and width.
        samples: the images to score.
        threshold: a threshold to report scores at, one of 0.01, 0.02 .. 0.99.
        validation: other images, on which a threshold is chosen by strict F1, as in training.
        operating: the threshold to report images at; see `Evaluation`.
        given_name: name of `threshold` in reports.
        on_progress: called with (images done, images in all) after every image, validation
            included.

    Raises:
        ConfigError: no samples, an empty validation set, or a threshold off the grid.
        DataError: a prediction or a mask does not fit its image; the message names the sample.
    """
    if threshold is not None:
        metrics.threshold_index(threshold)
    if not samples or (validation is not None and not validation):
        raise ConfigError("there are no samples to evaluate", "give at least one sample")
    tuning = list(validation or [])
    total = len(tuning) + len(samples)
    results: list[ImageResult] = []
    for done, sample in enumerate([*tuning, *samples], start=1):
        tolerances = TOLERANCES if done > len(tuning) else (VALIDATION_TOLERANCE,)
        results.append(_evaluate_sample(predict, sample, tolerances))
        if on_progress is not None:
            on_progress(done, total)
    chosen = None
    if tuning:
        tuned = metrics.pool(item.counts[VALIDATION_TOLERANCE] for item in results[: len(tuning)])
        chosen = metrics.ods(tuned).threshold
    return Evaluation(tuple(results[len(tuning) :]), threshold, chosen, operating, given_name)


def predict_sample(
    predict: Predict, sample: LabelledSample
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint8]]:
    """Read and predict one sample.

    Returns:
        The image uint8 [H, W, 3] BGR, the truth bool [H, W], the probability uint8 [H, W].

    Raises:
        DataError: the three do not fit each other; the message names the sample.
    """
    image = sample.image()
    try:
        truth = metrics.truth_mask(sample.mask())
    except DataError as error:
        raise DataError(f"{sample.name}: {error.problem}", error.remedy) from error
    if truth.shape != image.shape[:2]:
        raise DataError(
            f"{sample.name}: the image has shape {image.shape}, its mask {truth.shape}",
            "give a mask of the image's size",
        )
    return image, truth, predict_checked(predict, image, sample.name)


def predict_checked(predict: Predict, image: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Predict one image.

    Raises:
        DataError: the prediction does not fit its image; the message names it by `name`.
    """
    probability = predict(image)
    if probability.dtype != np.uint8 or probability.shape != image.shape[:2]:
        raise DataError(
            f"{name}: the prediction is {probability.dtype} of shape {probability.shape} for an"
            f" image of shape {image.shape}",
            "give a predictor that returns uint8 [H, W] of the frame's size",
        )
    return probability


def _evaluate_sample(
    predict: Predict, sample: LabelledSample, tolerances: Sequence[Tolerance]
) -> ImageResult:
    _, truth, probability = predict_sample(predict, sample)
    counts = {item: metrics.count_image(probability, truth, item) for item in tolerances}
    return ImageResult(sample.name, (truth.shape[0], truth.shape[1]), counts)


CHOOSING_TOLERANCE: Tolerance = "square"
"""The paper's tolerance: ODS and the threshold `test` are the best with it."""
VALIDATION_TOLERANCE: Tolerance = "strict"
"""An operating threshold is chosen as in training: a tolerance does not penalize masks that are
too wide, so the threshold of the best tolerant F1 would often be far too low."""
TOLERANCE_NAMES: Mapping[Tolerance, str] = {
    "square": "5x5 square (paper)",
    "euclidean": "2.0 px radius",
    "strict": "none (strict)",
}
Choice = Literal["test", "validation", "given"]


@dataclass(frozen=True, eq=False)
class ImageResult:
    """The counts of one image.

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
        """This image's table row: F1 and strict IoU at `threshold`, and its own best."""
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
        operating: which threshold a user would use; None chooses the given one, else that of
            validation, else that of test.
        given_name: name of the given threshold in reports.
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

        `test` (best tolerant F1 on the evaluated set, which is optimistic); `validation` (best
        strict F1) and `given`, if they exist.
        """
        chosen: dict[Choice, float | None] = {
            "test": self.ods(CHOOSING_TOLERANCE).threshold,
            "validation": self.validation_threshold,
            "given": self.threshold,
        }
        return {name: value for name, value in chosen.items() if value is not None}

    @property
    def operating_threshold(self) -> float:
        """The threshold that a user would use; see `operating`."""
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
