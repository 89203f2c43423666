"""What a training run is made of, validated before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from edgecrack.artifacts import ModelSpec
from edgecrack.data.augment import ROBOT_AUGMENT
from edgecrack.data.patches import PatchConfig
from edgecrack.data.training_set import HOLD_OUT_SHARE
from edgecrack.errors import ConfigError, TrainingError
from edgecrack.model.unet import NetworkConfig
from edgecrack.preprocess import PreprocessConfig

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "constant"]
Precision = Literal["32", "bf16"]


@dataclass(frozen=True)
class OptimizerConfig:
    """How the weights are moved.

    Attributes:
        name: "adamw", or "sgd" with momentum as in the paper.
        learning_rate: the highest one, reached after the warm-up; above 0, at most 1.
        momentum: for SGD, 0 to below 1.
        weight_decay: for AdamW, 0 to 1.
        warmup_steps: steps over which the learning rate rises from 0. Without normalisation
            layers a full first step can diverge.
        clip_norm: largest gradient norm; 0 does not clip.
        schedule: "cosine" falls to 1 % at the last step; "constant" is the paper's.
    """

    name: Optimizer = "adamw"
    learning_rate: float = 2e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_steps: int = 200
    clip_norm: float = 1.0
    schedule: Schedule = "cosine"

    def __post_init__(self) -> None:
        _one_of("optimizer", self.name, get_args(Optimizer))
        _one_of("schedule", self.schedule, get_args(Schedule))
        if not 0 < self.learning_rate <= 1:
            raise ConfigError(
                f"learning rate is {self.learning_rate}", "give a number above 0, at most 1"
            )
        _in_range("momentum", self.momentum, 0, 0.9999)
        _in_range("weight decay", self.weight_decay, 0, 1)
        _in_range("warm-up steps", self.warmup_steps, 0, 1_000_000)
        _in_range("gradient clip norm", self.clip_norm, 0, 1e6)


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    Attributes:
        data: dataset folders, or "synthetic:COUNT" for generated walls; at least one.
        out: folder of the run.
        network: width and pooling.
        preprocess: how frames are prepared; travels with the model.
        patches: how patches are drawn.
        optimizer: how weights are moved.
        batch_size: patches per step, 1 to 4096.
        epochs: 1 to 100,000; an epoch ends with a validation and a checkpoint.
        steps_per_epoch: 1 to 1,000,000.
        average_decay: decay per step of an exponential moving average of the weights, which is
            what is validated and saved; 0 switches it off.
        precision: "32", or "bf16" for mixed bfloat16.
        hold_out: share of a dataset's training images that is kept for validation where it has
            no validation split, 0 to 0.5; with 0 validation uses the training images.
        seed: decides initial weights, patches and generated walls.
        resume: go on from `last.safetensors` in `out`.
    """

    data: tuple[str, ...]
    out: Path
    network: NetworkConfig = field(default_factory=NetworkConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    patches: PatchConfig = field(
        default_factory=lambda: PatchConfig(patch_px=128, augment=ROBOT_AUGMENT)
    )
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    batch_size: int = 16
    epochs: int = 25
    steps_per_epoch: int = 250
    average_decay: float = 0.0
    precision: Precision = "32"
    hold_out: float = HOLD_OUT_SHARE
    seed: int = 0
    resume: bool = False

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError(
                "no training data is given", "give --data DIR or --data synthetic:600"
            )
        _one_of("precision", self.precision, get_args(Precision))
        _in_range("batch size", self.batch_size, 1, 4096)
        _in_range("epochs", self.epochs, 1, 100_000)
        _in_range("steps per epoch", self.steps_per_epoch, 1, 1_000_000)
        _in_range("average decay", self.average_decay, 0, 0.99999)
        _in_range("hold-out share", self.hold_out, 0, 0.5)
        _in_range("seed", self.seed, 0, 2**32 - 1)

    def to_dict(self) -> dict[str, Any]:
        """The run as it is saved beside its results."""
        document = asdict(self)
        document["out"] = str(self.out)
        document["data"] = list(self.data)
        del document["resume"]
        return document

    def recipe(self) -> dict[str, Any]:
        """The run as it travels with the model: datasets by name, no folders of this machine."""
        document = self.to_dict()
        del document["out"], document["network"], document["preprocess"]
        document["data"] = [Path(text).name for text in self.data]
        return document


def check_same_run(saved: ModelSpec, config: TrainingConfig) -> None:
    """Check that a checkpoint can be gone on with under a configuration.

    Raises:
        TrainingError: it holds another network, or was made with other data or settings. Only
            the number of epochs may differ.
    """
    own, recipe = config.network, saved.extra.get("training", {})
    pairs: list[tuple[str, Any, Any]] = [
        ("width", saved.width, own.width),
        ("pooling", saved.pooling, own.pooling),
        ("gate bias", saved.gate_bias, own.gate_bias),
    ]
    # The length of a run may be changed, and nothing else that decides its steps.
    found_leaves = _leaves(recipe)
    for name, asked in _leaves(config.recipe()).items():
        if name in found_leaves and name != "epochs":
            pairs.append((name, found_leaves[name], asked))
    for name, found, asked in pairs:
        if found != asked:
            raise TrainingError(
                f"the checkpoint has {name} {found}, but {asked} was asked for",
                "give the run's own options, or another --out",
            )


def _leaves(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Every single value under a readable name, as it comes back from JSON (pairs are lists)."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{path} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            found |= _leaves(value, name)
        else:
            found[name] = json.loads(json.dumps(value))
    return found


def _in_range(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ConfigError(f"{name} is {value}", f"give a value from {lowest} to {highest}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}", f"choose one of: {', '.join(choices)}")
