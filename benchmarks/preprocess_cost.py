"""What each part of the preprocessing costs per frame, beside the network itself.

Time of one thread on its core, which a busy machine disturbs least, medians of interleaved
repeats; frames of the wall video where it is there, else noise.
The stretch from minimum to maximum is what models with a sidecar of version 1 have; the percentile
stretch is measured on a frame as it is, with a black side, with a clock burnt in, both of which
are found and mirrored over, and on the video's first frame, in which a bright window is looked at
and not taken for a margin.

    python benchmarks/preprocess_cost.py [--data DIR]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.preprocess import PreprocessConfig, preprocess  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402

CONFIGS = {
    "all": PreprocessConfig(),
    "no_gamma": PreprocessConfig(gamma=1),
    "no_clahe": PreprocessConfig(clahe_clip=0),
    "stretch_only": PreprocessConfig(clahe_clip=0, gamma=1),
    "minmax_all": PreprocessConfig(stretch="minmax"),
    "minmax_stretch_only": PreprocessConfig(stretch="minmax", clahe_clip=0, gamma=1),
}
_REPEATS = 21


def frame_of_video(data: Path, number: int) -> NDArray[np.uint8]:
    """A frame of the wall video, uint8 [H, W, 3], or noise of its size."""
    capture = cv2.VideoCapture(str(data / "video" / "wall_robot.mp4"))
    for _ in range(number):
        capture.grab()
    ok, frame = capture.read()
    if ok:
        return np.asarray(frame, dtype=np.uint8)
    return np.random.default_rng(0).integers(0, 256, (854, 480, 3), dtype=np.uint8)


def with_black_side(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame with its right fifth black."""
    changed = frame.copy()
    changed[:, -frame.shape[1] // 5 :] = 0
    return changed


def with_clock(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame with white digits in a black box."""
    changed = frame.copy()
    changed[8:40, 8:180] = 0
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(changed, "12:34:56.789", (12, 32), font, 0.7, (255, 255, 255), 2)
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    data = parser.parse_args().data
    frame = frame_of_video(data, 200)
    cv2.setNumThreads(1)
    jobs = {name: (frame, config) for name, config in CONFIGS.items()}
    jobs["all_with_black_side"] = (with_black_side(frame), PreprocessConfig())
    jobs["all_with_clock"] = (with_clock(frame), PreprocessConfig())
    jobs["all_with_window"] = (frame_of_video(data, 0), PreprocessConfig())
    spent: dict[str, list[float]] = {name: [] for name in [*jobs, "network"]}
    with open_detector(threads=1) as detector:
        prepared = detector.prepare(frame)
        for _ in range(_REPEATS):
            for name, (image, config) in jobs.items():
                begin = time.thread_time()
                preprocess(image, config)
                spent[name].append(time.thread_time() - begin)
            begin = time.thread_time()
            detector.infer(prepared)
            spent["network"].append(time.thread_time() - begin)
    median_ms = {name: 1000 * statistics.median(times) for name, times in spent.items()}
    shares = {
        f"{name}_percent_of_network": round(100 * median_ms[name] / median_ms["network"], 2)
        for name in jobs
    }
    figures = {
        "frame_hw": list(frame.shape[:2]),
        "median_ms": {name: round(value, 3) for name, value in median_ms.items()},
        **shares,
        **{
            f"{name}_of_minmax_all": round(median_ms[name] / median_ms["minmax_all"], 2)
            for name in jobs
            if name.startswith("all")
        },
    }
    write_result("preprocess_cost", figures, "onnxruntime", "opencv-python-headless")


if __name__ == "__main__":
    main()
