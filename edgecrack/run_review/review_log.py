"""The file of a review: one line for each action, written before it counts, never changed.

    RUN/review.jsonl

The first line names the run. Each line is on the disk before the page shows it as saved, so a
killed process loses nothing that was shown as saved; half a line at the end never was.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgecrack.closeable import Closeable
from edgecrack.errors import ConfigError, OutputError, SourceError
from edgecrack.file_lock import lock_file
from edgecrack.files import output_error
from edgecrack.outside_text import parse_json, read_json
from edgecrack.runtime.outputs.output_folder import LEDGER_NAME, SUMMARY_NAME, OutputFolder

REVIEW_NAME = "review.jsonl"
REVIEW_SCHEMA_VERSION = 1
LONGEST_NAME = 80


@dataclass(frozen=True)
class Entry:
    """One action of a review.

    Attributes:
        number: from 1, in the order in which they were made.
        at: when, ISO 8601, UTC.
        reviewer: who.
        action: what, as `review_actions.py` describes them.
    """

    number: int
    at: str
    reviewer: str
    action: Mapping[str, Any]

    def line(self) -> str:
        """As the file has it."""
        return json.dumps(
            {"number": self.number, "time": self.at, "reviewer": self.reviewer, **self.action},
            allow_nan=False,
        )


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read_review(run: Path, document: Mapping[str, Any]) -> tuple[Entry, ...]:
    """The actions of a run's review, oldest first; none if it has no review.

    Args:
        run: folder of the run.
        document: content of its survey's `cracks.json`.

    Raises:
        SourceError: the file cannot be read, is damaged, or is of another run.
    """
    path = run / REVIEW_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}", "check the path") from error
    lines = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]
    if not lines:
        return ()
    _check_head(path, _parsed(path, 1, lines[0]), run_identity(run, document))
    return tuple(_entry(path, at, _parsed(path, at, line)) for at, line in enumerate(lines[1:], 2))


class ReviewLog(Closeable):
    """A run's review, open for writing; one at a time.

    Args:
        run: folder of the run.
        document: content of its survey's `cracks.json`.
        clock: returns the time as text; tests may replace it.

    Raises:
        SourceError: an earlier review cannot be read, or is of another run.
        OutputError: the file cannot be written, or another program writes into it.
    """

    def __init__(
        self, run: Path, document: Mapping[str, Any], clock: Callable[[], str] = now
    ) -> None:
        self.path, self._clock = run / REVIEW_NAME, clock
        self.entries: list[Entry] = []
        self._file = -1
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            self._lock()
            self.entries += read_review(run, document)
            self._end_after_last_line()
            if not os.fstat(self._file).st_size:
                head = {
                    "schema_version": REVIEW_SCHEMA_VERSION,
                    "review_of": run_identity(run, document),
                    "begun": clock(),
                }
                self._write(json.dumps(head))
        except OSError as error:
            self.close()
            raise output_error(self.path, error) from error
        except BaseException:
            self.close()
            raise

    def append(self, reviewer: str, action: Mapping[str, Any]) -> Entry:
        """Write an action; it is on the disk when this returns.

        Raises:
            ConfigError: the reviewer's name is empty or too long.
            OutputError: it cannot be written.
        """
        entry = Entry(len(self.entries) + 1, self._clock(), reviewer_name(reviewer), action)
        try:
            self._write(entry.line())
        except OSError as error:
            raise output_error(self.path, error) from error
        self.entries.append(entry)
        return entry

    def close(self) -> None:
        """Release the file for others; may be called twice."""
        descriptor, self._file = self._file, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _lock(self) -> None:
        if lock_file(self._file) == "busy":
            raise OutputError(
                f"{self.path} is being written by another review",
                "use the page that is open, or end that program",
            )

    def _end_after_last_line(self) -> None:
        """Remove half a line that a killed process left."""
        size = os.fstat(self._file).st_size
        data = os.pread(self._file, size, 0)
        whole = data.rfind(b"\n") + 1
        if whole < size:
            os.ftruncate(self._file, whole)

    def _write(self, line: str) -> None:
        """Append a line whole or not at all."""
        size = os.fstat(self._file).st_size
        if not os.path.samestat(os.fstat(self._file), self.path.stat()):
            raise FileNotFoundError(
                errno.ENOENT, "it was replaced or moved; start the review again"
            )
        rest = f"{line}\n".encode()
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, size)
            raise


def reviewer_name(text: Any) -> str:
    """A reviewer's name without blanks around it.

    Raises:
        ConfigError: it is empty, too long or not printable.
    """
    name = text.strip() if isinstance(text, str) else ""
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ConfigError(
            f"the reviewer is {name[:LONGEST_NAME]!r}",
            f"give a name of 1 to {LONGEST_NAME} characters",
        )
    return name


def run_identity(run: Path, document: Mapping[str, Any]) -> str:
    """What identifies a run: its id, or else what its survey found."""
    try:
        summary = read_json(run / SUMMARY_NAME)
        found = summary["run"]["id"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None  # a run that was killed has no summary yet, and its list of files names it
    if not isinstance(found, str) and (run / LEDGER_NAME).is_file():
        noted = [note["run"] for note in OutputFolder(run).notes() if "run" in note]
        found = noted[-1] if noted else None
    if isinstance(found, str) and found:
        return found
    lines = [[crack["id"], crack["lines"]] for crack in document["cracks"]]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:16]


def _check_head(path: Path, head: Mapping[str, Any], identity: str) -> None:
    version = head.get("schema_version")
    if version != REVIEW_SCHEMA_VERSION:
        raise SourceError(
            f"{path} has schema version {version!r} instead of {REVIEW_SCHEMA_VERSION}",
            "take the file from a copy, or use the version of edgecrack that wrote it",
        )
    if head.get("review_of") != identity:
        raise SourceError(
            f"{path} is the review of the run {head.get('review_of')!r}, and this is {identity!r}",
            "move that file away, or to its own run",
        )


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        found = parse_json(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SourceError(f"line {number} of {path} is damaged", "take the file from a copy")
    return found


def _entry(path: Path, at: int, line: dict[str, Any]) -> Entry:
    number, when, who = (line.pop(name, None) for name in ("number", "time", "reviewer"))
    is_whole = number == at - 1 and isinstance(when, str) and isinstance(who, str)
    if not is_whole or not isinstance(line.get("action"), str):
        raise SourceError(f"line {at} of {path} is damaged", "take the file from a copy")
    return Entry(at - 1, when or "", who or "", line)
