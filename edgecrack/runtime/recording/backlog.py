"""Counts frames that a slow disk made a recording leave out; one event an episode.

Thread-safe. Knows no frames.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.terminal.wording import counted

_ENDS_S = 2.0


class MessageBacklog:
    """Frames left out, in all and in the episode that lasts.

    Args:
        folder: on the disk that is too slow, as it is named to the user.
        events: hears when an episode begins and ends.
    """

    def __init__(self, folder: Path, events: EventLog) -> None:
        self._folder = folder
        self._events = events
        self._lock = threading.Lock()
        self._count = 0
        self._count_before = 0
        self._last_s: float | None = None

    @property
    def count(self) -> int:
        """Frames left out so far."""
        with self._lock:
            return self._count

    @property
    def lasts(self) -> bool:
        """Whether frames were left out just now."""
        with self._lock:
            return self._last_s is not None

    def add(self) -> None:
        """One frame is left out."""
        with self._lock:
            begins = self._last_s is None
            self._last_s = time.monotonic()
            if begins:
                self._count_before = self._count
            self._count += 1
        if begins:
            self._events.emit(
                "recording.behind",
                f"the disk of {self._folder} is too slow: frames are left out of the recording",
                "warning",
            )

    def settle(self) -> None:
        """End the episode if no frame was left out for a while; call it often."""
        with self._lock:
            if self._last_s is None or time.monotonic() - self._last_s < _ENDS_S:
                return
            self._last_s = None
            count = self._count - self._count_before
        self._events.emit(
            "recording.caught_up",
            f"the disk keeps up again; left out of the recording: {counted(count, 'frame')}",
            frames=count,
        )
