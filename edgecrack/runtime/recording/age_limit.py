"""Leaves results out of a recording that grew too old while the disk stalled; one event an episode.

Used by the recorder's thread; `count` is for others too. Knows when a frame was taken, not what
it shows.
"""

from __future__ import annotations

import time

from edgecrack.runtime.frame import Frame
from edgecrack.runtime.telemetry.events import EventLog

EPISODE_S = 10.0


def now_ns() -> int:
    """The clock of `Frame.monotonic_ns`."""
    return time.monotonic_ns()


class AgeLimit:
    """How old a live frame may be when it is recorded.

    Args:
        limit_ms: the largest age, counted from the grab; None allows any.
        events: hears when an episode begins.
    """

    def __init__(self, limit_ms: float | None, events: EventLog) -> None:
        self._limit_ms = limit_ms
        self._events = events
        self._last_ns: int | None = None
        self.count = 0

    def refuses(self, frame: Frame) -> bool:
        """Whether a frame is too old; it is counted then. Those of recordings never are."""
        if self._limit_ms is None or not frame.live:
            return False
        moment_ns = now_ns()
        age_ms = (moment_ns - frame.monotonic_ns) / 1e6
        if age_ms <= self._limit_ms:
            return False
        self.count += 1
        begins = self._last_ns is None or moment_ns - self._last_ns > EPISODE_S * 1e9
        self._last_ns = moment_ns
        if begins:
            self._events.emit(
                "recording.stale",
                f"the disk is too slow: a result was {age_ms:.0f} ms old and is left out of the "
                f"recording ({self._limit_ms:g} ms allowed)",
                "warning",
                age_ms=round(age_ms, 1),
                limit_ms=self._limit_ms,
            )
        return True
