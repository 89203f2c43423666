"""How long does a stream take to end after SIGTERM, normally and under faults?

From the signal to the end of the process, with every file closed: while it inspects, while it
records and serves the page, while the camera is away, and while the camera's machine accepts the
connection and says nothing. The recording and the JSON lines are opened again afterwards.

    python benchmarks/stop.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.camera_server import camera_server  # noqa: E402
from benchmarks.machine import write_result  # noqa: E402

_HW = (480, 640)
_START_S = 60.0


@contextmanager
def silent_server() -> Iterator[str]:
    """Accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/stream"


@contextmanager
def nobody() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    yield f"http://127.0.0.1:{port}/stream"


def wait_for_event(events: Path, kind: str | None, frames: Path) -> None:
    """Wait until an event of a kind is in the file, or, for None, until frames are."""
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s:
        if kind is None:
            if frames.exists() and frames.read_text().count("\n") >= 5:
                return
        elif events.exists() and kind in events.read_text():
            return
        time.sleep(0.05)
    raise SystemExit(f"the stream did not get as far as {kind or 'five frames'}")


def stop_once(source: str, kind: str | None, *more: str) -> float:
    """Seconds from SIGTERM to the end of the process.

    Raises:
        SystemExit: the stream ended with an error, or left a file that is not whole.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        words = [
            "stream",
            "--source",
            source,
            "--wait",
            "--out",
            str(out),
            "--save",
            "jsonl,overlay",
        ]
        words += [word.replace("FOLDER", folder) for word in more]
        process = subprocess.Popen(
            [sys.executable, "-m", "edgecrack", *words],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for_event(out / "events.jsonl", kind, out / "frames.jsonl")
        started_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=_START_S)
        taken_s = time.monotonic() - started_s
        if process.returncode != 0:
            raise SystemExit(f"exit code {process.returncode}: {errors}")
        for line in (out / "frames.jsonl").read_text().splitlines():
            json.loads(line)
        if list(Path(folder).rglob("*.part*")):
            raise SystemExit("a file was left unfinished")
        return taken_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    figures: dict[str, object] = {"rounds": rounds, "frame": f"{_HW[1]}x{_HW[0]}"}
    everything = ["--record", "FOLDER/run.mcap", "--serve", "127.0.0.1:0"]
    with camera_server(20, _HW) as (camera, _), silent_server() as silent, nobody() as away:
        cases: dict[str, tuple[str, str | None, list[str]]] = {
            "inspecting": (camera, None, []),
            "recording_and_serving": (camera, None, everything),
            "camera_away": (away, "source.lost", everything),
            "camera_silent": (silent, "source.lost", everything),
        }
        for name, (source, kind, more) in cases.items():
            seconds = sorted(stop_once(source, kind, *more) for _ in range(rounds))
            figures[f"{name}_median_s"] = round(seconds[len(seconds) // 2], 2)
            figures[f"{name}_longest_s"] = round(seconds[-1], 2)
    write_result("stop", figures, "onnxruntime", "numpy", "opencv-python-headless")


if __name__ == "__main__":
    main()
