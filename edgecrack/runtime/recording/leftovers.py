"""Finishes what a killed process left behind, beside the recording that goes on.

Each part is dealt with by itself; what cannot be recovered stays as it is, and is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgecrack.errors import EdgecrackError
from edgecrack.runtime.live.events import EventLog
from edgecrack.runtime.recording.names import Part, PartNames
from edgecrack.runtime.recording.recover import RecoveryReport, finish_leftover


def recover_leftovers(names: PartNames, leftovers: Sequence[Part], events: EventLog) -> None:
    """Recover parts that are not whole, except those being recorded; never raises for the disk."""
    for part in leftovers:
        try:
            _say_done(events, finish_leftover(part.path, _free_name(names, part)))
        except BlockingIOError:
            continue  # somebody records into it
        except EdgecrackError as error:
            _say_failed(events, part.path, error.problem)
        except OSError as error:
            _say_failed(events, part.path, error.strerror or str(error))


def _free_name(names: PartNames, part: Part) -> Path:
    path = names.path_of(part.number)
    return names.path_of(names.next_number()) if path.exists() else path


def _say_done(events: EventLog, report: RecoveryReport) -> None:
    if report.out is None:
        events.emit(
            "recording.recovered",
            f"{report.path.name} of an earlier run held nothing and was removed",
            file=str(report.path),
            messages=0,
        )
        return
    lost = f", {report.bytes_lost} bytes at its end or in damage are lost"
    events.emit(
        "recording.recovered",
        f"{report.path.name} of a run that was killed is whole again as {report.out.name}: "
        f"{report.messages} messages{lost if report.bytes_lost else ''}",
        "warning" if report.bytes_lost else "info",
        file=str(report.out),
        messages=report.messages,
        bytes_lost=report.bytes_lost,
    )


def _say_failed(events: EventLog, path: Path, problem: str) -> None:
    events.emit(
        "recording.unrecoverable",
        f"{path} of an earlier run could not be made whole and stays as it is: {problem}",
        "warning",
        file=str(path),
    )
