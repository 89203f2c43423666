"""What streaming costs on top of the network: end-to-end pixels/s over bare inference.

Both run in this process on the same tiles with the same number of threads, in turn, several
times; the machine's speed drifts, so each pair gives a ratio and the median is reported. The
stream decodes a video, preprocesses, tiles, infers, blends, and writes overlay video, masks
and JSON lines.

    python benchmarks/stream_efficiency.py [--frames 60] [--pairs 5] [--model FILE] [--video FILE]

Without the real video in EDGECRACK_DATA it streams the generated demo.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.runtime.detector import CrackDetector, open_detector  # noqa: E402
from edgecrack.runtime.pipeline import PipelineConfig, run_pipeline  # noqa: E402
from edgecrack.runtime.sinks import open_sinks  # noqa: E402
from edgecrack.runtime.source import open_source  # noqa: E402
from edgecrack.runtime.stream import leave_cores_to_the_network  # noqa: E402

_BATCH = 4


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
    """ONNX Runtime alone on the same tiles, in the runtime's own batches."""
    started = time.perf_counter()
    for tiles in frames:
        for first in range(0, len(tiles), _BATCH):
            session.run(None, {"tiles": tiles[first : first + _BATCH]})
    return time.perf_counter() - started


def stream_seconds(video: str, detector: CrackDetector, frames: int) -> float:
    """The whole pipeline with every default output, from opening the video to closed files."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with open_source(video) as source:
            sinks = open_sinks(("overlay", "mask", "jsonl"), Path(folder), source.frame_rate_hz)
            run_pipeline(source, detector, sinks, PipelineConfig(max_frames=frames))
        return time.perf_counter() - started


def main() -> None:
    data = Path(os.environ.get("EDGECRACK_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--model", type=Path)
    video = data / "video" / "wall_robot.mp4"
    parser.add_argument("--video", default=str(video) if video.exists() else "demo")
    options = parser.parse_args()
    leave_cores_to_the_network()
    threads = len(os.sched_getaffinity(0))
    with open_detector(options.model, threads=threads) as detector:
        frames = tiles_of(options.video, detector, options.frames)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        path = options.model or ROOT / "edgecrack" / "models" / detector.model_name
        session = onnxruntime.InferenceSession(str(path), settings)
        pixels = sum(tiles.size for tiles in frames)
        bare_seconds(session, frames[:8])
        stream_seconds(options.video, detector, 8)
        pairs = []
        for _ in range(options.pairs):
            pairs.append(
                (
                    bare_seconds(session, frames),
                    stream_seconds(options.video, detector, len(frames)),
                )
            )
    ratios = sorted(bare / whole for bare, whole in pairs)
    figures = {
        "model": detector.model_name,
        "width": detector.runner.spec.width,
        "video": Path(options.video).name,
        "frames": len(frames),
        "tiles_per_frame": len(frames[0]),
        "threads": threads,
        "bare_megapixels_per_s": round(pixels / statistics.median(p[0] for p in pairs) / 1e6, 3),
        "stream_megapixels_per_s": round(pixels / statistics.median(p[1] for p in pairs) / 1e6, 3),
        "stream_frames_per_s": round(len(frames) / statistics.median(p[1] for p in pairs), 2),
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_lowest": round(ratios[0], 3),
        "ratio_highest": round(ratios[-1], 3),
    }
    write_result("stream_efficiency", figures, "onnxruntime", "numpy", "opencv-python-headless")


if __name__ == "__main__":
    main()
