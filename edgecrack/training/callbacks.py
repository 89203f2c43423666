"""How Lightning behaves beside training: its progress, checkpoints, warnings and signals.

Knows the names of the logged quantities and of the run's files, nothing of data or networks.
"""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import (
    ProcessingSpeedColumn,
    RichProgressBarTheme,
)

from edgecrack.training.checkpoints import SUFFIX

_SHOWN = {"train_loss": "loss", "val_strict_f1": "F1"}
_HARMLESS_WARNINGS = (
    # Batches are cut in this process on purpose; worker processes would only copy the images.
    ".*does not have many workers.*",
    ".*`IterableDataset` has `__len__` defined.*",
    # The folder holds config.yaml by then, and after --resume the run itself.
    "Checkpoint directory .* exists and is not empty.*",
    # Every process logs the same scores, of all images, and so needs no exchange.
    ".*sync_dist=True.* when logging on epoch level.*",
    # PyTorch warns of a helper of its own that Lightning calls.
    ".*LeafSpec.*is deprecated.*",
)


class ProgressBar(RichProgressBar):
    """One line per epoch with the loss and the score that chooses the best checkpoint."""

    def __init__(self) -> None:
        super().__init__(leave=True, theme=RichProgressBarTheme(metrics_format=".3g"))

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The quantities worth a place on the line, under their usual names."""
        values = super().get_metrics(trainer, pl_module)
        return {label: values[name] for name, label in _SHOWN.items() if name in values}

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """Those of Lightning without steps per second, so that the line fits into 80 columns."""
        columns: list[Any] = super().configure_columns(trainer)
        return [column for column in columns if not isinstance(column, ProcessingSpeedColumn)]

    def _get_train_description(self, current_epoch: int) -> str:
        # Lightning counts from 0; people do not. Padded to the width of "Validation".
        return f"{f'Epoch {current_epoch + 1}/{self.trainer.max_epochs}':10}"


class RunCheckpoint(ModelCheckpoint):
    """Keeps one checkpoint under a fixed name, also in a run's folder that was moved.

    Args:
        folder: the run's folder.
        name: the file's name without its suffix.
        monitor: the score whose best value is kept, or None for the last epoch's.
    """

    FILE_EXTENSION = SUFFIX

    def __init__(self, folder: Path, name: str, monitor: str | None = None) -> None:
        super().__init__(
            dirpath=folder,
            filename=name,
            monitor=monitor,
            mode="max",
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what was best so far; its files lie in this run's folder, wherever that is."""
        moved = dict(state_dict, dirpath=self.dirpath)
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[key] = self._here(state_dict.get(key, ""))
        best = state_dict.get("best_k_models", {})
        moved["best_k_models"] = {self._here(path): score for path, score in best.items()}
        super().load_state_dict(moved)

    def _here(self, path: str) -> str:
        return str(Path(self.dirpath or "") / Path(path).name) if path else path


class TerminateAtOnce(Callback):
    """Puts back the handler of `interruption.terminable`, which Lightning replaces at the start.

    Lightning's own waits for the end of the step and then asks the other processes, which hangs
    where one of them is gone. What came after the last checkpoint is lost in either case.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put it back."""
        if threading.current_thread() is threading.main_thread() and self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)


@contextmanager
def without_harmless_warnings() -> Iterator[None]:
    """Hide the warnings of libraries that a user can do nothing about, and only those."""
    with warnings.catch_warnings():
        for message in _HARMLESS_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield
