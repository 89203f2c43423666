"""Signal handling of the program from start to exit.

During startup, SIGINT and SIGTERM end the program immediately. Later they interrupt the command,
as does SIGHUP if there is a terminal; a second signal ends the program immediately. SIGUSR1 and
SIGUSR2, and SIGHUP without a terminal, are ignored. For a stream, see `signals.py`.

Imports almost nothing, since Ctrl-C shows a traceback until `guard_start` is called.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from types import FrameType

INTERRUPTED = 130  # the shell convention for Ctrl-C

_ENDING = (signal.SIGINT, signal.SIGTERM)
# Long enough for a callback that swallowed an interruption to finish.
_AGAIN_S = 0.1
_state: dict[str, int] = {}


def guard_start(*, keeps_user_signals: bool = False) -> None:
    """Make signals end the program quietly or be ignored.

    Signals that the parent process ignores, as under nohup, stay ignored.

    Args:
        keeps_user_signals: leave SIGUSR1 and SIGUSR2 to the command.
    """
    atexit.register(_end)
    for number in _ENDING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _leave_at_once)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _leave_at_once if _has_terminal() else signal.SIG_IGN)
    for number in () if keeps_user_signals else (signal.SIGUSR1, signal.SIGUSR2):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.SIG_IGN)


def interrupt_on_signals() -> None:
    """From now on, signals raise KeyboardInterrupt, so that temporary files are removed.

    Does nothing without `guard_start`, as in a program that uses edgecrack as a library.
    """
    guarded = [each for each in (*_ENDING, signal.SIGHUP) if _is_guarded(each)]
    if guarded:
        sys.unraisablehook = _interrupt_again
    for number in guarded:
        signal.signal(number, _interrupt)


def was_interrupted() -> bool:
    """Whether a signal interrupted the command, even if the exception was swallowed."""
    return "interrupted" in _state


def end_quietly(exit_code: int) -> None:
    """Exit with this code after an interruption.

    Python itself would end by SIGINT if KeyboardInterrupt was raised within `exec`, as in the
    middle of a dataclass definition.
    """
    _state["exit code"] = exit_code


def _end() -> None:
    """Runs last at exit, since it was registered first."""
    if was_interrupted() and "exit code" in _state:
        for output in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                output.flush()
        os._exit(_state["exit code"])


def _is_guarded(number: signal.Signals) -> bool:
    return signal.getsignal(number) is _leave_at_once


def _has_terminal() -> bool:
    try:
        os.close(os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _leave_at_once(number: int, frame: FrameType | None) -> None:
    # The module being imported could catch an exception or print a traceback.
    try:
        os.write(2, b"edgecrack: interrupted.\n")
    finally:
        os._exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _state["interrupted"] = number
    for each in (*_ENDING, signal.SIGHUP):
        if signal.getsignal(each) is _interrupt:
            signal.signal(each, signal.SIG_DFL)
    raise KeyboardInterrupt


def _interrupt_again(what: UnraisableHookArgs) -> None:
    """Interrupt again if the exception was raised in a callback that swallows it."""
    if not (was_interrupted() and issubclass(what.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(what)
        return
    signal.signal(signal.SIGINT, _interrupt)
    from threading import Timer  # slow to import

    timer = Timer(_AGAIN_S, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()
