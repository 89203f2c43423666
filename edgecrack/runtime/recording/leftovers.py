"""Finishes what a killed process left behind, beside the recording that goes on.

Each file is dealt with by itself; what cannot be recovered is kept, and is said. Of a recovery
that was killed itself the half copy goes: what it was made of is still there.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

from edgecrack.errors import EdgecrackError, first_line
from edgecrack.mcap.parts.part_file import lock
from edgecrack.mcap.parts.part_names import Part, PartNames
from edgecrack.mcap.parts.recovery import RecoveryReport, finish_leftover
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.terminal.wording import counted, damaged

_LOG = logging.getLogger("edgecrack")
# As `edgecrack.files.replacing` calls a file that is being written.
_COPY = re.compile(r"\.edgecrack-[0-9a-f]{12}\.mcap", re.IGNORECASE)
# A copy in progress is locked and grows; some file systems know no locks, so both must not be.
_OLD_S = 600.0


def recover_leftovers(names: PartNames, leftovers: Sequence[Part], events: EventLog) -> None:
    """Recover parts that are not whole, except those being recorded; never raises."""
    remove_half_copies(names.folder, events)
    for part in leftovers:
        try:
            _say_done(events, finish_leftover(part.path, _free_name(names, part)))
        except BlockingIOError:
            continue  # somebody records into it
        except EdgecrackError as error:
            _say_failed(events, part.path, error.problem)
        except OSError as error:
            _say_failed(events, part.path, error.strerror or str(error))
        except Exception as error:
            _LOG.exception("the recovery failed")
            _say_failed(events, part.path, first_line(error))


def remove_half_copies(folder: Path, events: EventLog) -> None:
    """Remove what a killed recovery has written so far; never raises."""
    try:
        found = sorted(path for path in folder.iterdir() if _COPY.fullmatch(path.name))
    except OSError:
        return  # the recording itself says what is wrong with its folder
    for path in found:
        try:
            size = _remove_abandoned(path)
        except FileNotFoundError:
            continue  # another recorder was quicker
        except OSError as error:
            events.emit(
                "recording.not_deleted",
                f"the half copy {path} could not be removed: {error.strerror}",
                "warning",
                file=str(path),
            )
            continue
        if size is not None:
            events.emit(
                "recording.cleaned",
                f"{path.name}, the half copy of a recovery that was killed, was removed",
                file=str(path),
                bytes=size,
            )


def _remove_abandoned(path: Path) -> int | None:
    """Remove a file that nobody writes any more; its size, None if it stays."""
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


def _free_name(names: PartNames, part: Part) -> Path:
    path = names.path_of(part.number)
    return names.path_of(names.next_number()) if path.exists() else path


def _say_done(events: EventLog, report: RecoveryReport) -> None:
    if report.out is None and report.kept is not None:
        events.emit(
            "recording.unrecoverable",
            f"no message in {report.path.name} of an earlier run is whole, or edgecrack did not "
            f"write it: it is kept as {report.kept.name}",
            "warning",
            file=str(report.kept),
            bytes_lost=report.bytes_lost,
        )
        return
    if report.out is None:
        events.emit(
            "recording.recovered",
            f"{report.path.name} of an earlier run held nothing and was removed",
            file=str(report.path),
            messages=0,
        )
        return
    lost = f", lost at its end or in damage: {counted(report.bytes_lost, 'byte')}"
    lost = lost if report.bytes_lost else ""
    harm = f"; {damaged(report.damage).removesuffix('; ')}" if report.damage else ""
    kept = f"; the original is kept as {report.kept.name}" if report.kept else ""
    events.emit(
        "recording.recovered",
        f"{report.path.name} of a run that was killed is whole again as {report.out.name}: "
        f"{counted(report.messages, 'message')}{lost}{harm}{kept}",
        "warning" if report.bytes_lost or report.damage else "info",
        file=str(report.out),
        messages=report.messages,
        bytes_lost=report.bytes_lost,
        kept=None if report.kept is None else str(report.kept),
    )


def _say_failed(events: EventLog, path: Path, problem: str) -> None:
    events.emit(
        "recording.unrecoverable",
        f"{path} of an earlier run could not be made whole and stays as it is: {problem}",
        "warning",
        file=str(path),
    )
