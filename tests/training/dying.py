"""Kills real training processes at chosen moments; run as a program by `test_interruption.py`.

Each run is a fork of one process that has everything imported but has computed nothing, which
spares the start of a Python with PyTorch for every one of them.

    python -m tests.training.dying DATA FOLDER      # trains into FOLDER/MOMENT for each moment
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import edgecrack.artifacts
import edgecrack.files
import edgecrack.training.checkpoints
import edgecrack.training.module
from edgecrack.training.fit import train
from tests.training.runs import STEPS, tiny_config


def die(*_: Any) -> None:
    """As a power cut does: nothing is flushed, no handler runs."""
    os.kill(os.getpid(), signal.SIGKILL)


def patch(module: ModuleType, name: str, number: int, act: Callable[..., Any]) -> None:
    """Let a module's function act first in its call of this number, from 0."""
    calls, function = iter(range(10**6)), getattr(module, name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        if next(calls) == number:
            act(*arguments)
        return function(*arguments, **options)

    setattr(module, name, wrapped)


def half_written(partial: Path) -> None:
    """Cut off in the middle of writing a file."""
    os.truncate(partial, partial.stat().st_size // 2)
    die()


def in_step(number: int) -> None:
    """Die in a training step."""
    patch(edgecrack.training.module, "segmentation_loss", number, die)


def in_writing_checkpoint(number: int) -> None:
    """Die while a checkpoint is half written: each epoch writes best, if it is, and last."""
    checkpoints, sync = iter(range(10**6)), edgecrack.files._sync

    def wrapped(partial: Path) -> None:
        if partial.suffix == ".safetensors" and next(checkpoints) == number:
            half_written(partial)
        sync(partial)

    setattr(edgecrack.files, "_sync", wrapped)  # noqa: B010


def before_sidecar(number: int) -> None:
    """Die when a checkpoint is written and its sidecar is still that of the one before."""
    patch(edgecrack.training.checkpoints, "write_sidecar", number, die)


MOMENTS: dict[str, tuple[Callable[[int], None], int]] = {
    "first-step": (in_step, 0),
    "first-checkpoint-half-written": (in_writing_checkpoint, 0),
    "first-epoch-s-last-half-written": (in_writing_checkpoint, 1),
    "second-epoch": (in_step, STEPS + 1),
    "before-a-sidecar": (before_sidecar, 1),
    "third-epoch-s-first-checkpoint": (in_writing_checkpoint, 4),
}


def main() -> None:
    """Fork a run for each moment; its end by SIGKILL is this program's success."""
    data, folder = sys.argv[1:]
    torch.set_num_threads(1)
    for moment, (arrange, number) in MOMENTS.items():
        child = os.fork()
        if child == 0:
            arrange(number)
            train(tiny_config(data, Path(folder) / moment, average_decay=0.5, epochs=3))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(moment, -os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
