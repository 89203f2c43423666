"""How good a graph is on tiles: ODS, strict F1 and recall on thin cracks.

Thin cracks are what quantization loses first, and what an inspector misses most; a score over
all crack pixels hides it, because wide cracks have most of them. Knows outputs and truth; must
not know graphs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics

THIN_PX = 3  # the median width of CFD's and uav315's labels (benchmarks/label_widths.py)
_REACH_PX = 3


def thin_parts(truth: NDArray[np.bool_], widest_px: int = THIN_PX) -> NDArray[np.bool_]:
    """Crack pixels that no part wider than `widest_px` is near.

    The width at a pixel on a crack's ridge is twice its distance to the background, less one.

    Args:
        truth: bool [H, W], crack.
        widest_px: greatest width that counts as thin, in pixels.

    Returns:
        bool [H, W].
    """
    # A crack goes on beyond the tile's border, so the border makes none of them thinner.
    distance = cv2.distanceTransform(truth.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    wide = (2 * distance - 1 > widest_px + 0.5).astype(np.uint8)
    side = 2 * (_REACH_PX + widest_px // 2) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    near = cv2.dilate(wide, disk) > 0
    return np.asarray(truth & ~near)


@dataclass(frozen=True)
class Accuracy:
    """Scores over a set of tiles, in points of 100.

    Attributes:
        ods: best F1 over thresholds, with the paper's tolerance.
        strict_f1: F1 without tolerance at the model's own threshold.
        thin_recall: share of thin crack pixels that are found within 2 px at the model's own
            threshold; 100 where the set has none.
        largest_difference: largest difference from the FP32 output, in levels of 255; 0 where
            there was none to compare with.
        thin_pixels: thin crack pixels that the recall is a share of.
    """

    ods: float
    strict_f1: float
    thin_recall: float
    largest_difference: int = 0
    thin_pixels: int = 0

    def to_dict(self) -> dict[str, float]:
        """The scores as they stand in a sidecar."""
        return {
            "ods": round(self.ods, 2),
            "strict_f1": round(self.strict_f1, 2),
            "thin_recall": round(self.thin_recall, 2),
            "largest_difference": self.largest_difference,
            "thin_pixels": self.thin_pixels,
        }


def measure_accuracy(
    output: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    threshold: float,
    reference: NDArray[np.uint8] | None = None,
) -> Accuracy:
    """Score outputs.

    Args:
        output: crack probability, uint8 [N, H, W].
        truth: crack, bool [N, H, W].
        threshold: the model's own, 0 to 1.
        reference: the FP32 model's output, uint8 [N, H, W].
    """
    tolerant, strict = [], []
    thin_count = thin_found = 0
    passed = output >= metrics.uint8_level(threshold)
    for own, mask, found in zip(output, truth, passed, strict=True):
        tolerant.append(metrics.count_image(own, mask, "square"))
        strict.append(_strict_counts(found, mask))
        thin = thin_parts(mask)
        thin_count += int(thin.sum())
        thin_found += int((thin & metrics.dilate(found, "square")).sum())
    hits, false_alarms, misses = np.sum(strict, axis=0).tolist()
    positives = 2 * hits + false_alarms + misses
    largest = 0
    if reference is not None:
        largest = int(np.abs(output.astype(np.int16) - reference.astype(np.int16)).max())
    return Accuracy(
        ods=100.0 * metrics.ods(metrics.pool(tolerant)).f1,
        strict_f1=100.0 * (2 * hits / positives if positives else 1.0),
        thin_recall=100.0 * (thin_found / thin_count if thin_count else 1.0),
        largest_difference=largest,
        thin_pixels=thin_count,
    )


def _strict_counts(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[Any, Any, Any]:
    return (found & truth).sum(), (found & ~truth).sum(), (~found & truth).sum()
