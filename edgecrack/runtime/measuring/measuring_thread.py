"""Measuring in a thread of its own, after everything else.

Measuring takes longer than detecting does on a GPU: of a live source it takes the newest frame when
it is free, and leaves out those between. Of a recording it takes every frame.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from edgecrack.errors import OutputError
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.handoff import Abandoned, Handoff

_POLITENESS = 10  # in the scheduler's eyes; the stream's own threads come first
_PATIENCE_S = 60.0


class MeasuringThread:
    """Gives each frame that it takes to a function; begins with the first.

    Args:
        measure: called in the thread; what it raises is raised by `put` and `check`.
    """

    def __init__(self, measure: Callable[[FrameResult], None]) -> None:
        self._measure = measure
        self._taken: Handoff[FrameResult] | None = None
        self._is_live = False
        self._thread = threading.Thread(target=self._run, name="edgecrack-widths", daemon=True)

    @property
    def left_out(self) -> int:
        """Frames that were replaced by newer ones before they were measured."""
        return 0 if self._taken is None else self._taken.replaced

    def put(self, result: FrameResult) -> None:
        """Hand a frame over; waits for the one before where the source is a recording.

        Raises:
            BaseException: the error that ended the thread.
        """
        if self._taken is None:
            self._is_live = result.frame.live
            self._taken = Handoff(1, keep_newest=result.frame.live)
            self._thread.start()
        with suppress(Abandoned):
            self._taken.put(result)

    def finish(self) -> None:
        """Measure what waits, and end; a recording's frames are all measured, however long.

        Raises:
            OutputError: a live source's last frame took too long, and is missing.
        """
        if self._taken is None:
            return
        self._taken.finish()
        self._thread.join(_PATIENCE_S if self._is_live else None)
        if self._thread.is_alive():
            raise OutputError(
                f"the last frame was not measured within {_PATIENCE_S:g} s", "measure it by itself"
            )

    def check(self) -> None:
        """Raise the error that ended the thread, if one did."""
        if self._taken is not None:
            with suppress(Abandoned):
                self._taken.check()

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # where threads have no priority of their own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _POLITENESS)
        results = self._taken
        if results is None:
            return
        try:
            while (result := results.get()) is not None:
                self._measure(result)
        except BaseException as error:
            results.abandon(error)
