"""Scores of a model under several stretches, on one split of uav315.

    python benchmarks/stretch_choice.py [MODEL] [--data DIR] [--split val] [--stretches LIST]

LIST is as in "minmax,0.2+0.1". A stretch is "minmax", or "P+M": from the P-th to the (100 - P)-th
percentile, widened by M times that range at either end.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack import metrics  # noqa: E402
from edgecrack.artifacts import read_verified_spec  # noqa: E402
from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.evaluation.image_results import evaluate  # noqa: E402
from edgecrack.preprocess import PreprocessConfig, prepare, without_nodata  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402

_CANDIDATES = "minmax,0.2+0.1,0.5+0.25,1+0,1+0.25,2+0.5,5+1"


def parse_stretch(text: str, config: PreprocessConfig) -> PreprocessConfig:
    """The model's preprocessing with another stretch."""
    if text == "minmax":
        return dataclasses.replace(config, stretch="minmax")
    percentile, widened = (float(part) for part in text.split("+"))
    return dataclasses.replace(
        config,
        stretch="percentile",
        low_percentile=percentile,
        high_percentile=100 - percentile,
        stretch_margin=widened,
    )


def scores(
    detector: CrackDetector, config: PreprocessConfig, data: Path, split: str
) -> dict[str, float]:
    """ODS with 2 px tolerance and strict F1 at the model's threshold, percent."""

    def predict(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        prepared = prepare(image, config)
        return without_nodata(detector.infer(np.asarray(prepared)), prepared)

    found = evaluate(predict, open_dataset(data / "uav315").samples(split))
    pooled = {
        tolerance: metrics.pool(image.counts[tolerance] for image in found.images)
        for tolerance in ("square", "strict")
    }
    best = metrics.ods(pooled["square"])
    strict = metrics.score_at(pooled["strict"], detector.threshold)
    return {
        "ods_percent": round(100 * best.f1, 2),
        "ods_threshold": best.threshold,
        "strict_f1_percent": round(100 * strict.f1, 2),
        "strict_precision_percent": round(100 * strict.precision, 2),
        "strict_recall_percent": round(100 * strict.recall, 2),
        "best_strict_f1_percent": round(100 * metrics.ods(pooled["strict"]).f1, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("model", type=Path, nargs="?", default=BUNDLED_MODEL)
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--split", default="val")
    parser.add_argument("--stretches", default=_CANDIDATES)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    spec = read_verified_spec(given.model)
    rows = {}
    with open_detector(given.model, threads=1) as detector:
        for text in given.stretches.split(","):
            config = parse_stretch(text, spec.preprocess)
            rows[text] = scores(detector, config, given.data, given.split)
            print(text, rows[text], flush=True)
    figures = {
        "model_sha256": spec.sha256,
        "threshold": spec.threshold,
        "data": f"uav315 {given.split}",
        "stretches": rows,
    }
    write_result(f"stretch_choice_{given.split}", figures, "onnxruntime", "opencv-python-headless")


if __name__ == "__main__":
    main()
