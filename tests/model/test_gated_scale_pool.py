"""The three poolings against windows written out pixel by pixel, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from edgecrack.artifacts import POOLINGS, Pooling
from edgecrack.model.gated_scale_pool import (
    GatedScalePool,
    MaxPool,
    StackedPool,
    make_pool,
)
from tests.model import slow

# What the network pools is even; an odd last row or column is left out by every part alike.
SIZES = [(2, 2), (2, 8), (6, 4), (8, 8), (10, 14), (16, 6), (7, 9), (3, 10)]


def random_pool(channels: int, *, gate_bias: bool = True) -> GatedScalePool:
    pool = GatedScalePool(channels, gate_bias=gate_bias).double()
    with torch.no_grad():
        for parameter in pool.parameters():
            parameter.normal_()
    return pool


def slow_gated(pool: GatedScalePool, features: Tensor) -> slow.Maps:
    bias = None if pool.gate.bias is None else pool.gate.bias.detach().numpy()
    return slow.gated_scale_pool(features.numpy(), pool.gate.weight.detach().numpy(), bias)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", [0.0, -9.0], ids=["both signs", "all negative"])
@pytest.mark.parametrize("gate_bias", [False, True])
def test_gated_scale_equals_equation_1(
    size: tuple[int, int], shift: float, gate_bias: bool
) -> None:
    pool = random_pool(2, gate_bias=gate_bias)
    features = 2 * torch.randn(2, 2, *size, dtype=torch.float64) + shift
    result = pool(features).detach().numpy()
    np.testing.assert_allclose(result, slow_gated(pool, features), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shift", [0.0, -9.0], ids=["both signs", "all negative"])
def test_stacked_and_max_equal_their_windows(size: tuple[int, int], shift: float) -> None:
    features = torch.randn(2, 3, *size, dtype=torch.float64) + shift
    np.testing.assert_array_equal(MaxPool()(features), slow.max_pool(features.numpy()))
    np.testing.assert_allclose(StackedPool()(features), slow.stacked_pool(features.numpy()))


def test_a_negative_map_is_not_lifted_at_its_border() -> None:
    """Padding with zero instead of minus infinity would."""
    flat = torch.full((1, 2, 6, 4), -3.0, dtype=torch.float64)
    for pool in (MaxPool(), StackedPool(), random_pool(2)):
        torch.testing.assert_close(pool(flat), flat[..., ::2, ::2])


def test_stacked_pooling_of_one_bright_pixel() -> None:
    """Three scales by hand: its own cell has all three, the cell before it two, others one."""
    features = torch.zeros(1, 1, 2, 16)
    features[..., 9] = 3.0  # in cell 4
    assert StackedPool()(features).flatten().tolist() == [0, 0, 1, 2, 3, 1, 0, 0]


@pytest.mark.parametrize(("bias", "expected"), [(60.0, slow.max_pool), (-60.0, slow.stacked_pool)])
def test_an_open_gate_is_max_and_a_shut_one_stacked(bias: float, expected: object) -> None:
    pool = random_pool(2)
    with torch.no_grad():
        pool.gate.weight.zero_()
        assert pool.gate.bias is not None
        pool.gate.bias.fill_(bias)
    features = torch.randn(1, 2, 8, 6, dtype=torch.float64)
    assert callable(expected)
    np.testing.assert_allclose(pool(features).detach().numpy(), expected(features.numpy()))


def test_a_channel_is_gated_by_itself_alone() -> None:
    pool = random_pool(3)
    features = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    changed = features.clone()
    changed[:, 1] += 5
    difference = (pool(changed) - pool(features)).abs().amax((0, 2, 3))
    assert difference[0] == 0
    assert difference[1] > 1
    assert difference[2] == 0


def test_a_batch_is_its_members_one_by_one() -> None:
    pool = random_pool(2)
    features = torch.randn(3, 2, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(pool(features), torch.cat([pool(item[None]) for item in features]))


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (8, 6), (5, 7)])
@pytest.mark.parametrize("gate_bias", [False, True])
def test_gradients_of_gated_scale(size: tuple[int, int], gate_bias: bool) -> None:
    pool = random_pool(2, gate_bias=gate_bias)
    names, values = zip(*pool.named_parameters(), strict=True)
    features = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)

    def run(features: Tensor, *parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        result: Tensor = functional_call(pool, given, (features,))
        return result

    parameters = [value.detach().requires_grad_() for value in values]
    assert torch.autograd.gradcheck(run, (features, *parameters))


@pytest.mark.parametrize("pool", [StackedPool(), MaxPool()])
@pytest.mark.parametrize("size", [(2, 2), (8, 6), (5, 7)])
def test_gradients_of_stacked_and_max(pool: nn.Module, size: tuple[int, int]) -> None:
    features = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pool, (features,))


@pytest.mark.parametrize("gate_bias", [False, True])
def test_parameters_are_one_2x2_filter_per_channel(gate_bias: bool) -> None:
    counts = {
        name: sum(value.numel() for value in make_pool(name, 6, gate_bias=gate_bias).parameters())
        for name in POOLINGS
    }
    assert counts == {"gated-scale": 6 * (4 + gate_bias), "stacked": 0, "max": 0}


def test_the_gate_starts_small() -> None:
    pool = GatedScalePool(4096, gate_bias=True)
    assert pool.gate.weight.std().item() == pytest.approx(0.1, rel=0.03)
    assert pool.gate.bias is not None
    assert not pool.gate.bias.any()


@pytest.mark.parametrize(
    ("name", "kind"), [("gated-scale", GatedScalePool), ("stacked", StackedPool), ("max", MaxPool)]
)
def test_pooling_by_name(name: Pooling, kind: type[nn.Module]) -> None:
    assert isinstance(make_pool(name, 2), kind)
