"""Scores by stratum from the counts of pictures, with mean and worst.

A stratum is a set of pictures: real or made, and of one width class, surface or contrast. Its
score is the mean over its cells; a cell pools the pictures of one surface and width class. So
neither the widest cracks, which have most of the pixels, nor the surface with most pictures
dominates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, reduce
from operator import add
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.data.datasets import Sample
from edgecrack.errors import DataError
from edgecrack.evaluation.image_results import Predict
from edgecrack.evaluation.strata.detection import Reliability, Trial
from edgecrack.evaluation.strata.item_result import STRICT, TOLERANT, ItemResult, score_item
from edgecrack.metrics import THRESHOLDS, Score, Tolerance, threshold_index
from edgecrack.yardstick.manifest import CRACK, Item, Yardstick
from edgecrack.yardstick.strata import CONTRAST_CLASSES, SURFACE_KINDS, WIDTH_CLASSES


def by_width(predict: Predict, samples: Sequence[Sample], threshold: float) -> dict[str, Any]:
    """Recall by crack width and calibration of a predictor on labelled images.

    Args:
        predict: from a BGR frame to a probability map; called once per image.
        samples: the images.
        threshold: minimum probability of flagged pixels, a multiple of 0.01.

    Returns:
        "recall_by_width", as `StrataScores.recall_by_width`, and "calibration" with the expected
        calibration error and its bins; plain values for JSON.

    Raises:
        DataError: an image, its mask and its prediction do not fit each other.
    """
    results = tuple(score_item(predict, _item(sample), threshold) for sample in samples)
    scores = StrataScores(results, threshold)
    reliability = scores.reliability()
    return {
        "recall_by_width": scores.recall_by_width(real=True),
        "calibration": {
            "expected_calibration_error": reliability.expected_error(),
            "bins": reliability.bins(),
        },
    }


def _item(sample: Sample) -> Item:
    mask: Path = sample.mask_path
    return Item(sample.name, sample.image_path, mask, photo=sample.name, read_mask=sample.read_mask)


Dimension = Literal["width", "surface", "contrast"]
DIMENSIONS: tuple[Dimension, ...] = ("width", "surface", "contrast")
FEWEST_IMAGES = 3  # a stratum with fewer is shown, but counts for neither mean nor worst
KINDS: dict[bool, str] = {True: "real", False: "made"}


def check_enough(yardstick: Yardstick) -> None:
    """Refuse, before scoring, a yardstick that cannot have a mean over strata.

    Raises:
        DataError: no picture has a crack, or all strata have too few pictures.
    """
    _require_cracks(yardstick.cracked)
    real = sum(item.is_real for item in yardstick.cracked)
    if max(real, len(yardstick.cracked) - real) < FEWEST_IMAGES:
        raise _too_few()


def _require_cracks(cracked: Sequence[Any]) -> None:
    if not cracked:
        raise DataError(
            "no picture of the yardstick has a crack", f'add pictures of the kind "{CRACK}"'
        )


def _too_few() -> DataError:
    return DataError(
        f"no stratum of the yardstick has {FEWEST_IMAGES} pictures with a crack",
        "add pictures of one surface, width or contrast, all of photos or all made",
    )


def mean_f1_curve(results: Sequence[ItemResult], tolerance: Tolerance) -> NDArray[np.float64]:
    """Mean over cells of precision, recall and F1 at each threshold.

    Returns:
        float64 [3, 99]: precision, recall, F1, 0 to 1.
    """
    cells: dict[tuple[str, int | None], list[ItemResult]] = {}
    for result in results:
        cells.setdefault((result.item.surface, result.width_class), []).append(result)
    curves = [
        metrics.curve(metrics.pool(item.counts[tolerance] for item in cell))
        for cell in cells.values()
    ]
    return np.asarray(np.mean([[one.precision, one.recall, one.f1] for one in curves], axis=0))


def score_of(curve: NDArray[np.float64], threshold: float) -> Score:
    """The score on a curve of `mean_f1_curve` at one of the 99 thresholds."""
    precision, recall, f1 = curve[:, threshold_index(threshold)].tolist()
    return Score(f1, precision, recall, threshold)


def best_of(curve: NDArray[np.float64]) -> Score:
    """The score with the highest F1; if several are equal, that of the middle threshold."""
    best = np.flatnonzero(curve[2] >= curve[2].max() - 1e-12)
    return score_of(curve, float(THRESHOLDS[best[(len(best) - 1) // 2]]))


@dataclass(frozen=True, eq=False)
class Stratum:
    """Pictures with one property in common.

    Attributes:
        real: whether their cracks are real.
        by: the property.
        value: its value, e.g. "5-8 px".
        results: one per picture.
    """

    real: bool
    by: Dimension
    value: str
    results: tuple[ItemResult, ...]

    @property
    def name(self) -> str:
        """Such as "real, 5-8 px"."""
        return f"{KINDS[self.real]}, {self.value}"

    @property
    def photos(self) -> int:
        """Number of photos that the pictures come from."""
        return len({result.item.photo for result in self.results})

    @property
    def counts_in_mean(self) -> bool:
        """Whether it has enough pictures to count for mean and worst."""
        return len(self.results) >= FEWEST_IMAGES

    @cached_property
    def curves(self) -> dict[Tolerance, NDArray[np.float64]]:
        """`mean_f1_curve` of the tolerant and of the strict counts."""
        return {kind: mean_f1_curve(self.results, kind) for kind in (TOLERANT, STRICT)}

    def at(self, tolerance: Tolerance, threshold: float) -> Score:
        """The score at one of the 99 thresholds."""
        return score_of(self.curves[tolerance], threshold)

    def best(self, tolerance: Tolerance) -> Score:
        """The score at this stratum's own best threshold."""
        return best_of(self.curves[tolerance])


@dataclass(frozen=True, eq=False)
class FalseAlarms:
    """Flagged pixels on crack-free pictures.

    Attributes:
        kind: what the pictures show.
        surface: surface; "" for all together.
        images: number of pictures.
        flagged: flagged share of their pixels at the shipped threshold, 0 to 1.
        published: the same without groups that `stream` drops.
        images_flagged: share of the pictures with any published pixel.
    """

    kind: str
    surface: str
    images: int
    flagged: float
    published: float
    images_flagged: float


@dataclass(frozen=True, eq=False)
class StrataScores:
    """The scores of one model on one yardstick.

    Attributes:
        results: one per picture.
        threshold: the shipped threshold; scores are given at it and at the best one.

    Raises:
        DataError: no picture has a crack.
    """

    results: tuple[ItemResult, ...]
    threshold: float

    def __post_init__(self) -> None:
        _require_cracks(self.cracked)

    @cached_property
    def cracked(self) -> tuple[ItemResult, ...]:
        """The pictures with a crack."""
        return tuple(result for result in self.results if result.item.kind == CRACK)

    @cached_property
    def strata(self) -> tuple[Stratum, ...]:
        """Every stratum of pictures with a crack, including strata without pictures."""
        surfaces: list[str] = [*SURFACE_KINDS]
        surfaces += sorted({item.item.surface for item in self.cracked} - set(surfaces))
        values: dict[Dimension, Sequence[str]] = {
            "width": WIDTH_CLASSES,
            "surface": surfaces,
            "contrast": CONTRAST_CLASSES,
        }
        listed = []
        for real in (True, False):
            own = [result for result in self.cracked if result.item.is_real == real]
            for by in DIMENSIONS:
                for value in values[by]:
                    chosen = tuple(item for item in own if _value(item, by) == value)
                    listed.append(Stratum(real, by, value, chosen))
        return tuple(listed)

    @cached_property
    def averaged(self) -> tuple[Stratum, ...]:
        """The strata that have enough pictures for mean and worst.

        Raises:
            DataError: none has.
        """
        chosen = tuple(stratum for stratum in self.strata if stratum.counts_in_mean)
        if not chosen:
            raise _too_few()
        return chosen

    @property
    def missing(self) -> tuple[Stratum, ...]:
        """The strata without any picture."""
        return tuple(stratum for stratum in self.strata if not stratum.results)

    def curve(self, tolerance: Tolerance) -> NDArray[np.float64]:
        """The mean over strata; made ones (rendered or generated) have at most half of the weight.

        Returns:
            float64 [3, 99]: precision, recall, F1, 0 to 1.
        """
        halves = []
        for real in (True, False):
            own = [item.curves[tolerance] for item in self.averaged if item.real == real]
            if own:
                halves.append(np.mean(own, axis=0))
        return np.asarray(np.mean(halves, axis=0))

    def mean(self, tolerance: Tolerance) -> Score:
        """The mean over strata at the shipped threshold."""
        return score_of(self.curve(tolerance), self.threshold)

    def best(self, tolerance: Tolerance) -> Score:
        """The mean over strata at its best threshold."""
        return best_of(self.curve(tolerance))

    def worst(self, tolerance: Tolerance) -> Stratum:
        """The stratum with the lowest F1 at the shipped threshold."""
        return min(self.averaged, key=lambda item: item.at(tolerance, self.threshold).f1)

    def recall_by_width(self, *, real: bool) -> list[dict[str, Any]]:
        """The share of crack pixels within 2 px of flagged pixels, by width class.

        Every crack pixel counts for its own width, also in pictures of another stratum. `recall`
        is None if there are no pixels of the class.
        """
        own = [result for result in self.cracked if result.item.is_real == real]
        place = threshold_index(self.threshold)
        rows = []
        for index, name in enumerate(WIDTH_CLASSES):
            total = sum(int(result.width_truth[index]) for result in own)
            found = sum(int(result.width_found[index, place]) for result in own)
            images = sum(int(result.width_truth[index] > 0) for result in own)
            share = found / total if total else None
            rows.append({"width": name, "recall": share, "pixels": total, "images": images})
        return rows

    def false_alarms(self) -> list[FalseAlarms]:
        """By kind, all surfaces together, then by kind and surface."""
        free = [result for result in self.results if result.item.kind != CRACK]
        kinds = list(dict.fromkeys(result.item.kind for result in free))
        together = [self._flagged(kind, "", free) for kind in kinds]
        apart = [
            self._flagged(kind, surface, free)
            for kind in kinds
            for surface in dict.fromkeys(
                result.item.surface for result in free if result.item.kind == kind
            )
        ]
        return together + apart

    def _flagged(self, kind: str, surface: str, free: Iterable[ItemResult]) -> FalseAlarms:
        own = [
            item
            for item in free
            if item.item.kind == kind and (not surface or item.item.surface == surface)
        ]
        place = threshold_index(self.threshold)
        pixels = sum(item.pixels for item in own)
        flagged = sum(int(item.counts[STRICT].predicted[place]) for item in own)
        published = sum(item.published_px for item in own)
        shown = sum(item.published_px > 0 for item in own)
        return FalseAlarms(
            kind, surface, len(own), flagged / pixels, published / pixels, shown / len(own)
        )

    def reliability(self, chosen: Callable[[ItemResult], bool] = lambda item: True) -> Reliability:
        """Pixel and crack counts by probability, over all chosen pictures."""
        parts = (item.reliability for item in self.results if chosen(item))
        return reduce(add, parts, Reliability.none())

    def trials(self) -> list[Trial]:
        """Every crack of known width."""
        return [
            Trial(result.item.photo, crack.width_px, crack.level)
            for result in self.cracked
            for crack in result.cracks
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything except the detection probability as plain values for JSON; scores 0 to 1."""
        worst = {kind: self.worst(kind) for kind in (TOLERANT, STRICT)}
        return {
            "images": len(self.results),
            "threshold": self.threshold,
            "mean": {kind: self._pair(self.mean(kind), self.best(kind)) for kind in worst},
            "worst": {
                kind: {
                    "stratum": item.name,
                    "images": len(item.results),
                    "photos": item.photos,
                    **asdict(item.at(kind, self.threshold)),
                }
                for kind, item in worst.items()
            },
            "strata": [self._row(stratum) for stratum in self.strata],
            "recall_by_width": {KINDS[real]: self.recall_by_width(real=real) for real in KINDS},
            "false_alarms": [asdict(item) for item in self.false_alarms()],
            "calibration": self._calibration(),
        }

    def _row(self, stratum: Stratum) -> dict[str, Any]:
        row: dict[str, Any] = {
            "kind": KINDS[stratum.real],
            "by": stratum.by,
            "value": stratum.value,
            "images": len(stratum.results),
            "photos": stratum.photos,
            "in_mean": stratum.counts_in_mean,
        }
        for kind in (TOLERANT, STRICT) if stratum.results else ():
            row[kind] = self._pair(stratum.at(kind, self.threshold), stratum.best(kind))
        return row

    @staticmethod
    def _pair(shipped: Score, best: Score) -> dict[str, Any]:
        return {"shipped": asdict(shipped), "best": asdict(best)}

    def _calibration(self) -> dict[str, Any]:
        sets: dict[str, Callable[[ItemResult], bool]] = {
            "all": lambda item: True,
            "real": lambda item: item.item.is_real,
            "made": lambda item: not item.item.is_real,
        }
        found = {name: self.reliability(chosen) for name, chosen in sets.items()}
        return {
            name: {"expected_calibration_error": item.expected_error(), "bins": item.bins()}
            for name, item in found.items()
        }


def _value(result: ItemResult, by: Dimension) -> str | None:
    if by == "surface":
        return result.item.surface
    index = result.width_class if by == "width" else result.contrast_class
    names = WIDTH_CLASSES if by == "width" else CONTRAST_CLASSES
    return None if index is None else names[index]
