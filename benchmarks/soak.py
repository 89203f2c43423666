"""Does a stream stay the same over 20,000 frames with a fault every 500?

What the robot's program meets comes from another process (benchmarks/soak_surroundings.py): a
camera, viewers, positions, and a separate disk for the recording. Every 500 frames one of twelve
faults occurs, in turn: the camera is unplugged, a disk is full, a viewer stops reading and so on.
The program itself inspects with a model that costs nothing, so that the soak takes minutes; it
reconnects, follows cracks, records with parts that roll over, writes JSON lines and serves the
page.

Memory, threads, open files and the filling of caches are read every 250 frames. From when each
fault has come once, a fitted line shows whether each is flat, with the 95 % interval of its
slope.

    python benchmarks/soak.py [--frames 20000] [--fault-every 500] [--rate 40] [--without page ...]

Only root can make the disk (a file of 64 MB with ext4, mounted where no other process sees it);
without one the faults of the disk are left out, and the result says so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from benchmarks.process_figures import Figures, process_figures, trend, trim, verdict  # noqa: E402
from benchmarks.soak_surroundings import DISK_FAULTS, FAULTS  # noqa: E402
from edgecrack.artifacts import ModelSpec, write_sidecar  # noqa: E402
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline  # noqa: E402
from edgecrack.runtime.position.interpolate import CAPACITY  # noqa: E402
from edgecrack.runtime.recording.config import RecordingConfig  # noqa: E402
from edgecrack.runtime.session import Session, open_session  # noqa: E402
from edgecrack.runtime.sources.reconnecting import ReconnectPolicy  # noqa: E402
from edgecrack.runtime.stream import leave_cores_to_the_network  # noqa: E402
from edgecrack.runtime.stream_config import StreamConfig  # noqa: E402
from edgecrack.runtime.telemetry.events import EventLog  # noqa: E402
from edgecrack.runtime.web.config import ServeConfig  # noqa: E402

PARTS = ("page", "recording", "positions", "lines", "findings", "faults")
# What may be switched off, and which faults go with it.
FAULTS_OF = {
    "page": (
        "viewer stops reading", "viewer vanishes", "burst of viewers", "threshold changed",
        "recording off and on", *DISK_FAULTS,
    ),
    "recording": ("recording off and on", *DISK_FAULTS),
    "positions": ("positions silent",),
    "faults": FAULTS,
}  # fmt: skip
_HW = (128, 128)
_THRESHOLD = 0.7
_POLL_S = 0.05
_DISK_MB = 64
_INSIDE = "EDGECRACK_SOAK_HAS_OWN_MOUNTS"
# Per 10,000 frames: of memory in percent of its mean, of what is counted as a number.
_TOLERANCE_PERCENT, _TOLERANCE_COUNT = 1.0, 0.5
_MEMORY = ("resident_mb", "anonymous_mb", "heap_used_mb", "heap_free_mb", "python_blocks")
_COUNTED = ("threads", "open_files", "children", "heap_arenas")


class Around:
    """The other process: receives fault requests and reports which are over."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process has no pipes")
        self._orders, self._answers = process.stdin, process.stdout
        self.camera = str(json.loads(self._answers.readline() or "{}")["camera"])
        self.over: Counter[str] = Counter()
        self.problems: list[dict[str, str]] = []
        threading.Thread(target=self._listen, name="soak-answers", daemon=True).start()

    def tell(self, **order: str) -> None:
        """Order something; returns at once."""
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()

    def _listen(self) -> None:
        for line in self._answers:
            answer = json.loads(line)
            self.over[answer["fault"]] += 1
            if answer["problem"]:
                self.problems.append(answer)
                print(answer, file=sys.stderr, flush=True)


class Monitor:
    """Reads the process's figures every so many frames, and orders faults, in a separate thread.

    Not as an output: results that the outputs are too slow for would not count.
    """

    def __init__(
        self, options: argparse.Namespace, faults: list[str], around: Around, session: Session
    ) -> None:
        self.samples: list[Figures] = []
        self.faults: Counter[str] = Counter()
        self.stop = threading.Event()
        self._options, self._names, self._around = options, faults, around
        self._session = session
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-monitor", daemon=True)

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        options = self._options
        sample_at, fault_at = options.every, options.fault_every
        until_s = time.monotonic() + 60 * options.minutes
        while not self._ended.wait(_POLL_S):
            frames = self._session.stats.snapshot().frames
            if frames >= sample_at:
                self._sample(frames)
                sample_at += options.every
            if self._names and fault_at <= frames < options.frames:
                fault = self._names[(fault_at // options.fault_every - 1) % len(self._names)]
                self.faults[fault] += 1
                self._around.tell(fault=fault)
                fault_at += options.fault_every
            if time.monotonic() > until_s:
                self.stop.set()

    def _sample(self, frames: int) -> None:
        figures = process_figures(objects=self._options.objects)
        if self._options.trim:
            trim()
            after = process_figures()
            figures |= {f"trimmed_{key}": after[key] for key in ("resident_mb", "heap_used_mb")}
        self.samples.append({"frame": frames, **figures, **self._caches()})
        print(self.samples[-1], file=sys.stderr, flush=True)

    def _caches(self) -> Figures:
        session = self._session
        return {
            "events_kept": len(session.events.recent()),
            "findings_kept": len(session.book.recent()),
            "positions_kept": min(getattr(session.positions, "accepted", 0), CAPACITY),
        }


def write_inverting_model(path: Path) -> Path:
    """A model that takes what is dark for a crack, and costs nothing."""
    import onnx
    from onnx import TensorProto, helper

    shape: list[str | int | None] = ["batch", 1, *_HW]
    graph = helper.make_graph(
        [helper.make_node("BitwiseNot", ["tiles"], ["crack"])],
        "inverting",
        [helper.make_tensor_value_info("tiles", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("crack", TensorProto.UINT8, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    spec = ModelSpec("onnx", "gated-scale", 8, tile_hw=_HW, threshold=_THRESHOLD)
    write_sidecar(path, spec)
    return path


def enter_own_mounts() -> None:
    """Restart in a mount namespace whose mounts are private and vanish with the process."""
    unshare = shutil.which("unshare")
    if os.environ.get(_INSIDE) or os.geteuid() != 0 or unshare is None:
        return
    os.environ[_INSIDE] = "1"
    os.execv(unshare, [unshare, "--mount", sys.executable, str(Path(__file__)), *sys.argv[1:]])


@contextmanager
def own_disk(folder: Path) -> Iterator[Path | None]:
    """A small disk of its own; None where none can be made."""
    image, place = folder / "disk.img", folder / "disk"
    place.mkdir()
    if not os.environ.get(_INSIDE):
        yield None
        return
    with image.open("wb") as file:
        file.truncate(_DISK_MB * 2**20)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no separate disk: {error}", file=sys.stderr)
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)


@contextmanager
def surroundings(options: argparse.Namespace, disk: Path | None, port: int) -> Iterator[Around]:
    """The other process, while the block runs."""
    words = ["--rate", options.rate, "--width", options.width, "--height", options.height]
    words += ["--positions-port", port, "--threshold", _THRESHOLD]
    words += [] if disk is None else ["--disk", disk]
    program = ROOT / "benchmarks" / "soak_surroundings.py"
    with subprocess.Popen(
        [sys.executable, str(program), *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Around(process)
        finally:
            process.terminate()


def stream_config(
    options: argparse.Namespace, folder: Path, disk: Path | None, camera: str, port: int
) -> StreamConfig:
    """All of a stream that is not left out."""
    without = options.without
    recording = RecordingConfig(
        path=(disk or folder) / "run.mcap",
        part_bytes=4 * 2**20,
        part_s=60.0,
        when_full="delete-oldest",
        reserve_bytes=8 * 2**20,
    )
    return StreamConfig(
        source=camera,
        out=folder / "out",
        model=options.model or write_inverting_model(folder / "inverting.onnx"),
        save=("none",) if "lines" in without else ("jsonl",),
        policy=ReconnectPolicy(stall_timeout_s=1.0, first_delay_s=0.2, longest_delay_s=1.0),
        record=None if "recording" in without else recording,
        serve=None if "page" in without else ServeConfig(port=0),
        position=None if "positions" in without else f"udp://127.0.0.1:{port}",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The soak, and what came of it."""
    started_s = time.monotonic()
    events = EventLog()
    with tempfile.TemporaryDirectory() as name, own_disk(Path(name)) as disk:
        left_out = {each for part in options.without for each in FAULTS_OF.get(part, ())}
        left_out |= set() if disk is not None else set(DISK_FAULTS)
        faults = [each for each in options.faults if each not in left_out]
        port = _free_port()
        with surroundings(options, disk, port) as around:
            config = stream_config(options, Path(name), disk, around.camera, port)
            with (
                open_session(config, events) as session,
                Monitor(options, faults, around, session) as monitor,
            ):
                around.tell(page=session.page or "")
                summary = run_pipeline(
                    session.source,
                    session.detector,
                    _sinks(session, options.without),
                    _pipeline(session, events, options, monitor.stop),
                )
            before = process_figures()
            trim()
            after = process_figures()
        lines = Path(name) / "out" / "frames.jsonl"
        written = lines.read_bytes().count(b"\n") if lines.exists() else 0
    stats = summary.stats
    return {
        "frames": stats.frames,
        "frames_asked_for": options.frames,
        "frame": f"{options.width}x{options.height}",
        "fault_every": options.fault_every,
        "without": list(options.without),
        "malloc_arena_max": os.environ.get("MALLOC_ARENA_MAX", ""),
        "trimmed": options.trim,
        "minutes": round((time.monotonic() - started_s) / 60, 1),
        "faults": dict(monitor.faults),
        "faults_over": dict(around.over),
        "faults_left_out": sorted(left_out),
        "fault_problems": around.problems,
        "reconnects": stats.reconnects,
        "stalls": stats.stalls,
        "open_failures": stats.open_failures,
        "corrupt_frames": stats.corrupt_frames,
        "size_changes": stats.size_changes,
        "drops": stats.drops,
        "lines": written,
        "events": events.counts(),
        **judged(monitor.samples, options, len(faults)),
        "closed": before,
        "closed_and_trimmed": after,
        "samples": monitor.samples,
    }


def _sinks(session: Session, without: list[str]) -> list[Any]:
    kept = [each for each in session.sinks if each is not session.tracker]
    return kept if "findings" in without else session.sinks


def _pipeline(
    session: Session, events: EventLog, options: argparse.Namespace, stop: threading.Event
) -> PipelineConfig:
    config = PipelineConfig(
        max_frames=options.frames,
        stop=stop,
        controls=session.controls,
        positions=session.positions,
        events=events,
        stats=session.stats,
        findings=lambda: (session.book.count, session.book.confirmed),
    )
    if "findings" in options.without:
        return config
    return replace(config, on_frame=session.tracker.watch)


def judged(samples: list[Figures], options: argparse.Namespace, faults: int) -> dict[str, Any]:
    """The trend of each figure after each fault has come once, and what it comes to."""
    warm_up = options.warm_up
    if warm_up is None:
        warm_up = min(max(1, faults) * options.fault_every, options.frames // 2)
    # The last sample may be of a stream that closes already.
    settled = [item for item in samples if warm_up < item["frame"] < options.frames]
    if len(settled) < 3:
        return {"warm_up": warm_up, "verdict": "too few samples to tell"}
    trends, told = {}, {}
    trimmed = ("trimmed_resident_mb", "trimmed_heap_used_mb") if options.trim else ()
    for key in (*_MEMORY, *trimmed, *_COUNTED):
        found = trend(settled, key)
        tolerance = _TOLERANCE_COUNT
        if key not in _COUNTED:
            tolerance = _TOLERANCE_PERCENT / 100 * found["mean"]
        trends[key], told[key] = found, verdict(found, tolerance)
    return {"warm_up": warm_up, "per_10000_frames": trends, "verdicts": told}


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--fault-every", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long anyway")
    parser.add_argument("--rate", type=float, default=40.0, help="pictures per second")
    parser.add_argument("--width", type=int, default=_HW[1], help="of the pictures")
    parser.add_argument("--height", type=int, default=_HW[0])
    parser.add_argument("--warm-up", type=int, help="frames that no trend looks at")
    parser.add_argument("--without", nargs="*", choices=PARTS, default=[])
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--model", type=Path, help="instead of the one that costs nothing")
    parser.add_argument("--every", type=int, default=250, help="frames from one sample to the next")
    parser.add_argument("--trim", action="store_true", help="trim the heap at each sample")
    parser.add_argument("--objects", action="store_true", help="count Python's objects, too")
    parser.add_argument("--name", default="soak", help="of the result")
    return parser.parse_args(words)


def main() -> None:
    options = parse()
    enter_own_mounts()
    leave_cores_to_the_network()
    packages = ("onnxruntime", "numpy", "opencv-python-headless", "mcap")
    figures = run(options)
    print(json.dumps(figures.get("verdicts")), file=sys.stderr)
    write_result(options.name, figures, *packages)


if __name__ == "__main__":
    main()
