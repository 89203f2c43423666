"""The `doctor` command: what this machine has, what is missing, and the command that mends it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def doctor(
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, and nothing else.")
    ] = False,
) -> None:
    """Tell what this machine has, what is missing, and the command that fixes it.

    Exit code 0: `edgecrack stream` can run here; 1: it cannot. Changes nothing.
    """
    from edgecrack.doctor.report import examine, show, show_json
    from edgecrack.doctor.machine import this_machine

    report = examine(this_machine())
    (show_json if json_output else show)(report)
    sys.stdout.flush()
    if not report.can_stream:
        raise SystemExit(1)  # typer.Exit would come back to `main` as a value
