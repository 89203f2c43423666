"""How time and memory of one frame grow with its size and with the tiles per batch.

The bundled model at all its sizes, from the camera's frame to the merged map
(`CrackDetector.probability_of`), in ONNX Runtime and OpenVINO. Each point is measured in a process
of its own, so that its peak of resident memory (VmHWM) is its own; points are run in turn, round by
round. Frames are survey photos of 1024x640 px, joined side by side to the size wanted and cut;
nothing is scaled, so that texture and noise are a camera's. Large frames are measured with some of
the batches and once, unless --full.

"Base" is resident memory with the model open and warmed up at this batch, before there is a frame;
what lies above it grows with the frame. CPU time is beside wall-clock time, since other programs
on the machine move it less.

    python benchmarks/growth.py [--data DIR] [--quick] [--full]    # DIR holds survey_frames/
    python benchmarks/growth.py --plot-only [--plot FILE]          # draws results/growth.json
    python benchmarks/growth.py --only 2 12 --name growth_before   # two sizes, to compare checkouts

Linux only: the peak is read from /proc, and set back by /proc/self/clear_refs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import RESULTS, write_result  # noqa: E402
from edgecrack.artifacts import read_model_file  # noqa: E402
from edgecrack.runtime.backends import onnx_runtime  # noqa: E402
from edgecrack.runtime.backends.base import Runner  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.backends.openvino_runner import (  # noqa: E402
    OpenVINORunner,
    OpenVINOSettings,
)
from edgecrack.runtime.detector import CrackDetector  # noqa: E402

BACKENDS = ("onnxruntime", "openvino")
BATCHES = (1, 2, 4, 8, 16)
# Of each size of frame in Mpx: the batches and the rounds that fit into some minutes.
POINTS: dict[float, tuple[tuple[int, ...], int]] = {
    0.3: (BATCHES, 3),
    1: (BATCHES, 2),
    2: (BATCHES, 1),
    5: ((2,), 2),
    12: ((2,), 1),
    20: ((2,), 1),
    50: ((2,), 1),
}
QUICK: dict[float, tuple[tuple[int, ...], int]] = {0.3: ((1, 4), 1), 1: ((1, 4), 1)}
ALL_SIZES_BATCH = 2
TILE_HW = (256, 256)
PLOT = ROOT / "docs" / "images" / "growth.png"

Point = tuple[float, int, str]
Image = NDArray[np.uint8]


def frame_hw_of(megapixels: float) -> tuple[int, int]:
    """Height and width of a frame of this size, 4:3."""
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    return height, round(height * 4 / 3)


def joined(photos: list[Path], megapixels: float) -> Image:
    """A frame of this size of photos side by side; uint8 [H, W, 3]."""
    height, width = frame_hw_of(megapixels)
    frame = np.empty((height, width, 3), dtype=np.uint8)
    top = number = 0
    while top < height:
        left, lowest = 0, height - top
        while left < width:
            photo = cv2.imread(str(photos[number % len(photos)]))
            if photo is None:
                raise SystemExit(f"cannot read {photos[number % len(photos)]}")
            number += 1
            part = photo[: height - top, : width - left]
            frame[top : top + part.shape[0], left : left + part.shape[1]] = part
            left, lowest = left + part.shape[1], min(lowest, part.shape[0])
        top += lowest
    return frame


def memory_mb(name: str) -> float:
    """VmRSS or VmHWM of this process, in MB of 10^6 bytes."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit(f"/proc/self/status has no {name}")


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def opened(backend: str, batch: int, threads: int) -> Runner:
    """The bundled model with so many tiles in a piece of work."""
    model = read_model_file(BUNDLED_MODEL)
    if backend == "openvino":
        return OpenVINORunner(model, OpenVINOSettings("f32", threads, batch), threads=threads)
    # No option: the runtime always takes pieces of 2 where a frame has many tiles, else 4.
    onnx_runtime._PIECE = onnx_runtime._MAX_BATCH = batch
    return onnx_runtime.OnnxRuntimeRunner(model, threads=threads)


def stages(detector: CrackDetector, frame: Image) -> dict[str, dict[str, float]]:
    """CPU time and peak of what is done beside the network, each from where it starts."""
    found: dict[str, dict[str, float]] = {}

    def run(name: str, work: Callable[[], Any]) -> Any:
        forget_peak()
        before_mb, started_s = memory_mb("VmRSS"), time.process_time()
        result = work()
        seconds = time.process_time() - started_s
        above_mb = memory_mb("VmHWM") - before_mb
        found[name] = {"cpu_ms": round(1000 * seconds, 1), "peak_above_mb": round(above_mb, 1)}
        return result

    prepared = run("prepare", lambda: np.asarray(detector.prepare(frame)))
    plan = detector.plan((frame.shape[0], frame.shape[1]))
    tiles = run("cut", lambda: plan.cut(prepared))
    run("stitch and merge", lambda: plan.stitch(tiles))
    return found


def measure_point(data: Path, point: Point) -> dict[str, Any]:
    """One point, in this process."""
    megapixels, batch, backend = point
    threads = len(os.sched_getaffinity(0))
    photos = sorted((data / "survey_frames").glob("*.jpg"))
    with opened(backend, batch, threads) as runner:
        detector = CrackDetector(runner, BUNDLED_MODEL.name)
        plan = detector.plan(frame_hw_of(megapixels))
        # As many as the frame has, or so many that pieces are shared out in the same way.
        count = min(len(plan), 4 * threads * batch)
        for _ in range(2):
            runner.infer(np.zeros((count, 1, *TILE_HW), dtype=np.uint8))
        detector.prepare(np.zeros((64, 64, 3), dtype=np.uint8))
        base_mb = memory_mb("VmRSS")
        frame = joined(photos, megapixels)
        forget_peak()
        started_s, started_cpu_s = time.perf_counter(), time.process_time()
        detector.probability_of(frame)
        seconds = time.perf_counter() - started_s
        cpu_seconds = time.process_time() - started_cpu_s
        peak_mb = memory_mb("VmHWM")
        return {
            "pixels": frame.shape[0] * frame.shape[1],
            "tiles": len(plan),
            "tiles_of_each_size": [len(level) for level in plan.levels],
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "base_mb": base_mb,
            "peak_mb": peak_mb,
            "stages": stages(detector, frame) if batch == ALL_SIZES_BATCH else None,
        }


def in_a_process(data: Path, point: Point) -> dict[str, Any]:
    command = [sys.executable, __file__, "--data", str(data), "--point", json.dumps(point)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(data: Path, points: dict[float, tuple[tuple[int, ...], int]]) -> list[dict[str, Any]]:
    """Medians of all points; each round takes those that are left in another order."""
    runs: dict[Point, list[dict[str, Any]]] = {}
    order = random.Random(0)
    for number in range(max(rounds for _, rounds in points.values())):
        turn: list[Point] = [
            (size, batch, backend)
            for size, (batches, rounds) in points.items()
            for batch in batches
            for backend in BACKENDS
            if number < rounds
        ]
        order.shuffle(turn)
        for point in turn:
            found = in_a_process(data, point)
            runs.setdefault(point, []).append(found)
            print(f"round {number + 1} {point}: {found['seconds']:.2f} s, "
                  f"{found['peak_mb']:.0f} MB over {found['base_mb']:.0f}", flush=True)  # fmt: skip
    rows = []
    for (size, batch, backend), each in sorted(runs.items()):
        row = {"megapixels": size, "batch": batch, "backend": backend, "rounds": len(each)}
        row |= {key: each[0][key] for key in ("pixels", "tiles", "tiles_of_each_size", "stages")}
        for key in ("seconds", "cpu_seconds", "base_mb", "peak_mb"):
            row[key] = round(statistics.median(one[key] for one in each), 3)
        rows.append(row)
    return rows


def fits(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Of each backend and batch: time = c * pixels ** exponent; memory = a + b * pixels."""
    found: dict[str, dict[str, float]] = {}
    for backend in BACKENDS:
        for batch in BATCHES:
            of = [row for row in rows if row["backend"] == backend and row["batch"] == batch]
            if len(of) < 2:
                continue
            pixels = np.array([row["pixels"] for row in of], dtype=float)
            above = np.array([row["peak_mb"] - row["base_mb"] for row in of])
            of_time = {
                key: np.polyfit(np.log(pixels), np.log([row[key] for row in of]), 1)[0]
                for key in ("seconds", "cpu_seconds")
            }
            slope, start = np.polyfit(pixels / 1e6, above, 1)
            found[f"{backend}, {batch}"] = {
                "largest_megapixels": max(row["megapixels"] for row in of),
                "exponent_of_time": round(float(of_time["seconds"]), 3),
                "exponent_of_cpu_time": round(float(of_time["cpu_seconds"]), 3),
                "mb_per_megapixel": round(float(slope), 2),
                "mb_at_no_pixel": round(float(start), 1),
                "base_mb": round(statistics.median(row["base_mb"] for row in of), 1),
            }
    return found


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Time, and memory, against the frame's size, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (times, memory) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    colours = {"onnxruntime": plt.get_cmap("Blues"), "openvino": plt.get_cmap("Oranges")}
    names = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    for backend in BACKENDS:
        for place, batch in enumerate(BATCHES):
            of = [row for row in rows if row["backend"] == backend and row["batch"] == batch]
            if not of:
                continue
            megapixels = [row["pixels"] / 1e6 for row in of]
            style: dict[str, Any] = {
                "color": colours[backend](0.4 + 0.13 * place),
                "marker": "osD^v"[place],
                "markersize": 4.5,
                "linewidth": 1.2,
                "label": f"{names[backend]}, {batch}",
            }
            times.plot(megapixels, [row["cpu_seconds"] for row in of], **style)
            memory.plot(megapixels, [row["peak_mb"] for row in of], **style)
    sizes = np.array(sorted({row["pixels"] / 1e6 for row in rows}))
    middle = next(row for row in rows if row["pixels"] / 1e6 == sizes[len(sizes) // 2])
    line = 1.7 * middle["cpu_seconds"] * sizes / (middle["pixels"] / 1e6)  # above the points
    times.plot(sizes, line, ":", color="gray", label="slope of what grows with pixels")
    times.set(title="CPU time of one frame", ylabel="CPU time, s")
    memory.set(title="Peak of resident memory", ylabel="MB")
    for axes in (times, memory):
        axes.set(xscale="log", yscale="log", xlabel="size of the frame, Mpx")
        axes.set_xticks(sizes, [f"{size:.1g}" if size < 1 else f"{size:.0f}" for size in sizes])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    seconds = [0.5, 1, 2, 5, 10, 20, 50, 100, 200]
    low, high = times.get_ylim()
    times.set_yticks([each for each in seconds if low <= each <= high])
    times.yaxis.set_major_formatter("{x:g}")
    low, high = memory.get_ylim()
    ticks = [each for each in (1, 10, 100, 200, 500, 1000, 2000) if low <= each <= high]
    memory.set_yticks(ticks)
    memory.yaxis.set_major_formatter("{x:g}")
    handles, labels = times.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside right upper",
        fontsize=8,
        frameon=False,
        title="backend, tiles per batch",
        title_fontsize=8,
    )
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--quick", action="store_true", help="small frames once, no file")
    parser.add_argument("--full", action="store_true", help="every batch at every size, 3 rounds")
    parser.add_argument("--plot", type=Path, default=PLOT)
    parser.add_argument("--plot-only", action="store_true")
    parser.add_argument("--only", type=float, nargs="+", metavar="MPX", help="two tiles, once")
    parser.add_argument("--name", default="growth", help="of the file of results")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point is not None:
        print(json.dumps(measure_point(given.data, tuple(given.point))))
        return
    if given.plot_only:
        document = json.loads((RESULTS / "growth.json").read_text(encoding="utf-8"))
        plot(document["rows"], given.plot)
        return
    points = QUICK if given.quick else POINTS
    if given.full:
        points = {size: (BATCHES, 3) for size in points}
    if given.only:
        points = {size: ((ALL_SIZES_BATCH,), 1) for size in given.only}
    rows = measured(given.data, points)
    found = fits(rows)
    for name, fit in found.items():
        print(name, fit)
    if not given.quick:
        figures = {"threads": len(os.sched_getaffinity(0)), "fits": found, "rows": rows}
        write_result(given.name, figures, "onnxruntime", "openvino", "numpy",
                     "opencv-python-headless")  # fmt: skip
        if not given.only:
            plot(rows, given.plot)


if __name__ == "__main__":
    main()
