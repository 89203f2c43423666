"""Temperature and threshold of a model, from the yardstick's strata.

    python tools/choose_threshold.py MODEL.onnx runs/yardstick
    edgecrack export CHECKPOINT -o MODEL.onnx --temperature T --threshold P

The threshold is the one with the highest sum of the mean tolerant and the mean strict F1 over
strata: the one alone would choose a mask that is too wide, the other one that breaks off. The
temperature is that of the least cross-entropy, each picture weighing as much as any other, at the
sizes of the frame that the model runs at. Export with the temperature first, and choose the
threshold of what was exported: dividing logits moves it. Prints precision and recall over
thresholds, by which a user may choose another.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.evaluation.strata.item_result import STRICT, TOLERANT, ItemResult, score_item
from edgecrack.evaluation.strata.stratum_scores import StrataScores
from edgecrack.files import write_atomic
from edgecrack.metrics import THRESHOLDS
from edgecrack.runtime.detector import open_detector
from edgecrack.yardstick.manifest import CRACK, open_yardstick

_LEVELS = 256
_TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(10), 200))
_SHOWN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def level_counts(probability: NDArray[np.uint8], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of a picture's pixels of each level, surface and crack: float64 [2, 256]."""
    counts = [np.bincount(probability[chosen], minlength=_LEVELS) for chosen in (~truth, truth)]
    return np.asarray(counts, np.float64) / truth.size


def best_temperature(counts: NDArray[np.float64]) -> float:
    """What logits have to be divided by for the least cross-entropy.

    Args:
        counts: float64 [2, 256], how many pixels of surface and of crack have each level.
    """
    # A level represents what was rounded to it; 0 and 255 represent a quarter of a level beyond.
    level = np.clip(np.arange(_LEVELS, dtype=np.float64), 0.25, _LEVELS - 1.25) / (_LEVELS - 1)
    logit = np.log(level) - np.log1p(-level)
    costs = []
    for temperature in _TEMPERATURES.tolist():
        cooled = logit / temperature
        cost = np.logaddexp(0, cooled), np.logaddexp(0, -cooled)
        costs.append(float(counts[0] @ cost[0] + counts[1] @ cost[1]))
    return float(_TEMPERATURES[int(np.argmin(costs))])


def best_threshold(scores: StrataScores) -> float:
    """The threshold with the highest sum of mean tolerant and mean strict F1."""
    total = scores.curve(TOLERANT)[2] + scores.curve(STRICT)[2]
    best = np.flatnonzero(total >= total.max() - 1e-9)
    return float(THRESHOLDS[best[(len(best) - 1) // 2]])


def table_of(scores: StrataScores) -> list[dict[str, float]]:
    """Precision, recall and F1 in percent, means over strata, and area falsely flagged."""
    rows = []
    for threshold in _SHOWN:
        place = int(np.argmin(np.abs(THRESHOLDS - threshold)))
        precision, recall, tolerant = scores.curve(TOLERANT)[:, place].tolist()
        strict = float(scores.curve(STRICT)[2, place])
        free = [item for item in scores.results if item.item.kind != CRACK]
        flagged = sum(int(item.counts[STRICT].predicted[place]) for item in free)
        rows.append(
            {
                "threshold": threshold,
                "precision": round(100 * precision, 1),
                "recall": round(100 * recall, 1),
                "tolerant_f1": round(100 * tolerant, 1),
                "strict_f1": round(100 * strict, 1),
                "flagged_without_crack": round(
                    100 * flagged / max(1, sum(item.pixels for item in free)), 3
                ),
            }
        )
    return rows


def choose(model: Path, yardstick: Path, scales: Sequence[float] | None = None) -> dict[str, Any]:
    """Temperature, threshold and what each threshold gives."""
    items = open_yardstick(yardstick).items
    results: list[ItemResult] = []
    counts = np.zeros((2, _LEVELS))
    chosen = None if scales is None else tuple(scales)
    with open_detector(model, scales=chosen, threads=1) as detector:
        shipped, sha256 = round(detector.threshold, 2), detector.runner.spec.sha256
        for item in items:
            probability = detector.probability_of(item.image())
            counts += level_counts(probability, item.mask() > 0)
            results.append(score_item(lambda image, p=probability: p, item, shipped))  # type: ignore[misc]
    scores = StrataScores(tuple(results), shipped)
    return {
        "date": date.today().isoformat(),
        "model_sha256": sha256,
        "temperature": round(best_temperature(counts), 3),
        "threshold": round(best_threshold(scores), 2),
        "thresholds": table_of(scores),
    }


def main() -> None:
    """Choose for the model that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("yardstick", type=Path)
    parser.add_argument("--scales", type=float, nargs="+", help="instead of the model's own")
    parser.add_argument("--json", type=Path, help="also write it here")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    found = choose(given.model, given.yardstick, given.scales)
    if given.json is not None:
        write_atomic(given.json, json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
