"""The settings of a training run: patches, augmentation, optimizer, loss and the run itself."""

from __future__ import annotations

from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Predicate
from pydantic import BeforeValidator, Field, ValidationInfo

from edgecrack.data.patches import EpochPlan, PatchCount
from edgecrack.data.sources import parse_source
from edgecrack.data.training_set import HOLD_OUT_SHARE
from edgecrack.errors import ConfigError
from edgecrack.model.unet import NetworkConfig
from edgecrack.preprocess import PreprocessConfig
from edgecrack.settings import settings

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "constant"]
DiceDenominator = Literal["sums", "squares"]
Device = Literal["auto", "cpu", "cuda"]
_HOW_STARTED = ("resume", "processes_per_machine", "machines", "device")


def _number_in_yaml(value: Any, info: ValidationInfo) -> Any:
    """YAML 1.1 reads 1e-3 as text."""
    if info.mode == "json" and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    return value


def _text_in_yaml(value: Any, info: ValidationInfo) -> Any:
    """YAML reads an unquoted 32 as a number."""
    return str(value) if info.mode == "json" else value


def _not_empty(value: Any) -> Any:
    """An empty text would become the working folder."""
    if value == "":
        raise ValueError
    return value


Number = Annotated[float, BeforeValidator(_number_in_yaml)]
Share = Annotated[Number, Field(ge=0, le=1)]
UpTo09 = Annotated[Number, Field(ge=0, le=0.9)]
Weight = Annotated[Number, Field(ge=0, le=100)]
Precision = Annotated[Literal["32", "bf16", "16"], BeforeValidator(_text_in_yaml)]
Processes = Annotated[int, Field(ge=1, le=1024)]
ScaleRange = Annotated[
    tuple[Number, Number],
    Predicate(lambda ends: 0.25 <= ends[0] <= 1 <= ends[1] <= 4),
    Field(description="two numbers, 0.25 to 1 and 1 to 4"),
]
Qualities = Annotated[
    tuple[int, int],
    Predicate(lambda ends: 1 <= ends[0] <= ends[1] <= 100),
    Field(description="two whole numbers from 1 to 100, the lower one first"),
]
FilePath = Annotated[
    Path,
    BeforeValidator(_not_empty),
    Field(description="a path; a shell variable may be unset"),
]


@settings()
class AugmentConfig:
    """Strength of each augmentation; the defaults change nothing (the paper used none).

    Attributes:
        geometry: mirror and rotate by quarter turns.
        scale_range: a patch is cut `1/scale` times as large and resized; low <= 1 <= high.
        tone: largest change of contrast and brightness, as a share of the range, 0 to 0.9.
        blur_probability: share of patches that are blurred, 0 to 1.
        noise_levels: largest standard deviation of added noise, in gray levels, 0 to 64.
        invert_probability: share of patches whose tone is inverted, 0 to 1 (a lit crack).
        rotation_deg: largest rotation to either side, 0 to 180.
        motion_probability: share of patches with motion blur, 0 to 1.
        motion_blur_px: longest motion blur, 0 to 31.
        gradient: largest change of brightness from a patch's centre to its edge, 0 to 0.9.
        shadow_probability: share of patches with a broad shadow over a part of them, 0 to 1.
        bar_probability: share of patches with narrow straight shadows, as of bars and cables,
            0 to 1. They look like cracks and are labelled as background.
        shadow_darkness: largest share of the light that a shadow removes, 0 to 0.9.
        jpeg_probability: share of patches with JPEG artefacts, 0 to 1.
        jpeg_quality: lowest and highest JPEG quality, 1 to 100.
    """

    geometry: bool = False
    scale_range: ScaleRange = (1.0, 1.0)
    tone: UpTo09 = 0.0
    blur_probability: Share = 0.0
    noise_levels: Annotated[Number, Field(ge=0, le=64)] = 0.0
    invert_probability: Share = 0.0
    rotation_deg: Annotated[Number, Field(ge=0, le=180)] = 0.0
    motion_probability: Share = 0.0
    motion_blur_px: Annotated[int, Field(ge=0, le=31)] = 7
    gradient: UpTo09 = 0.0
    shadow_probability: Share = 0.0
    bar_probability: Share = 0.0
    shadow_darkness: UpTo09 = 0.6
    jpeg_probability: Share = 0.0
    jpeg_quality: Qualities = (20, 95)

    @property
    def resamples(self) -> bool:
        """Whether patches are resized or rotated freely, so that pixels are interpolated."""
        return self.rotation_deg > 0 or self.scale_range[0] < self.scale_range[1]

    def largest_cut_px(self, side: int) -> int:
        """Side of the largest window that becomes a patch of `side` pixels."""
        return max(side, round(side / self.scale_range[0]))


ROBOT_AUGMENT = AugmentConfig(
    geometry=True,
    scale_range=(0.6, 1.5),
    rotation_deg=45.0,
    tone=0.25,
    gradient=0.3,
    shadow_probability=0.15,
    bar_probability=0.15,
    blur_probability=0.2,
    motion_probability=0.1,
    noise_levels=10.0,
    jpeg_probability=0.25,
)


@settings()
class PatchConfig:
    """How patches are drawn.

    Attributes:
        patch_px: side of a patch in pixels, a multiple of 8, 8 to 1024.
        crack_share: share of patches with at least one crack pixel, 0 to 1 (paper: 0.6).
        augment: the augmentation.
    """

    patch_px: Annotated[int, Field(ge=8, le=1024, multiple_of=8)] = 48
    crack_share: Share = 0.6
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@settings()
class OptimizerConfig:
    """How weights are updated.

    Attributes:
        name: "adamw", or "sgd" with momentum as in the paper.
        learning_rate: the highest one, reached after the warm-up; above 0, at most 1.
        momentum: for SGD, 0 to below 1.
        weight_decay: 0 to 1; decoupled from the gradient in AdamW, a part of it in SGD.
        warmup_steps: steps over which the learning rate rises from 0. Without normalisation
            layers, a full first step can diverge.
        clip_norm: largest gradient norm; 0 does not clip.
        schedule: "cosine" falls to 1 % at the last step; "constant" is the paper's.
    """

    name: Optimizer = "adamw"
    learning_rate: Annotated[Number, Field(gt=0, le=1)] = 2e-3
    momentum: Annotated[Number, Field(ge=0, le=0.9999)] = 0.9
    weight_decay: Share = 1e-4
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    clip_norm: Annotated[Number, Field(ge=0, le=1_000_000)] = 1.0
    schedule: Schedule = "cosine"


@settings()
class LossConfig:
    """What is added to the cross-entropy, and with which weight; 0 disables a term.

    Attributes:
        dice_weight: of the Dice term over the whole batch, 0 to 100; the paper's sum has 1.
        dice_denominator: "sums" of both maps, or the sums of their "squares" as in V-Net
            (Milletari et al., 2016), which the paper cites.
        cl_dice_weight: of the centreline Dice, which favours unbroken cracks, 0 to 100.
        cl_dice_iterations: half the width in pixels of the widest crack whose centreline it
            finds, 1 to 50.
        distillation_weight: of the divergence from a teacher's probabilities, 0 to 100.
        distillation_temperature: softens both probabilities before they are compared, 1 to 20.
        label_smoothing: how much less certain the labels count in the cross-entropy, 0 to 0.5. A
            network then need not be certain at a crack's edge, where labels are drawn a pixel too
            wide or too narrow.
    """

    dice_weight: Weight = 1.0
    dice_denominator: DiceDenominator = "sums"
    cl_dice_weight: Weight = 0.0
    cl_dice_iterations: Annotated[int, Field(ge=1, le=50)] = 5
    distillation_weight: Weight = 0.0
    distillation_temperature: Annotated[Number, Field(ge=1, le=20)] = 1.0
    label_smoothing: Annotated[Number, Field(ge=0, le=0.5)] = 0.0


@settings()
class TrainingConfig:
    """One training run.

    Attributes:
        data: image sources as `data.sources.parse_source` reads them; at least one.
        out: folder of the run.
        network: width and pooling.
        preprocess: how frames are prepared; stored with the model.
        patches: how patches are drawn.
        plan: patches per epoch from each source, as the paper counts them; sets the number of
            steps per epoch. Empty draws at random.
        optimizer: how weights are updated.
        loss: the terms of the loss.
        teacher: checkpoint of the network to learn from; given exactly when the distillation
            weight is above 0.
        yardstick: a yardstick of your own, whose photos must not be trained on; those of the
            built-in one never are.
        init: checkpoint with the initial weights, of the same network; None draws them.
        batch_size: patches per step, 1 to 4096, split equally among all processes.
        epochs: 1 to 100,000; each ends with a validation and a checkpoint.
        steps_per_epoch: 1 to 1,000,000; ignored where there is a plan.
        average_decay: decay per step of an exponential moving average of the weights, which is
            what is validated and saved; 0 disables it.
        precision: "32", or mixed: "bf16", or "16" (float16, on CUDA only).
        hold_out: share of a dataset's training images that is kept for validation where it has
            no validation split, 0 to 0.5; with 0, validation uses the training images.
        seed: of initial weights, patches and generated walls.
        processes_per_machine: one per GPU, 1 to 1024.
        machines: 1 to 1024.
        device: "cuda", "cpu", or "auto" for a GPU if there is one.
        resume: continue from `last.safetensors` in `out`.
    """

    data: Annotated[
        tuple[str, ...], Field(min_length=1, description="`data` DIR or `data` synthetic:600")
    ]
    out: FilePath
    network: NetworkConfig = field(default_factory=NetworkConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    patches: PatchConfig = field(
        default_factory=lambda: PatchConfig(patch_px=128, augment=ROBOT_AUGMENT)
    )
    plan: tuple[PatchCount, ...] = ()
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    teacher: FilePath | None = None
    yardstick: FilePath | None = None
    init: FilePath | None = None
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 25
    steps_per_epoch: Annotated[int, Field(ge=1, le=1_000_000)] = 250
    average_decay: Annotated[Number, Field(ge=0, le=0.99999)] = 0.998
    precision: Precision = "32"
    hold_out: Annotated[Number, Field(ge=0, le=0.5)] = HOLD_OUT_SHARE
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    processes_per_machine: Processes = 1
    machines: Processes = 1
    device: Device = "auto"
    resume: bool = False

    def __post_init__(self) -> None:
        if self.plan:
            EpochPlan(self.plan)  # which refuses a source that is named twice
        self._check_processes()
        self._check_teacher()

    def _check_processes(self) -> None:
        if self.batch_size % self.processes:
            below = self.batch_size // self.processes * self.processes
            raise ConfigError(
                f"`batch_size` {self.batch_size} cannot be split equally among "
                f"{self.processes} processes",
                f"give `batch_size` {below or self.processes} or another multiple of "
                f"{self.processes}",
            )

    def _check_teacher(self) -> None:
        weight = self.loss.distillation_weight
        if self.teacher is None and weight > 0:
            raise ConfigError(
                f"`loss.distillation_weight` is {weight}, but there is no teacher",
                "give `teacher` FILE",
            )
        if self.teacher is not None and weight == 0:
            raise ConfigError(
                f"the teacher {self.teacher} is given, but `loss.distillation_weight` is 0",
                "give `loss.distillation_weight`=1, or leave out `teacher`",
            )

    @property
    def processes(self) -> int:
        """Number of processes on all machines."""
        return self.processes_per_machine * self.machines

    def to_dict(self) -> dict[str, Any]:
        """The run as it is saved beside its results."""
        document = asdict(self)
        for name in ("out", "init", "teacher", "yardstick"):
            value = document[name]
            document[name] = None if value is None else str(value)
        document["data"] = list(self.data)
        document["plan"] = list(document["plan"])
        del document["resume"]
        return document

    def recipe(self) -> dict[str, Any]:
        """The run as it is stored with the model, without anything specific to this machine.

        Datasets and checkpoints are named without their folders. The number of processes is left
        out because the result does not depend on it.
        """
        document = self.to_dict()
        for name in ("out", "network", "preprocess", "yardstick"):
            del document[name]
        for name in _HOW_STARTED:
            document.pop(name, None)
        document["data"] = [parse_source(text).label for text in self.data]
        for name in ("init", "teacher"):
            path = getattr(self, name)
            # With its run's folder: every run's best checkpoint has the same name.
            document[name] = None if path is None else "/".join(path.resolve().parts[-2:])
        return document
