"""Whether memory use stays constant over thousands of frames of a stream with every output.

Resident memory, threads and open files of this process are read every 100 frames. The growth
is reported between frame 200, when all buffers have been used, and the end.

    python benchmarks/memory.py [--frames 2000]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.runtime.detector import open_detector  # noqa: E402
from edgecrack.runtime.frame import FrameResult  # noqa: E402
from edgecrack.runtime.outputs.sinks import open_sinks  # noqa: E402
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline  # noqa: E402
from edgecrack.runtime.sources.open import open_source  # noqa: E402

_INTERVAL_FRAMES = 100
_SETTLED_FRAMES = 200


class Probe:
    """A sink that writes nothing and reads the process's own figures now and then."""

    name = "probe"

    def __init__(self) -> None:
        self.samples: list[dict[str, float]] = []
        self._frames = 0

    def write(self, result: FrameResult) -> None:
        self._frames += 1
        if self._frames % _INTERVAL_FRAMES == 0:
            pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
            self.samples.append(
                {
                    "frame": self._frames,
                    "resident_mb": round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1),
                    "threads": threading.active_count(),
                    "open_files": len(list(Path("/proc/self/fd").iterdir())),
                }
            )

    def close(self) -> None:
        """Nothing to close."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=2000)
    frames = parser.parse_args().frames
    probe = Probe()
    address = f"demo?frames={frames}"
    with (
        tempfile.TemporaryDirectory() as folder,
        open_detector() as detector,
        open_source(address) as source,
    ):
        sinks = open_sinks(("overlay", "mask", "jsonl"), Path(folder), source.frame_rate_hz)
        summary = run_pipeline(source, detector, [*sinks, probe], PipelineConfig())
    settled = [item for item in probe.samples if item["frame"] >= _SETTLED_FRAMES]
    first, last = settled[0]["resident_mb"], settled[-1]["resident_mb"]
    figures = {
        "frames": summary.stats.frames,
        "resident_mb_at_frame_200": first,
        "resident_mb_at_end": last,
        "growth_percent": round(100 * (last - first) / first, 2),
        "samples": probe.samples,
    }
    write_result("memory", figures, "onnxruntime", "numpy", "opencv-python-headless")


if __name__ == "__main__":
    main()
