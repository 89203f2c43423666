"""The loss against slow references, at its edges, and in what it punishes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgecrack.training.losses import dice_loss, segmentation_loss

Floats = NDArray[np.float64]


def slow_loss(logits: Floats, truth: NDArray[np.int64]) -> tuple[float, float]:
    """Cross-entropy and Dice term, pixel by pixel in plain Python floats."""
    cross_entropy, overlap, predicted, true = [], 0.0, 0.0, 0
    for image, mask in zip(logits, truth, strict=True):
        for y, x in np.ndindex(mask.shape):
            background, crack = float(image[0, y, x]), float(image[1, y, x])
            highest = max(background, crack)
            log_sum = highest + math.log(math.exp(background - highest) + math.exp(crack - highest))
            cross_entropy.append(log_sum - (crack if mask[y, x] else background))
            probability = math.exp(crack - log_sum)
            overlap += probability * mask[y, x]
            predicted += probability
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
def test_loss_is_the_reference_s(shape: tuple[int, int, int], share: float, spread: float) -> None:
    generator = np.random.default_rng(7)
    logits = generator.normal(0, spread, (shape[0], 2, *shape[1:]))
    truth = (generator.random(shape) < share).astype(np.int64)
    wanted = sum(slow_loss(logits, truth))
    double = segmentation_loss(torch.from_numpy(logits), torch.from_numpy(truth))
    single = segmentation_loss(torch.from_numpy(logits).float(), torch.from_numpy(truth))
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


@pytest.mark.parametrize("value", [0, 1])
def test_perfect_prediction_of_an_even_mask_costs_nothing(value: int) -> None:
    truth = torch.full((2, 16, 16), value)
    assert segmentation_loss(certain(truth), truth).item() == pytest.approx(0, abs=1e-6)


def test_nothing_true_and_nothing_predicted_is_not_0_by_0() -> None:
    assert dice_loss(torch.zeros(2, 8, 8), torch.zeros(2, 8, 8)).item() == 0.0


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


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_gradient_is_the_numerical_one(share: float) -> None:
    logits = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    truth = (torch.rand(2, 4, 4) < share).long()
    assert torch.autograd.gradcheck(lambda values: segmentation_loss(values, truth), (logits,))
