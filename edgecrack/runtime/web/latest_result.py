"""The newest result, between the stream's writer thread and the page's.

A sink that keeps one result and never waits, so that no viewer can slow the stream. Knows no
server and no viewer; encodes nothing.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from edgecrack.runtime.frame import FrameResult

SHORTEST_STALE_MS = 2_000.0
_INTERVALS = 9


class Shown(NamedTuple):
    """The newest result.

    Attributes:
        number: 1 for the first of a run.
        result: what the stream found.
        shown_ns: monotonic time of the moment that the picture shows.
    """

    number: int
    result: FrameResult
    shown_ns: int


class LatestResult:
    """Keeps the newest result and says how old it is; any thread may ask.

    Args:
        clock_ns: as `time.monotonic_ns`; a test may give its own.
        max_age_ms: a live result older than this is shown to nobody, not even as old.
    """

    name = "page"

    def __init__(
        self,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        max_age_ms: float | None = None,
    ) -> None:
        self._clock_ns, self._max_age_ms = clock_ns, max_age_ms
        self._lock = threading.Lock()
        self._newest: Shown | None = None
        self._written_ns = 0
        self._intervals_ms: deque[float] = deque(maxlen=_INTERVALS)
        self._stale_after_ms = SHORTEST_STALE_MS
        self._ended = False
        self._listeners: list[Callable[[], None]] = []

    def write(self, result: FrameResult) -> None:
        """Take the next result in place of the one before; wakes who waits, and never waits."""
        now_ns = self._clock_ns()
        frame = result.frame
        # A recording is read ahead: its waiting in queues is no age of the picture.
        shown_ns = frame.monotonic_ns if frame.live else now_ns - int(result.latency_ms * 1e6)
        with self._lock:
            number = 1
            if self._newest is not None:
                number = self._newest.number + 1
                self._intervals_ms.append((now_ns - self._written_ns) / 1e6)
                # A robot that takes two seconds a frame is slow, not stuck. The median, so
                # that one long pause does not count as its pace.
                pace_ms = statistics.median(self._intervals_ms)
                self._stale_after_ms = max(SHORTEST_STALE_MS, 3 * pace_ms)
            self._newest = Shown(number, result, shown_ns)
            self._written_ns = now_ns
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def close(self) -> None:
        """The stream has ended; the last result stays to be looked at."""
        with self._lock:
            self._ended = True

    @property
    def ended(self) -> bool:
        """Whether no more results will come."""
        with self._lock:
            return self._ended

    def newest(self) -> Shown | None:
        """The newest result; None before the first, and where it is older than results may be."""
        with self._lock:
            newest = self._newest
        return newest if newest is not None and self.may_be_shown(newest) else None

    def may_be_shown(self, shown: Shown) -> bool:
        """Whether a result is not older than results may be."""
        if self._max_age_ms is None or not shown.result.frame.live:
            return True
        return self._clock_ns() - shown.shown_ns <= self._max_age_ms * 1e6

    def age_ms(self, shown: Shown | None = None) -> float | None:
        """Age of the moment that a result shows, the newest as a rule; None before the first."""
        shown = shown or self.newest()
        return None if shown is None else max(0.0, (self._clock_ns() - shown.shown_ns) / 1e6)

    @property
    def stale_after_ms(self) -> float:
        """Age from which the newest result must not be taken for live."""
        newest = self.newest()
        with self._lock:
            latency_ms = newest.result.latency_ms if newest else 0.0
            stale_ms = self._stale_after_ms + latency_ms
        return stale_ms if self._max_age_ms is None else min(stale_ms, self._max_age_ms)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each write, in the stream's thread; it must not wait or raise.

        Returns:
            A function that ends it.
        """
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe
