"""What an ordinary labelled dataset says by crack width, and how calibrated a model is on it.

Knows labelled samples and a predictor; must not know how pages look.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecrack.data.datasets import Sample
from edgecrack.evaluation.scored_images import Predict
from edgecrack.evaluation.strata.item_result import score_item
from edgecrack.evaluation.strata.stratum_scores import StrataScores
from edgecrack.yardstick.manifest import Item


def by_width(predict: Predict, samples: Sequence[Sample], threshold: float) -> dict[str, Any]:
    """Recall by crack width and calibration of a predictor on labelled images.

    Args:
        predict: from a BGR frame to a probability map; asked once per image.
        samples: the images.
        threshold: what counts as flagged, a multiple of 0.01.

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
