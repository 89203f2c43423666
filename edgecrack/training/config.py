"""How strongly training patches are changed. What changes them is `training/augmentation.py`.

How training patches are drawn. What draws them is `training/patch_sampler.py`.

What a training run is made of, validated before anything is loaded.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from edgecrack.data.plan import EpochPlan, PatchCount
from edgecrack.data.sources import parse_source
from edgecrack.data.training_set import HOLD_OUT_SHARE
from edgecrack.errors import ConfigError
from edgecrack.model.unet import NetworkConfig
from edgecrack.preprocess import PreprocessConfig


@dataclass(frozen=True)
class AugmentConfig:
    """Strength of each change; the defaults change nothing (the paper used none).

    Attributes:
        geometry: mirror and turn by quarter turns.
        scale_range: a patch is cut `1/scale` times as large and resized; low <= 1 <= high.
        tone: largest change of contrast and brightness, as a share of the range, 0 to 0.9.
        blur_probability: share of patches that are blurred, 0..1.
        noise_levels: largest standard deviation of added noise, in gray levels, 0 to 64.
        invert_probability: share of patches whose tone is inverted, 0..1 (a lit crack).
        rotation_deg: largest free turn to either side, 0 to 180.
        motion_probability: share of patches that are blurred along a line, 0..1.
        motion_blur_px: longest such line, 0 to 31.
        gradient: largest change of brightness from the middle of a patch to its edge, 0 to 0.9.
        shadow_probability: share of patches with a broad shadow over a part of them, 0..1.
        bar_probability: share of patches with narrow straight shadows, as bars and cables cast
            them, 0..1. They look like cracks and are labelled as background.
        shadow_darkness: largest share of the light that a shadow takes away, 0 to 0.9.
        jpeg_probability: share of patches with the marks of JPEG compression, 0..1.
        jpeg_quality: lowest and highest quality of that, 1 to 100.
    """

    geometry: bool = False
    scale_range: tuple[float, float] = (1.0, 1.0)
    tone: float = 0.0
    blur_probability: float = 0.0
    noise_levels: float = 0.0
    invert_probability: float = 0.0
    rotation_deg: float = 0.0
    motion_probability: float = 0.0
    motion_blur_px: int = 7
    gradient: float = 0.0
    shadow_probability: float = 0.0
    bar_probability: float = 0.0
    shadow_darkness: float = 0.6
    jpeg_probability: float = 0.0
    jpeg_quality: tuple[int, int] = (20, 95)

    def __post_init__(self) -> None:
        low, high = self.scale_range
        if not 0.25 <= low <= 1 <= high <= 4:
            raise ConfigError(f"scale range is {low}..{high}", "give 0.25..1 and 1..4")
        for name, highest in _HIGHEST.items():
            if not 0 <= getattr(self, name) <= highest:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}", f"give a number from 0 to {highest}"
                )
        lowest, best = self.jpeg_quality
        if not 1 <= lowest <= best <= 100:
            raise ConfigError(f"JPEG quality is {lowest}..{best}", "give two numbers, 1 to 100")

    @property
    def resamples(self) -> bool:
        """Whether patches are resized or turned freely, so that pixels are interpolated."""
        return self.rotation_deg > 0 or self.scale_range[0] < self.scale_range[1]

    def largest_cut_px(self, side: int) -> int:
        """Side of the largest window that becomes a patch of `side` pixels."""
        return max(side, round(side / self.scale_range[0]))


_HIGHEST = {
    "tone": 0.9,
    "blur_probability": 1,
    "noise_levels": 64,
    "invert_probability": 1,
    "rotation_deg": 180,
    "motion_probability": 1,
    "motion_blur_px": 31,
    "gradient": 0.9,
    "shadow_probability": 1,
    "bar_probability": 1,
    "shadow_darkness": 0.9,
    "jpeg_probability": 1,
}

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


@dataclass(frozen=True)
class PatchConfig:
    """How patches are drawn.

    Attributes:
        patch_px: side of a patch in pixels, a multiple of 8, 8 to 1024.
        crack_share: share of patches that contain at least one crack pixel, 0..1 (paper: 0.6).
        augment: what is changed on each patch.
    """

    patch_px: int = 48
    crack_share: float = 0.6
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        if not 8 <= self.patch_px <= 1024 or self.patch_px % 8:
            raise ConfigError(f"patch size is {self.patch_px}", "give a multiple of 8, 8 to 1024")
        if not 0 <= self.crack_share <= 1:
            raise ConfigError(f"crack share is {self.crack_share}", "give a number from 0 to 1")


Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "constant"]
Precision = Literal["32", "bf16", "16"]
DiceDenominator = Literal["sums", "squares"]
Device = Literal["auto", "cpu", "cuda"]
_HOW_STARTED = ("resume", "processes_per_machine", "machines", "device")


@dataclass(frozen=True)
class OptimizerConfig:
    """How the weights are moved.

    Attributes:
        name: "adamw", or "sgd" with momentum as in the paper.
        learning_rate: the highest one, reached after the warm-up; above 0, at most 1.
        momentum: for SGD, 0 to below 1.
        weight_decay: 0 to 1; decoupled from the gradient in AdamW, a part of it in SGD.
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
class LossConfig:
    """What is added to the cross-entropy, and with which weight; 0 leaves a term out.

    Attributes:
        dice_weight: of the Dice term over the whole batch, 0 to 100; the paper's sum has 1.
        dice_denominator: "sums" of both maps, or the sums of their "squares" as in V-Net
            (Milletari et al., 2016), which the paper cites.
        cl_dice_weight: of the centreline Dice, which asks for unbroken cracks, 0 to 100.
        cl_dice_iterations: half the width in pixels of the widest crack whose centreline it
            finds, 1 to 50.
        distillation_weight: of the divergence from a teacher's probabilities, 0 to 100.
        distillation_temperature: softens both probabilities before they are compared, 1 to 20.
        label_smoothing: the cross-entropy's truth is this much less certain, 0 to 0.5: a pixel of
            crack counts as crack by 1 less half of it. A network then need not be certain at a
            crack's edge, where labels are drawn a pixel too wide or too narrow.
    """

    dice_weight: float = 1.0
    dice_denominator: DiceDenominator = "sums"
    cl_dice_weight: float = 0.0
    cl_dice_iterations: int = 5
    distillation_weight: float = 0.0
    distillation_temperature: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("dice", "cl_dice", "distillation"):
            label = f"{name.replace('_', ' ')} weight"
            _in_range(label, getattr(self, f"{name}_weight"), 0, 100)
        _in_range("label smoothing", self.label_smoothing, 0, 0.5)
        _one_of("dice denominator", self.dice_denominator, get_args(DiceDenominator))
        _in_range("cl dice iterations", self.cl_dice_iterations, 1, 50)
        _in_range("distillation temperature", self.distillation_temperature, 1, 20)


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    Attributes:
        data: sources of images as `data.sources.parse_source` reads them; at least one.
        out: folder of the run.
        network: width and pooling.
        preprocess: how frames are prepared; travels with the model.
        patches: how patches are drawn.
        plan: patches per epoch from each source, as the paper counts them; the steps per epoch
            then follow from it. Empty draws at random.
        optimizer: how weights are moved.
        loss: what the network is punished for.
        teacher: checkpoint of the network to learn from; given exactly when the distillation
            weight is above 0.
        yardstick: a yardstick of your own, whose photos must not be trained on; those of the
            built-in one never are.
        init: checkpoint whose weights to start from, of the same network; None draws them.
        batch_size: patches per step, 1 to 4096, shared out equally among all processes.
        epochs: 1 to 100,000; an epoch ends with a validation and a checkpoint.
        steps_per_epoch: 1 to 1,000,000; without effect where there is a plan.
        average_decay: decay per step of an exponential moving average of the weights, which is
            what is validated and saved; 0 switches it off.
        precision: "32", or mixed: "bf16", or "16" (float16, on CUDA only).
        hold_out: share of a dataset's training images that is kept for validation where it has
            no validation split, 0 to 0.5; with 0 validation uses the training images.
        seed: decides initial weights, patches and generated walls.
        processes_per_machine: one per GPU, 1 to 1024.
        machines: 1 to 1024.
        device: "cuda", "cpu", or "auto" for a GPU where there is one.
        resume: go on from `last.safetensors` in `out`.
    """

    data: tuple[str, ...]
    out: Path
    network: NetworkConfig = field(default_factory=NetworkConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    patches: PatchConfig = field(
        default_factory=lambda: PatchConfig(patch_px=128, augment=ROBOT_AUGMENT)
    )
    plan: tuple[PatchCount, ...] = ()
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    teacher: Path | None = None
    yardstick: Path | None = None
    init: Path | None = None
    batch_size: int = 16
    epochs: int = 25
    steps_per_epoch: int = 250
    average_decay: float = 0.998
    precision: Precision = "32"
    hold_out: float = HOLD_OUT_SHARE
    seed: int = 0
    processes_per_machine: int = 1
    machines: int = 1
    device: Device = "auto"
    resume: bool = False

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError(
                "no training data is given", "give `data` DIR or `data` synthetic:600"
            )
        _one_of("precision", self.precision, get_args(Precision))
        _one_of("device", self.device, get_args(Device))
        _in_range("batch size", self.batch_size, 1, 4096)
        _in_range("epochs", self.epochs, 1, 100_000)
        _in_range("steps per epoch", self.steps_per_epoch, 1, 1_000_000)
        _in_range("average decay", self.average_decay, 0, 0.99999)
        _in_range("hold-out share", self.hold_out, 0, 0.5)
        _in_range("seed", self.seed, 0, 2**32 - 1)
        _in_range("processes per machine", self.processes_per_machine, 1, 1024)
        _in_range("machines", self.machines, 1, 1024)
        if self.plan:
            EpochPlan(self.plan)  # which refuses to count a source twice
        self._check_processes()
        self._check_teacher()

    def _check_processes(self) -> None:
        if self.batch_size % self.processes:
            below = self.batch_size // self.processes * self.processes
            raise ConfigError(
                f"batch size {self.batch_size} cannot be shared out equally among "
                f"{self.processes} processes",
                f"give `batch_size` {below or self.processes} or another multiple of "
                f"{self.processes}",
            )

    def _check_teacher(self) -> None:
        weight = self.loss.distillation_weight
        if self.teacher is None and weight > 0:
            raise ConfigError(
                f"distillation weight is {weight}, but there is no teacher", "give `teacher` FILE"
            )
        if self.teacher is not None and weight == 0:
            raise ConfigError(
                f"{self.teacher} is to teach, but the distillation weight is 0",
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
        """The run as it travels with the model, without anything of this machine.

        Datasets and checkpoints stand by name. The number of processes is left out, for the
        result does not depend on it.
        """
        document = self.to_dict()
        for name in ("out", "network", "preprocess", "yardstick"):
            del document[name]
        for name in _HOW_STARTED:
            document.pop(name, None)
        document["data"] = [parse_source(text).label for text in self.data]
        for name in ("init", "teacher"):
            path = getattr(self, name)
            # Its run and its own name: every run's best checkpoint is called the same.
            document[name] = None if path is None else "/".join(path.resolve().parts[-2:])
        return document


def _in_range(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ConfigError(f"{name} is {value}", f"give a value from {lowest} to {highest}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}", f"choose one of: {', '.join(choices)}")
