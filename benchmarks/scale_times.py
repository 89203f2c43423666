"""Time per frame of a model with all its scales, over that of an earlier model, in one run.

    python benchmarks/scale_times.py --before OLD.onnx [--model NEW.onnx] [--rounds 15]

From the camera's frame to the merged map (`CrackDetector.detect`), generated walls of four sizes,
interleaved pairs on as many threads as given; median and quartiles of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.synthetic import WallConfig, generate_wall  # noqa: E402

FRAMES_HW = ((480, 640), (480, 854), (720, 1280), (1080, 1920))


def seconds(detector: CrackDetector, frame: NDArray[np.uint8]) -> float:
    started = time.perf_counter()
    detector.probability_of(frame)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    found = {}
    with (
        open_detector(given.before, threads=given.threads) as before,
        open_detector(given.model, threads=given.threads) as after,
    ):
        for frame_hw in FRAMES_HW:
            frame = generate_wall(WallConfig(1, frame_hw, "concrete", 2, 0)).image
            pairs = [(seconds(before, frame), seconds(after, frame)) for _ in range(given.rounds)]
            ratios = [new / old for old, new in pairs[1:]]
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
            tiles = [len(detector.plan(frame_hw)) for detector in (before, after)]
            name = f"{frame_hw[1]}x{frame_hw[0]}"
            found[name] = {
                "ratio": round(middle, 3),
                "quartiles": [round(low, 3), round(high, 3)],
                "tiles": tiles,
            }
            print(name, found[name], flush=True)
        figures = {
            "threads": given.threads,
            "scales": list(after.scales),
            "before_sha256": before.runner.spec.sha256,
            "model_sha256": after.runner.spec.sha256,
            "time_over_before": found,
        }
    write_result("scale_times", figures, "onnxruntime", "numpy", "opencv-python-headless")


if __name__ == "__main__":
    main()
