"""Tiny training runs: a set of six generated walls, two epochs of three steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import edgecrack.training.fit
from edgecrack.model.unet import NetworkConfig
from edgecrack.synthetic import write_dataset
from edgecrack.training.checkpoints import SafetensorsCheckpointIO
from edgecrack.training.config import ROBOT_AUGMENT, OptimizerConfig, PatchConfig, TrainingConfig
from edgecrack.training.fit import TrainingResult, train

STEPS = 3


def make_walls(folder: Path) -> Path:
    """Four walls to train on and two to validate on, whose sides are no multiples of 8."""
    write_dataset(folder, 6, (60, 76), seed=3, split_fractions={"train": 4 / 6, "val": 2 / 6})
    return folder


def tiny_config(data: Path | str, out: Path, **changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "data": (str(data),),
        "out": out,
        "network": NetworkConfig(width=2),
        "patches": PatchConfig(patch_px=32, augment=ROBOT_AUGMENT),
        "optimizer": OptimizerConfig(warmup_steps=2, schedule="constant"),
        "batch_size": 4,
        "epochs": 2,
        "steps_per_epoch": STEPS,
        "average_decay": 0.0,
        "seed": 5,
    }
    return TrainingConfig(**{**values, **changes})


def draw_nothing(logs: Path, target: Path) -> None:
    """A file in place of the curves, whose drawing takes as long as so short a training."""
    target.touch()


def run(
    config: TrainingConfig,
    on_message: Callable[[str], None] = lambda message: None,
    with_curves: bool = False,
) -> TrainingResult:
    """Train in the first process of a run, which has a result."""
    with pytest.MonkeyPatch.context() as patch:
        if not with_curves:
            patch.setattr(edgecrack.training.fit, "draw_curves", draw_nothing)
        result = train(config, on_message)
    assert result is not None
    return result


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The network's weights in a checkpoint."""
    state: dict[str, torch.Tensor] = SafetensorsCheckpointIO().load_checkpoint(checkpoint)[
        "state_dict"
    ]
    return state


def training_state_of(checkpoint: Path) -> dict[str, Any]:
    """What decides how a run goes on: weights, their average, optimizer and schedule."""
    whole = SafetensorsCheckpointIO().load_checkpoint(checkpoint)
    names = ("state_dict", "current_model_state", "averaging_state", "optimizer_states")
    return {name: whole[name] for name in (*names, "lr_schedulers") if name in whole}


def assert_same(first: Any, second: Any, path: str = "") -> None:
    """Equal bit for bit, all the way down."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), f"{path} differs by {(first - second).abs().max()}"
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            assert_same(first[key], second[key], f"{path}/{key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), path
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{path}/{index}")
    else:
        assert first == second, path
