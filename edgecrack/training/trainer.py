"""Lightning's trainer as a run needs it: device, precision, processes, logs and checkpoints.

Knows nothing of data or losses.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy

from edgecrack.training.callbacks import ProgressBar, RunCheckpoint, TerminateAtOnce
from edgecrack.training.checkpoints import SafetensorsCheckpointIO
from edgecrack.training.config import TrainingConfig
from edgecrack.training.process_rank import ProcessRank
from edgecrack.training.run_folder import BEST, LAST

# Longer than any process should have to wait for another, shorter than a night.
_SILENCE = timedelta(minutes=10)
_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def make_trainer(config: TrainingConfig, place: ProcessRank) -> tuple[pl.Trainer, RunCheckpoint]:
    """The trainer of one process of a run, and what knows the best checkpoint."""
    best = RunCheckpoint(config.out, BEST, monitor="val_strict_f1")
    callbacks: list[Any] = [best, RunCheckpoint(config.out, LAST), TerminateAtOnce()]
    callbacks += [ProgressBar()] if place.is_main else []
    if config.average_decay > 0:
        # Told where, or Lightning would keep it where the network is before it is moved to a GPU.
        averaging = EMAWeightAveraging(place.device, decay=config.average_decay)
        callbacks.append(averaging)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # By default a GPU rounds the factors of float32 convolutions to 10 bits; "32" means 32.
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
