"""What signals do to the program, from its first line to its last.

While it starts, SIGINT and SIGTERM end it at once: nothing is there yet that would have to be
removed. A command is then interrupted by them, and by SIGHUP where there is a terminal that can
go away; a second one ends the program at once. SIGUSR1 and SIGUSR2, and SIGHUP of a service, do
nothing, where the system would kill. `signals.py` says what a stream makes of them.

Imports next to nothing: until its first function is called, Ctrl-C shows a traceback.
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

INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended

_ENDING = (signal.SIGINT, signal.SIGTERM)
# Long enough that whatever passed over an interruption has come to its end.
_AGAIN_S = 0.1
_state: dict[str, int] = {}


def guard_start(*, keeps_user_signals: bool = False) -> None:
    """Have signals end the program quietly, or do nothing, from now on.

    What whoever started the program has had ignored, as under nohup, stays ignored.

    Args:
        keeps_user_signals: leave SIGUSR1 and SIGUSR2 to a command that has a use for them.
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
    """After `guard_start`: raise KeyboardInterrupt, so that temporary files are removed.

    Without `guard_start`, as in a program that uses edgecrack as a library, this does nothing.
    """
    guarded = [each for each in (*_ENDING, signal.SIGHUP) if _is_guarded(each)]
    if guarded:
        sys.unraisablehook = _interrupt_again
    for number in guarded:
        signal.signal(number, _interrupt)


def was_interrupted() -> bool:
    """Whether a signal interrupted the command, whatever was made of the exception since."""
    return "interrupted" in _state


def end_quietly(exit_code: int) -> None:
    """Let nothing but the exit code tell of an interruption.

    Python itself ends by SIGINT where KeyboardInterrupt came up within `exec`, as it does in the
    middle of a dataclass.
    """
    _state["exit code"] = exit_code


def _end() -> None:
    """Runs after whatever else is to be done at the exit, since it was registered first."""
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
    # An exception could be caught, or told of with a traceback, by whatever is being imported.
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
    """Interrupt once more where the exception came up in a callback that lets none pass."""
    if not (was_interrupted() and issubclass(what.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(what)
        return
    signal.signal(signal.SIGINT, _interrupt)
    from threading import Timer  # not above: it takes longer than all the rest

    timer = Timer(_AGAIN_S, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True
    timer.start()
