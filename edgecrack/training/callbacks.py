"""What Lightning is told to do beside training: show progress and keep checkpoints.

Knows the names of the logged quantities and of the run's files, nothing of data or networks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar

from edgecrack.training.checkpoints import SUFFIX

_SHOWN = {"train_loss": "loss", "val_ods": "ODS", "val_strict_f1": "F1"}


class ProgressBar(RichProgressBar):
    """One line per epoch with the loss and the validation scores, short enough for a terminal."""

    def __init__(self) -> None:
        super().__init__(leave=True)

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The quantities worth a place on the line, under their usual names."""
        values = super().get_metrics(trainer, pl_module)
        return {label: values[name] for name, label in _SHOWN.items() if name in values}

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
