"""Compares two groups of models on the same images, with confidence intervals.

Intervals are bootstrap percentiles over images, resampled jointly for both groups, and over
each group's models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.evaluation.image_results import CHOOSING_TOLERANCE, Evaluation
from edgecrack.evaluation.model_groups import Group
from edgecrack.extras import require
from edgecrack.metrics import ThresholdCounts, Tolerance

RESAMPLES = 2000
CONFIDENCE = 0.95
_SEED = 0  # the same evaluation gives the same interval
_Numbers = NDArray[np.int64]
_Score = Callable[[Evaluation, _Numbers], float]


@dataclass(frozen=True)
class Difference:
    """One score of the first group minus that of the second.

    Attributes:
        key: the score's name in JSON.
        title: the score's name for readers.
        value: the difference, -1 to 1.
        low: the interval's lower end, or None if nothing can be resampled.
        high: its upper end, or None.
    """

    key: str
    title: str
    value: float
    low: float | None
    high: float | None

    @property
    def distinguishable(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Comparison:
    """The first group against the second.

    Attributes:
        first: its name.
        second: its name.
        differences: ODS first.
        drawn: what was resampled for the intervals, in words.
    """

    first: str
    second: str
    differences: tuple[Difference, ...]
    drawn: str

    def sentence(self) -> str:
        """The difference in ODS in one sentence."""
        ods = self.differences[0]
        side = "above" if ods.value >= 0 else "below"
        found = f"{self.first} is {side} {self.second} by {100 * abs(ods.value):.2f} points ODS"
        if ods.low is None or ods.high is None:
            return f"{found} (no interval: {self.drawn})."
        verdict = "distinguishable" if ods.distinguishable else "not distinguishable"
        return (
            f"{found} ({100 * CONFIDENCE:.0f} % interval {100 * ods.low:+.2f} to "
            f"{100 * ods.high:+.2f}, {self.first} less {self.second}): {verdict}."
        )


def compare(first: Group, second: Group) -> Comparison:
    """Compare two groups that were scored on the same images.

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    differences = tuple(
        _difference(key, title, score, first, second) for key, title, score in _SCORES
    )
    return Comparison(first.name, second.name, differences, _drawn_over(first, second))


def _difference(key: str, title: str, score: _Score, first: Group, second: Group) -> Difference:
    sides = (first.evaluations, second.evaluations)
    everything = np.arange(len(sides[0][0].images))
    seeds = [np.arange(len(side)) for side in sides]

    def difference(images: _Numbers, *drawn: _Numbers) -> float:
        means = []
        pending = iter(drawn)
        for side, own in zip(sides, seeds, strict=True):
            chosen = next(pending) if len(own) > 1 else own
            of_model = {number: score(side[number], images) for number in set(chosen.tolist())}
            means.append(np.mean([of_model[number] for number in chosen.tolist()]))
        return float(means[0] - means[1])

    # A single model or image cannot be resampled.
    several = [numbers for numbers in seeds if len(numbers) > 1]
    value = difference(everything, *several)
    if len(everything) < 2:
        return Difference(key, title, value, None, None)
    interval = _interval((everything, *several), difference)
    return Difference(key, title, value, *interval)


def _interval(data: tuple[_Numbers, ...], statistic: Callable[..., float]) -> tuple[float, float]:
    stats: Any = require("scipy.stats", extra="train", purpose="comparing models")
    found = stats.bootstrap(
        data,
        statistic,
        vectorized=False,
        paired=False,  # images and models are resampled independently
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(found.low), float(found.high)


def _drawn_over(first: Group, second: Group) -> str:
    sizes = [len(first.models), len(second.models)]
    images = len(first.models[0].evaluation.images)
    if images < 2:
        return "there is one image only"
    if max(sizes) == 1:
        return f"{images} images; one model per group, so not over training runs"
    if min(sizes) == 1:
        return f"{images} images and the models of the larger group only"
    return f"{images} images, and {sizes[0]} and {sizes[1]} models"


def _stacked(evaluation: Evaluation, tolerance: Tolerance) -> NDArray[np.int64]:
    """Every image's counts, int64 [4, images, 99]."""
    names = ("predicted", "predicted_matched", "truth", "truth_matched")
    return np.array(
        [[getattr(image.counts[tolerance], name) for image in evaluation.images] for name in names]
    )


def _cached(
    prepare: Callable[[Evaluation], NDArray[Any]], finish: Callable[[NDArray[Any], _Numbers], float]
) -> _Score:
    """A score that collects an evaluation's numbers only once for all resamples."""
    gathered: dict[int, tuple[Evaluation, NDArray[Any]]] = {}

    def score(evaluation: Evaluation, images: _Numbers) -> float:
        # The evaluation is kept so that its id is not reused.
        kept = gathered.get(id(evaluation))
        if kept is None:
            kept = gathered[id(evaluation)] = (evaluation, prepare(evaluation))
        return finish(kept[1], images)

    return score


def _best_f1(tolerance: Tolerance) -> _Score:
    def finish(counts: NDArray[Any], images: _Numbers) -> float:
        times = np.bincount(images, minlength=counts.shape[1])
        pooled = np.einsum("fit,i->ft", counts, times)
        return metrics.ods(ThresholdCounts(tolerance, *pooled)).f1

    return _cached(lambda evaluation: _stacked(evaluation, tolerance), finish)


def _mean_over_images(of_image: Callable[[Evaluation], list[float]]) -> _Score:
    return _cached(
        lambda evaluation: np.array(of_image(evaluation)),
        lambda values, images: float(values[images].mean()),
    )


def image_f1(evaluation: Evaluation) -> list[float]:
    """Each image's tolerant F1 at the operating threshold."""
    threshold = evaluation.operating_threshold
    return [image.score_at(CHOOSING_TOLERANCE, threshold).f1 for image in evaluation.images]


def _image_best_f1(evaluation: Evaluation) -> list[float]:
    return [image.best(CHOOSING_TOLERANCE).f1 for image in evaluation.images]


_SCORES: tuple[tuple[str, str, _Score], ...] = (
    ("ods", "ODS", _best_f1(CHOOSING_TOLERANCE)),
    ("ois", "OIS", _mean_over_images(_image_best_f1)),
    ("strict_f1", "strict F1 at its best threshold", _best_f1("strict")),
    ("image_f1", "mean of the images' F1 at the operating threshold", _mean_over_images(image_f1)),
)
