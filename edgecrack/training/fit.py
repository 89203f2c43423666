"""One training run, from datasets to `best.safetensors`, in one process or in several.

What it writes is listed in `run_folder.py`; only the first process writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import distributed
from torch.utils.data import DataLoader

from edgecrack.data.training_set import load_training_set
from edgecrack.errors import TrainingError
from edgecrack.terminal.wording import counted
from edgecrack.training.batches import Batches, WholeImages
from edgecrack.training.callbacks import without_harmless_warnings
from edgecrack.training.checkpoints import strip_training_state
from edgecrack.training.config import TrainingConfig
from edgecrack.training.distillation import Teacher
from edgecrack.training.interruption import stoppable, terminable
from edgecrack.training.launch import ConnectionLostError, connection_lost, run_in_processes
from edgecrack.training.loss_curves import draw_curves
from edgecrack.training.module import CrackModule
from edgecrack.training.presets import to_yaml
from edgecrack.training.process_rank import ProcessRank, find_process_rank
from edgecrack.training.run_folder import (
    check_run,
    initial_network,
    last_checkpoint,
    own_folder,
    teaching_network,
)
from edgecrack.training.trainer import make_trainer
from edgecrack.yardstick.manifest import hashes_of


@dataclass(frozen=True)
class TrainingResult:
    """Where a run's results lie and how good they are on its validation images."""

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

    With several devices it starts a process for each, unless torchrun or Slurm has done so.
    These import the calling script, which must therefore train under
    `if __name__ == "__main__":` only.

    Args:
        config: the run.
        on_message: told what is happening, a line at a time, in the first process only.
        origin: where the settings come from, to be told before them.

    Returns:
        The result in the first process of the run, None in all others.

    Raises:
        ConfigError: the folder holds another run or is in use by one, there is nothing to
            resume, or the machine or the processes on it are not as asked for.
        DataError: a dataset does not fit.
        TrainingError: the loss or a gradient became infinite or not a number, the checkpoint to
            resume is another run's, or another process of the run ended.
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
    """What each process of a run does, after the first has claimed the folder.

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
        with _lost_connections(place):  # or memory, which must hold all images
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
    # Kept whole until here: only a whole checkpoint holds the averaged weights.
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
    """Tell a lost connection from other errors of the framework."""
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
