"""Run a predictor over labelled images and gather every score that a report needs.

Knows a predictor as a plain function from frame to probability map; must not know whether
a network, a runtime or a filter stands behind it, nor how results are written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.errors import ConfigError, DataError
from edgecrack.evaluation.image_results import VALIDATION_TOLERANCE, Choice, Evaluation, ImageResult
from edgecrack.metrics import TOLERANCES, Tolerance

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
        given_name: what reports call `threshold`.
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
