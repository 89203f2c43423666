"""Partial convolution against the sum over the taps that exist, and its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from edgecrack.model.partial_conv import PartialConv2d, border_ratio
from tests.model import slow

SIZES = [(1, 1), (1, 6), (5, 1), (2, 2), (2, 5), (3, 3), (4, 6), (7, 5)]


def random_layer(in_channels: int, out_channels: int) -> PartialConv2d:
    layer = PartialConv2d(in_channels, out_channels).double()
    with torch.no_grad():
        layer.bias.normal_(std=2)
    return layer


def arrays(layer: PartialConv2d) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [(1, 1), (3, 2)])
def test_equals_the_taps_written_out(size: tuple[int, int], channels: tuple[int, int]) -> None:
    layer = random_layer(*channels)
    features = 3 * torch.randn(2, channels[0], *size, dtype=torch.float64)
    expected = slow.partial_convolution(features.numpy(), *arrays(layer))
    np.testing.assert_allclose(layer(features).detach().numpy(), expected, rtol=1e-12, atol=1e-12)


def test_float32_is_as_near_as_float32_goes() -> None:
    layer = random_layer(4, 3).float()
    features = torch.randn(1, 4, 9, 6)
    expected = slow.partial_convolution(features.double().numpy(), *arrays(layer))
    np.testing.assert_allclose(layer(features).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("place", "ratio"),
    [
        ((slice(1, -1), slice(1, -1)), 1.0),
        ((0, slice(1, -1)), 1.5),
        ((-1, slice(1, -1)), 1.5),
        ((slice(1, -1), 0), 1.5),
        ((slice(1, -1), -1), 1.5),
        ((0, 0), 2.25),
        ((0, -1), 2.25),
        ((-1, 0), 2.25),
        ((-1, -1), 2.25),
    ],
)
def test_border_ratio_is_that_of_the_paper_it_cites(
    place: tuple[int | slice, int | slice], ratio: float
) -> None:
    assert bool((border_ratio(5, 7)[0, 0][place] == ratio).all())


def test_a_flat_map_stays_flat_to_the_border_under_a_flat_kernel() -> None:
    """The purpose of the ratio: zero padding would darken the border."""
    layer = random_layer(2, 1)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([0.3, -1.1], dtype=torch.float64)[:, None, None]
    flat = torch.tensor([5.0, 7.0], dtype=torch.float64)[:, None, None].expand(1, 2, 6, 4)
    result = layer(flat)
    torch.testing.assert_close(result, result[..., :1, :1].expand_as(result))


def test_the_bias_is_not_scaled_at_the_border() -> None:
    layer = random_layer(1, 1)
    result = layer(torch.zeros(1, 1, 4, 4, dtype=torch.float64))
    torch.testing.assert_close(result, layer.bias.expand_as(result))


def test_a_batch_is_its_members_one_by_one() -> None:
    layer = random_layer(2, 2)
    features = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    one_by_one = torch.cat([layer(item[None]) for item in features])
    torch.testing.assert_close(layer(features), one_by_one)


def test_what_goes_in_is_left_as_it_was() -> None:
    features = torch.randn(1, 2, 4, 4, dtype=torch.float64)
    before = features.clone()
    random_layer(2, 3)(features)
    assert torch.equal(features, before)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 2), (2, 3), (4, 5)])
def test_gradients_of_input_weight_and_bias(size: tuple[int, int]) -> None:
    layer = random_layer(2, 3)
    features = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)

    def run(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        result: Tensor = functional_call(layer, {"weight": weight, "bias": bias}, (features,))
        return result

    weight, bias = (value.detach().requires_grad_() for value in (layer.weight, layer.bias))
    assert torch.autograd.gradcheck(run, (features, weight, bias))


@pytest.mark.parametrize("size", [(1, 3), (6, 5)])
def test_training_works_after_a_look_without_gradients(size: tuple[int, int]) -> None:
    """What inference mode leaves behind in a cache must not break the next training step."""
    features = torch.randn(1, 1, *size, dtype=torch.float64)
    border_ratio.cache_clear()
    layer = random_layer(1, 1)
    with torch.inference_mode():
        layer(features)
    layer(features).sum().backward()
    assert layer.weight.grad is not None


def test_mixed_precision_is_near_and_trains() -> None:
    layer, features = random_layer(4, 3).float(), torch.randn(2, 4, 8, 6)
    expected = slow.partial_convolution(features.double().numpy(), *arrays(layer))
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(features)
    np.testing.assert_allclose(result.detach().float().numpy(), expected, rtol=0.03, atol=0.1)
    result.float().square().sum().backward()
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    assert layer.bias.grad.dtype == torch.float32


def test_starts_he_normal_with_no_bias() -> None:
    layer = PartialConv2d(64, 48)
    assert layer.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)
    assert layer.weight.mean().item() == pytest.approx(0, abs=1e-3)
    assert not layer.bias.any()
