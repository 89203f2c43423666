"""Follows every captured frame, so that each crack of a stream gets one number.

source thread    queues each captured frame, also those that the network skips
writer thread    queues each result
this thread      follows the frames, places the results on them, keeps what a survey needs
"""

from __future__ import annotations

import threading
from contextlib import suppress

import numpy as np

from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.handoff import Abandoned, Worker
from edgecrack.runtime.outputs.sinks import PassiveSink
from edgecrack.runtime.telemetry.events import EventLog, RepeatLimiter
from edgecrack.runtime.tracking.finding_book import FindingBook

# Frames that may wait to be followed, and their memory.
_MOST_WAITING, _MOST_WAITING_BYTES = 32, 96_000_000
_PATIENCE_S = 60.0


class CrackTracker(PassiveSink):
    """Follows frames and places results on them, in a thread.

    Args:
        book: the cracks so far.
        events: gets an event when frames cannot be followed in time.
    """

    name = "findings"

    def __init__(self, book: FindingBook, events: EventLog | None = None) -> None:
        self._book, self._events = book, events or EventLog()
        self._worker: Worker[Frame | FrameResult] | None = None
        self._start_lock = threading.Lock()
        self._left_out = 0
        self._behind = RepeatLimiter(60.0, is_episode=False)
        self._is_live_source = False

    def watch(self, frame: Frame) -> None:
        """Take a captured frame; a recording waits for it to be followed."""
        worker = self._started(frame)
        if frame.live and worker.waiting >= _most_waiting(frame):
            self._leave_out()
            return
        # `write` raises an error of the thread, as any other output does.
        with suppress(Exception):
            worker.put(frame)

    def write(self, result: FrameResult) -> None:
        """Take the next result.

        Raises:
            OutputError: a survey's files could not be written.
        """
        with suppress(Abandoned):
            self._started(result.frame).put(result)

    def close(self) -> None:
        """Follow the waiting frames, close all cracks, and end the thread.

        Raises:
            OutputError: a survey's files could not be written.
        """
        try:
            if self._worker is not None:
                self._worker.finish()
                self._worker.join(_PATIENCE_S if self._is_live_source else None)
                self._worker.raise_error()
        finally:
            self._book.close()

    def _leave_out(self) -> None:
        self._left_out += 1
        if self._behind.is_due():
            self._events.emit(
                "track.behind",
                "captured frames come faster than they can be followed; some are left out",
                "warning",
                left_out=self._left_out,
            )

    def _started(self, frame: Frame) -> Worker[Frame | FrameResult]:
        with self._start_lock:
            if self._worker is None:
                self._is_live_source = frame.live
                self._worker = Worker(
                    "edgecrack-track", self._take, _most_waiting(frame), at_end=self._book.finish
                )
                self._worker.start()
            return self._worker

    def _take(self, item: Frame | FrameResult) -> None:
        if isinstance(item, Frame):
            self._book.follow(item)
        else:
            self._book.see(item)


def _most_waiting(frame: Frame) -> int:
    return int(np.clip(_MOST_WAITING_BYTES // max(frame.image.nbytes, 1), 4, _MOST_WAITING))
