"""Latency from camera to result: how old is what a stream publishes?

A camera in a separate process (benchmarks/camera_server.py) draws the moment it makes each
picture into the picture, and sends it as HTTP MJPEG. The stream decodes, inspects and publishes;
a sink reads the moment back. At a rate below capacity the age must stay below one frame time plus
one inference; far above capacity it must not grow. Capacity is measured first, on the same frames.

    python benchmarks/latency.py [--seconds 20] [--model FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.camera_server import camera_server, stamped_ns  # noqa: E402
from benchmarks.machine import write_result  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.runtime.frame import FrameResult  # noqa: E402
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline  # noqa: E402
from edgecrack.runtime.sources.open import open_live_source, open_source  # noqa: E402
from edgecrack.runtime.stream import leave_cores_to_the_network  # noqa: E402

_HW = (480, 640)
_WARM_UP = 5


class Ages:
    """Reads the age of each result when it is published."""

    name = "ages"

    def __init__(self) -> None:
        self.ages_ms: list[float] = []
        self.inferences_ms: list[float] = []

    def write(self, result: FrameResult) -> None:
        made_ns = stamped_ns(result.frame.image)
        self.ages_ms.append((time.monotonic_ns() - made_ns) / 1e6)
        self.inferences_ms.append(result.inference_ms)

    def close(self) -> None:
        """Nothing to close."""


def capacity_hz(detector: CrackDetector, frames: int = 20) -> float:
    """Frames per second that this machine inspects, of a recording."""
    with open_source(f"demo?frames={frames}") as source:
        images = [taken.image for _ in range(frames) if (taken := source.read()) is not None]
    detector.probability_of(images[0])
    started_s = time.perf_counter()
    for image in images:
        detector.probability_of(image)
    return frames / (time.perf_counter() - started_s)


def at_rate(detector: CrackDetector, rate_hz: float, seconds: float) -> dict[str, float]:
    ages = Ages()
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    with camera_server(rate_hz, _HW) as (url, _), open_live_source(url) as source:
        timer.start()
        summary = run_pipeline(source, detector, [ages], PipelineConfig(stop=stop))
    timer.cancel()
    found = np.array(ages.ages_ms[_WARM_UP:])
    inference_ms = float(np.median(ages.inferences_ms[_WARM_UP:]))
    bound_ms = 1000 / rate_hz + inference_ms
    return {
        "camera_hz": round(rate_hz, 2),
        "results_hz": round(summary.stats.fps_overall, 2),
        "drops": summary.stats.drops,
        "inference_p50_ms": round(inference_ms, 1),
        "age_p50_ms": round(float(np.percentile(found, 50)), 1),
        "age_p95_ms": round(float(np.percentile(found, 95)), 1),
        "age_highest_ms": round(float(found.max()), 1),
        "frame_time_plus_inference_ms": round(bound_ms, 1),
        "age_p50_of_bound": round(float(np.percentile(found, 50)) / bound_ms, 3),
        "age_p95_of_bound": round(float(np.percentile(found, 95)) / bound_ms, 3),
        "share_within_bound": round(float((found <= bound_ms).mean()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    leave_cores_to_the_network()
    threads = len(os.sched_getaffinity(0))
    with open_detector(options.model, threads=threads) as detector:
        capacity = capacity_hz(detector)
        runs = {
            name: at_rate(detector, share * capacity, options.seconds)
            for name, share in (("half", 0.5), ("four_fifths", 0.8), ("four_times", 4.0))
        }
        model = detector.model_name
    figures: dict[str, object] = {
        "model": model,
        "frame": "640x480",
        "threads": threads,
        "capacity_hz": round(capacity, 2),
    }
    for name, run in runs.items():
        figures |= {f"{name}_capacity_{key}": value for key, value in run.items()}
    write_result("latency", figures, "onnxruntime", "numpy", "opencv-python-headless")


if __name__ == "__main__":
    main()
