"""The command line: parse, build a configuration, call, print.

The only place that turns errors into exit codes. Every import that costs time stands inside
the command that needs it, so that `--help` and `stream` start at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from types import FrameType
from typing import Annotated, NoReturn

import typer

from edgecrack import __version__
from edgecrack.commands.benchmark import benchmark
from edgecrack.commands.build_engine import build_engine
from edgecrack.commands.calibrate import calibrate
from edgecrack.commands.calibrate_camera import calibrate_camera
from edgecrack.commands.doctor import doctor
from edgecrack.commands.evaluate import evaluate
from edgecrack.commands.exit_codes import (
    EXIT_CODES,
    failure_of,
    refuse_addresses,
    refuse_renamed,
)
from edgecrack.commands.export import export
from edgecrack.commands.inspection_report import inspect, report, verify
from edgecrack.commands.measure import measure
from edgecrack.commands.model import model
from edgecrack.commands.plan import plan
from edgecrack.commands.predict import predict
from edgecrack.commands.recover import recover
from edgecrack.commands.review import review
from edgecrack.commands.stream import stream
from edgecrack.commands.survey import survey
from edgecrack.commands.target import target
from edgecrack.commands.train import train
from edgecrack.commands.yardstick import yardstick
from edgecrack.terminal.interruption import INTERRUPTED, end_quietly, interrupt_on_signals

app = typer.Typer(
    name="edgecrack",
    help="Finds cracks in what a robot's camera sees, on the robot, as it moves.",
    epilog=EXIT_CODES,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


_DAILY = """Usage: edgecrack COMMAND ...

  edgecrack stream --camera 0 --out runs/bridge    find cracks in what a camera sees
  edgecrack predict photos/ --out runs/photos      find them in pictures
  edgecrack train --data DIR --out runs/mine       teach a model, on a workstation
  edgecrack evaluate MODEL --data DIR              score it
  edgecrack build-engine MODEL -o robot.engine     make an engine of it for this GPU

All commands: edgecrack --help. The options of one: edgecrack COMMAND --help."""


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"edgecrack {__version__}")
        raise typer.Exit


# Threads that read a source; they are gone by the end, unless a driver hangs.
STUCK_PREFIXES = ("edgecrack-source", "edgecrack-capture")


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(_DAILY)


app.command()(train)
app.command()(evaluate)
app.add_typer(yardstick, name="yardstick")
app.command()(export)
app.command()(calibrate)
app.command("build-engine")(build_engine)


app.command()(stream)
app.command()(survey)
app.command()(review)
app.command()(report)
app.command()(inspect)
app.command()(verify)
app.command()(recover)


app.command()(predict)
app.command()(measure)
app.add_typer(model, name="model")
app.command()(plan)
app.command("calibrate-camera")(calibrate_camera)
app.command()(doctor)
app.command()(benchmark)
app.command()(target)


def main() -> None:
    """Run the command line; `entry.py`, where the program begins, has answered signals so far."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started the program
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):  # a file name may be no text in any encoding
            output.reconfigure(errors="backslashreplace")
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        interrupt_on_signals()
        refuse_addresses(sys.argv[1:])
        refuse_renamed(sys.argv[1:])
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away; a second message about it would fail as well.
        _drop_output()
        raise SystemExit(1) from None
    except (Exception, KeyboardInterrupt) as error:
        _fail(error)
    if code == INTERRUPTED:  # typer returns what it would have given to the shell
        _fail(KeyboardInterrupt())
    _leave_if_stuck(0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that temporary files are removed; `stream` and `train` have their own.

    A second one ends the program at once.
    """
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def _fail(error: BaseException) -> NoReturn:
    if os.environ.get("EDGECRACK_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)
    sentence, code = failure_of(error, sys.argv[1:])
    if isinstance(error, OSError):
        _drop_output()
    end_quietly(code)
    with suppress(BrokenPipeError):
        typer.echo(f"edgecrack: {sentence}", err=True)
    _leave_if_stuck(code)
    raise SystemExit(code)


def _leave_if_stuck(code: int) -> None:
    """End the program at once where a driver's call hangs in a thread that was left behind.

    Python's own way out unloads libraries under such a call, which can crash or wait for it.
    """
    if any(thread.name.startswith(STUCK_PREFIXES) for thread in threading.enumerate()):
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _drop_output() -> None:
    """Let what is still buffered go nowhere, instead of failing once more at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
