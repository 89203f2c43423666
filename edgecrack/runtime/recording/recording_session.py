"""Writes results into the parts of a recording: messages, new parts, flushes, room on the disk.

Used by one thread; only `on_event`, `on_record` and `progress` are for others. Errors of the disk
are raised; the recorder decides what they mean for the stream.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgecrack.errors import EdgecrackError, OutputError
from edgecrack.mcap.message_types import EVENTS_TOPIC, STATS_TOPIC
from edgecrack.mcap.parts.part_names import PartNames
from edgecrack.mcap.parts.writer import CHUNK_BYTES, PartWriter
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.recording import messages
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.recording.disk import FULL, DiskRoom
from edgecrack.runtime.telemetry.events import Event, EventLog
from edgecrack.runtime.telemetry.stats import StatsSnapshot
from edgecrack.terminal.wording import counted

_LOG = logging.getLogger("edgecrack")
_STATS_S = 1.0
_MOST_EVENTS = 256
EPISODE_S = 10.0
_ENDS_S = 2.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a recording; fields as in `RecordingStatus`."""

    path: str | None = None
    parts: int = 0
    bytes_written: int = 0


class RecordingSession:
    """Writes results into parts, one after another.

    Args:
        config: where and how.
        names: the recording's files.
        room: the disk.
        events: notified of every part.
        stats: the stream's counters; None leaves them out.
        about: of the recording, for the metadata of each part.
        left_out: counts frames that the disk is too slow for.
        clock: seconds, monotonic.

    Attributes:
        part: the part in progress.
    """

    def __init__(
        self,
        config: RecordingConfig,
        names: PartNames,
        room: DiskRoom,
        events: EventLog,
        stats: Callable[[], StatsSnapshot] | None,
        about: Mapping[str, str],
        left_out: LeftOutFrames,
        clock: Callable[[], float],
    ) -> None:
        self._config, self._names, self._room, self._events = config, names, room, events
        self._stats, self._about = stats, dict(about)
        self._left_out, self._clock = left_out, clock
        self.part: PartWriter | None = None
        self._opened_s = self._flush_due_s = self._stats_due_s = 0.0
        self._finished_bytes = 0
        self._new_events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._new_records: deque[tuple[str, int, Mapping[str, Any]]] = deque(maxlen=_MOST_EVENTS)
        self.progress = Progress()

    def on_event(self, event: Event) -> None:
        """Take an event for the part in progress; from any thread."""
        if self.part is not None:
            self._new_events.append(event)

    def on_record(self, topic: str, time_ns: int, record: Mapping[str, Any]) -> None:
        """Take a record for the part in progress, to be written as JSON; from any thread."""
        if self.part is not None:
            self._new_records.append((topic, time_ns, record))

    def take(self, result: FrameResult) -> None:
        """Record one result, in a new part if it is time for one; nothing if it is too old.

        Raises:
            OSError: the disk failed.
            OutputError: the disk is nearly full, or the frame cannot be encoded.
        """
        if self._left_out.is_stale(result.frame):
            return
        found = messages.frame_messages(result)
        if self.part is not None and self._is_over(self.part):
            self.finish()
        part = self.part or self._open()
        # The end of one part and the start of another wait for the disk.
        if self._left_out.is_stale(result.frame):
            return
        for topic, data in found:
            part.add(topic, result.frame.stamp_ns, data)
        self._add_pending(part)
        if part.pending >= CHUNK_BYTES:
            self._write_out(part)

    def tick(self) -> None:
        """Write to the disk what is due; call it often.

        Raises:
            OSError: the disk failed.
            OutputError: the disk is nearly full, or somebody removed or changed the part.
        """
        now_s = self._clock()
        part = self.part
        if part is None or now_s < self._flush_due_s:
            return
        self._flush_due_s = now_s + self._config.flush_s
        part.file.check_place()
        self._add_pending(part)
        if now_s >= self._stats_due_s:
            self._stats_due_s = now_s + _STATS_S
            self._add_stats(part)
        self._check_room(part.pending)
        self._write_out(part)
        part.file.sync()

    def due_in_s(self) -> float:
        """Seconds until `tick` has something to do, at least 0."""
        if self.part is None:
            return self._config.flush_s
        return max(0.0, self._flush_due_s - self._clock())

    def finish(self) -> None:
        """Make the part in progress whole; nothing without one.

        Raises:
            OSError: the disk failed; `give_up` follows.
        """
        part = self.part
        if part is None:
            return
        self._add_pending(part)
        self._write_out(part)
        self._close(part)

    def give_up(self) -> str | None:
        """Finish the part in progress as far as possible; never raises.

        Returns:
            The part if it could not be finished and is still in its place.
        """
        part = self.part
        if part is None:
            return None
        # The same error may come again: of the disk, or of memory.
        try:
            with suppress(Exception):
                part.write_out()
            self._close(part)
        except Exception as error:
            if not isinstance(error, OSError | EdgecrackError):
                _LOG.exception("the part cannot be finished")
            with suppress(Exception):
                part.abandon()
            return part.path if part.file.is_in_place else None
        finally:
            self.part = None
        return None

    def _open(self) -> PartWriter:
        self._check_room(0)
        moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        part = self.part = PartWriter(self._names, {**self._about, "part_started_at": moment})
        self._new_events.clear()
        self._opened_s = self._flush_due_s = self._stats_due_s = self._clock()
        bytes_written = self._finished_bytes + part.size
        self.progress = Progress(part.path, self.progress.parts + 1, bytes_written)
        self._events.emit("recording.part", f"recording into {part.path}", file=part.path)
        return part

    def _close(self, part: PartWriter) -> None:
        path = part.finish()
        self.part = None
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

    def _add_pending(self, part: PartWriter) -> None:
        while self._new_events:
            event = self._new_events.popleft()
            part.add(EVENTS_TOPIC, event.time_ns, messages.log(event))
        while self._new_records:
            topic, time_ns, record = self._new_records.popleft()
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
        left_out = self._left_out
        data = messages.diagnostics(time_ns, source, stats, left_out.count, left_out.stale)
        part.add(STATS_TOPIC, time_ns, data)


def now_ns() -> int:
    """The clock of `Frame.monotonic_ns`."""
    return time.monotonic_ns()


class LeftOutFrames:
    """Counts frames that a slow disk makes a recording leave out; one event per episode.

    Thread-safe.

    Args:
        folder: on the disk.
        limit_ms: the largest age of a live frame, counted from the grab; None allows any.
        events: notified when an episode begins and ends.

    Attributes:
        stale: frames left out because they were too old when their turn came.
    """

    def __init__(self, folder: Path, limit_ms: float | None, events: EventLog) -> None:
        self._folder, self._limit_ms, self._events = folder, limit_ms, events
        self._lock = threading.Lock()
        self._dropped = self._dropped_before = self.stale = 0
        self._last_drop_s: float | None = None
        self._last_stale_ns: int | None = None

    @property
    def count(self) -> int:
        """All frames left out so far."""
        return self._dropped + self.stale

    @property
    def lasts(self) -> bool:
        """Whether frames were dropped just now."""
        return self._last_drop_s is not None

    def drop(self) -> None:
        """Count a frame for which there was no room in the queue."""
        with self._lock:
            begins = self._last_drop_s is None
            self._last_drop_s = time.monotonic()
            if begins:
                self._dropped_before = self._dropped
            self._dropped += 1
        if begins:
            self._events.emit(
                "recording.behind",
                f"the disk of {self._folder} is too slow: frames are left out of the recording",
                "warning",
            )

    def settle(self) -> None:
        """End the episode if no frame was dropped for a while; call it often."""
        with self._lock:
            if self._last_drop_s is None or time.monotonic() - self._last_drop_s < _ENDS_S:
                return
            self._last_drop_s = None
            count = self._dropped - self._dropped_before
        self._events.emit(
            "recording.caught_up",
            f"the disk keeps up again; left out of the recording: {counted(count, 'frame')}",
            frames=count,
        )

    def is_stale(self, frame: Frame) -> bool:
        """Whether a frame is too old, which is counted; frames of recordings never are."""
        if self._limit_ms is None or not frame.live:
            return False
        moment_ns = now_ns()
        age_ms = (moment_ns - frame.monotonic_ns) / 1e6
        if age_ms <= self._limit_ms:
            return False
        self.stale += 1
        last_ns, self._last_stale_ns = self._last_stale_ns, moment_ns
        if last_ns is None or moment_ns - last_ns > EPISODE_S * 1e9:
            self._events.emit(
                "recording.stale",
                f"the disk is too slow: a result was {age_ms:.0f} ms old and is left out of the "
                f"recording ({self._limit_ms:g} ms allowed)",
                "warning",
                age_ms=round(age_ms, 1),
                limit_ms=self._limit_ms,
            )
        return True
