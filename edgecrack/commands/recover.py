"""The options of `recover`: parse, call, say what was kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecrack.commands.shared_options import results
from edgecrack.errors import ConfigError, EdgecrackError
from edgecrack.terminal.wording import counted, damaged, without_checksum


def recover(
    recordings: Annotated[
        list[Path], typer.Argument(metavar="FILES...", help="Recordings cut off or damaged.")
    ],
    out: Annotated[
        Path | None,
        results("FILE", "Where the whole one goes; default: NAME_recovered.mcap.", "--out", "-o"),
    ] = None,
) -> None:
    """Make a recording whole again that a power cut or kill left cut off."""
    from edgecrack.mcap.parts.recovery import recover as recover_file

    if out is not None and len(recordings) > 1:
        raise ConfigError(
            f"--out is {out}, but {len(recordings)} recordings are given",
            "give one recording, or leave --out out",
        )
    failure: EdgecrackError | None = None
    for recording in recordings:
        try:
            report = recover_file(recording, out)
        except EdgecrackError as error:  # the others are worth trying all the same
            if failure is not None:
                typer.echo(f"edgecrack: {failure}", err=True)
            failure = error
            continue
        bare = without_checksum(report.unprotected)
        if report.was_whole:
            typer.echo(f"{recording}: is whole, {counted(report.messages, 'message')}{bare}")
        elif report.out is None:
            typer.echo(f"{recording}: holds no message")
        else:
            typer.echo(
                f"{recording}: {counted(report.messages, 'message')} kept, "
                f"{counted(report.bytes_lost, 'byte')} lost; "
                f"{damaged(report.damage)}whole: {report.out}{bare}"
            )
    if failure is not None:
        raise failure
