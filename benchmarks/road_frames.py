"""A survey vehicle's frames by their weak labels: two models over thresholds.

    python benchmarks/road_frames.py --data DIR --before OLD.onnx

The labels are a texture threshold inside hand-drawn areas, noisy and incomplete, so precision is
too low by an unknown amount; but both models are judged by the same. Within the vehicle's
own lane, with a tolerance of 2 px, every ninth of the 203 frames.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.model_scores import DEFAULT_DATA  # noqa: E402
from edgecrack.data.reading import read_image  # noqa: E402
from edgecrack.metrics import uint8_level  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.83, 0.9)
_EVERY = 9
Mask = NDArray[np.bool_]


def read_mask(path: Path) -> Mask:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) > 0


def near(mask: Mask) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)


def scores(model: Path, frames: list[Path], weak: list[Mask]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 in percent by threshold; masks are within the lane."""
    with open_detector(model, threads=1) as detector:
        maps = [detector.probability_of(read_image(path)) for path in frames]
    found = {}
    for threshold in THRESHOLDS:
        counts = np.zeros(4)
        for path, probability, truth in zip(frames, maps, weak, strict=True):
            lane = read_mask(path.parents[1] / "lane" / f"{path.stem}.png")
            flagged = (probability >= uint8_level(threshold)) & lane
            counts += [
                (truth & near(flagged)).sum(),
                truth.sum(),
                (flagged & near(truth)).sum(),
                flagged.sum(),
            ]
        recall, precision = counts[0] / max(1, counts[1]), counts[2] / max(1, counts[3])
        f1 = 2 * recall * precision / max(1e-9, recall + precision)
        found[f"{threshold:g}"] = {
            "precision": round(100 * precision, 1),
            "recall": round(100 * recall, 1),
            "f1": round(100 * f1, 1),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    folder = given.data / "road_frames"
    frames = [
        path
        for path in sorted((folder / "images").iterdir())[::_EVERY]
        if (folder / "crack_weak" / f"{path.stem}.png").is_file()
        and (folder / "lane" / f"{path.stem}.png").is_file()
    ]
    weak = [
        read_mask(folder / "crack_weak" / f"{path.stem}.png")
        & read_mask(folder / "lane" / f"{path.stem}.png")
        for path in frames
    ]
    figures = {
        "frames": len(frames),
        "before": scores(given.before, frames, weak),
        "bundled": scores(given.model, frames, weak),
    }
    for name in ("before", "bundled"):
        print(name, figures[name], flush=True)
    write_result("road_frames", figures, "onnxruntime", "numpy")


if __name__ == "__main__":
    main()
