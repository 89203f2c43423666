"""How long `edgecrack inspect` takes, from a video to the report, beside bare ONNX Runtime.

    python benchmarks/inspection_time.py [--frames 300] [--video FILE]

Bare ONNX Runtime runs some of the same frames' tiles before and after, so that the figure can be
compared between machines.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.stream_efficiency import bare_seconds, tiles_of  # noqa: E402
from edgecrack.artifacts import read_model_file  # noqa: E402
from edgecrack.runtime.backends.open import BUNDLED_MODEL  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402

_BARE_FRAMES = 20


def bare_frames_per_s(video: str) -> float:
    """Of ONNX Runtime as it comes, tiles cut beforehand."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(read_model_file(BUNDLED_MODEL).content, settings)
    with open_detector(backend="onnxruntime") as detector:
        frames = tiles_of(video, detector, _BARE_FRAMES)
    bare_seconds(session, frames[:2])
    return len(frames) / bare_seconds(session, frames)


def main() -> None:
    data = Path(os.environ.get("EDGECRACK_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--video", default=str(data / "video" / "wall_robot.mp4"))
    options = parser.parse_args()
    before = bare_frames_per_s(options.video)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "edgecrack", "inspect", options.video, "--max-frames",
            str(options.frames), "--mm-per-pixel", "0.25+-0.01", "--severity", "en-1992:xc3",
            "-o", str(Path(folder) / "run"),
        ]  # fmt: skip
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        seconds = time.perf_counter() - began
        report = (Path(folder) / "run" / "report" / "report.html").stat().st_size
    after = bare_frames_per_s(options.video)
    bare = (before + after) / 2
    figures = {
        "video": Path(options.video).name,
        "frames": options.frames,
        "seconds": round(seconds, 1),
        "bare_frames_per_s": [round(before, 2), round(after, 2)],
        "over_bare": round(options.frames / seconds / bare, 3),
        "report_mb": round(report / 1e6, 2),
    }
    write_result("inspection_time", figures, "onnxruntime")


if __name__ == "__main__":
    main()
