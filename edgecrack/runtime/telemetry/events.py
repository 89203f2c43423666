"""What happened in a run, said once: to the log, and to whoever listens.

A fault that lasts is one event when it begins and one when it ends, never one a frame; who
emits takes care of that. Knows no source, sink or page.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

_LOG = logging.getLogger("edgecrack")
_KEEP = 256
# Raised when a field that every event has is taken away, renamed or given another meaning.
# docs/migration.md tells what changed.
EVENT_SCHEMA_VERSION = 2

Level = Literal["detail", "info", "warning", "error"]
_LEVELS = {
    "detail": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        time_ns: wall clock.
        level: how much it matters; a detail is not shown to a person at a terminal.
        kind: what happened, as `part.verb`: `source.lost`, `recording.stopped`.
        message: one sentence for a person.
        data: the figures in it, for machines; plain JSON values.
    """

    time_ns: int
    level: Level
    kind: str
    message: str
    data: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """One flat JSON object; the keys of `data` stand beside `time`, `level` and `kind`.

        Every one carries its `schema_version`, so that a file can be read from any line on.
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
    """Takes events from any thread, logs them, counts them, and hands them on.

    Args:
        clock: `time.time_ns`, or a test's own.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._recent: deque[Event] = deque(maxlen=_KEEP)
        self._counts: Counter[str] = Counter()
        self._listeners: list[Listener] = []

    def emit(self, kind: str, message: str, level: Level = "info", **data: Any) -> Event:
        """Say what happened. Never raises: a listener that fails is logged and left out."""
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
                _LOG.exception("a listener of events failed and is left out")
                self._forget(listener)
        return event

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each event from now on, in the thread that emits it.

        Returns:
            A function that ends it.
        """
        with self._lock:
            self._listeners.append(listener)
        return lambda: self._forget(listener)

    def recent(self, count: int = _KEEP) -> list[Event]:
        """The last events, oldest first, at most 256."""
        with self._lock:
            return list(self._recent)[-count:] if count > 0 else []

    def counts(self) -> dict[str, int]:
        """How often each kind happened."""
        with self._lock:
            return dict(self._counts)

    def _forget(self, listener: Listener) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
