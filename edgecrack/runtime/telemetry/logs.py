"""Where the log goes: standard error, as text for people or as JSON lines for machines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Literal, get_args

from edgecrack.runtime.telemetry.events import Event, Level
from edgecrack.terminal.flags import flags_in
from edgecrack.terminal.progress import takes_text

LogFormat = Literal["text", "json"]
LOG_FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)


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
    """One JSON object per line, of the same form whether it is an event or not."""

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
    """Hands whole lines to a function, and never raises: a terminal may go away."""

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__()
        self._write_line = write

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError, TypeError):
            self._write_line(self.format(record))


def log_to(write: Callable[[str], None], form: LogFormat = "text") -> Callable[[], None]:
    """Send this package's log to `write` instead of anywhere else; text leaves out details.

    Args:
        write: takes one line without its end.
        form: for people or for machines.

    Returns:
        A function that ends it.
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
    """One line on standard error, at once; dropped where nobody reads and it would wait."""
    if takes_text(sys.stderr):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
