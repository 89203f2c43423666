"""Does a stream stay the same over 20,000 frames with a fault every 500?

A camera in a process of its own (benchmarks/camera_server.py) closes the connection, falls
silent, cuts a picture in half, changes its size and refuses to answer, in turn. The stream
inspects, reconnects, records with parts that roll over, writes JSON lines and serves the live page
to a viewer that comes and goes. Resident memory, threads and open files of this process are read
every 250 frames, with the trend after the first tenth.

    python benchmarks/soak.py [--frames 20000] [--fault-every 500] [--rate 40]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.camera_server import FAULTS, camera_server  # noqa: E402
from benchmarks.machine import write_result  # noqa: E402
from benchmarks.viewer import watch  # noqa: E402
from edgecrack.runtime.frame import FrameResult  # noqa: E402
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline  # noqa: E402
from edgecrack.runtime.recording.config import RecordingConfig  # noqa: E402
from edgecrack.runtime.session import open_session  # noqa: E402
from edgecrack.runtime.sources.reconnecting import ReconnectPolicy  # noqa: E402
from edgecrack.runtime.stream import leave_cores_to_the_network  # noqa: E402
from edgecrack.runtime.stream_config import StreamConfig  # noqa: E402
from edgecrack.runtime.telemetry.events import EventLog  # noqa: E402
from edgecrack.runtime.web.config import ServeConfig  # noqa: E402

_HW = (256, 256)
_INTERVAL_FRAMES = 250
_VISIT_S = 5.0


class Probe:
    """Reads the process's own figures now and then."""

    name = "probe"

    def __init__(self) -> None:
        self.samples: list[dict[str, float]] = []
        self._frames = 0
        self._process = psutil.Process()

    def write(self, result: FrameResult) -> None:
        self._frames += 1
        if self._frames % _INTERVAL_FRAMES == 0:
            self.samples.append(
                {
                    "frame": self._frames,
                    "resident_mb": round(self._process.memory_info().rss / 1e6, 1),
                    "threads": self._process.num_threads(),
                    "open_files": self._process.num_fds(),
                }
            )
            print(self.samples[-1], file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to close."""


@contextmanager
def visitor(url: str) -> Iterator[None]:
    """A viewer in a thread that looks for five seconds, leaves for one, and comes back."""
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            with suppress(OSError):
                watch(url, _VISIT_S, stop)
            stop.wait(1.0)

    thread = threading.Thread(target=come_and_go, name="visitor")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def trend(samples: list[dict[str, float]], key: str) -> dict[str, float]:
    """First, last, highest, and the slope per 1,000 frames of a straight line through all."""
    frames = np.array([sample["frame"] for sample in samples])
    values = np.array([sample[key] for sample in samples])
    return {
        f"{key}_first": float(values[0]),
        f"{key}_last": float(values[-1]),
        f"{key}_highest": float(values.max()),
        f"{key}_per_1000_frames": round(1000 * float(np.polyfit(frames, values, 1)[0]), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--fault-every", type=int, default=500)
    parser.add_argument("--rate", type=float, default=40.0)
    options = parser.parse_args()
    leave_cores_to_the_network()
    probe, events = Probe(), EventLog()
    started_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        camera_server(options.rate, _HW, options.fault_every) as (url, _),
    ):
        config = StreamConfig(
            source=url,
            out=Path(folder) / "out",
            save=("jsonl",),
            policy=ReconnectPolicy(stall_timeout_s=1.0, first_delay_s=0.2, longest_delay_s=1.0),
            record=RecordingConfig(
                path=Path(folder) / "run.mcap", part_bytes=16 * 2**20, part_s=60.0
            ),
            serve=ServeConfig(port=0),
        )
        with open_session(config, events) as session:
            pipeline = PipelineConfig(
                max_frames=options.frames,
                controls=session.controls,
                events=events,
                stats=session.stats,
                findings=lambda: (session.book.count, session.book.confirmed),
                on_frame=session.tracker.watch,
            )
            with visitor(session.page or ""):
                summary = run_pipeline(
                    session.source, session.detector, [*session.sinks, probe], pipeline
                )
        parts = sorted(Path(folder).glob("*.mcap"))
        recorded_mb = sum(part.stat().st_size for part in parts) / 1e6
    settled = [item for item in probe.samples if item["frame"] > options.frames / 10]
    stats = replace(summary.stats)
    figures: dict[str, object] = {
        "frames": stats.frames,
        "frame": f"{_HW[1]}x{_HW[0]}",
        "fault_every": options.fault_every,
        "faults": list(FAULTS),
        "minutes": round((time.monotonic() - started_s) / 60, 1),
        "threads_of_the_network": len(os.sched_getaffinity(0)),
        "reconnects": stats.reconnects,
        "stalls": stats.stalls,
        "open_failures": stats.open_failures,
        "corrupt_frames": stats.corrupt_frames,
        "size_changes": stats.size_changes,
        "drops": stats.drops,
        "recorded_parts": len(parts),
        "recorded_mb": round(recorded_mb, 1),
        "events": events.counts(),
        **trend(settled, "resident_mb"),
        **trend(settled, "threads"),
        **trend(settled, "open_files"),
        "samples": probe.samples,
    }
    write_result("soak", figures, "onnxruntime", "numpy", "opencv-python-headless", "mcap")


if __name__ == "__main__":
    main()
