"""Where a frame's time goes: CPU time of each step of a stream, with all outputs and a survey.

The wall video runs through the pipeline as `edgecrack stream` runs it. The steps are Python
functions that are timed by the CPU clock of their own thread; what a step calls that is a step of
its own is not counted twice. The network computes in its own threads, whose time is what the
whole process took without all Python threads; libraries that decode and encode have such threads,
too, and a row of their own measured without the network.

    python benchmarks/frame_profile.py [--frames 60] [--rounds 3] [--backend openvino]
        [--label now] [--video FILE]

The rounds of each way to stream run in turn; the table gives medians in ms of CPU time per frame.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline  # noqa: E402
from edgecrack.runtime.recording.config import RecordingConfig  # noqa: E402
from edgecrack.runtime.session import open_session  # noqa: E402
from edgecrack.runtime.sources.open import open_source  # noqa: E402
from edgecrack.runtime.stream import leave_cores_to_the_network  # noqa: E402
from edgecrack.runtime.stream_config import StreamConfig  # noqa: E402
from edgecrack.runtime.telemetry.events import EventLog  # noqa: E402

_RUNTIME, _SURVEY = "edgecrack.runtime", "edgecrack.survey"
# What is timed: row of the table, module, class or None, function.
_STEPS = (
    ("read and decode", f"{_RUNTIME}.sources.video", "VideoSource", "read"),
    ("prepare (CLAHE)", f"{_RUNTIME}.detector", "CrackDetector", "prepare"),
    ("cut tiles", f"{_RUNTIME}.scales", "ScaledPlan", "cut"),
    ("network", f"{_RUNTIME}.backends.onnx_runtime", "OnnxRuntimeRunner", "infer"),
    ("network", f"{_RUNTIME}.backends.onnx_runtime", "OnnxRuntimeRunner", "_infer_piece"),
    ("network", f"{_RUNTIME}.backends.openvino_runner", "OpenVINORunner", "infer"),
    ("blend tiles, merge scales", f"{_RUNTIME}.scales", "ScaledPlan", "stitch"),
    ("threshold, specks, boxes", f"{_RUNTIME}.pipeline.inspection", None, "measure_cracks"),
    ("centre lines", f"{_RUNTIME}.frame", "FrameResult", "centre_lines"),
    ("centre lines", f"{_RUNTIME}.tracking.finding_book", None, "trace_cracks"),
    ("centre lines", f"{_RUNTIME}.frame", "FrameResult", "cracks"),
    ("follow the frame", f"{_SURVEY}.track", "FrameTracker", "add"),
    ("each crack once", f"{_SURVEY}.live_cracks", "LiveCracks", "see"),
    ("each crack once", f"{_SURVEY}.live_cracks", "LiveCracks", "move"),
    ("findings and their pictures", f"{_RUNTIME}.tracking.finding_book", "FindingBook", "see"),
    ("findings and their pictures", f"{_RUNTIME}.tracking.finding_book", "FindingBook", "follow"),
    ("--survey: write it down", f"{_RUNTIME}.tracking.kept_run", "KeptRun", "note_step"),
    ("--survey: write it down", f"{_RUNTIME}.tracking.kept_run", "KeptRun", "note_result"),
    ("--survey: write it down", f"{_RUNTIME}.tracking.kept_run", "KeptRun", "take_view"),
    ("--survey: write it down", f"{_RUNTIME}.tracking.kept_run", "KeptRun", "write_view"),
    ("--survey: measure widths", f"{_RUNTIME}.tracking.kept_run", "KeptRun", "_measure"),
    ("overlay video", f"{_RUNTIME}.outputs.overlay", "OverlaySink", "write"),
    ("masks", f"{_RUNTIME}.outputs.sinks", "MaskSink", "write"),
    ("JSON lines", f"{_RUNTIME}.outputs.sinks", "JsonlSink", "write"),
    ("recording", f"{_RUNTIME}.recording.recorder", "McapRecorder", "write"),
)  # fmt: skip
_WAYS: dict[str, dict[str, Any]] = {
    "JSON lines alone": {"save": ("jsonl",)},
    "overlay, masks, JSON lines": {"save": ("overlay", "mask", "jsonl")},
    "these, a recording and --survey": {
        "save": ("overlay", "mask", "jsonl"),
        "record": True,
        "survey": True,
    },
}


class CpuClock:
    """Adds up the CPU time of functions by row, each without the rows that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.threads_s = 0.0
        self._lock = threading.Lock()
        self._own = threading.local()

    def timed(self, row: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time added to a row."""

        @functools.wraps(function)
        def call(*values: Any, **named: Any) -> Any:
            inner = getattr(self._own, "inner_s", 0.0)
            self._own.inner_s = 0.0
            started_s = time.thread_time()
            try:
                return function(*values, **named)
            finally:
                taken_s = time.thread_time() - started_s
                with self._lock:
                    self.seconds[row] += taken_s - self._own.inner_s
                self._own.inner_s = inner + taken_s

        return call

    def watch_threads(self) -> None:
        """Have each Python thread that begins from now on add up its time at its end."""
        run = threading.Thread.run

        def watched(thread: threading.Thread) -> None:
            try:
                run(thread)
            finally:
                with self._lock:
                    self.threads_s += time.thread_time()

        threading.Thread.run = watched  # type: ignore[method-assign, assignment]

    def reset(self) -> None:
        """Forget what was added up."""
        with self._lock:
            self.seconds.clear()
            self.threads_s = 0.0


def install(clock: CpuClock) -> None:
    """Time every step that this checkout has."""
    for row, module_name, holder_name, name in _STEPS:
        try:
            holder: Any = importlib.import_module(module_name)
        except ModuleNotFoundError:
            continue
        holder = holder if holder_name is None else getattr(holder, holder_name)
        if hasattr(holder, name):
            setattr(holder, name, clock.timed(row, getattr(holder, name)))


def profile(
    options: argparse.Namespace, way: dict[str, Any], clock: CpuClock
) -> tuple[dict[str, float], float]:
    """Stream once: CPU seconds by row, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        config = StreamConfig(
            source=options.video,
            out=Path(folder) / "out",
            save=way["save"],
            threads=len(os.sched_getaffinity(0)),
            backend=options.backend,
            record=RecordingConfig(Path(folder) / "run.mcap") if way.get("record") else None,
            survey=bool(way.get("survey")),
        )
        events = EventLog()
        with open_session(config, events) as session:
            pipeline = PipelineConfig(
                max_frames=options.frames,
                controls=session.controls,
                events=events,
                stats=session.stats,
                findings=lambda: (session.book.count, session.book.confirmed),
                on_frame=session.tracker.watch,
            )
            clock.reset()
            started_s, process_s, own_s = (
                time.perf_counter(),
                time.process_time(),
                time.thread_time(),
            )
            with open_source(options.video) as source:
                run_pipeline(source, session.detector, session.sinks, pipeline)
            taken_s = time.perf_counter() - started_s
            process_s = time.process_time() - process_s
            own_s = time.thread_time() - own_s
    rows = dict(clock.seconds)
    python_s = own_s + clock.threads_s
    rows["network"] = rows.get("network", 0.0) + process_s - python_s
    rows["hand-overs and the rest"] = python_s - sum(clock.seconds.values())
    rows["all CPU time"] = process_s
    return rows, taken_s


def main() -> None:
    data = Path(os.environ.get("EDGECRACK_DATA", ROOT.parent / "shared" / "data"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--label", default="now", help="of the result's file")
    video = data / "video" / "wall_robot.mp4"
    parser.add_argument("--video", default=str(video) if video.exists() else "demo")
    options = parser.parse_args()
    leave_cores_to_the_network()
    clock = CpuClock()
    install(clock)
    clock.watch_threads()
    found: dict[str, list[tuple[dict[str, float], float]]] = {name: [] for name in _WAYS}
    for _ in range(options.rounds):
        for name, way in _WAYS.items():
            found[name].append(profile(options, way, clock))

    def milliseconds(seconds: Iterable[float]) -> float:
        return round(float(statistics.median(seconds)) * 1000 / int(options.frames), 2)

    figures: dict[str, Any] = {
        "video": Path(options.video).name,
        "frames": options.frames,
        "rounds": options.rounds,
        "backend": options.backend,
        "cpu_ms_per_frame": {},
    }
    for name, runs in found.items():
        named = dict.fromkeys(row for each, _ in runs for row in each)
        rows = {row: milliseconds(each.get(row, 0.0) for each, _ in runs) for row in named}
        rows["frame period"] = milliseconds(taken for _, taken in runs)
        figures["cpu_ms_per_frame"][name] = rows
        print(f"\n{name}, ms per frame")
        for row, value in rows.items():
            print(f"  {row:40} {value:7.2f}")
    write_result(f"frame_profile_{options.label}", figures, "onnxruntime", "numpy")


if __name__ == "__main__":
    main()
