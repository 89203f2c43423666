"""Accuracy of a graph on tiles: pixel counts per image, scores, and bootstrap confidence bounds.

Quantization loses thin cracks first, and an inspector misses them most; a score over all crack
pixels hides that, because wide cracks have most of them. False positives where there is no crack
are counted separately, since scores over crack pixels hardly show them.

The bootstrap resamples images, not tiles: the tiles of an image show the same wall in the same
light. Both files are scored on the same draws, so what they have in common cancels out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics

DRAWS = 2000
CONFIDENCE = 0.95
# With 5, the bound on thin cracks holds in 61 to 75 of 100 draws instead of 95, with 8 in 70 to
# 75, with 20 in 83 to 87; the others hold in 83 or more from 8 on (benchmarks/gate_bound.py).
LEAST_IMAGES = 8


def draw_images(images: int, seed: int, draws: int = DRAWS) -> NDArray[np.int64]:
    """How often each image occurs in each bootstrap draw, with replacement.

    Returns:
        int64 [draws, images]; each row adds up to `images`.
    """
    even = np.full(images, 1.0 / images)
    return np.random.default_rng(seed).multinomial(images, even, size=draws)


def upper_bound(values: NDArray[np.float64], images: int) -> float:
    """Upper bound of a value with a one-sided confidence of 95 %.

    The expanded percentile of Hesterberg, "What Teachers Should Know About the Bootstrap", The
    American Statistician 69 (2015): a plain 95th percentile is too low for few images.

    Args:
        values: float64 [draws].
        images: number of images, 2 or more.
    """
    wider = math.sqrt(images / (images - 1)) * _student_quantile(images - 1)
    level = NormalDist().cdf(wider)
    return float(np.quantile(values, level, method="higher"))


def _student_quantile(freedom: int) -> float:
    """The 95 % quantile of Student's distribution, by its expansion about the normal one.

    Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5, to the third power.
    """
    z = NormalDist().inv_cdf(CONFIDENCE)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))


THIN_PX = 3  # the median width of CFD's and uav315's labels (benchmarks/label_widths.py)
_REACH_PX = 3


def thin_parts(truth: NDArray[np.bool_], widest_px: int = THIN_PX) -> NDArray[np.bool_]:
    """Crack pixels without a part wider than `widest_px` nearby.

    The width at a pixel on a crack's centreline is twice its distance to the background, minus one.

    Args:
        truth: bool [H, W], crack.
        widest_px: greatest width that counts as thin, in pixels.

    Returns:
        bool [H, W].
    """
    # A crack continues beyond the tile's border, so the border makes none thinner.
    distance = cv2.distanceTransform(truth.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    wide = (2 * distance - 1 > widest_px + 0.5).astype(np.uint8)
    side = 2 * (_REACH_PX + widest_px // 2) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    near = cv2.dilate(wide, disk) > 0
    return np.asarray(truth & ~near)


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """Pixel counts of each image; they are additive, so any draw of images has scores.

    The first four have a column for each of the 99 thresholds of ODS and one for the model's own
    threshold, at which the others are counted.

    Attributes:
        predicted: int64 [images, 100], predicted crack pixels.
        predicted_matched: int64 [images, 100], those within 2 px of a true one.
        truth: int64 [images, 100], true crack pixels, the same in every column.
        truth_matched: int64 [images, 100], those within 2 px of a predicted one.
        hits: int64 [images], predicted and true, without tolerance.
        thin: int64 [images], true pixels of thin cracks.
        thin_found: int64 [images], those within 2 px of a predicted one.
        bare: int64 [images], pixels of tiles without crack.
        bare_flagged: int64 [images], those predicted as crack.
    """

    predicted: NDArray[np.int64]
    predicted_matched: NDArray[np.int64]
    truth: NDArray[np.int64]
    truth_matched: NDArray[np.int64]
    hits: NDArray[np.int64]
    thin: NDArray[np.int64]
    thin_found: NDArray[np.int64]
    bare: NDArray[np.int64]
    bare_flagged: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.hits)

    def summed(self, weights: NDArray[np.int64]) -> ImageCounts:
        """Sums over images, each multiplied by its weight.

        Args:
            weights: int64 [sums, images].

        Returns:
            Counts whose first axis is that of the sums.
        """
        return ImageCounts(*(weights @ getattr(self, field.name) for field in fields(self)))

    def pooled(self) -> ImageCounts:
        """The sums over all images, as counts of a single one."""
        return self.summed(np.ones((1, len(self)), np.int64))


def count_images(
    output: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    threshold: float,
    image: NDArray[np.int64] | None = None,
) -> ImageCounts:
    """Count the pixels of each image's tiles.

    Args:
        output: crack probability, uint8 [N, H, W].
        truth: crack, bool [N, H, W].
        threshold: the model's own, 0 to 1.
        image: int64 [N], index of each tile's image; None treats every tile as an image.

    Returns:
        Counts in the order of the image indices.
    """
    counted = [_of_tile(own, mask, threshold) for own, mask in zip(output, truth, strict=True)]
    numbers = np.arange(len(counted)) if image is None else image
    member = np.unique(numbers)[:, None] == numbers
    columns = (np.stack(values) for values in zip(*counted, strict=True))
    return ImageCounts(*columns).summed(member.astype(np.int64))


def _of_tile(
    output: NDArray[np.uint8], truth: NDArray[np.bool_], threshold: float
) -> tuple[NDArray[np.int64], ...]:
    """A tile's share of each field of `ImageCounts`, in their order."""
    counts = metrics.count_image(output, truth, "square")
    found = output >= metrics.uint8_level(threshold)
    reach = metrics.dilate(found, "square")
    thin, bare = thin_parts(truth), not truth.any()
    at_own = {
        "predicted": found,
        "predicted_matched": found & metrics.dilate(truth, "square"),
        "truth": truth,
        "truth_matched": truth & reach,
    }
    curves = (np.append(getattr(counts, name), mask.sum()) for name, mask in at_own.items())
    single = ((found & truth).sum(), thin.sum(), (thin & reach).sum())
    empty = (bare * truth.size, bare * found.sum())
    return (*curves, *(np.asarray(value, np.int64) for value in (*single, *empty)))


def scores_of(counts: ImageCounts) -> dict[str, NDArray[np.float64]]:
    """Scores in points of 100, of each image or sum of images: float64 [images] each.

    `ods`: best F1 over thresholds within the paper's tolerance. The others are at the model's own
    threshold: `tolerant_f1` within the same tolerance; `strict_f1` without tolerance;
    `thin_recall`, the share of thin crack pixels found within 2 px; `bare_flagged`, the share of
    the tiles without crack that is predicted as crack. Without crack and predictions, F1 and recall
    are 100; without crack-free tiles, `bare_flagged` is 0.
    """
    within = _f1(
        _ratio(counts.predicted_matched, counts.predicted),
        _ratio(counts.truth_matched, counts.truth),
    )
    found, true = counts.predicted[:, -1], counts.truth[:, -1]
    shares = {
        "ods": within[:, :-1].max(1),
        "tolerant_f1": within[:, -1],
        "strict_f1": _ratio(2 * counts.hits, found + true),
        "thin_recall": _ratio(counts.thin_found, counts.thin),
        "bare_flagged": 1.0 - _ratio(counts.bare - counts.bare_flagged, counts.bare),
    }
    return {name: 100.0 * values for name, values in shares.items()}


def _f1(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> NDArray[np.float64]:
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Part / whole, and 1 where the whole is 0."""
    return np.divide(part, whole, out=np.ones(part.shape), where=whole > 0)


@dataclass(frozen=True)
class Accuracy:
    """Scores over a set of tiles, in points of 100.

    Attributes:
        ods: best F1 over thresholds, with the paper's tolerance.
        strict_f1: F1 without tolerance at the model's own threshold.
        thin_recall: share of thin crack pixels that are found within 2 px at the model's own
            threshold; 100 where the set has none.
        largest_difference: largest difference from the FP32 output, in levels of 255; 0 where
            there is none to compare with.
        thin_pixels: thin crack pixels, of which the recall is a share.
        tolerant_f1: F1 with the paper's tolerance at the model's own threshold.
    """

    ods: float
    strict_f1: float
    thin_recall: float
    largest_difference: int = 0
    thin_pixels: int = 0
    tolerant_f1: float = 0.0

    def to_dict(self) -> dict[str, float]:
        """The scores as a sidecar stores them."""
        return {
            "ods": round(self.ods, 2),
            "tolerant_f1": round(self.tolerant_f1, 2),
            "strict_f1": round(self.strict_f1, 2),
            "thin_recall": round(self.thin_recall, 2),
            "largest_difference": self.largest_difference,
            "thin_pixels": self.thin_pixels,
        }


def accuracy_of(counts: ImageCounts, largest_difference: int = 0) -> Accuracy:
    """The scores over all images.

    Args:
        counts: of each image.
        largest_difference: from the FP32 output, in levels of 255.
    """
    total = counts.pooled()
    found = {name: float(values[0]) for name, values in scores_of(total).items()}
    return Accuracy(
        found["ods"],
        found["strict_f1"],
        found["thin_recall"],
        largest_difference,
        int(total.thin[0]),
        found["tolerant_f1"],
    )


def measure_accuracy(
    output: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    threshold: float,
    reference: NDArray[np.uint8] | None = None,
) -> Accuracy:
    """Score an output.

    Args:
        output: crack probability, uint8 [N, H, W].
        truth: crack, bool [N, H, W].
        threshold: the model's own, 0 to 1.
        reference: the FP32 model's output, uint8 [N, H, W].
    """
    return accuracy_of(
        count_images(output, truth, threshold), largest_difference(output, reference)
    )


def largest_difference(output: NDArray[np.uint8], reference: NDArray[np.uint8] | None) -> int:
    """The largest difference of two outputs in levels of 255; 0 without a reference."""
    if reference is None:
        return 0
    return int(np.abs(output.astype(np.int16) - reference.astype(np.int16)).max())
