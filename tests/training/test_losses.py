"""The loss against slow references, at its edges, and in what it punishes."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgecrack.errors import ConfigError
from edgecrack.training.config import DiceDenominator, LossConfig
from edgecrack.training.losses import (
    cl_dice_of,
    cl_dice_sums,
    dice_of,
    dice_sums,
    divergence_sums,
    mean_of,
    segmentation_loss,
    soft_skeleton,
)

Floats = NDArray[np.float64]
SQUARES = LossConfig(dice_denominator="squares")
each_denominator = pytest.mark.parametrize("denominator", get_args(DiceDenominator))


def slow_loss(logits: Floats, truth: NDArray[np.int64], power: int = 1) -> tuple[float, float]:
    """Cross-entropy and Dice term, pixel by pixel in plain Python floats.

    The denominator of Dice sums the maps' first or second powers.
    """
    cross_entropy, overlap, predicted, true = [], 0.0, 0.0, 0
    for image, mask in zip(logits, truth, strict=True):
        for y, x in np.ndindex(mask.shape):
            background, crack = float(image[0, y, x]), float(image[1, y, x])
            highest = max(background, crack)
            log_sum = highest + math.log(math.exp(background - highest) + math.exp(crack - highest))
            cross_entropy.append(log_sum - (crack if mask[y, x] else background))
            probability = math.exp(crack - log_sum)
            overlap += probability * mask[y, x]
            predicted += probability**power
            true += int(mask[y, x])
    dice = 1 - (2 * overlap + 1) / (predicted + true + 1)
    return math.fsum(cross_entropy) / len(cross_entropy), dice


def certain(crack: Tensor, margin: float = 20.0) -> Tensor:
    """Logits that say `crack` (0 or 1, [N, H, W]) with certainty."""
    sign = (2.0 * crack - 1.0) * margin
    return torch.stack([-sign, sign], dim=1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 7), (3, 8, 4)])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
@pytest.mark.parametrize(("config", "power"), [(LossConfig(), 1), (SQUARES, 2)])
def test_loss_is_the_reference_s(
    shape: tuple[int, int, int], share: float, spread: float, config: LossConfig, power: int
) -> None:
    generator = np.random.default_rng(7)
    logits = generator.normal(0, spread, (shape[0], 2, *shape[1:]))
    truth = (generator.random(shape) < share).astype(np.int64)
    wanted = sum(slow_loss(logits, truth, power))
    double = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(truth), config)
    single = segmentation_loss(torch.from_numpy(logits).float(), torch.from_numpy(truth), config)
    assert double.item() == pytest.approx(wanted, rel=1e-12, abs=1e-14)
    assert single.item() == pytest.approx(wanted, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_float32(dtype: torch.dtype) -> None:
    logits = torch.randn(4, 2, 256, 256).to(dtype)  # 65,536 pixels each: too many for float16
    truth = torch.randint(0, 2, (4, 256, 256), dtype=torch.uint8)
    loss = segmentation_loss(logits, truth)
    assert loss.dtype == torch.float32
    wanted = segmentation_loss(logits.double(), truth)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("truth_dtype", [torch.uint8, torch.int64, torch.bool])
def test_every_kind_of_truth_is_the_same(truth_dtype: torch.dtype) -> None:
    logits, truth = torch.randn(2, 2, 8, 8), torch.randint(0, 2, (2, 8, 8))
    assert segmentation_loss(logits, truth.to(truth_dtype)) == segmentation_loss(logits, truth)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_labels_are_best_met_by_the_smoothed_probability(smoothing: float) -> None:
    """With the truth less certain by s, a certain pixel costs least at a probability of 1 - s/2."""
    config = LossConfig(dice_weight=0, label_smoothing=smoothing)
    truth = torch.ones((1, 1, 1), dtype=torch.long)
    margins = torch.linspace(-8, 8, 161, dtype=torch.float64)
    costs = [
        float(
            segmentation_loss(torch.tensor([0.0, margin]).view(1, 2, 1, 1).double(), truth, config)
        )
        for margin in margins.tolist()
    ]
    best = float(torch.sigmoid(margins[int(np.argmin(costs))]))
    assert best == pytest.approx(1 - smoothing / 2, abs=0.01)


@pytest.mark.parametrize("smoothing", [-0.1, 0.6, math.nan])
def test_label_smoothing_out_of_range_is_refused(smoothing: float) -> None:
    with pytest.raises(ConfigError, match="`label_smoothing` is"):
        LossConfig(label_smoothing=smoothing)


@each_denominator
@pytest.mark.parametrize("value", [0, 1])
def test_perfect_prediction_of_an_even_mask_costs_nothing(
    value: int, denominator: DiceDenominator
) -> None:
    truth = torch.full((2, 16, 16), value)
    config = LossConfig(dice_denominator=denominator)
    assert segmentation_loss(certain(truth), truth, config).item() == pytest.approx(0, abs=1e-6)


@each_denominator
def test_nothing_true_and_nothing_predicted_is_not_0_by_0(denominator: DiceDenominator) -> None:
    empty = torch.zeros(2, 8, 8)
    assert dice_of(dice_sums(empty, empty, denominator)).item() == 0.0


def test_dice_of_squares_is_that_of_v_net() -> None:
    """Equation 3 there: D = 2 sum(p g) / (sum(p^2) + sum(g^2)); ours adds 1 above and below."""
    probability = torch.tensor([[[0.5, 0.5, 1.0, 0.0]]])
    crack = torch.tensor([[[1.0, 0.0, 1.0, 1.0]]])
    overlap, total = dice_sums(probability, crack, "squares").tolist()
    assert (overlap, total) == (1.5, (0.25 + 0.25 + 1.0) + 3.0)
    found = dice_of(dice_sums(probability, crack, "squares")).item()
    assert found == pytest.approx(1 - (2 * 1.5 + 1) / (4.5 + 1))


def test_both_denominators_agree_on_maps_of_zeros_and_ones() -> None:
    maps = torch.randint(0, 2, (2, 3, 9, 9)).double()
    sums = [dice_sums(maps[0], maps[1], name) for name in get_args(DiceDenominator)]
    assert torch.equal(sums[0], sums[1])


def test_false_alarms_on_empty_tiles_are_punished_the_more_the_larger_they_are() -> None:
    empty = torch.zeros(4, 32, 32, dtype=torch.int64)
    losses = []
    for pixels in (0, 1, 4, 16, 256):
        alarm = torch.zeros(4, 32 * 32)
        alarm[:, :pixels] = 1.0
        losses.append(segmentation_loss(certain(alarm.view(4, 32, 32), 5.0), empty).item())
    assert losses == sorted(losses)
    assert losses[0] < losses[1] - 0.5


def test_gradient_on_empty_tiles_lowers_every_false_alarm() -> None:
    logits = torch.randn(2, 2, 16, 16, requires_grad=True)
    segmentation_loss(logits, torch.zeros(2, 16, 16, dtype=torch.int64)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad[:, 1] > 0).all()
    assert (logits.grad[:, 0] < 0).all()


def test_missing_a_thin_crack_costs_more_than_its_share_of_pixels() -> None:
    truth = torch.zeros(1, 64, 64, dtype=torch.int64)
    truth[:, 30:32] = 1
    found, missed = (
        segmentation_loss(certain(mask, 5.0), truth) for mask in (truth, torch.zeros_like(truth))
    )
    assert (missed - found).item() > 0.9


@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_extreme_logits_give_finite_loss_and_gradient(size: float) -> None:
    truth = torch.randint(0, 2, (2, 8, 8))
    for wrong in (truth, 1 - truth):
        logits = certain(wrong, size).requires_grad_()
        loss = segmentation_loss(logits, truth)
        loss.backward()  # type: ignore[no-untyped-call]
        assert torch.isfinite(loss)
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


@each_denominator
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_gradient_is_the_numerical_one(share: float, denominator: DiceDenominator) -> None:
    config = LossConfig(dice_denominator=denominator)
    logits = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    truth = (torch.rand(2, 4, 4) < share).long()
    assert torch.autograd.gradcheck(
        lambda values: segmentation_loss(values, truth, config), (logits,)
    )


# ---- centreline Dice


def test_centreline_dice_is_the_reference_s() -> None:
    generator = np.random.default_rng(5)
    probability = generator.random((2, 12, 10))
    crack = (generator.random((2, 12, 10)) < 0.3).astype(np.float64)
    lines = [soft_skeleton(torch.from_numpy(item), 3).numpy() for item in (probability, crack)]
    sums = [0.0] * 4
    for place in np.ndindex(crack.shape):
        predicted, true = (float(line[place]) for line in lines)
        sums[0] += predicted * float(crack[place])
        sums[1] += predicted
        sums[2] += true * float(probability[place])
        sums[3] += true
    precision, sensitivity = ((sums[i] + 1) / (sums[i + 1] + 1) for i in (0, 2))
    wanted = 1 - 2 * precision * sensitivity / (precision + sensitivity)
    found = cl_dice_of(cl_dice_sums(torch.from_numpy(probability), torch.from_numpy(crack), 3))
    assert found.item() == pytest.approx(wanted, rel=1e-12)


def test_a_gap_in_a_crack_costs_and_a_thinner_crack_does_not() -> None:
    truth = torch.zeros(1, 32, 64)
    truth[:, 14:17] = 1
    thinner, broken = truth.clone(), truth.clone()
    thinner[:, 14] = thinner[:, 16] = 0
    broken[:, :, 10:53] = 0  # as many pixels as the thinner one lost

    def loss(maps: Tensor) -> float:
        return cl_dice_of(cl_dice_sums(maps, truth, 3)).item()

    assert loss(truth) == pytest.approx(0, abs=1e-6)
    assert loss(thinner) == pytest.approx(0, abs=1e-6)
    assert loss(broken) > 0.3


def test_no_crack_anywhere_is_not_0_by_0() -> None:
    empty = torch.zeros(2, 16, 16)
    assert cl_dice_of(cl_dice_sums(empty, empty, 3)).item() == 0.0


# ---- distillation


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_divergence_is_the_reference_s(temperature: float) -> None:
    own, teacher = np.random.default_rng(6).normal(0, 4, (2, 3, 5, 4))
    total = 0.0
    for student_margin, teacher_margin in zip(own.flat, teacher.flat, strict=True):
        q, p = (1 / (1 + math.exp(-z / temperature)) for z in (student_margin, teacher_margin))
        total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    wanted = total / own.size * temperature**2
    margins = torch.from_numpy(own), torch.from_numpy(teacher)
    assert mean_of(divergence_sums(*margins, temperature)).item() == pytest.approx(wanted, rel=1e-9)


def test_a_student_that_agrees_pays_nothing_and_is_left_alone() -> None:
    margin = torch.tensor([[[-1e4, -2.0, 0.0, 3.0, 1e4]]], requires_grad=True)
    loss = mean_of(divergence_sums(margin, margin.detach()))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert margin.grad is not None
    assert margin.grad.abs().max() < 1e-7


def test_weights_are_those_of_the_terms() -> None:
    logits, truth = torch.randn(2, 2, 16, 16), torch.randint(0, 2, (2, 16, 16))
    teacher = torch.randn(2, 16, 16)
    crack, probability = truth.float(), torch.softmax(logits, 1)[:, 1]
    parts = {
        "dice_weight": dice_of(dice_sums(probability, crack)),
        "cl_dice_weight": cl_dice_of(cl_dice_sums(probability, crack, 4)),
        "distillation_weight": mean_of(divergence_sums(logits[:, 1] - logits[:, 0], teacher)),
    }
    nothing = LossConfig(dice_weight=0, cl_dice_iterations=4)
    plain = segmentation_loss(logits, truth, nothing)
    assert plain.item() == pytest.approx(
        torch.nn.functional.cross_entropy(logits, truth).item(), rel=1e-6
    )
    for name, part in parts.items():
        config = replace(nothing, **{name: 2.5})  # type: ignore[arg-type]
        loss = segmentation_loss(logits, truth, config, teacher_margin=teacher)
        assert (loss - plain).item() == pytest.approx(2.5 * part.item(), rel=1e-4), name


# ---- a batch that several processes share


@each_denominator
@pytest.mark.parametrize("shares", [[3, 3], [4, 2], [5, 1]])
def test_shares_of_a_batch_give_its_loss_and_together_its_gradient(
    shares: list[int], denominator: DiceDenominator
) -> None:
    config = LossConfig(
        1.0, denominator, cl_dice_weight=0.7, cl_dice_iterations=2, distillation_weight=0.4
    )
    logits, truth = torch.randn(6, 2, 16, 16).double(), torch.randint(0, 2, (6, 16, 16))
    teacher = torch.randn(6, 16, 16).double()
    whole = logits.clone().requires_grad_()
    loss = segmentation_loss(whole, truth, config, teacher_margin=teacher)
    loss.backward()  # type: ignore[no-untyped-call]
    parts = [item.requires_grad_() for item in torch.split(logits.clone(), shares)]
    sums: list[Tensor] = []

    def keep(own: Tensor) -> Tensor:
        sums.append(own)
        return own

    arguments = list(
        zip(parts, torch.split(truth, shares), torch.split(teacher, shares), strict=True)
    )
    for part, mask, margin in arguments:
        segmentation_loss(part, mask, config, teacher_margin=margin, combine=keep)
    for rank, (part, mask, margin) in enumerate(arguments):
        add_other = partial(torch.add, sums[1 - rank].detach())
        found = segmentation_loss(part, mask, config, teacher_margin=margin, combine=add_other)
        assert found.item() == pytest.approx(loss.item(), rel=1e-12)
        found.backward()  # type: ignore[no-untyped-call]
    assert whole.grad is not None
    gradient = torch.cat([part.grad for part in parts if part.grad is not None])
    assert torch.allclose(gradient, whole.grad, rtol=1e-9, atol=1e-14)
