"""A run's configuration: ranges are checked when it is made, and it is saved as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from edgecrack.data.patches import PatchCount
from edgecrack.errors import ConfigError
from edgecrack.model.unet import NetworkConfig
from edgecrack.training.config import LossConfig, OptimizerConfig, TrainingConfig


def config(**values: Any) -> TrainingConfig:
    return TrainingConfig(**{"data": ("sets/cfd",), "out": Path("runs/one"), **values})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"data": ()}, r"`data` is \(\); give `data` DIR"),
        ({"precision": "64"}, r"`precision` is '64'; give one of: 32, bf16, 16"),
        ({"device": "tpu"}, r"`device` is 'tpu'; give one of: auto, cpu, cuda"),
        ({"processes_per_machine": 0}, "`processes_per_machine` is 0"),
        ({"machines": 0}, "`machines` is 0"),
        (
            {"batch_size": 15, "processes_per_machine": 2},
            r"`batch_size` 15 cannot be split equally among 2 .*; give `batch_size` 14 or",
        ),
        (
            {"batch_size": 3, "processes_per_machine": 2, "machines": 2},
            "give `batch_size` 4 or another multiple of 4",
        ),
        ({"teacher": Path("t")}, "the teacher t is given, but `loss.distillation_weight` is 0"),
        ({"loss": LossConfig(distillation_weight=0.5)}, r"0\.5, but there is no teacher"),
        ({"plan": (PatchCount("cfd", 1), PatchCount("cfd", 2))}, "names a source twice"),
        ({"batch_size": 0}, "`batch_size` is 0; give a whole number from 1 to 4096"),
        ({"batch_size": 4097}, "`batch_size` is 4097"),
        ({"epochs": 0}, "`epochs` is 0"),
        ({"steps_per_epoch": 0}, "`steps_per_epoch` is 0"),
        ({"average_decay": 1.0}, r"`average_decay` is 1\.0"),
        ({"average_decay": -0.1}, r"`average_decay` is -0\.1"),
        ({"average_decay": math.nan}, "`average_decay` is nan"),
        ({"seed": -1}, "`seed` is -1"),
        ({"seed": 2**32}, "`seed` is 4294967296"),
    ],
)
def test_bad_runs(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "adam"}, "`name` is 'adam'; give one of: adamw, sgd"),
        ({"schedule": "linear"}, "`schedule` is 'linear'; give one of: cosine, constant"),
        ({"learning_rate": 0.0}, r"`learning_rate` is 0\.0; give a number above 0 and at most 1"),
        ({"learning_rate": 1.5}, r"`learning_rate` is 1\.5"),
        ({"learning_rate": math.nan}, "`learning_rate` is nan"),
        ({"momentum": 1.0}, r"`momentum` is 1\.0"),
        ({"weight_decay": -1.0}, r"`weight_decay` is -1\.0"),
        ({"warmup_steps": -1}, "`warmup_steps` is -1"),
        ({"clip_norm": -0.5}, r"`clip_norm` is -0\.5"),
    ],
)
def test_bad_optimizers(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OptimizerConfig(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dice_weight": -1.0}, r"`dice_weight` is -1\.0"),
        (
            {"dice_denominator": "cubes"},
            "`dice_denominator` is 'cubes'; give one of: sums, squares",
        ),
        ({"cl_dice_weight": math.nan}, "`cl_dice_weight` is nan"),
        ({"cl_dice_iterations": 0}, "`cl_dice_iterations` is 0"),
        ({"distillation_weight": 101.0}, r"`distillation_weight` is 101\.0"),
    ],
)
def test_bad_losses(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        LossConfig(**values)


def test_the_paper_s_run_can_be_written_down() -> None:
    paper = config(
        network=NetworkConfig(width=32),
        optimizer=OptimizerConfig("sgd", 0.001, 0.9, 0.0, 0, 0.0, "constant"),
        batch_size=32,
        epochs=25,
    )
    assert json.loads(json.dumps(paper.to_dict()))["optimizer"]["schedule"] == "constant"


def test_saved_run_is_json_and_leaves_out_how_it_was_started() -> None:
    document = json.loads(json.dumps(config(resume=True).to_dict()))
    assert document["out"] == str(Path("runs/one"))
    assert document["data"] == ["sets/cfd"]
    assert document["network"] == {"width": 16, "pooling": "gated-scale", "gate_bias": False}
    assert document["patches"]["augment"]["scale_range"] == [0.6, 1.5]
    assert "resume" not in document


def test_recipe_names_datasets_without_the_folders_of_this_machine(tmp_path: Path) -> None:
    run = config(data=(str(tmp_path / "cfd"), "synthetic:600"), out=tmp_path / "run")
    recipe = run.recipe()
    assert recipe["data"] == ["cfd", "synthetic:600"]
    assert str(tmp_path) not in json.dumps(recipe)
    assert {"network", "preprocess", "out"}.isdisjoint(recipe)


def test_how_a_run_is_started_does_not_travel_with_the_model() -> None:
    first, other = (
        config(),
        config(processes_per_machine=4, machines=2, device="cpu", out=Path("b")),
    )
    assert first.recipe() == other.recipe()
    assert {"processes_per_machine", "machines", "device", "resume"}.isdisjoint(first.recipe())


def test_checkpoints_of_a_run_travel_under_their_run_s_name(tmp_path: Path) -> None:
    start = tmp_path / "edge" / "best.safetensors"
    recipe = config(init=start).recipe()
    assert (recipe["init"], recipe["teacher"]) == ("edge/best.safetensors", None)
