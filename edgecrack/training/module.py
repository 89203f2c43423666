"""The Lightning module: optimizer, learning rate, loss and validation of one network."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.nn import functional

from edgecrack.artifacts import ModelSpec
from edgecrack.errors import TrainingError
from edgecrack.metrics import ThresholdCounts, count_image, iou, ods
from edgecrack.model.unet import SIZE_MULTIPLE, CrackUNet
from edgecrack.training.checkpoints import SPEC_KEY
from edgecrack.training.config import OptimizerConfig, TrainingConfig
from edgecrack.training.losses import Teacher, segmentation_loss
from edgecrack.training.processes import pool_over_processes, sum_over_processes
from edgecrack.training.run_folder import check_same_run

_FINAL_LEARNING_RATE_SHARE = 0.01


def make_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimizer of all weights of a network."""
    if config.name == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
    return torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )


def learning_rate_share(step: int, total_steps: int, config: OptimizerConfig) -> float:
    """Learning rate of a step as a share of the highest one, 0 to 1."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return _FINAL_LEARNING_RATE_SHARE + (1 - _FINAL_LEARNING_RATE_SHARE) * cosine


_LEAST_SCALE = 1.0  # float16 gradients that still overflow unscaled will not recover
_TAMER = "lower `learning_rate` or raise `warmup_steps`; the checkpoints of whole epochs are kept"


def to_network_input(tiles: Tensor) -> Tensor:
    """uint8 [N, 1, H, W] -> float32 [N, 1, H, W] in 0..1."""
    return tiles.float().div_(255.0).contiguous(memory_format=torch.channels_last)


def predict_image(network: CrackUNet, image: Tensor) -> Tensor:
    """Crack probability of one whole image, padded to the multiple that the network needs.

    Args:
        network: the network.
        image: uint8 [1, 1, H, W], preprocessed.

    Returns:
        uint8 [H, W], 255 = certain crack.
    """
    height, width = image.shape[-2:]
    padding = (0, -width % SIZE_MULTIPLE, 0, -height % SIZE_MULTIPLE)
    padded = functional.pad(to_network_input(image), padding, mode="replicate")
    probability = torch.softmax(network(padded).float(), dim=1)[0, 1, :height, :width]
    return probability.mul(255.0).round().to(torch.uint8)


class CrackModule(pl.LightningModule):
    """Trains and validates a `CrackUNet`.

    Args:
        config: the run.
        steps_per_epoch: where a plan sets it; None for the configuration's.
        teacher: what to learn from besides the labels.
    """

    def __init__(
        self,
        config: TrainingConfig,
        steps_per_epoch: int | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.steps_per_epoch = steps_per_epoch or config.steps_per_epoch
        self._teacher = teacher
        self.network = CrackUNet(config.network)
        # channels-last is the faster layout for convolutions of few channels on a CPU
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.threshold = 0.5
        self.validation_scores: dict[str, float] = {}
        self._strict_counts: list[ThresholdCounts] = []
        self._tolerant_counts: list[ThresholdCounts] = []

    def forward(self, tiles: Tensor) -> Tensor:
        """uint8 [N, 1, H, W] -> logits [N, 2, H, W]."""
        logits: Tensor = self.network(to_network_input(tiles))
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Loss of one batch.

        Raises:
            TrainingError: the loss is not finite.
        """
        tiles, truth = batch
        margin = self._teacher.margin(to_network_input(tiles)) if self._teacher else None
        loss = segmentation_loss(
            self(tiles),
            truth[:, 0],
            self.config.loss,
            teacher_margin=margin,
            combine=sum_over_processes,
        )
        # The loss is the same in every process, so all of them stop here.
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss became {loss.item()} at step {self.global_step}", _TAMER)
        self.log("train_loss", loss, prog_bar=True, on_step=True, on_epoch=False)
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's norm, and check that it is finite.

        Raises:
            TrainingError: it is not finite; the weights are those of the step before.
        """
        limit = self.config.optimizer.clip_norm or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        if torch.isfinite(norm):
            return
        plugin = self.trainer.precision_plugin
        scaler = plugin.scaler if isinstance(plugin, MixedPrecision) else None
        if scaler is not None and scaler.get_scale() > _LEAST_SCALE:
            return  # the scaler skips this step and reduces the scale
        raise TrainingError(f"the gradient became {norm.item()} at step {self.global_step}", _TAMER)

    def on_validation_epoch_start(self) -> None:
        """Reset the counts."""
        self._strict_counts.clear()
        self._tolerant_counts.clear()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Count one whole image; an empty one is skipped."""
        image, truth = batch
        if not image.numel():
            return
        probability = predict_image(self.network, image).cpu().numpy()
        mask = truth[0, 0].cpu().numpy() > 0
        self._strict_counts.append(count_image(probability, mask, "strict"))
        self._tolerant_counts.append(count_image(probability, mask, "square"))

    def on_validation_epoch_end(self) -> None:
        """Log pooled scores; the threshold of the best strict F1 is stored with the model."""
        strict = pool_over_processes(self._strict_counts, "strict", self.device)
        tolerant = pool_over_processes(self._tolerant_counts, "square", self.device)
        best = ods(strict)
        self.threshold = float(np.clip(best.threshold, 0.01, 0.99))
        self.validation_scores = {
            "val_strict_f1": best.f1,
            "val_ods": ods(tolerant).f1,
            "val_iou": iou(strict, self.threshold),
            "val_threshold": self.threshold,
        }
        self.log_dict(self.validation_scores, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's description, from which the sidecar is written.

        Raises:
            TrainingError: a weight is not finite; the previous checkpoint stays.
        """
        if not all(torch.isfinite(weight).all() for weight in self.network.parameters()):
            raise TrainingError(f"the weights became infinite at step {self.global_step}", _TAMER)
        network = self.config.network
        scores = [{"data": "validation", **self.validation_scores}]
        checkpoint[SPEC_KEY] = ModelSpec(
            kind="checkpoint",
            pooling=network.pooling,
            width=network.width,
            gate_bias=network.gate_bias,
            preprocess=self.config.preprocess,
            threshold=self.threshold,
            scores=tuple(scores) if self.validation_scores else (),
            extra={"training": self.config.recipe()},
        ).to_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to continue with another network than the checkpoint's.

        Raises:
            TrainingError: width, pooling, gate bias or a setting differs.
        """
        saved = ModelSpec.from_dict(checkpoint[SPEC_KEY])
        check_same_run(saved, self.config)
        self.threshold = saved.threshold

    def configure_optimizers(self) -> Any:
        """The optimizer and the learning-rate schedule, updated at every step."""
        config = self.config.optimizer
        total_steps = self.config.epochs * self.steps_per_epoch
        optimizer = make_optimizer(self.network, config)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_share(step, total_steps, config)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }
