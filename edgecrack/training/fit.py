"""One training run, from datasets to `best.safetensors`.

Writes into the run's folder: `config.json`, `best.safetensors` and `last.safetensors` with their
sidecars, `logs/` (CSV) and `curves.png`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from edgecrack.data.patches import PatchSampler
from edgecrack.data.training_set import ImageSet, load_training_set
from edgecrack.errors import ConfigError
from edgecrack.files import output_error, write_atomic
from edgecrack.training.callbacks import (
    ProgressBar,
    RunCheckpoint,
    stoppable,
    without_harmless_warnings,
)
from edgecrack.training.checkpoints import (
    SUFFIX,
    SafetensorsCheckpointIO,
    read_description,
    strip_training_state,
)
from edgecrack.training.config import TrainingConfig, check_same_run
from edgecrack.training.curves import draw_curves
from edgecrack.training.module import CrackModule

BEST, LAST = "best", "last"


@dataclass(frozen=True)
class TrainingResult:
    """Where a run's results lie and how good they are on its validation images."""

    best: Path
    last: Path
    curves: Path
    validation_ods: float
    validation_strict_f1: float
    steps: int


class _Batches(IterableDataset[tuple[Tensor, Tensor]]):
    """The batches of one epoch; where to begin follows from the trainer's own step."""

    def __init__(self, sampler: PatchSampler, config: TrainingConfig, module: CrackModule) -> None:
        self._sampler, self._config, self._module = sampler, config, module

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        first = self._module.global_step
        for step in range(first, first + len(self)):
            patches, masks = self._sampler.batch(step, self._config.batch_size)
            yield torch.from_numpy(patches), torch.from_numpy(masks)

    def __len__(self) -> int:
        return self._config.steps_per_epoch


class _WholeImages(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, images: ImageSet) -> None:
        self._set = images

    def __len__(self) -> int:
        return len(self._set.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return (
            torch.from_numpy(self._set.images[index])[None, None],
            torch.from_numpy(self._set.masks[index])[None, None],
        )


def train(
    config: TrainingConfig, on_message: Callable[[str], None] = lambda message: None
) -> TrainingResult:
    """Train a network.

    Args:
        config: the run.
        on_message: told what is happening, a line at a time.

    Raises:
        ConfigError: the folder holds another run, or there is nothing to resume.
        DataError: a dataset does not fit.
        TrainingError: the loss or a weight became infinite or not a number, the checkpoint to
            resume is another network's, or the run was interrupted.
        ModelFileError: the checkpoint to resume is damaged.
        OutputError: results cannot be written.
    """
    last = config.out / f"{LAST}{SUFFIX}"
    _claim_folder(config, last)
    data = load_training_set(config.data, config.preprocess, config.seed, on_message, config.hold_out)
    pl.seed_everything(config.seed, verbose=False)
    module = CrackModule(config)
    sampler = PatchSampler(data.train.images, data.train.masks, config.patches, config.seed)
    on_message(
        f"training width {config.network.width} with {config.network.pooling} pooling on "
        f"{len(data.train.images)} images, {config.epochs} x {config.steps_per_epoch} steps of "
        f"{config.batch_size} patches of {config.patches.patch_px} px"
    )
    trainer, best = _make_trainer(config)
    with without_harmless_warnings(), stoppable(trainer, last):
        trainer.fit(
            module,
            DataLoader(_Batches(sampler, config, module), batch_size=None),
            DataLoader(_WholeImages(data.validation), batch_size=None),
            ckpt_path=last if config.resume else None,
        )
    curves = config.out / "curves.png"
    draw_curves(config.out / "logs", curves)
    best_path = Path(best.best_model_path)
    # Kept whole until here: only a whole checkpoint holds the averaged weights.
    scores = strip_training_state(best_path).scores[0]
    return TrainingResult(
        best=best_path,
        last=last,
        curves=curves,
        validation_ods=float(scores["val_ods"]),
        validation_strict_f1=float(scores["val_strict_f1"]),
        steps=trainer.global_step,
    )


def _claim_folder(config: TrainingConfig, last: Path) -> None:
    """Refuse to mix two runs in one folder, and to resume what is not there."""
    if config.resume and not last.is_file():
        raise ConfigError(f"there is no {last} to resume from", "leave out --resume")
    if config.resume:
        # Before the data are read, and before config.json is replaced.
        check_same_run(read_description(last), config)
    if not config.resume and last.exists():
        raise ConfigError(
            f"{config.out} already holds a run", "add --resume to go on, or give another --out"
        )
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(config.out, error) from error
    write_atomic(config.out / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")


def _make_trainer(config: TrainingConfig) -> tuple[pl.Trainer, RunCheckpoint]:
    best = RunCheckpoint(config.out, BEST, monitor="val_strict_f1")
    callbacks: list[Any] = [best, RunCheckpoint(config.out, LAST), ProgressBar()]
    if config.average_decay > 0:
        callbacks.append(EMAWeightAveraging(decay=config.average_decay))
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = pl.Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=config.epochs,
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        gradient_clip_val=config.optimizer.clip_norm or None,
        logger=CSVLogger(config.out, name="logs", flush_logs_every_n_steps=20),
        log_every_n_steps=min(10, config.steps_per_epoch),
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[SafetensorsCheckpointIO()],
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    return trainer, best
