"""What the recorder's thread does with results: messages, parts, flushes, room on the disk.

Used by one thread; only `hear`, `hear_record` and `progress` are for others. Raises what goes wrong
with the disk; who calls decides what that means for the stream.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from edgecrack.errors import EdgecrackError, OutputError
from edgecrack.mcap.message_types import EVENTS_TOPIC, STATS_TOPIC
from edgecrack.mcap.parts.part_names import PartNames
from edgecrack.mcap.parts.writer import CHUNK_BYTES, PartWriter
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.recording import messages
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.recording.room import FULL, DiskRoom
from edgecrack.runtime.telemetry.events import Event, EventLog
from edgecrack.runtime.telemetry.stats import StatsSnapshot
from edgecrack.terminal.wording import counted

_LOG = logging.getLogger("edgecrack")
_STATS_S = 1.0
_MOST_EVENTS = 256
EPISODE_S = 10.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a recording has come; as in `RecordingStatus`."""

    path: str | None = None
    parts: int = 0
    bytes_written: int = 0


class RecordingSession:
    """Writes results into parts, one after another.

    Args:
        config: where and how.
        names: the recording's files.
        room: the disk.
        events: hears of every part.
        stats: the stream's counters; None leaves them out.
        about: what to say of the recording in each part.
        dropped: how many frames were left out so far.
        ages: refuses results that are too old.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        config: RecordingConfig,
        names: PartNames,
        room: DiskRoom,
        events: EventLog,
        stats: Callable[[], StatsSnapshot] | None,
        about: Mapping[str, str],
        dropped: Callable[[], int],
        ages: AgeLimit,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._names = names
        self._room = room
        self._events = events
        self._stats = stats
        self._about = dict(about)
        self._dropped = dropped
        self._ages = ages
        self._clock = clock
        self._part: PartWriter | None = None
        self._opened_s = self._flush_due_s = self._stats_due_s = 0.0
        self._finished_bytes = 0
        self._heard: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._records: deque[tuple[str, int, Mapping[str, Any]]] = deque(maxlen=_MOST_EVENTS)
        self.progress = Progress()

    @property
    def has_part(self) -> bool:
        """Whether a part is in progress."""
        return self._part is not None

    def hear(self, event: Event) -> None:
        """Take an event for the part in progress; from any thread."""
        if self._part is not None:
            self._heard.append(event)

    def hear_record(self, topic: str, time_ns: int, record: Mapping[str, Any]) -> None:
        """Take a record for the part in progress, to be written as JSON; from any thread."""
        if self._part is not None:
            self._records.append((topic, time_ns, record))

    def take(self, result: FrameResult) -> None:
        """Record one result, in a new part if it is time for one; nothing if it is too old.

        Raises:
            OSError: the disk failed.
            OutputError: the disk is nearly full, or the frame cannot be encoded.
        """
        if self._ages.refuses(result.frame):
            return
        found = messages.frame_messages(result)
        if self._part is not None and self._is_over(self._part):
            self.finish()
        part = self._part or self._open()
        # The end of one part and the start of another wait for the disk.
        if self._ages.refuses(result.frame):
            return
        for topic, data in found:
            part.add(topic, result.frame.stamp_ns, data)
        self._add_heard(part)
        if part.pending >= CHUNK_BYTES:
            self._write_out(part)

    def tick(self) -> None:
        """Bring to the disk what is due; call it often.

        Raises:
            OSError: the disk failed.
            OutputError: the disk is nearly full, or somebody removed or changed the part.
        """
        now_s = self._clock()
        part = self._part
        if part is None or now_s < self._flush_due_s:
            return
        self._flush_due_s = now_s + self._config.flush_s
        part.check_place()
        self._add_heard(part)
        if now_s >= self._stats_due_s:
            self._stats_due_s = now_s + _STATS_S
            self._add_stats(part)
        self._check_room(part.pending)
        self._write_out(part)
        part.sync()

    def due_in_s(self) -> float:
        """Seconds until `tick` has something to do, at least 0."""
        if self._part is None:
            return self._config.flush_s
        return max(0.0, self._flush_due_s - self._clock())

    def finish(self) -> None:
        """Make the part in progress whole; nothing without one.

        Raises:
            OSError: the disk failed; `give_up` follows.
        """
        part = self._part
        if part is None:
            return
        self._add_heard(part)
        self._write_out(part)
        self._close(part)

    def give_up(self) -> str | None:
        """Make of the part in progress what can be made of it; never raises.

        Returns:
            The part if it could not be made whole and lies where it was.
        """
        part = self._part
        if part is None:
            return None
        # Whatever went wrong may go wrong again: the disk, and memory just as well.
        try:
            with suppress(Exception):
                part.write_out()
            self._close(part)
        except Exception as error:
            if not isinstance(error, OSError | EdgecrackError):
                _LOG.exception("the part cannot be finished")
            with suppress(Exception):
                part.abandon()
            return part.path if part.is_in_place else None
        finally:
            self._part = None
        return None

    def _open(self) -> PartWriter:
        self._check_room(0)
        moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        part = PartWriter(self._names, {**self._about, "part_started_at": moment})
        self._heard.clear()
        self._part = part
        self._opened_s = self._clock()
        self._flush_due_s = self._stats_due_s = self._opened_s
        self.progress = Progress(
            part.path, self.progress.parts + 1, self._finished_bytes + part.size
        )
        self._events.emit("recording.part", f"recording into {part.path}", file=part.path)
        return part

    def _close(self, part: PartWriter) -> None:
        path = part.finish()
        self._part = None
        self._finished_bytes += part.size
        self.progress = Progress(path, self.progress.parts, self._finished_bytes)
        self._events.emit(
            "recording.finished",
            f"{path} is whole: {counted(part.messages, 'message')}, {part.size / 1e6:.1f} MB",
            file=path,
            messages=part.messages,
            bytes=part.size,
        )

    def _is_over(self, part: PartWriter) -> bool:
        age_s = self._clock() - self._opened_s
        return part.size >= self._config.part_bytes or age_s >= self._config.part_s

    def _write_out(self, part: PartWriter) -> None:
        while True:
            try:
                part.write_out()
                break
            except OSError as error:
                if error.errno not in FULL or not self._room.remove_oldest():
                    raise
        self.progress = Progress(part.path, self.progress.parts, self._finished_bytes + part.size)

    def _check_room(self, needed: int) -> None:
        if shortage := self._room.shortage(needed):
            raise OutputError(shortage, "free some space and start the recording again")

    def _add_heard(self, part: PartWriter) -> None:
        while self._heard:
            event = self._heard.popleft()
            part.add(EVENTS_TOPIC, event.time_ns, messages.log(event))
        while self._records:
            topic, time_ns, record = self._records.popleft()
            part.add(topic, time_ns, messages.json_text(record))

    def _add_stats(self, part: PartWriter) -> None:
        if self._stats is None:
            return
        try:
            stats = self._stats()
        except Exception:
            _LOG.exception("the stream's counters failed and are no longer recorded")
            self._stats = None
            return
        time_ns = time.time_ns()
        source = self._about.get("source", "")
        data = messages.diagnostics(time_ns, source, stats, self._dropped(), self._ages.count)
        part.add(STATS_TOPIC, time_ns, data)


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
