"""Follows every captured frame, and gives each crack of a stream one number.

capture thread   hands over each frame that was captured, those that the network skips included
writer thread    hands over each result
this thread      follows the frames, lays the results on them, keeps what a survey needs
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import numpy as np

from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.handoff import Abandoned, Handoff
from edgecrack.runtime.outputs.sinks import PassiveSink
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.tracking.finding_book import FindingBook

# Frames that may wait to be followed, and how much memory they may take.
_MOST_WAITING, _MOST_WAITING_BYTES = 32, 96_000_000
_PATIENCE_S, _SAY_AGAIN_S = 60.0, 60.0


class CrackTracker(PassiveSink):
    """Has frames followed and results laid on them in a thread of its own.

    Args:
        book: tells the cracks so far.
        events: hears where frames cannot be followed in time.
    """

    name = "findings"

    def __init__(self, book: FindingBook, events: EventLog | None = None) -> None:
        self._book, self._events = book, events or EventLog()
        self._queue: Handoff[Frame | FrameResult] | None = None
        self._start_lock = threading.Lock()
        self._left_out, self._said_s = 0, -_SAY_AGAIN_S
        self._is_live_source = False
        self._thread = threading.Thread(target=self._run, name="edgecrack-track", daemon=True)

    def watch(self, frame: Frame) -> None:
        """Take a captured frame; a recording waits for it to be followed."""
        queue = self._started(frame)
        if frame.live and queue.waiting >= _most_waiting(frame):
            self._leave_out()
            return
        # What the thread failed with is told by `write`, as of any other output.
        with suppress(Exception):
            queue.put(frame)

    def write(self, result: FrameResult) -> None:
        """Take the next result.

        Raises:
            OutputError: what a survey needs could not be written.
        """
        queue = self._started(result.frame)
        with suppress(Abandoned):
            queue.put(result)

    def close(self) -> None:
        """Follow what waits, close all cracks, and end the thread.

        Raises:
            OutputError: what a survey needs could not be written.
        """
        if self._queue is not None:
            self._queue.finish()
            self._thread.join(_PATIENCE_S if self._is_live_source else None)
        try:
            if self._queue is not None:
                with suppress(Abandoned):
                    self._queue.check()
        finally:
            self._book.close()

    def _leave_out(self) -> None:
        self._left_out += 1
        now_s = time.monotonic()
        if now_s - self._said_s >= _SAY_AGAIN_S:
            self._said_s = now_s
            self._events.emit(
                "track.behind",
                "captured frames come faster than they can be followed; some are left out",
                "warning",
                left_out=self._left_out,
            )

    def _started(self, frame: Frame) -> Handoff[Frame | FrameResult]:
        with self._start_lock:
            if self._queue is None:
                self._is_live_source = frame.live
                self._queue = Handoff(_most_waiting(frame))
                self._thread.start()
            return self._queue

    def _run(self) -> None:
        queue = self._queue
        if queue is None:
            return
        try:
            while (item := queue.get()) is not None:
                if isinstance(item, Frame):
                    self._book.follow(item)
                else:
                    self._book.see(item)
            self._book.finish()
        except BaseException as error:
            queue.abandon(error)


def _most_waiting(frame: Frame) -> int:
    return int(np.clip(_MOST_WAITING_BYTES // max(frame.image.nbytes, 1), 4, _MOST_WAITING))
