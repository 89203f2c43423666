"""Ctrl-C and SIGTERM end a run with one sentence that says how to go on.

Knows signals and the file that a run is resumed from, nothing of what a run does.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from edgecrack.errors import InterruptedTrainingError

if TYPE_CHECKING:
    import lightning.pytorch as pl


class Terminated(KeyboardInterrupt):
    """SIGTERM; Lightning winds a run down for it as it does for Ctrl-C."""


def how_to_go_on(last: Path) -> str:
    """The remedy of a run that ended early, by whether it has a checkpoint."""
    if last.exists():
        return "give the same command with `resume` to go on from the last whole epoch"
    return "no epoch was complete yet, so give the same command again to start over"


def interrupted(
    stop: BaseException | None, last: Path, step: int | None = None
) -> InterruptedTrainingError:
    """What to tell a user whose run a signal ended.

    Args:
        stop: what the signal raised.
        last: the checkpoint from which the run could be resumed.
        step: steps done, where that is known.
    """
    how = "ended by SIGTERM" if isinstance(stop, Terminated) else "interrupted"
    where = "" if step is None else f" at step {step}"
    return InterruptedTrainingError(f"training was {how}{where}", how_to_go_on(last))


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def terminable(last: Path) -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, with an error that says how to go on.

    Outside the main thread, where Python takes no signals, it changes nothing.

    Args:
        last: the checkpoint from which the run could be resumed.

    Raises:
        InterruptedTrainingError: SIGTERM came.
    """
    before = signal.getsignal(signal.SIGTERM)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or before is None or before == signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except Terminated as stop:
        raise interrupted(stop, last) from stop
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stoppable(trainer: pl.Trainer, last: Path) -> Iterator[None]:
    """Turn Lightning's silent exit on an interruption into an error that says how to go on.

    Args:
        trainer: what runs in the block.
        last: the checkpoint from which the run could be resumed.

    Raises:
        InterruptedTrainingError: the run was interrupted.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not trainer.interrupted:
            raise
        # Lightning leaves Ctrl-C ignored.
        signal.signal(signal.SIGINT, on_interrupt)
        # Its exit stands in the handler of what the signal raised.
        raise interrupted(stop.__context__, last, trainer.global_step) from stop
