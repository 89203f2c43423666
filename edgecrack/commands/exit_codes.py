"""The message and the exit code for each failure: one sentence with the value and the remedy."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from typing import Any

import typer

from edgecrack.errors import ConfigError, EdgecrackError
from edgecrack.terminal.flags import flags_in
from edgecrack.terminal.interruption import INTERRUPTED, was_interrupted
from edgecrack.terminal.redaction import redact

UNEXPECTED = 70
EXIT_CODES = (
    "Exit codes: 0 success, or a stream stopped by Ctrl-C; 2 option, 3 data set, 4 model file, "
    "5 source, 6 output, 7 missing package, 8 training, 9 export, 10 GPU, 11 accuracy lost, "
    "12 finished, but some inputs were unreadable; 70 bug in edgecrack; 130 interrupted. "
    "EDGECRACK_DEBUG=1 shows tracebacks."
)
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
# Earlier and current names of options, by command; "" is for all.
_RENAMED = {
    ("", "--output"): "--out",
    ("", "--calibration-data"): "--data",
    ("evaluate", "--json"): "--scores-file FILE",
    ("train", "--devices"): "--processes",
    ("train", "--nodes"): "--machines",
    ("train", "--accelerator"): "--device",
}
_ADDRESS_OPTIONS = ("--source", "--position", "--serve")
_TAKE_ADDRESSES = ("predict", "measure", "calibrate-camera")
_OUTPUT_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def failure_of(error: BaseException, arguments: Sequence[str]) -> tuple[str, int]:
    """The message for the user and the exit code.

    Args:
        error: what ended the command.
        arguments: the command line, to find the value of an option.
    """
    # A library may turn an interruption into another error.
    is_ours = isinstance(error, EdgecrackError)
    if isinstance(error, (KeyboardInterrupt, typer.Abort)) or (was_interrupted() and not is_ours):
        return "interrupted.", INTERRUPTED
    if hasattr(error, "format_message"):  # typer's usage errors have no public base class
        error = _usage_error(error, arguments)
    elif isinstance(error, OSError) and error.errno in _OUTPUT_ERRNOS:
        from edgecrack.files import output_error  # slow: imports OpenCV

        error = output_error(error.filename or "the output", error)
    elif isinstance(error, ImportError):
        from edgecrack.doctor.libraries import missing_module

        error = missing_module(error) or error
    if isinstance(error, EdgecrackError):
        return flags_in(" ".join(str(error).split())), error.exit_code
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"unexpected {text}; this is a bug in edgecrack, please report it with the output of "
        "EDGECRACK_DEBUG=1.",
        UNEXPECTED,
    )


def refuse_addresses(arguments: Sequence[str]) -> None:
    """Refuse addresses given as paths.

    As a path, an address would lose a slash, keep its password, and create a folder `https:`.

    Raises:
        ConfigError: an address is given as a path.
    """
    command = next((word for word in arguments if not word.startswith("-")), "")
    before = ""
    for word in arguments:
        name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if equals and _ADDRESS.match(value):
            _refuse_address(name, value)
        elif not word.startswith("-") and _ADDRESS.match(word):
            is_option = before.startswith("-") and "=" not in before
            if is_option or command not in _TAKE_ADDRESSES:
                _refuse_address(before if is_option else "", word)
        before = word


def refuse_renamed(arguments: Sequence[str]) -> None:
    """Refuse the earlier name of an option, and give the current one.

    Raises:
        ConfigError: an earlier name is used.
    """
    command = next((word for word in arguments if not word.startswith("-")), "")
    for word in arguments:
        name = word.partition("=")[0]
        now = _RENAMED.get((command, name)) or _RENAMED.get(("", name))
        if now is not None:
            raise ConfigError(f"{name} has been renamed", f"give {now}")


def _refuse_address(option: str, value: str) -> None:
    if option in _ADDRESS_OPTIONS:
        return
    what = f"{option} is {redact(value)}" if option else redact(value)
    raise ConfigError(f"{what}, an address instead of a path", "give a file or folder")


def _usage_error(error: Any, arguments: Sequence[str]) -> ConfigError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "edgecrack"
    message = str(error.format_message()).strip().rstrip(".")
    message = message[:1].lower() + message[1:]
    remedy = f"see `{command} --help`"
    options = getattr(getattr(error, "param", None), "opts", [])
    value = _value_of(options, arguments)
    if value is None:
        return ConfigError(message, remedy)
    for word, kind in (
        ("integer", "a whole number"),
        ("float", "a number"),
        ("number", "a number"),
    ):
        if word in message:
            remedy = f"give {kind}"
            break
    return ConfigError(f"{options[0]} is {value!r}", remedy)


def _value_of(options: Sequence[str], arguments: Sequence[str]) -> str | None:
    """The value after the option on the command line; None if it is not given."""
    value = None
    for index, word in enumerate(arguments):
        name, equals, rest = word.partition("=")
        if name in options and name.startswith("-"):
            value = rest if equals else next(iter(arguments[index + 1 :]), None)
    return value
