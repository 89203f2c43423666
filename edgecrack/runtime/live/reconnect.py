"""A live source that comes back: watched for stalls, closed and opened again with backoff.

To the pipeline it is a source like any other, whose `read` waits as long as the source is away.
Each loss is one event when it begins and one when it ends. Knows sources by `open` alone; must
not know cameras or protocols.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgecrack.errors import ConfigError, MissingDependencyError, SourceError, first_line
from edgecrack.runtime.closing import ClosesItself
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.handoff import TimedOut
from edgecrack.runtime.live.connection import Connection
from edgecrack.runtime.live.events import EventLog
from edgecrack.runtime.source import Source
from edgecrack.runtime.stats import SourceHealth, SourceState

_POLL_S = 0.1
# A camera that delivers for so long counts as well again; one that flaps does not.
_STEADY_S = 5.0
_NOT_TRIED_AGAIN = (ConfigError, MissingDependencyError)  # no waiting mends these
_LOG = logging.getLogger("edgecrack")
EPISODE_S = 10.0
_WAITS = {
    "open_timeout_s": "the time for opening a source",
    "stall_timeout_s": "the time after which a silent source is opened again",
    "first_delay_s": "the first wait for a lost source",
    "longest_delay_s": "the longest wait for a lost source",
}


@dataclass(frozen=True)
class ReconnectPolicy:
    """How long to wait for what.

    Attributes:
        open_timeout_s: an attempt to open that takes longer is given up.
        stall_timeout_s: an open source that delivers nothing for so long counts as lost.
        first_delay_s: wait before the second attempt; doubles with each further one.
        longest_delay_s: the wait never grows beyond this.
        give_up_after_s: end with an error after being lost for so long; None never does.
        wait_for_first: also keep trying where the source has never been open.
        max_stuck: calls that may hang in a driver at once before the run ends with an error, so
            that whoever supervises the process starts it afresh.
    """

    open_timeout_s: float = 8.0
    stall_timeout_s: float = 5.0
    first_delay_s: float = 0.5
    longest_delay_s: float = 10.0
    give_up_after_s: float | None = None
    wait_for_first: bool = False
    max_stuck: int = 4

    def __post_init__(self) -> None:
        """Refuse waits that make no sense."""
        for name, words in _WAITS.items():
            value = getattr(self, name)
            if not 0 < value <= 3600:
                raise ConfigError(f"{words} is {value} s", "give seconds above 0, at most 3600")
        if self.give_up_after_s is not None and not self.give_up_after_s >= 0:
            raise ConfigError(
                f"the time to keep trying is {self.give_up_after_s} s", "give 0 or more"
            )

    def delay_s(self, failures: int) -> float:
        """The wait after so many failures in a row."""
        return min(self.longest_delay_s, self.first_delay_s * 2.0 ** min(failures - 1, 16))


class ReconnectingSource(ClosesItself):
    """Frames of a live source, through its outages.

    Indices count on over all connections, dropped frames included.

    Args:
        open_: opens the source; each call may fail and may hang.
        name: of the source, without credentials.
        policy: waits and limits.
        events: hears when the source is lost, is back, changes its size or sends damage.
        first: an open connection to begin with, if there is one.
        clock: seconds, monotonic; a test may give its own.
    """

    live = True
    frame_count: int | None = None

    def __init__(
        self,
        open_: Callable[[], Source],
        name: str,
        policy: ReconnectPolicy | None = None,
        events: EventLog | None = None,
        first: Connection | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_
        self.name = name
        self._policy = policy or ReconnectPolicy()
        self._events = events or EventLog()
        self._clock = clock
        self.frame_rate_hz: float | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._state: SourceState = "connecting"
        self._reconnects = self._stalls = self._open_failures = self._size_changes = 0
        self._past_corrupt = self._past_replaced = 0
        self._index = 0
        self._failures_in_a_row = 0
        self._lost_since_s: float | None = None
        self._back_since_s = clock()
        self._last_problem = ""
        self._hw: tuple[int, int] | None = None
        self._seen_corrupt = 0
        self._last_corrupt_s = self._last_size_s = clock() - EPISODE_S
        self._connections = 0
        self._stuck: list[Connection] = []
        self._connection: Connection | None = None
        if first is not None:
            self._connections = 1
            self._connection = first
            self.frame_rate_hz = first.wait_open(0).frame_rate_hz

    @property
    def health(self) -> SourceHealth:
        """How the source is doing; from any thread."""
        with self._lock:
            return SourceHealth(
                state=self._state,
                reconnects=self._reconnects,
                stalls=self._stalls,
                open_failures=self._open_failures,
                corrupt_frames=self._corrupt(),
                size_changes=self._size_changes,
            )

    @property
    def corrupt_frames(self) -> int:
        """Damaged frames of all connections so far."""
        with self._lock:
            return self._corrupt()

    @property
    def drops(self) -> int:
        """Frames replaced by newer ones inside this source."""
        with self._lock:
            current = 0 if self._connection is None else self._connection.replaced
            return self._past_replaced + current

    def read(self) -> Frame | None:
        """The next frame; waits while the source is lost. None once it was closed.

        Raises:
            SourceError: it was lost for longer than the policy allows, or too many calls hang.
        """
        if self._connection is not None:
            # Not before somebody reads: frames until then would count as dropped.
            self._connection.start_reading(self._numbered)
        while not self._closed.is_set():
            connection = self._connection or self._connect()
            if connection is None:
                continue
            frame = self._frame_of(connection)
            if frame is not None:
                self._note_frame(frame)
                return frame
        self._drop_connection()  # one that began while `close` was called
        self._set_state("ended")
        return None

    def close(self) -> None:
        """Close what is open and end a wait in `read`; may be called twice, from any thread."""
        self._closed.set()
        with self._lock:
            connection = self._connection
        if connection is not None:
            connection.leave()

    def _frame_of(self, connection: Connection) -> Frame | None:
        """The next frame of an open connection; None if there is none and why was dealt with."""
        deadline_s = self._clock() + self._policy.stall_timeout_s
        while not self._closed.is_set():
            try:
                return connection.get(_POLL_S)
            except TimedOut:
                if self._clock() < deadline_s:
                    continue
                with self._lock:
                    self._stalls += 1
                limit_s = self._policy.stall_timeout_s
                self._lose(f"{self.name} delivered no frame for {limit_s:g} s", "stalled")
            except _NOT_TRIED_AGAIN:
                raise
            except Exception as error:
                self._lose(self._problem(error), "failed")
            return None
        return None

    def _connect(self) -> Connection | None:
        """One attempt; None if it failed, after the wait that follows."""
        self._raise_if_hopeless()
        connection = Connection(self._open, self._connections)
        self._connections += 1
        with self._lock:
            self._connection = connection
        try:
            source = self._wait_open(connection)
        except TimedOut:
            waited_s = self._policy.open_timeout_s
            self._fail_to_open(f"{self.name} did not answer within {waited_s:g} s")
            return None
        except _NOT_TRIED_AGAIN:
            raise
        except Exception as error:
            self._fail_to_open(self._problem(error))
            return None
        if source is None:
            return None
        self._take(connection, source)
        return connection

    def _wait_open(self, connection: Connection) -> Source | None:
        deadline_s = self._clock() + self._policy.open_timeout_s
        while not self._closed.is_set():
            try:
                return connection.wait_open(_POLL_S)
            except TimedOut:
                if self._clock() >= deadline_s:
                    raise
        return None

    def _take(self, connection: Connection, source: Source) -> None:
        self.frame_rate_hz = source.frame_rate_hz
        with self._lock:
            self._connection = connection
        connection.start_reading(self._numbered)

    def _numbered(self, frame: Frame) -> Frame:
        """In the connection's thread, so that frames replaced later leave a gap."""
        with self._lock:
            index = self._index
            self._index += 1
        return replace(frame, index=index, name=f"{index:06d}", source=self.name, live=True)

    def _note_frame(self, frame: Frame) -> None:
        now_s = self._clock()
        if self._lost_since_s is not None:
            away_s = now_s - self._lost_since_s
            self._lost_since_s = None
            self._back_since_s = now_s
            with self._lock:
                self._reconnects += self._hw is not None
            self._events.emit(
                "source.recovered",
                f"{self.name} delivers again after {away_s:.1f} s",
                away_s=round(away_s, 3),
            )
        elif now_s - self._back_since_s > _STEADY_S:
            self._failures_in_a_row = 0
        self._set_state("live")
        if self._hw is not None and frame.hw != self._hw:
            with self._lock:
                self._size_changes += 1
            if now_s - self._last_size_s >= EPISODE_S:
                self._say_size(frame.hw)
            self._last_size_s = now_s
        self._hw = frame.hw
        self._note_corrupt()

    def _say_size(self, hw: tuple[int, int]) -> None:
        if self._hw is not None:
            self._events.emit(
                "source.size_changed",
                f"{self.name} now delivers {hw[1]}x{hw[0]} px instead of "
                f"{self._hw[1]}x{self._hw[0]}",
                "warning",
                before_hw=list(self._hw),
                hw=list(hw),
            )

    def _note_corrupt(self) -> None:
        corrupt = self.corrupt_frames
        if corrupt == self._seen_corrupt:
            return
        now_s = self._clock()
        if now_s - self._last_corrupt_s >= EPISODE_S:
            self._events.emit(
                "source.corrupt",
                f"{self.name} sends damaged frames, which are left out",
                "warning",
                corrupt_frames=corrupt,
            )
        self._seen_corrupt, self._last_corrupt_s = corrupt, now_s

    def _lose(self, problem: str, how: str) -> None:
        """The open source failed or stalled."""
        if self._closed.is_set():
            return  # by whoever closed it
        self._drop_connection()
        self._begin_loss(problem, how)
        self._failures_in_a_row += 1
        self._closed.wait(self._policy.delay_s(self._failures_in_a_row))

    def _fail_to_open(self, problem: str) -> None:
        self._drop_connection()
        with self._lock:
            self._open_failures += 1
        self._begin_loss(problem, "cannot be opened")
        self._failures_in_a_row += 1
        self._closed.wait(self._policy.delay_s(self._failures_in_a_row))

    def _begin_loss(self, problem: str, how: str) -> None:
        self._last_problem = problem
        if self._lost_since_s is not None:
            return  # said already
        self._lost_since_s = self._clock()
        self._set_state("connecting" if self._hw is None else "lost")
        self._events.emit(
            "source.lost", f"{problem}; trying again until it is back", "warning", how=how
        )

    def _drop_connection(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                self._past_corrupt += connection.corrupt_frames
                self._past_replaced += connection.replaced
        if connection is not None:
            connection.leave()
            self._stuck.append(connection)

    def _problem(self, error: Exception) -> str:
        if isinstance(error, SourceError):
            return error.problem
        _LOG.warning("%s failed in a way that nobody foresaw", self.name, exc_info=error)
        return f"{self.name} failed: {first_line(error)}"

    def _raise_if_hopeless(self) -> None:
        self._stuck = [left for left in self._stuck if left.is_stuck]
        if len(self._stuck) > self._policy.max_stuck:
            raise SourceError(
                f"{self.name} hangs in its driver: {len(self._stuck)} calls never returned",
                "replug the camera and start again",
            )
        limit_s = self._policy.give_up_after_s
        if limit_s is None or self._lost_since_s is None:
            return
        away_s = self._clock() - self._lost_since_s
        if away_s >= limit_s:
            raise SourceError(
                f"{self._last_problem}; it stayed away for {away_s:.0f} s",
                "check its cable, power and network, then start again",
            )

    def _corrupt(self) -> int:
        current = 0 if self._connection is None else self._connection.corrupt_frames
        return self._past_corrupt + current

    def _set_state(self, state: SourceState) -> None:
        with self._lock:
            self._state = state
