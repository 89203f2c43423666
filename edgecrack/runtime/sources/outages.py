"""What befell a live source: counted, and said once per episode.

Knows frames and events; must not know how a source is opened, nor when it is tried again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edgecrack.runtime.frame import Frame
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.stats import SourceHealth, SourceState

EPISODE_S = 10.0
# A camera that delivers for so long is well again; one that flaps is not.
STEADY_S = 5.0


class OutageRecord:
    """Counters and events of one source; told by its reader's thread, asked by any.

    Args:
        name: of the source, without credentials.
        events: hears when an episode begins and ends.
        clock: seconds, monotonic.
    """

    def __init__(
        self, name: str, events: EventLog, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name, self._events, self._clock = name, events, clock
        self._lock = threading.Lock()
        self._state: SourceState = "connecting"
        self._reconnects = self._stalls = self._open_failures = self._size_changes = 0
        self._lost_since_s: float | None = None
        self._back_since_s = clock()
        self._last_problem = ""
        self._hw: tuple[int, int] | None = None
        self._seen_corrupt = 0
        self._last_corrupt_s = self._last_size_s = clock() - EPISODE_S

    def health(self, corrupt_frames: int) -> SourceHealth:
        """How the source is doing.

        Args:
            corrupt_frames: damaged frames of all its connections.
        """
        with self._lock:
            return SourceHealth(
                state=self._state,
                reconnects=self._reconnects,
                stalls=self._stalls,
                open_failures=self._open_failures,
                corrupt_frames=corrupt_frames,
                size_changes=self._size_changes,
            )

    @property
    def away_s(self) -> float:
        """How long the source has been lost; 0 while it is not."""
        return 0.0 if self._lost_since_s is None else self._clock() - self._lost_since_s

    @property
    def last_problem(self) -> str:
        """Why it was lost."""
        return self._last_problem

    @property
    def is_steady(self) -> bool:
        """Whether it has delivered for a while."""
        return self._lost_since_s is None and self._clock() - self._back_since_s > STEADY_S

    def note_frame(self, frame: Frame, corrupt_frames: int) -> None:
        """A frame came."""
        now_s = self._clock()
        if self._lost_since_s is not None:
            self._say_back(now_s - self._lost_since_s)
            self._lost_since_s, self._back_since_s = None, now_s
        with self._lock:
            self._state = "live"
        if self._hw is not None and frame.hw != self._hw:
            self._note_size(self._hw, frame.hw, now_s)
        self._hw = frame.hw
        if corrupt_frames != self._seen_corrupt:
            self._note_corrupt(corrupt_frames, now_s)

    def note_stall(self) -> None:
        """The open source delivered nothing for too long."""
        with self._lock:
            self._stalls += 1

    def note_open_failure(self) -> None:
        """An attempt to open the source failed."""
        with self._lock:
            self._open_failures += 1

    def note_loss(self, problem: str, how: str) -> None:
        """The source is away; said when it begins, however often it is tried."""
        self._last_problem = problem
        if self._lost_since_s is not None:
            return
        self._lost_since_s = self._clock()
        with self._lock:
            self._state = "connecting" if self._hw is None else "lost"
        self._events.emit(
            "source.lost", f"{problem}; trying again until it is back", "warning", how=how
        )

    def note_end(self) -> None:
        """No more frames will come."""
        with self._lock:
            self._state = "ended"

    def _say_back(self, away_s: float) -> None:
        with self._lock:
            self._reconnects += self._hw is not None
        self._events.emit(
            "source.recovered",
            f"{self._name} delivers again after {away_s:.1f} s",
            away_s=round(away_s, 3),
        )

    def _note_size(self, before: tuple[int, int], hw: tuple[int, int], now_s: float) -> None:
        with self._lock:
            self._size_changes += 1
        if now_s - self._last_size_s >= EPISODE_S:
            self._events.emit(
                "source.size_changed",
                f"{self._name} now delivers {hw[1]}x{hw[0]} px instead of {before[1]}x{before[0]}",
                "warning",
                before_hw=list(before),
                hw=list(hw),
            )
        self._last_size_s = now_s

    def _note_corrupt(self, corrupt_frames: int, now_s: float) -> None:
        if now_s - self._last_corrupt_s >= EPISODE_S:
            self._events.emit(
                "source.corrupt",
                f"{self._name} sends damaged frames, which are left out",
                "warning",
                corrupt_frames=corrupt_frames,
            )
        self._seen_corrupt, self._last_corrupt_s = corrupt_frames, now_s
