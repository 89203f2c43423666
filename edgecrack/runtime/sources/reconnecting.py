"""A live source that comes back: watched for stalls, closed and opened again with backoff.

To the pipeline it is a source like any other, whose `read` waits as long as the source is away.
What befalls it is told by `outages.py`. Knows sources by `open` alone; must not know cameras
or protocols.
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
from edgecrack.runtime.sources.attempt import SourceAttempt
from edgecrack.runtime.sources.base import Source, SourceBase, SourceStatus
from edgecrack.runtime.sources.outages import OutageRecord
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.stats import SourceHealth
from edgecrack.settings import settings

_POLL_S = 0.1
_NOT_TRIED_AGAIN = (ConfigError, MissingDependencyError)  # no waiting mends these
_LOG = logging.getLogger("edgecrack")


class ReconnectingSource(SourceBase):
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
        first: SourceAttempt | None = None,
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
        self._connections = 0
        self._stuck: list[SourceAttempt] = []
        self._connection: SourceAttempt | None = None
        if first is not None:
            self._connections = 1
            self._connection = first
            self.frame_rate_hz = first.wait_open(0).frame_rate_hz

    @property
    def health(self) -> SourceHealth:
        """How the source is doing; from any thread."""
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
            current = 0 if self._connection is None else self._connection.replaced
            return self._past_replaced + current

    @property
    def status(self) -> SourceStatus:
        """What it knows of how it goes."""
        with self._lock:
            source = None if self._connection is None else self._connection.source
        moves = None if source is None else source.status.focus_moves
        return SourceStatus(drops=self.drops, health=self.health, focus_moves=moves)

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
                self._outages.note_frame(frame, self.corrupt_frames)
                if self._outages.is_steady:
                    self._failures_in_a_row = 0
                return frame
        self._drop_connection()  # one that began while `close` was called
        self._outages.note_end()
        return None

    def close(self) -> None:
        """Close what is open and end a wait in `read`; may be called twice, from any thread."""
        self._closed.set()
        with self._lock:
            connection = self._connection
        if connection is not None:
            connection.leave()

    def _frame_of(self, connection: SourceAttempt) -> Frame | None:
        """The next frame of an open connection; None if there is none and why was dealt with."""
        deadline_s = self._clock() + self._policy.stall_timeout_s
        while not self._closed.is_set():
            try:
                return connection.get(_POLL_S)
            except TimedOut:
                if self._clock() < deadline_s:
                    continue
                self._outages.note_stall()
                limit_s = self._policy.stall_timeout_s
                self._lose(f"{self.name} delivered no frame for {limit_s:g} s", "stalled")
            except _NOT_TRIED_AGAIN:
                raise
            except Exception as error:
                self._lose(self._problem(error), "failed")
            return None
        return None

    def _connect(self) -> SourceAttempt | None:
        """One attempt; None if it failed, after the wait that follows."""
        self._raise_if_hopeless()
        connection = SourceAttempt(self._open, self._connections)
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

    def _wait_open(self, connection: SourceAttempt) -> Source | None:
        deadline_s = self._clock() + self._policy.open_timeout_s
        while not self._closed.is_set():
            try:
                return connection.wait_open(_POLL_S)
            except TimedOut:
                if self._clock() >= deadline_s:
                    raise
        return None

    def _take(self, connection: SourceAttempt, source: Source) -> None:
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

    def _lose(self, problem: str, how: str) -> None:
        """The open source failed or stalled."""
        if self._closed.is_set():
            return  # by whoever closed it
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
        away_s = self._outages.away_s
        if limit_s is not None and away_s > 0 and away_s >= limit_s:
            raise SourceError(
                f"{self._outages.last_problem}; it stayed away for {away_s:.0f} s",
                "check its cable, power and network, then start again",
            )


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
