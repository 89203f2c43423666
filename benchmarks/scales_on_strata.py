"""At which sizes of the frame to run a model, and how to merge what it sees: on the yardstick.

    python benchmarks/scales_on_strata.py runs/yardstick [--model FILE] [--threshold 0.5]

Each picture is run at full, half and quarter size once, reduced in two ways; then rules merge the
maps, among them the two that the runtime has:

    max         each pixel's highest probability
    wide-max N  the same, but reduced sizes count only where they see N px or more across
    mean        the mean of the logits
    certain     per picture, the size at which the flagged pixels are most certain

Work is in tiles of 256 px, by the runtime's plan for the yardstick's pictures and for frames of
480x854 and 1080x1920 px.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.evaluation.strata.item_result import (  # noqa: E402
    STRICT,
    TOLERANT,
    ItemResult,
    score_item,
)
from edgecrack.evaluation.strata.stratum_scores import StrataScores  # noqa: E402
from edgecrack.metrics import Score  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.runtime.scales import ScalesConfig, plan_scales  # noqa: E402
from edgecrack.runtime.tiling import TilingConfig  # noqa: E402
from edgecrack.yardstick.manifest import Item, open_yardstick  # noqa: E402

Map = NDArray[np.uint8]
Maps = dict[str, Map]
Rule = Callable[[Maps, float], Map]

REDUCED = {"half": 0.5, "quarter": 0.25}
FRAMES_HW = ((480, 854), (1080, 1920))


def reduced(prepared: Map, scale: float, keeps_dark: bool) -> Map:
    """A smaller frame: means over areas, or halfway from there to the darkest pixel of each."""
    height, width = prepared.shape
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    mean = cv2.resize(prepared, size, interpolation=cv2.INTER_AREA)
    if not keeps_dark:
        return np.asarray(mean, np.uint8)
    side = round(1 / scale)
    darkest = cv2.erode(prepared, np.ones((side, side), np.uint8))
    picked = cv2.resize(darkest, size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.addWeighted(mean, 0.5, picked, 0.5, 0), np.uint8)


def maps_of(detector: CrackDetector, image: NDArray[np.uint8]) -> Maps:
    """The model's map at each size, each at its own size."""
    prepared = np.asarray(detector.prepare(image))
    found = {"full": detector.infer(prepared)}
    for name, scale in REDUCED.items():
        found[name] = detector.infer(reduced(prepared, scale, False))
        found[f"{name}, dark kept"] = detector.infer(reduced(prepared, scale, True))
    return found


def enlarged(probability: Map, like: Map) -> Map:
    height, width = like.shape
    return np.asarray(cv2.resize(probability, (width, height)), np.uint8)


def opened(probability: Map, side: int) -> Map:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    padded = cv2.copyMakeBorder(probability, *(side,) * 4, cv2.BORDER_REPLICATE)
    result = cv2.morphologyEx(padded, cv2.MORPH_OPEN, disc)
    return np.asarray(result[side:-side, side:-side], np.uint8)


def highest(*sizes: str, least_px: int = 1) -> Rule:
    def rule(maps: Maps, threshold: float) -> Map:
        result = maps["full"]
        for name in sizes:
            smaller = opened(maps[name], least_px) if least_px > 1 else maps[name]
            result = np.maximum(result, enlarged(smaller, result))
        return result

    return rule


def alone(name: str) -> Rule:
    return lambda maps, threshold: enlarged(maps[name], maps["full"])


def mean_of_logits(*sizes: str) -> Rule:
    def rule(maps: Maps, threshold: float) -> Map:
        shares = [
            np.clip(enlarged(maps[name], maps["full"]).astype(np.float32) / 255, 1 / 512, 511 / 512)
            for name in ("full", *sizes)
        ]
        logit = np.mean([np.log(share / (1 - share)) for share in shares], axis=0)
        return np.asarray(np.rint(255 / (1 + np.exp(-logit))), np.uint8)

    return rule


def most_certain(*sizes: str) -> Rule:
    def rule(maps: Maps, threshold: float) -> Map:
        level = round(255 * threshold)

        def certainty(name: str) -> float:
            flagged = maps[name][maps[name] >= level]
            return float(flagged.mean()) if len(flagged) else 0.0

        return enlarged(maps[max(("full", *sizes), key=certainty)], maps["full"])

    return rule


RULES: dict[str, tuple[Rule, tuple[float, ...]]] = {
    "full size": (alone("full"), (1.0,)),
    "half size": (alone("half"), (0.5,)),
    "max, half": (highest("half"), (1.0, 0.5)),
    "max, half with dark kept": (highest("half, dark kept"), (1.0, 0.5)),
    "wide-max 3, half": (highest("half", least_px=3), (1.0, 0.5)),
    "wide-max 5, half": (highest("half", least_px=5), (1.0, 0.5)),
    "wide-max 7, half": (highest("half", least_px=7), (1.0, 0.5)),
    "mean, half": (mean_of_logits("half"), (1.0, 0.5)),
    "certain, half": (most_certain("half"), (1.0, 0.5)),
    "max, half and quarter": (highest("half", "quarter"), (1.0, 0.5, 0.25)),
    "wide-max 3, half and quarter": (highest("half", "quarter", least_px=3), (1.0, 0.5, 0.25)),
    "wide-max 5, half and quarter": (highest("half", "quarter", least_px=5), (1.0, 0.5, 0.25)),
    "mean, half and quarter": (mean_of_logits("half", "quarter"), (1.0, 0.5, 0.25)),
    "certain, half and quarter": (most_certain("half", "quarter"), (1.0, 0.5, 0.25)),
}


def tiles_over_full(scales: Sequence[float]) -> dict[str, float]:
    """By frame size, tiles at these scales over those at full size."""
    found = {}
    for frame_hw in FRAMES_HW:
        plans = [
            plan_scales(frame_hw, ScalesConfig(tuple(some)), TilingConfig())
            for some in ((1.0,), scales)
        ]
        found[f"{frame_hw[0]}x{frame_hw[1]}"] = round(len(plans[1]) / len(plans[0]), 3)
    return found


def row(scores: StrataScores) -> dict[str, Any]:
    """What a rule is judged by, in percent."""

    def of(score: Score) -> dict[str, float]:
        return {"f1": round(100 * score.f1, 1), "threshold": round(score.threshold, 2)}

    worst = scores.worst(TOLERANT)
    return {
        "tolerant": of(scores.mean(TOLERANT)),
        "tolerant_best": of(scores.best(TOLERANT)),
        "strict": of(scores.mean(STRICT)),
        "strict_best": of(scores.best(STRICT)),
        "worst": {"stratum": worst.name, **of(worst.at(TOLERANT, scores.threshold))},
        "strata": {
            item.name: round(100 * item.at(TOLERANT, scores.threshold).f1, 1)
            for item in scores.averaged
        },
        "recall_by_width": {
            kind: [
                None if entry["recall"] is None else round(100 * entry["recall"], 1)
                for entry in scores.recall_by_width(real=kind == "real")
            ]
            for kind in ("real", "made")
        },
        "published_false_alarms": {
            alarm.kind: round(100 * alarm.published, 3)
            for alarm in scores.false_alarms()
            if not alarm.surface
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("yardstick", type=Path)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--threshold", type=float, help="instead of the model's own")
    parser.add_argument("--rules", nargs="*", default=list(RULES), choices=list(RULES))
    parser.add_argument("--name", default="scales_on_strata", help="of the file under results/")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    yardstick = open_yardstick(given.yardstick)
    results: dict[str, list[ItemResult]] = {name: [] for name in given.rules}
    with open_detector(given.model, scales=(1.0,), threads=1) as detector:
        threshold = given.threshold or detector.threshold
        for item in yardstick.items:
            add_picture(item, detector, threshold, results)
        sha256 = detector.runner.spec.sha256
    rows = {}
    for name, found in results.items():
        rows[name] = row(StrataScores(tuple(found), threshold))
        rows[name]["tiles_over_full"] = tiles_over_full(RULES[name][1])
        print(name, rows[name], flush=True)
    figures = {"model_sha256": sha256, "threshold": threshold, "rules": rows}
    write_result(given.name, figures, "onnxruntime", "numpy", "opencv-python-headless")


def add_picture(
    item: Item, detector: CrackDetector, threshold: float, results: dict[str, list[ItemResult]]
) -> None:
    """Score one picture by every rule."""
    maps = maps_of(detector, item.image())
    for name, found in results.items():
        merged = RULES[name][0](maps, threshold)
        found.append(score_item(lambda image, merged=merged: merged, item, threshold))  # type: ignore[misc]


if __name__ == "__main__":
    main()
