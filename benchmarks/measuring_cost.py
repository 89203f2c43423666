"""What measuring costs beside detecting: frames of the wall video, in turn, on one thread.

python benchmarks/measuring_cost.py --data DIR
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.model_scores import DEFAULT_DATA  # noqa: E402
from edgecrack.measurement.centre_lines import lines_of  # noqa: E402
from edgecrack.measurement.cracks import measure_image  # noqa: E402
from edgecrack.measurement.fitness import assess  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402
from edgecrack.runtime.sources.open import open_source  # noqa: E402

_EVERY = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    times: dict[str, list[float]] = {}
    rows = 0
    with (
        open_source(given.data / "video" / "wall_robot.mp4") as source,
        open_detector(threads=1) as detector,
    ):
        while (frame := source.read()) is not None:
            if frame.index % _EVERY:
                continue
            started = [time.perf_counter()]
            found = detector.detect(frame.image)
            started.append(time.perf_counter())
            lines_of(found.mask)
            started.append(time.perf_counter())
            cracks = measure_image(frame.image, found.probability, threshold=detector.threshold)
            started.append(time.perf_counter())
            assess(frame.image)
            started.append(time.perf_counter())
            rows += sum(len(crack.rows) for crack in cracks)
            for name, begin, end in zip(
                ("detect", "centre lines", "widths", "fitness"),
                started,
                started[1:],
                strict=False,
            ):
                times.setdefault(name, []).append(1000 * (end - begin))
    medians = {name: statistics.median(values) for name, values in times.items()}
    figures = {
        "frames": len(times["detect"]),
        "rows_per_frame": round(rows / len(times["detect"])),
        "median_ms": {name: round(value, 1) for name, value in medians.items()},
        "largest_ms": {name: round(max(values), 1) for name, values in times.items()},
        "share_of_detect": {
            name: round(value / medians["detect"], 3) for name, value in medians.items()
        },
    }
    print(figures)
    write_result("measuring_cost", figures, "numpy", "onnxruntime")


if __name__ == "__main__":
    main()
