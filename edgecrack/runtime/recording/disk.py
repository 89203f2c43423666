"""The disk of a recording: room for it, and what a killed process left behind in its folder.

Removes whole parts of this recording's own name only, the oldest first. Leftovers are recovered
beside the recording that goes on; what cannot be recovered is kept and reported. The half copy of a
recovery that was itself killed is removed, as its original still exists.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgecrack.errors import EdgecrackError, OutputError, first_line
from edgecrack.mcap.parts.part_file import lock
from edgecrack.mcap.parts.part_names import Part, PartNames, written_by_edgecrack
from edgecrack.mcap.parts.recovery import RecoveryReport, finish_leftover
from edgecrack.runtime.outputs.output_folder import output_errors
from edgecrack.runtime.recording.config import MIB, RecordingConfig
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.terminal.wording import counted, damaged

FULL = (errno.ENOSPC, errno.EDQUOT)

_LOG = logging.getLogger("edgecrack")
# Some file systems release a removed file's room only after a while.
_PATIENCE_S = 30.0
# As `edgecrack.files.replacing` names a file that is being written.
_COPY = re.compile(r"\.edgecrack-[0-9a-f]{12}\.mcap", re.IGNORECASE)
# A copy in progress is locked and grows; some file systems have no locks, so both must not be.
_OLD_S = 600.0


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write to the disk of a folder."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


class DiskRoom:
    """The disk of a recording.

    Args:
        config: when it counts as full, and what to do then.
        names: the recording's files.
        events: notified of every part that is removed.
        free: `free_bytes`; tests replace it.
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
        self._config, self._names, self._events = config, names, events
        self._free, self._clock = free, clock
        self._patient_until_s = clock()
        self._refused: set[Path] = set()

    def check_start(self) -> None:
        """Refuse a recording that cannot begin; removes nothing.

        Raises:
            OutputError: too little is free, and removing parts could not help either.
        """
        reserve = self._config.reserve_bytes
        with output_errors(self._names.folder):
            free = self._free(self._names.folder)
            possible = free + self._removable_bytes() if free <= reserve else free
        if possible < reserve or not possible:
            remedy = "free some space, or give another folder"
            raise OutputError(
                self._described(free),
                f"{remedy} or a smaller `record_reserve`" if reserve else remedy,
            )

    def shortage(self, needed: int) -> str | None:
        """Make sure that `needed` bytes can be written and the reserve is left.

        Returns:
            None, or what is missing as one clause.

        Raises:
            OSError: the free space cannot be determined.
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
        """Remove the oldest whole part, if the user chose that and there is one."""
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
                _say_not_deleted(self._events, f"the part {path}", path, error)
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
        """Bytes that removing parts could free, those yet to be recovered included."""
        if self._config.when_full != "delete-oldest":
            return 0
        parts = self._names.finished()
        parts += [part for part in self._names.leftovers() if written_by_edgecrack(part.path)]
        return sum(part.path.stat().st_size for part in parts)

    def _described(self, free: int) -> str:
        """The shortage as one clause."""
        if not self._config.reserve_bytes:
            return f"the disk of {self._names.folder} is full"
        return (
            f"only {_size(free)} are free on the disk of {self._names.folder}, "
            f"and {_size(self._config.reserve_bytes)} must stay free"
        )


def _size(size: int) -> str:
    return f"{size / MIB:.0f} MiB" if size >= MIB else f"{size / 1024:.0f} KiB"


def recover_leftovers(names: PartNames, leftovers: Sequence[Part], events: EventLog) -> None:
    """Recover parts that are not whole, except those being recorded; never raises."""
    _remove_half_copies(names.folder, events)
    for part in leftovers:
        target = names.path_of(part.number)
        try:
            if target.exists():
                target = names.path_of(names.next_number())
            _report(events, finish_leftover(part.path, target))
        except BlockingIOError:
            continue  # another process records into it
        except Exception as error:
            events.emit(
                "recording.unrecoverable",
                f"{part.path} of an earlier run could not be recovered and stays as it is: "
                f"{_reason(error)}",
                "warning",
                file=str(part.path),
            )


def _say_not_deleted(events: EventLog, what: str, path: Path, error: OSError) -> None:
    events.emit(
        "recording.not_deleted",
        f"{what} could not be removed: {error.strerror}",
        "warning",
        file=str(path),
    )


def _remove_half_copies(folder: Path, events: EventLog) -> None:
    """Remove what a killed recovery has written; never raises."""
    try:
        found = sorted(path for path in folder.iterdir() if _COPY.fullmatch(path.name))
    except OSError:
        return  # the recording itself reports problems with its folder
    for path in found:
        try:
            size = _remove_abandoned(path)
        except FileNotFoundError:
            continue  # another recorder was quicker
        except OSError as error:
            _say_not_deleted(events, f"the half copy {path}", path, error)
            continue
        if size is not None:
            events.emit(
                "recording.cleaned",
                f"{path.name}, the half copy of a killed recovery, was removed",
                file=str(path),
                bytes=size,
            )


def _remove_abandoned(path: Path) -> int | None:
    """Remove a file that is no longer being written; its size, None if it stays."""
    if path.is_symlink() or not path.is_file():
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        lock(descriptor)
        status = os.fstat(descriptor)
        if time.time() - status.st_mtime < _OLD_S:
            return None
        path.unlink()
    except BlockingIOError:
        return None
    finally:
        os.close(descriptor)
    return status.st_size


def _reason(error: Exception) -> str:
    if isinstance(error, EdgecrackError):
        return error.problem
    if isinstance(error, OSError):
        return error.strerror or str(error)
    _LOG.error("the recovery failed", exc_info=error)
    return first_line(error)


def _report(events: EventLog, report: RecoveryReport) -> None:
    name = report.path.name
    if report.out is None and report.kept is not None:
        events.emit(
            "recording.unrecoverable",
            f"no message in {name} of an earlier run is whole, or edgecrack did not write it: it "
            f"is kept as {report.kept.name}",
            "warning",
            file=str(report.kept),
            bytes_lost=report.bytes_lost,
        )
        return
    if report.out is None:
        message = f"{name} of an earlier run was empty and was removed"
        events.emit("recording.recovered", message, file=str(report.path), messages=0)
        return
    lost = f", lost at its end or in damage: {counted(report.bytes_lost, 'byte')}"
    lost = lost if report.bytes_lost else ""
    harm = f"; {damaged(report.damage).removesuffix('; ')}" if report.damage else ""
    kept = f"; the original is kept as {report.kept.name}" if report.kept else ""
    events.emit(
        "recording.recovered",
        f"{name} of a killed run was recovered as {report.out.name}: "
        f"{counted(report.messages, 'message')}{lost}{harm}{kept}",
        "warning" if report.bytes_lost or report.damage else "info",
        file=str(report.out),
        messages=report.messages,
        bytes_lost=report.bytes_lost,
        kept=None if report.kept is None else str(report.kept),
    )
