"""Events of a run, for the log and for listeners; and the log itself.

A fault that lasts is one event when it begins and one when it ends, never one per frame:
`RepeatLimiter` helps with that. The log goes to standard error, as text or as JSON lines.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal, get_args

from edgecrack.terminal.flags import flags_in
from edgecrack.terminal.progress import takes_text

_LOG = logging.getLogger("edgecrack")
_KEEP = 256
# Raised when a field that every event has is removed, renamed or changes its meaning.
# docs/migration.md lists the changes.
EVENT_SCHEMA_VERSION = 2

EPISODE_S = 10.0

LogFormat = Literal["text", "json"]
LOG_FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)
Level = Literal["detail", "info", "warning", "error"]
_LEVELS = {
    "detail": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        time_ns: wall clock.
        level: how important it is; a detail is not shown in a terminal.
        kind: what happened, as `part.verb`: `source.lost`, `recording.stopped`.
        message: one sentence for people.
        data: its figures, for programs; plain JSON values.
    """

    time_ns: int
    level: Level
    kind: str
    message: str
    data: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """One flat JSON object; the keys of `data` are next to `time`, `level` and `kind`.

        Each event has its `schema_version`, so that a file can be read from any line on.
        """
        seconds, nanoseconds = divmod(self.time_ns, 10**9)
        moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
        head = {
            "schema_version": EVENT_SCHEMA_VERSION,
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1_000_000:03d}Z",
            "time_ns": self.time_ns,
            "level": self.level,
            "kind": self.kind,
            "message": self.message,
        }
        return {**head, **{key: value for key, value in self.data.items() if key not in head}}


Listener = Callable[[Event], None]


class EventLog:
    """Logs and counts events from any thread, and passes them to listeners.

    Args:
        clock: wall clock in ns.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._recent: deque[Event] = deque(maxlen=_KEEP)
        self._counts: Counter[str] = Counter()
        self._listeners: list[Listener] = []

    def emit(self, kind: str, message: str, level: Level = "info", **data: Any) -> Event:
        """Log an event. Never raises: a listener that fails is logged and removed."""
        event = Event(self._clock(), level, kind, message, data)
        with self._lock:
            self._recent.append(event)
            self._counts[kind] += 1
            listeners = list(self._listeners)
        _LOG.log(_LEVELS[level], "%s", message, extra={"event": event})
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                _LOG.exception("an event listener failed and is removed")
                self._forget(listener)
        return event

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each event from now on, in the thread that emits it.

        Returns:
            A function that unsubscribes it.
        """
        with self._lock:
            self._listeners.append(listener)
        return lambda: self._forget(listener)

    def recent(self, count: int = _KEEP) -> list[Event]:
        """The last events, oldest first, at most 256."""
        with self._lock:
            return list(self._recent)[-count:] if count > 0 else []

    def counts(self) -> dict[str, int]:
        """Number of events of each kind."""
        with self._lock:
            return dict(self._counts)

    def _forget(self, listener: Listener) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)


class RepeatLimiter:
    """Decides whether something that happens again and again is worth another event.

    Safe to use from several threads.

    Args:
        interval_s: after an event, the next one is due so much later.
        is_episode: the interval counts from the last occurrence instead of the last event, so
            that a fault that goes on is one event.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        interval_s: float = EPISODE_S,
        *,
        is_episode: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_s, self._is_episode, self._clock = interval_s, is_episode, clock
        self._lock = threading.Lock()
        self._last_s: dict[str, float] = {}

    def is_due(self, what: str = "") -> bool:
        """Note an occurrence; whether to emit an event for it.

        Args:
            what: different things are limited independently.
        """
        now_s = self._clock()
        with self._lock:
            last_s = self._last_s.get(what)
            is_due = last_s is None or now_s - last_s >= self._interval_s
            if is_due or self._is_episode:
                self._last_s[what] = now_s
        return is_due


class TextFormatter(logging.Formatter):
    """`21:04:05 warning: camera:0 delivered no frame for 5 s`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of text, and a traceback where the record has one."""
        moment = datetime.fromtimestamp(record.created)
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        text = f"{moment:%H:%M:%S} {level}{flags_in(record.getMessage())}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class JsonFormatter(logging.Formatter):
    """One JSON object per line, in the format of events for other log records, too."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        event = getattr(record, "event", None)
        if not isinstance(event, Event):
            event = self._event_of(record)
        return json.dumps(event.to_dict())

    def _event_of(self, record: logging.LogRecord) -> Event:
        traceback = {}
        if record.exc_info:
            traceback["traceback"] = self.formatException(record.exc_info)
        return Event(
            time_ns=round(record.created * 1e9),
            level=_level_of(record.levelno),
            kind=f"log.{record.name}",
            message=record.getMessage(),
            data=traceback,
        )


def _level_of(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "detail"


class _Lines(logging.Handler):
    """Passes whole lines to a function; never raises, since a terminal may disappear."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write_line = write

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError, TypeError):
            self._write_line(self.format(record))


def log_to(write: Callable[[str], None], form: LogFormat = "text") -> Callable[[], None]:
    """Send this package's log to `write` and nowhere else; text omits details.

    Args:
        write: called with each line, without its line break.
        form: for people or for programs.

    Returns:
        A function that restores the log.
    """
    logger = logging.getLogger("edgecrack")
    handler = _Lines(write)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if form == "json" else logging.INFO)
    logger.propagate = False

    def undo() -> None:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before

    return undo


def write_to_stderr(line: str) -> None:
    """Write one line to standard error; drops it where writing would block."""
    if takes_text(sys.stderr):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
