"""The command line: registers the commands and turns errors into messages and exit codes.

Slow imports are inside the commands, so that `--help` and `stream` start quickly.
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from inspect import get_annotations
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
    help="Finds cracks in the images of a robot's camera, live, on the robot.",
    epilog=EXIT_CODES,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


_DAILY = """Usage: edgecrack COMMAND ...

  edgecrack stream --camera 0 --out runs/bridge    find cracks in a camera's frames
  edgecrack predict photos/ --out runs/photos      find cracks in photos
  edgecrack train --data DIR --out runs/mine       train a model, on a workstation
  edgecrack evaluate MODEL --data DIR              score a model
  edgecrack build-engine MODEL -o robot.engine     build an engine for this GPU

All commands: edgecrack --help. Options of a command: edgecrack COMMAND --help."""


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"edgecrack {__version__}")
        raise typer.Exit


# Threads that read a source; they have ended by then unless a driver hangs.
STUCK_PREFIXES = ("edgecrack-source",)


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


# An argument in a Google docstring: its name and its text, up to the next one.
_ARGUMENT = re.compile(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", re.MULTILINE)


def _add(*commands: Callable[..., None]) -> None:
    """Add commands, with the help texts of their docstrings."""
    for command in commands:
        about, _, arguments = (command.__doc__ or "").partition("\n    Args:\n")
        # Not typing.get_type_hints: Python 3.10 wraps a type with the default None into Optional.
        hints = get_annotations(command, eval_str=True)
        for name, text in _ARGUMENT.findall(arguments):
            hints[name].__metadata__[0].help = " ".join(text.split())
        command.__annotations__ = hints
        # Joined lines wrap at the width of the terminal.
        help_text = "\n\n".join(" ".join(each.split()) for each in about.split("\n\n"))
        app.command(command.__name__.replace("_", "-"), help=help_text.strip())(command)


# In the order of the help page.
_add(train, evaluate)
app.add_typer(yardstick, name="yardstick")
_add(export, calibrate, build_engine)
_add(stream, survey, review, report, inspect, verify, recover)
_add(predict, measure)
app.add_typer(model, name="model")
_add(plan, calibrate_camera, doctor, benchmark, target)


def main() -> None:
    """Run the command line; until now, `entry.py` has handled signals."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):  # a file name may not be valid text
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
        # The reader of the output has gone; a message about it would fail too.
        _drop_output()
        raise SystemExit(1) from None
    except (Exception, KeyboardInterrupt) as error:
        _fail(error)
    if code == INTERRUPTED:  # typer returns the exit code
        _fail(KeyboardInterrupt())
    _leave_if_stuck(0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, so that temporary files are removed; a second signal kills.

    `stream` and `train` have handlers of their own.
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
    """End the program immediately if a thread still hangs in a driver call.

    Python's own exit unloads libraries during such a call, which can crash or block.
    """
    if any(thread.name.startswith(STUCK_PREFIXES) for thread in threading.enumerate()):
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _drop_output() -> None:
    """Discard buffered output, which would fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
