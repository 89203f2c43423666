"""The Lightning module: learning rates, whole-image predictions, scores, and what it refuses."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision, Precision

from edgecrack.errors import TrainingError
from edgecrack.metrics import count_image, iou, ods
from edgecrack.model.unet import CrackUNet, NetworkConfig
from edgecrack.preprocess import PreprocessConfig
from edgecrack.training.checkpoints import SPEC_KEY
from edgecrack.training.config import LossConfig, OptimizerConfig, PatchConfig, TrainingConfig
from edgecrack.training.losses import segmentation_loss
from edgecrack.training.module import (
    CrackModule,
    learning_rate_share,
    predict_image,
    to_network_input,
)
from edgecrack.training.patch_sampler import DevicePatchSampler
from tests.training.runs import tiny_config


def module(**changes: Any) -> CrackModule:
    torch.manual_seed(0)
    return CrackModule(tiny_config("synthetic:10", Path("unused"), **changes))


def cracked(height: int = 48, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """A bright wall with one dark crack, and its truth: uint8 [1, 1, H, W] each."""
    image = torch.full((1, 1, height, width), 200, dtype=torch.uint8)
    truth = torch.zeros_like(image)
    image[..., 20:23, 5:60] = 30
    truth[..., 20:23, 5:60] = 255
    return image, truth


# ---- learning rate


def test_warm_up_rises_to_the_full_rate_and_cosine_falls_to_one_percent() -> None:
    config = OptimizerConfig(warmup_steps=10, schedule="cosine")
    shares = [learning_rate_share(step, 110, config) for step in range(120)]
    assert shares[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert shares[10] == 1.0
    assert shares[60] == pytest.approx(0.01 + 0.99 * 0.5)
    assert shares[35] == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert all(later <= earlier for earlier, later in pairwise(shares[10:]))
    assert shares[110:] == pytest.approx([0.01] * 10)


def test_constant_schedule_stays_and_no_warm_up_starts_full() -> None:
    config = OptimizerConfig(warmup_steps=0, schedule="constant")
    assert [learning_rate_share(step, 100, config) for step in (0, 50, 200)] == [1.0, 1.0, 1.0]


def test_warm_up_longer_than_the_run_never_passes_the_full_rate() -> None:
    config = OptimizerConfig(warmup_steps=200)
    assert max(learning_rate_share(step, 6, config) for step in range(300)) <= 1.0


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_optimizer_is_the_one_asked_for(name: Any, kind: type[torch.optim.Optimizer]) -> None:
    made = module(optimizer=OptimizerConfig(name, 0.01, warmup_steps=4)).configure_optimizers()
    optimizer = made["optimizer"]
    assert isinstance(optimizer, kind)
    # The first step of the warm-up is taken at a quarter of the rate.
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0025)


# ---- prediction


def test_input_is_scaled_to_0_1_in_place_of_the_paper_s_bytes() -> None:
    tiles = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    assert to_network_input(tiles).flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert tiles.flatten().tolist() == [0, 51, 255]


@pytest.mark.parametrize("hw", [(48, 64), (41, 63), (8, 8), (1, 1), (7, 40)])
def test_whole_image_of_any_size(hw: tuple[int, int]) -> None:
    network = CrackUNet(NetworkConfig(width=2)).eval()
    image = torch.randint(0, 256, (1, 1, *hw), dtype=torch.uint8)
    with torch.no_grad():
        probability = predict_image(network, image)
    assert probability.shape == hw
    assert probability.dtype == torch.uint8


def test_whole_image_is_the_network_s_softmax_in_bytes() -> None:
    network = CrackUNet(NetworkConfig(width=2)).eval()
    with torch.no_grad():
        network.fuse.weight.mul_(0.01)  # else every pixel is certain
        image = torch.randint(0, 256, (1, 1, 16, 24), dtype=torch.uint8)
        logits = network(image.float() / 255).double().numpy()[0]
        probability = predict_image(network, image).numpy()
    slow = 255 / (1 + np.exp(logits[0] - logits[1]))
    assert np.abs(probability - slow).max() <= 0.501
    assert len(np.unique(probability)) > 2


# ---- scores


def test_validation_scores_are_those_of_the_metrics_pooled_over_images() -> None:
    made = module()
    logged: dict[str, float] = {}
    made.log_dict = lambda values, **options: logged.update(values)  # type: ignore[method-assign]
    image, truth = cracked()
    with torch.no_grad():
        made.network.fuse.weight.mul_(0.01)
        for _ in range(2):  # a second epoch counts afresh
            made.on_validation_epoch_start()
            made.validation_step((image, truth), 0)
            made.validation_step((255 - image, truth), 1)
            made.on_validation_epoch_end()
        maps = [predict_image(made.network, item).numpy() for item in (image, 255 - image)]
    mask = truth[0, 0].numpy() > 0
    strict, tolerant = (
        count_image(maps[0], mask, kind) + count_image(maps[1], mask, kind)
        for kind in ("strict", "square")
    )
    assert logged["val_strict_f1"] == ods(strict).f1
    assert logged["val_ods"] == ods(tolerant).f1
    assert logged["val_iou"] == iou(strict, made.threshold)
    assert logged["val_threshold"] == made.threshold == ods(strict).threshold


# ---- learning


def test_loss_falls_when_one_image_is_learned_by_heart() -> None:
    image, truth = (item[0, 0].numpy() for item in cracked())
    sampler = DevicePatchSampler([image], [truth], PatchConfig(32, 0.6))
    optimizer_config = OptimizerConfig(learning_rate=5e-3, warmup_steps=0)
    made = module(network=NetworkConfig(width=4), optimizer=optimizer_config)
    optimizer = made.configure_optimizers()["optimizer"]
    losses = []
    for step in range(100):
        patches, masks = sampler.batch(step, 8)
        loss = segmentation_loss(made(patches), masks[:, 0])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.35
    assert np.mean(losses[-10:]) < 0.2 * np.mean(losses[:5])


# ---- refusals


def test_loss_that_is_not_finite_is_an_error() -> None:
    made = module()
    with torch.no_grad():
        made.network.fuse.bias.fill_(math.nan)  # type: ignore[union-attr]
    image, truth = cracked(32, 32)
    with pytest.raises(TrainingError, match="the loss became nan at step 0; lower `learning_rate`"):
        made.training_step((image, truth // 255), 0)


def in_trainer(made: CrackModule, precision: Precision) -> CrackModule:
    """A module in its eighth step, with one gradient that is not a number."""
    made._trainer = SimpleNamespace(global_step=7, precision_plugin=precision)  # type: ignore[assignment]
    for weight in made.parameters():
        weight.grad = torch.ones_like(weight)
    next(made.parameters()).grad = torch.full_like(next(made.parameters()), math.nan)
    return made


def test_gradient_that_is_not_a_number_is_an_error_before_any_weight_moves() -> None:
    made = in_trainer(module(), Precision())
    with pytest.raises(TrainingError, match="the gradient became nan at step 7; lower `learning"):
        made.configure_gradient_clipping(torch.optim.SGD(made.parameters()))


def test_float16_gradients_may_overflow_until_their_scale_is_used_up() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(torch.zeros(1))  # which makes the scale
    made = in_trainer(module(), MixedPrecision("16-mixed", "cpu", scaler))
    made.configure_gradient_clipping(torch.optim.SGD(made.parameters()))
    scaler.update(1.0)
    with pytest.raises(TrainingError, match="the gradient became nan at step 7"):
        made.configure_gradient_clipping(torch.optim.SGD(made.parameters()))


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_gradient_norm_is_clipped_if_asked_for(clip_norm: float) -> None:
    made = in_trainer(module(optimizer=OptimizerConfig(clip_norm=clip_norm)), Precision())
    for weight in made.parameters():
        weight.grad = torch.ones_like(weight)
    before = math.sqrt(sum(weight.numel() for weight in made.parameters()))
    made.configure_gradient_clipping(torch.optim.SGD(made.parameters()))
    squares = [
        float(weight.grad.square().sum()) for weight in made.parameters() if weight.grad is not None
    ]
    assert math.sqrt(sum(squares)) == pytest.approx(clip_norm or before, rel=1e-4)


def test_weights_that_are_not_finite_are_not_saved() -> None:
    made = module()
    with torch.no_grad():
        next(made.parameters()).view(-1)[0] = math.inf
    with pytest.raises(TrainingError, match="the weights became infinite at step 0"):
        made.on_save_checkpoint({})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": NetworkConfig(width=4)}, "has width 2, but 4 was requested"),
        ({"network": NetworkConfig(2, "max")}, "has pooling gated-scale, but max was requested"),
        ({"network": NetworkConfig(2, gate_bias=True)}, "has gate bias False, but True"),
        ({"optimizer": OptimizerConfig("sgd")}, "has optimizer name adamw, but sgd"),
        ({"average_decay": 0.9}, "has average decay 0.0, but 0.9"),
        ({"seed": 6}, "has seed 5, but 6"),
    ],
)
def test_checkpoint_of_another_run_is_refused(changes: dict[str, Any], words: str) -> None:
    checkpoint: dict[str, Any] = {}
    module().on_save_checkpoint(checkpoint)
    module().on_load_checkpoint(checkpoint)
    with pytest.raises(TrainingError, match=f"{words}.*; give the run's own options"):
        module(**changes).on_load_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("preparation", "words"),
    [
        (
            PreprocessConfig(gamma=2.0),
            r"gamma 1\.2, but 2\.0 .*; give `preprocess\.gamma`=1\.2,",
        ),
        (
            PreprocessConfig(stretch="minmax"),
            r"stretch percentile, but minmax .*; give `preprocess\.stretch`=percentile,",
        ),
        (PreprocessConfig(stretch_margin=1), r"; give `preprocess\.stretch_margin`=0\.1,"),
    ],
)
def test_frames_prepared_otherwise_are_another_run_s(
    preparation: PreprocessConfig, words: str
) -> None:
    checkpoint: dict[str, Any] = {}
    module().on_save_checkpoint(checkpoint)
    with pytest.raises(TrainingError, match=words):
        module(preprocess=preparation).on_load_checkpoint(checkpoint)


def test_a_run_from_before_the_percentile_stretch_goes_on_with_its_own() -> None:
    checkpoint: dict[str, Any] = {}
    module(preprocess=PreprocessConfig(stretch="minmax")).on_save_checkpoint(checkpoint)
    description = checkpoint[SPEC_KEY]
    description["schema_version"] = 1
    for name in ("scales", "merge", "channels", "layout", "temperature"):
        del description[name]
    description["preprocess"] = {"clahe_clip": 2.0, "clahe_grid": 8, "gamma": 1.2}
    with pytest.raises(TrainingError, match=r"stretch minmax, .*preprocess\.stretch`=minmax"):
        module().on_load_checkpoint(checkpoint)
    module(preprocess=PreprocessConfig(stretch="minmax")).on_load_checkpoint(checkpoint)


def test_a_run_of_before_there_was_a_choice_goes_on_with_what_it_did() -> None:
    checkpoint: dict[str, Any] = {}
    module().on_save_checkpoint(checkpoint)
    del checkpoint[SPEC_KEY]["training"]["loss"]["dice_denominator"]
    module().on_load_checkpoint(checkpoint)
    with pytest.raises(TrainingError, match="has loss dice denominator sums, but squares was"):
        module(loss=LossConfig(dice_denominator="squares")).on_load_checkpoint(checkpoint)


def test_a_run_of_before_labels_could_be_smoothed_goes_on_without() -> None:
    checkpoint: dict[str, Any] = {}
    module().on_save_checkpoint(checkpoint)
    del checkpoint[SPEC_KEY]["training"]["loss"]["label_smoothing"]
    module().on_load_checkpoint(checkpoint)
    with pytest.raises(TrainingError, match=r"has loss label smoothing 0\.0, but 0\.1 was"):
        module(loss=LossConfig(label_smoothing=0.1)).on_load_checkpoint(checkpoint)


def test_module_keeps_the_configuration_it_was_given() -> None:
    config: TrainingConfig = module().config
    assert config.network.width == 2
