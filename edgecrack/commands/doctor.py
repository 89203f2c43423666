"""`edgecrack doctor`: what this machine has, what is missing, and the commands that fix it."""

from __future__ import annotations

import sys

from edgecrack.commands.shared_options import JsonOption


def doctor(json_output: JsonOption = False) -> None:
    """Show what this machine has, what is missing, and the commands that fix it.

    Exit code 0: `edgecrack stream` can run here; 1: it cannot. Changes nothing.
    """
    from edgecrack.doctor.machine import this_machine
    from edgecrack.doctor.report import examine, show, show_json

    report = examine(this_machine())
    (show_json if json_output else show)(report)
    sys.stdout.flush()
    if not report.can_stream:
        raise SystemExit(1)  # typer.Exit would come back to `main` as a value
