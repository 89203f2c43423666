"""Keeps room on the disk: measures what is free, and makes room where the user said so.

Removes whole parts of this recording's own name only, the oldest first. Knows no frames.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

from edgecrack.errors import OutputError
from edgecrack.files import output_error
from edgecrack.mcap.parts.part_names import PartNames, written_by_edgecrack
from edgecrack.runtime.recording.config import MIB, RecordingConfig
from edgecrack.runtime.telemetry.events import EventLog

# Some file systems give a removed file's room back only after a while.
_PATIENCE_S = 30.0

FULL = (errno.ENOSPC, errno.EDQUOT)


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write to the disk of a folder."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


class DiskRoom:
    """The disk that a recording lies on.

    Args:
        config: when it is full, and what to do then.
        names: the recording's files.
        events: hears of every part that is removed.
        free: `free_bytes`, or a test's own.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        config: RecordingConfig,
        names: PartNames,
        events: EventLog,
        free: Callable[[Path], int] = free_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._names = names
        self._events = events
        self._free = free
        self._clock = clock
        self._patient_until_s = clock()
        self._refused: set[Path] = set()

    def check_start(self) -> None:
        """Refuse a recording that could not even begin; removes nothing.

        Raises:
            OutputError: too little is free, and removing parts could not help either.
        """
        reserve = self._config.reserve_bytes
        try:
            free = self._free(self._names.folder)
            possible = free + self._removable_bytes() if free <= reserve else free
        except OSError as error:
            raise output_error(self._names.folder, error) from error
        if possible < reserve or not possible:
            remedy = "free some space, or give another folder"
            raise OutputError(
                self._described(free),
                f"{remedy} or a smaller `record_reserve`" if reserve else remedy,
            )

    def shortage(self, needed: int) -> str | None:
        """Make sure that `needed` bytes can be written and the reserve is left.

        Returns:
            None, or one clause that says what is missing.

        Raises:
            OSError: the disk cannot be asked.
        """
        reserve = self._config.reserve_bytes
        free = self._free(self._names.folder)
        while free - needed < reserve:
            if self._clock() < self._patient_until_s and free > needed:
                return None
            if not self.remove_oldest():
                return self._described(free)
            before, free = free, self._free(self._names.folder)
            if free <= before:
                self._patient_until_s = self._clock() + _PATIENCE_S
        return None

    def remove_oldest(self) -> bool:
        """Remove the oldest whole part, if the user wants that and there is one."""
        if self._config.when_full != "delete-oldest":
            return False
        for _, path in self._names.finished():
            if path in self._refused:
                continue
            try:
                size = path.stat().st_size
                path.unlink()
            except OSError as error:
                self._refused.add(path)
                self._events.emit(
                    "recording.not_deleted",
                    f"the part {path} could not be removed: {error.strerror}",
                    "warning",
                    file=str(path),
                )
                continue
            self._events.emit(
                "recording.deleted",
                f"the disk is nearly full: the oldest part {path.name} was removed",
                "warning",
                file=str(path),
                bytes=size,
            )
            return True
        return False

    def _removable_bytes(self) -> int:
        """What removing parts could make free, those that are yet to be recovered included."""
        if self._config.when_full != "delete-oldest":
            return 0
        parts = self._names.finished()
        parts += [part for part in self._names.leftovers() if written_by_edgecrack(part.path)]
        return sum(part.path.stat().st_size for part in parts)

    def _described(self, free: int) -> str:
        """How little is free, as one clause."""
        if not self._config.reserve_bytes:
            return f"the disk of {self._names.folder} is full"
        return (
            f"only {_size(free)} are free on the disk of {self._names.folder}, "
            f"and {_size(self._config.reserve_bytes)} are to be kept free"
        )


def _size(size: int) -> str:
    return f"{size / MIB:.0f} MiB" if size >= MIB else f"{size / 1024:.0f} KiB"
