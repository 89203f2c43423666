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

from edgecrack.errors import TrainingError

if TYPE_CHECKING:
    import lightning.pytorch as pl


class Terminated(KeyboardInterrupt):
    """SIGTERM; Lightning winds a run down for it as it does for Ctrl-C."""


def how_to_go_on(last: Path) -> str:
    """The remedy of a run that ended early, by whether it has a checkpoint."""
    if last.exists():
        return "give the same command with --resume to go on from the last whole epoch"
    return "no epoch was complete yet, so give the same command again to start over"


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def terminable(last: Path) -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, with an error that says how to go on.

    Outside the main thread, where Python takes no signals, it changes nothing.

    Args:
        last: the checkpoint from which the run could be resumed.

    Raises:
        TrainingError: SIGTERM came.
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
        raise TrainingError("training was ended by SIGTERM", how_to_go_on(last)) from stop
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stoppable(trainer: pl.Trainer, last: Path) -> Iterator[None]:
    """Turn Lightning's silent exit on an interruption into an error that says how to go on.

    Args:
        trainer: what runs in the block.
        last: the checkpoint from which the run could be resumed.

    Raises:
        TrainingError: the run was interrupted.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not trainer.interrupted:
            raise
        # Lightning leaves Ctrl-C ignored.
        signal.signal(signal.SIGINT, on_interrupt)
        raise TrainingError(
            f"training was interrupted at step {trainer.global_step}", how_to_go_on(last)
        ) from stop
