"""What streaming costs on top of the network: end-to-end pixels/s over bare inference.

All run in this process on the same tiles with the same number of threads, in turn, several times;
the machine's speed drifts, so each round gives ratios and their medians are reported.

- bare: ONNX Runtime as it comes, on tiles cut beforehand; the ratios are over this one.
- bare_openvino: OpenVINO as it comes, in FP32, on the same tiles, where --backend is openvino; then
  there are ratios over this one, too.
- runner: edgecrack's own runner on the same tiles, which shares them between threads otherwise.
- files: the stream with its default outputs: it opens and decodes the video, preprocesses, tiles,
  infers, blends, and writes overlay video, masks and JSON lines, until all is closed.
- page_and_recording: JSON lines, a recording, and the live page open in one viewer, which is a
  process of its own on the same cores.
- everything: all of these outputs at once.

    python benchmarks/stream_efficiency.py [--frames 60] [--rounds 7] [--model FILE]
        [--video FILE] [--backend onnxruntime]

Without the real video in EDGECRACK_DATA it streams the generated demo.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.viewer import viewers  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline  # noqa: E402
from edgecrack.runtime.recording.config import RecordingConfig  # noqa: E402
from edgecrack.runtime.session import open_session  # noqa: E402
from edgecrack.runtime.sources.open import open_source  # noqa: E402
from edgecrack.runtime.stream import leave_cores_to_the_network  # noqa: E402
from edgecrack.runtime.stream_config import StreamConfig  # noqa: E402
from edgecrack.runtime.telemetry.events import EventLog  # noqa: E402
from edgecrack.runtime.web.config import ServeConfig  # noqa: E402

# isort: split
import onnxruntime  # noqa: E402 - after edgecrack, which keeps it from sending usage data

_BATCH = 4
_FILES = ("overlay", "mask", "jsonl")


def tiles_of(video: str, detector: CrackDetector, frames: int) -> list[NDArray[np.uint8]]:
    """The tiles that the stream will infer, a list of uint8 [n, 1, H, W], one per frame."""
    found: list[NDArray[np.uint8]] = []
    with open_source(video) as source:
        while len(found) < frames and (frame := source.read()) is not None:
            prepared = detector.prepare(frame.image)
            plan = detector.plan((prepared.shape[0], prepared.shape[1]))
            found.append(plan.cut(prepared))
    return found


def bare_seconds(session: onnxruntime.InferenceSession, frames: list[NDArray[np.uint8]]) -> float:
    """ONNX Runtime alone on the same tiles."""
    started = time.perf_counter()
    for tiles in frames:
        for first in range(0, len(tiles), _BATCH):
            session.run(None, {"tiles": tiles[first : first + _BATCH]})
    return time.perf_counter() - started


def bare_openvino(model: Path, threads: int) -> Callable[[list[NDArray[np.uint8]]], float]:
    """OpenVINO alone: gives the seconds that it takes for the tiles of frames."""
    from edgecrack.runtime.backends.openvino_runner import import_openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(threads)}
    compiled = import_openvino().Core().compile_model(str(model), "CPU", settings)

    def seconds(frames: list[NDArray[np.uint8]]) -> float:
        started = time.perf_counter()
        for tiles in frames:
            for first in range(0, len(tiles), _BATCH):
                compiled(tiles[first : first + _BATCH])
        return time.perf_counter() - started

    return seconds


def runner_seconds(detector: CrackDetector, frames: list[NDArray[np.uint8]]) -> float:
    """The stream's own runner alone on the same tiles."""
    started = time.perf_counter()
    for tiles in frames:
        detector.runner.infer(tiles)
    return time.perf_counter() - started


def stream_seconds(
    options: argparse.Namespace, frames: int, save: tuple[str, ...], page_and_recording: bool
) -> float:
    """The whole pipeline, from opening the video to closed files; the model's loading left out."""
    with tempfile.TemporaryDirectory() as folder:
        config = StreamConfig(
            source=options.video,
            out=Path(folder) / "out",
            model=options.model,
            save=save,
            threads=len(os.sched_getaffinity(0)),
            backend=options.backend,
            record=RecordingConfig(Path(folder) / "run.mcap") if page_and_recording else None,
            serve=ServeConfig(port=0) if page_and_recording else None,
        )
        events = EventLog()
        with open_session(config, events) as session:
            pipeline = PipelineConfig(
                max_frames=frames,
                controls=session.controls,
                events=events,
                stats=session.stats,
                findings=lambda: (session.book.count, session.book.confirmed),
                on_frame=session.tracker.watch,
            )
            watched = viewers(session.page, 1) if session.page else nullcontext()
            with watched:
                started = time.perf_counter()
                # Another one, so that opening the video is part of the time.
                with open_source(options.video) as source:
                    run_pipeline(source, session.detector, session.sinks, pipeline)
                return time.perf_counter() - started


def main() -> None:
    data = Path(os.environ.get("EDGECRACK_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--backend", default="onnxruntime")
    video = data / "video" / "wall_robot.mp4"
    parser.add_argument("--video", default=str(video) if video.exists() else "demo")
    options = parser.parse_args()
    leave_cores_to_the_network()
    threads = len(os.sched_getaffinity(0))
    detector = open_detector(options.model, threads=threads, backend=options.backend)
    frames = tiles_of(options.video, detector, options.frames)
    name, width = detector.model_name, detector.runner.spec.width
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    path = options.model or ROOT / "edgecrack" / "models" / name
    bare = onnxruntime.InferenceSession(str(path), settings)
    count = len(frames)
    ways: dict[str, Callable[[int], float]] = {
        "bare": lambda number: bare_seconds(bare, frames[:number]),
        "runner": lambda number: runner_seconds(detector, frames[:number]),
        "files": lambda number: stream_seconds(options, number, _FILES, False),
        "page_and_recording": lambda number: stream_seconds(options, number, ("jsonl",), True),
        "everything": lambda number: stream_seconds(options, number, _FILES, True),
    }
    if options.backend.startswith("openvino"):
        alone = bare_openvino(path, threads)
        ways = {"bare": ways["bare"], "bare_openvino": lambda n: alone(frames[:n]), **ways}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for run in ways.values():
        run(8)
    for _ in range(options.rounds):
        for way, run in ways.items():
            seconds[way].append(run(count))
    pixels = sum(tiles.size for tiles in frames)
    figures: dict[str, object] = {
        "model": name,
        "width": width,
        "video": Path(options.video).name,
        "frames": count,
        "rounds": options.rounds,
        "tiles_per_frame": len(frames[0]),
        "threads": threads,
    }
    for way, values in seconds.items():
        typical = statistics.median(values)
        figures[f"{way}_megapixels_per_s"] = round(pixels / typical / 1e6, 3)
        figures[f"{way}_frames_per_s"] = round(count / typical, 2)
        for base, ending in (
            ("bare", ""),
            ("bare_openvino", "_over_openvino"),
            ("runner", "_over_runner"),
        ):
            if base in seconds and way != base:
                ratios = sorted(a / b for a, b in zip(seconds[base], values, strict=True))
                figures[f"{way}_ratio{ending}_median"] = round(statistics.median(ratios), 3)
                figures[f"{way}_ratio{ending}_lowest"] = round(ratios[0], 3)
                figures[f"{way}_ratio{ending}_highest"] = round(ratios[-1], 3)
    figures["backend"] = detector.runner.backend
    detector.close()
    name = "stream_efficiency"
    if options.backend != "onnxruntime":
        name += f"_{options.backend}"
    write_result(name, figures, "onnxruntime", "numpy", "opencv-python-headless")


if __name__ == "__main__":
    main()
