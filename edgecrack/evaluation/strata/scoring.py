"""Scores a predictor on a yardstick: picture by picture, then by stratum."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from edgecrack.evaluation.image_results import Predict
from edgecrack.evaluation.strata.detection import DetectionConfig, detection_document
from edgecrack.evaluation.strata.item_result import score_item
from edgecrack.evaluation.strata.stratum_scores import StrataScores
from edgecrack.yardstick.manifest import Yardstick

DEFAULT_MM_PER_PX = 0.25


@dataclass(frozen=True, eq=False)
class ScoredStrata:
    """One model and its scores on a yardstick.

    Attributes:
        label: name of the model in tables.
        scores: scores by stratum.
        predict: returns its probability maps again, for pictures.
        document: all figures as plain values, including "detection".
        context: what they depend on.
    """

    label: str
    scores: StrataScores
    predict: Predict
    document: Mapping[str, Any]
    context: Mapping[str, str]


def score_yardstick(
    label: str,
    predict: Predict,
    yardstick: Yardstick,
    threshold: float,
    mm_per_px: float = DEFAULT_MM_PER_PX,
    on_item: Callable[[int], None] = lambda done: None,
    context: Mapping[str, str] | None = None,
) -> ScoredStrata:
    """Score any predictor on a yardstick.

    Args:
        label: name of the model in tables.
        predict: from a BGR frame to a probability map of its size.
        yardstick: the pictures.
        threshold: the shipped one, a multiple of 0.01.
        mm_per_px: millimetres per pixel.
        on_item: called with the number of pictures done.
        context: what the figures depend on; the date and the machine are added.

    Raises:
        DataError: a picture, its mask and its prediction do not fit each other.
    """
    results = []
    for done, item in enumerate(yardstick.items, start=1):
        results.append(score_item(predict, item, threshold))
        on_item(done)
    scores = StrataScores(tuple(results), threshold)
    detection = DetectionConfig(mm_per_px, yardstick.blur_px, threshold)
    document = scores.to_dict()
    document["detection"] = detection_document(scores.trials(), detection)
    facts = {
        **(context or {}),
        "machine": platform.machine(),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }
    return ScoredStrata(label, scores, predict, document, facts)
