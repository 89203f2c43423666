"""`edgecrack recover`: repair recordings that were cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecrack.commands.shared_options import results
from edgecrack.errors import ConfigError, EdgecrackError
from edgecrack.terminal.wording import counted, damaged, without_checksum


def recover(
    recordings: Annotated[list[Path], typer.Argument(metavar="FILES...")],
    out: Annotated[Path | None, results("FILE", "--out", "-o")] = None,
) -> None:
    """Repair a recording that a power cut or kill left incomplete.

    Args:
        recordings: Truncated or damaged recordings.
        out: Repaired recording; default: NAME_recovered.mcap.
    """
    from edgecrack.mcap.parts.recovery import recover as recover_file

    if out is not None and len(recordings) > 1:
        raise ConfigError(
            f"--out is {out}, but {len(recordings)} recordings are given",
            "give one recording, or omit --out",
        )
    failure: EdgecrackError | None = None
    for recording in recordings:
        try:
            report = recover_file(recording, out)
        except EdgecrackError as error:  # try the others too
            if failure is not None:
                typer.echo(f"edgecrack: {failure}", err=True)
            failure = error
            continue
        bare = without_checksum(report.unprotected)
        if report.was_whole:
            typer.echo(f"{recording}: complete, {counted(report.messages, 'message')}{bare}")
        elif report.out is None:
            typer.echo(f"{recording}: contains no message")
        else:
            typer.echo(
                f"{recording}: {counted(report.messages, 'message')} kept, "
                f"{counted(report.bytes_lost, 'byte')} lost; "
                f"{damaged(report.damage)}repaired: {report.out}{bare}"
            )
    if failure is not None:
        raise failure
