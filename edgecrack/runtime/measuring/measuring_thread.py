"""Measuring in a thread of its own, at a low priority, and the newest measured frame.

Measuring takes longer than detecting does on a GPU: of a live source the thread takes the newest
frame whenever it is free, and skips those between. Of a recording it takes every frame.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from edgecrack.errors import OutputError
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.handoff import Abandoned, Worker

_NICENESS = 10  # for the scheduler: the stream's own threads come first
_PATIENCE_S = 60.0


class MeasuringThread:
    """Passes frames to a function in a thread, which starts with the first frame.

    Args:
        measure: called in the thread; `put` and `check` raise what it raises.
    """

    def __init__(self, measure: Callable[[FrameResult], None]) -> None:
        self._measure = measure
        self._worker: Worker[FrameResult] | None = None
        self._is_live = False

    @property
    def left_out(self) -> int:
        """Frames that newer ones replaced before they were measured."""
        return 0 if self._worker is None else self._worker.replaced

    def put(self, result: FrameResult) -> None:
        """Queue a frame; waits for the one before if the source is a recording.

        Raises:
            BaseException: the error that ended the thread.
        """
        if self._worker is None:
            self._is_live = result.frame.live
            self._worker = Worker(
                "edgecrack-widths",
                self._measure,
                keep_newest=self._is_live,
                at_start=_lower_priority,
            )
            self._worker.start()
        with suppress(Abandoned):
            self._worker.put(result)

    def finish(self) -> None:
        """Measure the waiting frames and end; all frames of a recording, however long it takes.

        Raises:
            OutputError: a live source's last frame took too long, and is missing.
        """
        if self._worker is None:
            return
        self._worker.finish()
        if not self._worker.join(_PATIENCE_S if self._is_live else None):
            raise OutputError(
                f"the last frame was not measured within {_PATIENCE_S:g} s", "measure it alone"
            )

    def check(self) -> None:
        """Raise the error that ended the thread, if there was one."""
        if self._worker is not None:
            self._worker.raise_error()


def _lower_priority() -> None:
    with suppress(OSError, AttributeError):  # where threads have no priority of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


class NewestWidths:
    """Keeps the newest record, for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._record: Mapping[str, Any] | None = None
        self._taken_ns: int | None = None

    def take(self, result: FrameResult, record: Mapping[str, Any]) -> None:
        """Replace the record; never waits."""
        with self._lock:
            self._record = record
            self._taken_ns = result.frame.monotonic_ns if result.frame.live else None

    def brief(self) -> dict[str, Any] | None:
        """Its figures for a page; None before the first.

        `age_ms` is the frame's age, which may be well above the newest frame's; None for
        recordings.
        """
        with self._lock:
            record, taken_ns = self._record, self._taken_ns
        if record is None:
            return None
        from edgecrack.runtime.measuring.width_record import brief_record

        age_ms = None if taken_ns is None else max(0, time.monotonic_ns() - taken_ns) // 1_000_000
        return {**brief_record(record), "age_ms": age_ms}

    def figures(self) -> dict[str, Any] | None:
        """Its figures for `frames.jsonl`: frame and cracks; None before the first."""
        with self._lock:
            record = self._record
        if record is None:
            return None
        scale = record["scale"]
        return {
            "frame": record["frame"],
            "verdict": record["fitness"]["verdict"],
            "mm_per_px": None if scale is None else scale["mm_per_px"],
            "cracks": [
                {
                    "box": crack["box"],
                    "length_px": crack["length_px"],
                    "length_mm": crack["length_mm"] and crack["length_mm"]["value_mm"],
                    "width_px": crack["width"]["mean"],
                    "width_mm": crack["width_mm"] and crack["width_mm"]["mean"],
                }
                for crack in record["cracks"]
            ],
        }
