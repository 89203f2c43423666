"""Checks every few seconds whether the machine is throttled, and reports begin and end.

An episode begins when two checks in a row find evidence and ends after ten seconds without, so that
a short interruption does not begin a second one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from edgecrack.machine_sensors.throttling import ThrottleLook, ThrottleState
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.stats import StreamStats, Throttling

_LOG = logging.getLogger("edgecrack")
INTERVAL_S = 2.0
BEGINS_AFTER_LOOKS = 2
ENDS_AFTER_S = 10.0
_JOIN_S = 1.0


class ThrottleWatch:
    """Watches the machine in a thread of its own, since a sensor may be slow.

    Args:
        look: checks once.
        events: gets `machine.throttled` and `machine.recovered`.
        stats: gets the counters, and has the number of frames processed.
        clock: seconds, monotonic.
        interval_s: from one check to the next.
    """

    def __init__(
        self,
        look: Callable[[], ThrottleLook],
        events: EventLog,
        stats: StreamStats,
        clock: Callable[[], float] = time.monotonic,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._look, self._events, self._stats, self._clock = look, events, stats, clock
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._last = ThrottleLook("unknown")
        self._state: ThrottleState = "unknown"
        self._looked = _Moment(clock(), 0)
        self._first = self._newest = self._looked
        self._in_a_row = self._episodes = 0
        self._has_failed = False
        self._before = _Moment(0.0, 0)
        self._thread = threading.Thread(target=self._run, name="edgecrack-throttle", daemon=True)

    def start(self) -> None:
        """Start the thread; the first check is immediate."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, or leave it behind if a sensor hangs. May be called twice."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def status(self) -> dict[str, Any]:
        """The state and the result of the last check, as plain JSON values."""
        with self._lock:
            return {"state": self._state, **self._last.to_dict()}

    def look(self) -> None:
        """Check once, and emit an event for a change."""
        found, now = self._look(), _Moment(self._clock(), self._stats.snapshot().frames)
        with self._lock:
            self._last = found
        if found.state == "throttled":
            # A counter rose between the previous check and this one.
            self._first = self._first if self._in_a_row or self._is_throttled else self._looked
            self._in_a_row, self._newest = self._in_a_row + 1, now
            if not self._is_throttled and self._in_a_row >= BEGINS_AFTER_LOOKS:
                self._begin(found)
        else:
            self._in_a_row = 0
            if not self._is_throttled:
                self._state = found.state
            elif now.at_s - self._newest.at_s >= ENDS_AFTER_S:
                self._end(found)
        self._looked = now
        self._count()

    @property
    def _is_throttled(self) -> bool:
        return self._state == "throttled"

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:
                self._fail()
            if self._ended.wait(self._interval_s):
                return

    def _fail(self) -> None:
        """Log a defect once; from then on the state is unknown."""
        if not self._has_failed:
            self._has_failed = True
            _LOG.exception("whether the machine is throttled could not be checked")
        with self._lock:
            self._last = ThrottleLook("unknown")
        self._state = "unknown"
        self._count()

    def _begin(self, found: ThrottleLook) -> None:
        self._state, self._episodes = "throttled", self._episodes + 1
        self._count()
        fps = self._stats.snapshot().fps
        figures = ", ".join(part for part in (found.figures, f"{fps:.1f} frames/s") if part)
        self._events.emit(
            "machine.throttled",
            f"the machine throttles: {figures} ({found.reasons})",
            "warning",
            fps=round(fps, 3),
            **found.to_dict(),
        )

    def _end(self, found: ThrottleLook) -> None:
        lasted = self._newest - self._first
        self._before += lasted
        self._first = self._newest
        self._state = found.state
        self._count()
        fps = lasted.frames / lasted.at_s if lasted.at_s > 0 else 0.0
        known = "" if found.state == "not throttled" else ", as far as this machine tells"
        figures = f": {found.figures}" if found.figures else ""
        self._events.emit(
            "machine.recovered",
            f"the machine no longer throttles{known}{figures}; it did for {lasted.at_s:.0f} s, "
            f"at {fps:.1f} frames/s",
            state=found.state,
            throttled_s=round(lasted.at_s, 3),
            throttled_frames=lasted.frames,
            throttled_fps=round(fps, 3),
            **found.to_dict(),
        )

    def _count(self) -> None:
        total = self._before
        if self._is_throttled:
            total += self._newest - self._first
        self._stats.set_throttling(
            Throttling(self._state, self._episodes, total.at_s, total.frames)
        )


class _Moment:
    """A time in seconds and the frames processed by then; or differences of both."""

    def __init__(self, at_s: float, frames: int) -> None:
        self.at_s, self.frames = at_s, frames

    def __add__(self, other: _Moment) -> _Moment:
        return _Moment(self.at_s + other.at_s, self.frames + other.frames)

    def __sub__(self, other: _Moment) -> _Moment:
        return _Moment(self.at_s - other.at_s, self.frames - other.frames)
