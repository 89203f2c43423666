"""Time per frame with a third of the frame ignored over none, and what the ignored third changes.

    python benchmarks/ignore_saves.py [--model MODEL.onnx] [--rounds 9]

From the camera's frame to the merged map (`CrackDetector.detect`), generated walls of four sizes,
interleaved pairs on as many threads as given; median and quartiles of the pairs' ratios. Then, with
the third replaced by noise, black and white: how many pixels of the mask differ elsewhere, where
the third is ignored and where it is not. Last, how alike the masks with and without ignoring are
elsewhere (intersection over union), and where there are 16 px in between. Both pool all frames.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.images.ignored import IgnoredPixels  # noqa: E402
from edgecrack.metrics.counting import uint8_level  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.runtime.pipeline.inspection import FULL  # noqa: E402
from edgecrack.synthetic import WallConfig, generate_wall  # noqa: E402

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
FRAMES_HW = ((480, 640), (480, 854), (720, 1280), (1080, 1920))
_NEAR_PX = 16


def thirds(hw: tuple[int, int]) -> dict[str, Mask]:
    """A bonnet, a pipe at the side, and an arm that comes from a corner."""
    y, x = np.mgrid[: hw[0], : hw[1]]
    return {
        "bottom": np.asarray(y >= 2 * hw[0] // 3),
        "right": np.asarray(x >= 2 * hw[1] // 3),
        "corner": np.asarray(x / hw[1] + y / hw[0] > 2 - np.sqrt(2 / 3)),
    }


def seconds(detector: CrackDetector, frame: Image) -> float:
    started = time.perf_counter()
    detector.probability_of(frame)
    return time.perf_counter() - started


def cracks(detector: CrackDetector, frame: Image) -> Mask:
    return np.asarray(detector.probability_of(frame) >= uint8_level(detector.threshold))


def ratio_of(whole: CrackDetector, part: CrackDetector, frame: Image, rounds: int) -> Any:
    pairs = [(seconds(whole, frame), seconds(part, frame)) for _ in range(rounds + 1)]
    low, middle, high = np.quantile(
        [new / old for old, new in pairs[1:]], (0.25, 0.5, 0.75)
    ).tolist()
    hw = (frame.shape[0], frame.shape[1])
    return {
        "ratio": round(middle, 3),
        "quartiles": [round(low, 3), round(high, 3)],
        "tiles": [round(detector.tiles_of(hw, FULL)) for detector in (whole, part)],
    }


def effect_of(
    whole: CrackDetector, part: CrackDetector, frame: Image, mask: Mask
) -> dict[str, int]:
    """Pixels of the masks outside of what is ignored, by what they are counted for."""
    found, plain = cracks(part, frame), cracks(whole, frame)
    noise = np.random.default_rng(0).integers(0, 256, frame.shape, dtype=np.uint8)
    counts = {}
    for name, shown in {"noise": noise, "black": 0 * noise, "white": 0 * noise + 255}.items():
        other = np.where(mask[..., None], shown, frame).astype(np.uint8)
        counts[f"changed by {name}"] = int((cracks(part, other) != found).sum())
        moved = (cracks(whole, other) != plain) & ~mask
        counts[f"changed by {name} that is not ignored"] = int(moved.sum())
    box = np.ones((2 * _NEAR_PX + 1, 2 * _NEAR_PX + 1), dtype=np.uint8)
    far = cv2.dilate(mask.astype(np.uint8), box) == 0
    for name, where in (("elsewhere", ~mask), ("16 px away", far)):
        counts[f"{name}: crack with and without"] = int((found & plain & where).sum())
        counts[f"{name}: crack with or without"] = int(((found | plain) & where).sum())
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    times: dict[str, Any] = {}
    effects: Counter[str] = Counter()
    with open_detector(given.model, threads=given.threads) as whole:
        for frame_hw in FRAMES_HW:
            frame = generate_wall(WallConfig(1, frame_hw, "concrete", 2, 0)).image
            for name, mask in thirds(frame_hw).items():
                part = whole.ignoring(IgnoredPixels(mask))
                key = f"{frame_hw[1]}x{frame_hw[0]}, {name}"
                times[key] = ratio_of(whole, part, frame, given.rounds)
                effects.update(effect_of(whole, part, frame, mask))
                print(key, times[key], flush=True)
        figures = {
            "threads": given.threads,
            "scales": list(whole.scales),
            "model_sha256": whole.runner.spec.sha256,
            "time_over_nothing_ignored": times,
            "pixels_of_all_frames": dict(effects),
            "iou_with_the_whole_frame": {
                name: round(
                    effects[f"{name}: crack with and without"]
                    / effects[f"{name}: crack with or without"],
                    3,
                )
                for name in ("elsewhere", "16 px away")
            },
        }
    write_result("ignore_saves", figures, "onnxruntime", "numpy", "opencv-python-headless")


if __name__ == "__main__":
    main()
