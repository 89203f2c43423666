"""A live source that is watched for stalls, and closed and opened again with backoff.

To the pipeline it is a source like any other; its `read` waits while the source is away. Outages
are counted, and each is an event when it begins and one when it ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from edgecrack.errors import ConfigError, MissingDependencyError, SourceError, first_line
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.handoff import TimedOut
from edgecrack.runtime.sources.base import Source, SourceBase, SourceStatus
from edgecrack.runtime.sources.newest import SourceReader
from edgecrack.runtime.telemetry.events import EventLog, RepeatLimiter
from edgecrack.runtime.telemetry.stats import SourceHealth, SourceState
from edgecrack.settings import settings

_POLL_S = 0.1
_NOT_TRIED_AGAIN = (ConfigError, MissingDependencyError)  # waiting does not fix these
# A camera that delivers for so long works again; one that comes and goes does not.
STEADY_S = 5.0
_LOG = logging.getLogger("edgecrack")


class ReconnectingSource(SourceBase):
    """Frames of a live source, through its outages.

    Indices count on over all connections, dropped frames included.

    Args:
        open_: opens the source; each call may fail and may hang.
        name: of the source, without credentials.
        policy: waits and limits.
        events: gets an event when the source is lost, is back, changes its size or sends damage.
        first: an open connection to start with, if there is one.
        clock: seconds, monotonic.
    """

    live = True
    frame_count: int | None = None

    def __init__(
        self,
        open_: Callable[[], Source],
        name: str,
        policy: ReconnectPolicy | None = None,
        events: EventLog | None = None,
        first: SourceReader | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_
        self.name = name
        self._policy = policy or ReconnectPolicy()
        self._outages = OutageRecord(name, events or EventLog(), clock)
        self._clock = clock
        self.frame_rate_hz: float | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._past_corrupt = self._past_replaced = 0
        self._index = 0
        self._failures_in_a_row = 0
        self._on_frame: Callable[[Frame], Frame | None] = lambda frame: frame
        self._captured_s = clock()
        self._on_frame_error: BaseException | None = None
        self._connections = 0
        self._stuck: list[SourceReader] = []
        self._connection: SourceReader | None = None
        if first is not None:
            self._connections = 1
            self._connection = first
            self.frame_rate_hz = first.source.frame_rate_hz if first.source else None

    @property
    def health(self) -> SourceHealth:
        """How the source is doing; may be read from any thread."""
        return self._outages.health(self.corrupt_frames)

    @property
    def corrupt_frames(self) -> int:
        """Damaged frames of all connections so far."""
        with self._lock:
            current = 0 if self._connection is None else self._connection.corrupt_frames
            return self._past_corrupt + current

    @property
    def drops(self) -> int:
        """Frames replaced by newer ones inside this source."""
        with self._lock:
            current = 0 if self._connection is None else _drops(self._connection)
            return self._past_replaced + current

    @property
    def status(self) -> SourceStatus:
        """Frames lost, how the source is doing, and its focus."""
        with self._lock:
            source = None if self._connection is None else self._connection.source
        moves = None if source is None else source.status.focus_moves
        return SourceStatus(drops=self.drops, health=self.health, focus_moves=moves)

    def watch_frames(self, on_frame: Callable[[Frame], Frame | None]) -> None:
        """Call a function with each captured frame, in the thread that captures it.

        It sees also the frames that newer ones replace before they are read. `read` skips a frame
        for which it returns None, and raises what it raises.
        """
        self._on_frame = on_frame

    def read(self) -> Frame | None:
        """The newest frame that was not read before; waits while the source is lost.

        None after `close`.

        Raises:
            SourceError: it was lost for longer than the policy allows, or too many calls hang.
        """
        if self._connection is not None:
            # Not before the first call: frames until then would count as dropped.
            self._connection.start_reading(self._numbered)
        while not self._closed.is_set():
            connection = self._connection or self._connect()
            if connection is None:
                continue
            frame = self._frame_of(connection)
            if frame is not None:
                self._outages.note_frame(frame, self.corrupt_frames)
                if self._outages.is_steady:
                    self._failures_in_a_row = 0
                return frame
        self._drop_connection()  # one that began while `close` was called
        self._outages.note_end()
        return None

    def close(self) -> None:
        """Close the source and end a wait in `read`; may be called twice, from any thread."""
        self._closed.set()
        with self._lock:
            connection = self._connection
        if connection is not None:
            connection.leave()

    def _frame_of(self, connection: SourceReader) -> Frame | None:
        """The next frame of an open connection; None if it was lost, which was dealt with."""
        asked_s = self._clock()
        while not self._closed.is_set():
            try:
                return connection.get(_POLL_S)
            except TimedOut:
                silent_s = self._clock() - max(asked_s, self._captured_s)
                if silent_s < self._policy.stall_timeout_s:
                    continue
                self._outages.note_stall()
                limit_s = self._policy.stall_timeout_s
                self._lose(f"{self.name} delivered no frame for {limit_s:g} s", "stalled")
            except _NOT_TRIED_AGAIN:
                raise
            except Exception as error:
                if error is self._on_frame_error:
                    raise
                self._lose(self._problem(error), "failed")
            return None
        return None

    def _connect(self) -> SourceReader | None:
        """One attempt; None if it failed, after the wait that follows."""
        self._raise_if_hopeless()
        connection = SourceReader(self._open, f"source-{self._connections}")
        self._connections += 1
        with self._lock:
            self._connection = connection
        try:
            source = connection.wait_open(self._policy.open_timeout_s, self._closed, self._clock)
        except TimedOut:
            if self._closed.is_set():
                return None
            waited_s = self._policy.open_timeout_s
            self._fail_to_open(f"{self.name} did not answer within {waited_s:g} s")
            return None
        except _NOT_TRIED_AGAIN:
            raise
        except Exception as error:
            self._fail_to_open(self._problem(error))
            return None
        self.frame_rate_hz = source.frame_rate_hz
        connection.start_reading(self._numbered)
        return connection

    def _numbered(self, frame: Frame) -> Frame | None:
        """Called in the connection's thread, so that frames replaced later leave a gap."""
        with self._lock:
            index = self._index
            self._index += 1
        numbered = replace(frame, index=index, name=f"{index:06d}", source=self.name, live=True)
        self._captured_s = self._clock()
        try:
            return self._on_frame(numbered)
        except BaseException as error:
            self._on_frame_error = error
            raise

    def _lose(self, problem: str, how: str) -> None:
        """The open source failed or stalled."""
        if self._closed.is_set():
            return
        self._drop_connection()
        self._outages.note_loss(problem, how)
        self._failures_in_a_row += 1
        self._closed.wait(self._policy.delay_s(self._failures_in_a_row))

    def _fail_to_open(self, problem: str) -> None:
        self._outages.note_open_failure()
        self._lose(problem, "cannot be opened")

    def _drop_connection(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                self._past_corrupt += connection.corrupt_frames
                self._past_replaced += _drops(connection)
        if connection is not None:
            connection.leave()
            self._stuck.append(connection)

    def _problem(self, error: Exception) -> str:
        if isinstance(error, SourceError):
            return error.problem
        _LOG.warning("%s failed unexpectedly", self.name, exc_info=error)
        return f"{self.name} failed: {first_line(error)}"

    def _raise_if_hopeless(self) -> None:
        self._stuck = [left for left in self._stuck if left.is_stuck]
        if len(self._stuck) > self._policy.max_stuck:
            raise SourceError(
                f"{self.name} hangs in its driver: {len(self._stuck)} calls never returned",
                "replug the camera and start again",
            )
        limit_s = self._policy.give_up_after_s
        away_s = self._outages.away_s
        if limit_s is not None and away_s > 0 and away_s >= limit_s:
            raise SourceError(
                f"{self._outages.last_problem}; it stayed away for {away_s:.0f} s",
                "check its cable, power and network, then start again",
            )


def _drops(connection: SourceReader) -> int:
    return connection.replaced + connection.passed_over


_Wait = Annotated[float, Field(gt=0, le=3600)]


@settings()
class ReconnectPolicy:
    """Timeouts and waits of a live source.

    Attributes:
        open_timeout_s: an attempt to open that takes longer is abandoned.
        stall_timeout_s: an open source that delivers nothing for so long counts as lost.
        first_delay_s: wait before the second attempt; doubles with each further one.
        longest_delay_s: upper limit of that wait.
        give_up_after_s: end with an error after being lost for so long; None never does.
        wait_for_first: also keep trying where the source has never been open.
        max_stuck: calls that may hang in a driver at the same time before the run ends with an
            error, so that the supervisor of the process restarts it.
    """

    open_timeout_s: _Wait = 8.0
    stall_timeout_s: _Wait = 5.0
    first_delay_s: _Wait = 0.5
    longest_delay_s: _Wait = 10.0
    give_up_after_s: Annotated[float, Field(ge=0)] | None = None
    wait_for_first: bool = False
    max_stuck: int = 4

    def delay_s(self, failures: int) -> float:
        """The wait after so many failures in a row."""
        return min(self.longest_delay_s, self.first_delay_s * 2.0 ** min(failures - 1, 16))


class OutageRecord:
    """Counters and events of one source; written by one thread, read by any.

    Args:
        name: of the source, without credentials.
        events: gets an event when an episode begins and when it ends.
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
        self._limiter = RepeatLimiter(clock=clock)

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
        """Why the source was lost."""
        return self._last_problem

    @property
    def is_steady(self) -> bool:
        """Whether the source has delivered for a while."""
        return self._lost_since_s is None and self._clock() - self._back_since_s > STEADY_S

    def note_frame(self, frame: Frame, corrupt_frames: int) -> None:
        """Note a frame."""
        now_s = self._clock()
        if self._lost_since_s is not None:
            self._say_back(now_s - self._lost_since_s)
            self._lost_since_s, self._back_since_s = None, now_s
        with self._lock:
            self._state = "live"
        if self._hw is not None and frame.hw != self._hw:
            self._note_size(self._hw, frame.hw)
        self._hw = frame.hw
        if corrupt_frames != self._seen_corrupt:
            self._note_corrupt(corrupt_frames)

    def note_stall(self) -> None:
        """Note that the open source delivered nothing for too long."""
        with self._lock:
            self._stalls += 1

    def note_open_failure(self) -> None:
        """Note that an attempt to open the source failed."""
        with self._lock:
            self._open_failures += 1

    def note_loss(self, problem: str, how: str) -> None:
        """Note that the source is lost; one event per outage, however often it is tried."""
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
        """Note that no more frames will come."""
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

    def _note_size(self, before: tuple[int, int], hw: tuple[int, int]) -> None:
        with self._lock:
            self._size_changes += 1
        if self._limiter.is_due("size"):
            self._events.emit(
                "source.size_changed",
                f"{self._name} now delivers {hw[1]}x{hw[0]} px instead of {before[1]}x{before[0]}",
                "warning",
                before_hw=list(before),
                hw=list(hw),
            )

    def _note_corrupt(self, corrupt_frames: int) -> None:
        self._seen_corrupt = corrupt_frames
        if self._limiter.is_due("corrupt"):
            self._events.emit(
                "source.corrupt",
                f"{self._name} sends damaged frames, which are left out",
                "warning",
                corrupt_frames=corrupt_frames,
            )
