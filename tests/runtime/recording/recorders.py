"""Recorders with clocks and disks that do as told, and what lies in their folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.recording.recorder import McapRecorder
from tests.runtime.fakes import stream_threads
from tests.runtime.recording.reading import (
    Heard,
    frame_times,
)
from tests.waiting import wait_until

PLENTY = 2**40


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Disk:
    """Free bytes as told, or as parts come and go."""

    def __init__(self, free: int = PLENTY) -> None:
        self.free = free
        self.asked = threading.Event()

    def __call__(self, folder: Path) -> int:
        self.asked.set()
        return self.free


@contextmanager
def recording(
    folder: Path,
    heard: Heard | None = None,
    clock: Callable[[], float] = time.monotonic,
    disk: Callable[[Path], int] | None = None,
    active: bool = True,
    max_age_ms: float | None = None,
    **settings: Any,
) -> Iterator[McapRecorder]:
    recorder = McapRecorder(
        RecordingConfig(folder / "run.mcap", **{"flush_s": 0.05, **settings}),
        events=(heard or Heard()).log,
        stats=None,
        about={"model": "bright"},
        max_age_ms=max_age_ms,
        active=active,
        free=disk or Disk(),
        clock=clock,
    )
    try:
        yield recorder
    finally:
        recorder.close()
        recorder.close()  # a second time changes nothing
        assert stream_threads() == []


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pictures(folder: Path) -> list[int]:
    """Log times of the pictures in all whole parts, in the order of the parts."""
    return [time_ns for path in sorted(folder.glob("*.mcap")) for time_ns in frame_times(path)]


def times(results: list[FrameResult]) -> list[int]:
    return [one.frame.stamp_ns for one in results]


def seen(folder: Path) -> int:
    """Pictures that have reached the files, whole or not; of each chunk at least one."""
    found = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # a part loses its `.part` when the next one begins
            found += path.read_bytes().count(b"\xff\xd8\xff")
    return found


def wait_for_pictures(folder: Path, count: int) -> None:
    wait_until(lambda: seen(folder) >= count, f"{count} pictures in {folder}")
