"""One training run, from datasets to `best.safetensors`, in one process or in several.

Includes Lightning's trainer as a run needs it: device, precision, processes, progress, logs and
checkpoints. `run_folder.py` lists the files; only the first process writes them.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
)
from lightning.pytorch.callbacks.progress.rich_progress import (
    ProcessingSpeedColumn,
    RichProgressBarTheme,
)
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed
from torch.utils.data import DataLoader

from edgecrack.data.training_set import load_training_set
from edgecrack.errors import TrainingError
from edgecrack.terminal.wording import counted
from edgecrack.training.checkpoints import SUFFIX, SafetensorsCheckpointIO, strip_training_state
from edgecrack.training.config import TrainingConfig
from edgecrack.training.launch import (
    ConnectionLostError,
    connection_lost,
    run_in_processes,
    stoppable,
    terminable,
)
from edgecrack.training.loss_curves import draw_curves
from edgecrack.training.losses import Teacher
from edgecrack.training.module import CrackModule
from edgecrack.training.patch_sampler import Batches, WholeImages
from edgecrack.training.presets import to_yaml
from edgecrack.training.processes import ProcessRank, find_process_rank
from edgecrack.training.run_folder import (
    BEST,
    LAST,
    check_run,
    initial_network,
    last_checkpoint,
    own_folder,
    teaching_network,
)
from edgecrack.yardstick.manifest import hashes_of

_SHOWN = {"train_loss": "loss", "val_strict_f1": "F1"}
_HARMLESS_WARNINGS = (
    # Batches are cut in this process; worker processes would only copy the images.
    ".*does not have many workers.*",
    ".*`IterableDataset` has `__len__` defined.*",
    # The folder contains config.yaml by then, and after --resume the run itself.
    "Checkpoint directory .* exists and is not empty.*",
    # Every process logs the same scores, of all images.
    ".*sync_dist=True.* when logging on epoch level.*",
    # PyTorch warns about one of its own helpers that Lightning calls.
    ".*LeafSpec.*is deprecated.*",
)


class ProgressBar(RichProgressBar):
    """One line per epoch with the loss and the score that selects the best checkpoint."""

    def __init__(self) -> None:
        super().__init__(leave=True, theme=RichProgressBarTheme(metrics_format=".3g"))

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """The quantities to show, under short names."""
        values = super().get_metrics(trainer, pl_module)
        return {label: values[name] for name, label in _SHOWN.items() if name in values}

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """Lightning's columns without steps per second, so that the line fits into 80 columns."""
        columns: list[Any] = super().configure_columns(trainer)
        return [column for column in columns if not isinstance(column, ProcessingSpeedColumn)]

    def _get_train_description(self, current_epoch: int) -> str:
        # Lightning counts from 0. Padded to the width of "Validation".
        return f"{f'Epoch {current_epoch + 1}/{self.trainer.max_epochs}':10}"


class RunCheckpoint(ModelCheckpoint):
    """Keeps one checkpoint under a fixed name, even if the run's folder was moved.

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
        """Restore the best score so far; its files are in this run's folder, wherever that is."""
        moved = dict(state_dict, dirpath=self.dirpath)
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[key] = self._here(state_dict.get(key, ""))
        best = state_dict.get("best_k_models", {})
        moved["best_k_models"] = {self._here(path): score for path, score in best.items()}
        super().load_state_dict(moved)

    def _here(self, path: str) -> str:
        return str(Path(self.dirpath or "") / Path(path).name) if path else path


class TerminateAtOnce(Callback):
    """Restores the handler of `launch.terminable`, which Lightning replaces at the start.

    Lightning's handler waits for the end of the step and then for the other processes, and hangs if
    one of them is gone. Steps after the last checkpoint are lost in either case.
    """

    def __init__(self) -> None:
        self._handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore it."""
        if threading.current_thread() is threading.main_thread() and self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)


@contextmanager
def without_harmless_warnings() -> Iterator[None]:
    """Hide library warnings that a user cannot act on, and only those."""
    with warnings.catch_warnings():
        for message in _HARMLESS_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield


# Longer than any process should wait for another, shorter than a night.
_SILENCE = timedelta(minutes=10)
_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def make_trainer(config: TrainingConfig, place: ProcessRank) -> tuple[pl.Trainer, RunCheckpoint]:
    """The trainer of one process of a run, and the callback that keeps the best checkpoint."""
    best = RunCheckpoint(config.out, BEST, monitor="val_strict_f1")
    callbacks: list[Any] = [best, RunCheckpoint(config.out, LAST), TerminateAtOnce()]
    callbacks += [ProgressBar()] if place.is_main else []
    if config.average_decay > 0:
        # Without the device, Lightning keeps it where the network is before it moves to a GPU.
        averaging = EMAWeightAveraging(place.device, decay=config.average_decay)
        callbacks.append(averaging)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # By default a GPU rounds the operands of float32 convolutions to 10 bits; "32" means 32.
    torch.backends.cudnn.allow_tf32 = config.precision != "32"
    several = DDPStrategy(timeout=_SILENCE, gradient_as_bucket_view=True)
    trainer = pl.Trainer(
        accelerator=place.device,
        devices=config.processes_per_machine,
        num_nodes=config.machines,
        strategy=several if place.ranks > 1 else "auto",
        max_epochs=config.epochs,
        precision=_PRECISIONS[config.precision],  # type: ignore[arg-type]
        logger=CSVLogger(config.out, name="logs", flush_logs_every_n_steps=20),
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[SafetensorsCheckpointIO(), place.environment()],
        benchmark=place.device == "cuda",
        enable_progress_bar=place.is_main,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=config.out,
    )
    return trainer, best


@dataclass(frozen=True)
class TrainingResult:
    """The files of a run and their scores on its validation images."""

    best: Path
    last: Path
    curves: Path
    validation_ods: float
    validation_strict_f1: float
    steps: int


def train(
    config: TrainingConfig,
    on_message: Callable[[str], None] = lambda message: None,
    origin: str = "",
) -> TrainingResult | None:
    """Train a network.

    With several devices, a process is started for each, unless torchrun or Slurm did that. The
    processes import the calling script, which must therefore train under
    `if __name__ == "__main__":`.

    Args:
        config: the run.
        on_message: called with each progress message, in the first process only.
        origin: where the settings come from, to be shown before them.

    Returns:
        The result in the first process of the run, None in all others.

    Raises:
        ConfigError: the folder holds another run or is in use by one, there is nothing to
            resume, or the machine or its processes are not as configured.
        DataError: a dataset cannot be used.
        TrainingError: the loss or a gradient is not finite, the checkpoint to resume is another
            run's, or another process of the run ended.
        InterruptedTrainingError: the run was interrupted.
        ModelFileError: a checkpoint to resume, to start from or to learn from is damaged or of
            another network.
        OutputError: results cannot be written.
    """
    place, last = find_process_rank(config), last_checkpoint(config)
    with terminable(last), ExitStack() as held:
        if place.is_main:
            held.enter_context(own_folder(config))
            if origin:
                on_message(origin)
            on_message(f"settings, also in {config.out / 'config.yaml'}:\n{to_yaml(config)}")
        else:
            check_run(config)
        if place.starts_processes:
            result = run_in_processes(train_here, config, place, last, on_message)
            return result if place.is_main else None
        try:
            return train_here(config, place, on_message)
        except ConnectionLostError as error:
            raise connection_lost(str(error), last) from error


def train_here(
    config: TrainingConfig, place: ProcessRank, on_message: Callable[[str], None]
) -> TrainingResult | None:
    """The part of `train` that every process of a run executes.

    Returns:
        The result in the first process, None in all others.

    Raises:
        ConnectionLostError: another process is gone.
        EdgecrackError: as `train`.
    """
    tell = on_message if place.is_main else lambda message: None
    last = last_checkpoint(config)
    with terminable(last):
        data = load_training_set(
            config.data,
            config.preprocess,
            config.seed,
            tell,
            config.hold_out,
            hashes_of(config.yardstick) if config.yardstick else (),
        )
        pl.seed_everything(config.seed, verbose=False)
        trainer, best = make_trainer(config, place)
        with _lost_connections(place):  # or out of memory, which must hold all images
            batches = Batches(data, config, place, trainer.strategy.root_device)
        module = _make_module(config, len(batches))
        batches.steps_taken = lambda: module.global_step
        trainer.log_every_n_steps = min(10, len(batches))  # type: ignore[attr-defined]
        tell(_summary(config, place, len(data.train.images), len(batches)))
        with (
            without_harmless_warnings(),
            _lost_connections(place),
            stoppable(trainer, last),
        ):
            trainer.fit(
                module,
                DataLoader(batches, batch_size=None),
                DataLoader(WholeImages(data.validation, place), batch_size=None),
                ckpt_path=last if config.resume else None,
            )
            # The others wait, so that a failure to write the results ends all of them.
            result = _finish(config, trainer, Path(best.best_model_path)) if place.is_main else None
            trainer.strategy.barrier()
            if distributed.is_available() and distributed.is_initialized():
                distributed.destroy_process_group()
        return result


def _finish(config: TrainingConfig, trainer: pl.Trainer, best: Path) -> TrainingResult:
    curves = config.out / "curves.png"
    draw_curves(config.out / "logs", curves)
    # Kept whole until now: only a whole checkpoint has the averaged weights.
    scores = strip_training_state(best).scores[0]
    return TrainingResult(
        best=best,
        last=last_checkpoint(config),
        curves=curves,
        validation_ods=float(scores["val_ods"]),
        validation_strict_f1=float(scores["val_strict_f1"]),
        steps=trainer.global_step,
    )


def _summary(config: TrainingConfig, place: ProcessRank, images: int, steps: int) -> str:
    where = f" in {place.ranks} processes" if place.ranks > 1 else ""
    return (
        f"training width {config.network.width} with {config.network.pooling} pooling on "
        f"{counted(images, 'image')}, {config.epochs} x {counted(steps, 'step')} of "
        f"{counted(config.batch_size, 'patch', 'patches')} of {config.patches.patch_px} px{where}"
    )


def _make_module(config: TrainingConfig, steps_per_epoch: int) -> CrackModule:
    teacher = None
    if config.teacher is not None:
        teacher = Teacher(teaching_network(config, config.teacher)[0])
    module = CrackModule(config, steps_per_epoch, teacher)
    if config.init is not None and not config.resume:
        module.network.load_state_dict(initial_network(config, config.init).state_dict())
    return module


@contextmanager
def _lost_connections(place: ProcessRank) -> Iterator[None]:
    """Distinguish a lost connection from the framework's other errors."""
    try:
        yield
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if place.ranks > 1 and (isinstance(error, distributed.DistError) or "gloo" in text):
            detail = re.sub(r"^\[\S*\] ?", "", text).partition(". ")[0]
            raise ConnectionLostError(detail[:160]) from error
        if isinstance(error, torch.OutOfMemoryError):
            raise TrainingError(
                "the GPU ran out of memory",
                "lower `batch_size`, `patch_px` or `width`, or give fewer or smaller images",
            ) from error
        raise
