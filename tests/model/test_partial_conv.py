"""Partial convolution against the sum over the taps that exist, and its gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from edgecrack.model.partial_conv import PartialConv2d, border_ratio, scale_map, scale_ring
from edgecrack.model.unet import Block
from tests.model import slow

SIZES = [(1, 1), (1, 6), (5, 1), (2, 2), (2, 5), (3, 3), (4, 6), (7, 5)]
RING_SIZES = [size for size in SIZES if min(size) >= 2]
Form = Callable[[Tensor, Tensor, Tensor], Tensor]
each_form = pytest.mark.parametrize("form", [scale_ring, scale_map])


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


@each_form
@pytest.mark.parametrize("size", RING_SIZES)
def test_each_form_equals_the_taps_written_out(form: Form, size: tuple[int, int]) -> None:
    layer = random_layer(3, 2)
    features = 3 * torch.randn(2, 3, *size, dtype=torch.float64)
    expected = slow.partial_convolution(features.numpy(), *arrays(layer))
    found = form(features, layer.weight, layer.bias).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def results(form: Form, layer: PartialConv2d, features: Tensor) -> list[Tensor]:
    """Output, and gradients of input, weight and bias for a loss that tells all pixels apart."""
    values = [item.detach().clone().requires_grad_() for item in (layer.weight, layer.bias)]
    given = features.detach().clone().requires_grad_()
    output = form(given, *values)
    weights = torch.linspace(-1, 1, output.numel()).view(output.shape)
    (output.float() * weights).sum().backward()  # type: ignore[no-untyped-call]
    return [output.detach(), *(item.grad for item in (given, *values) if item.grad is not None)]


@pytest.mark.parametrize("size", RING_SIZES)
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("dtype", "mixed"),
    [(torch.float32, False), (torch.float32, True), (torch.bfloat16, True)],
    ids=["float32", "autocast", "autocast of bfloat16"],
)
def test_both_forms_agree_forwards_and_backwards(
    size: tuple[int, int], memory: torch.memory_format, dtype: torch.dtype, mixed: bool
) -> None:
    layer = random_layer(4, 3).float()
    features = torch.randn(2, 4, *size).to(dtype).to(memory_format=memory)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        ring, whole = (results(form, layer, features) for form in (scale_ring, scale_map))
    tolerance = 0.03 if mixed else 1e-5  # bfloat16 keeps 8 bits, and the ring rounds three times
    for one, other in zip(ring, whole, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        largest = float(one.float().abs().max())
        torch.testing.assert_close(
            other.float(), one.float(), rtol=tolerance, atol=tolerance * largest
        )
    assert whole[0].is_contiguous(memory_format=memory)


@pytest.mark.parametrize("form", [scale_ring, scale_map])
def test_mixed_precision_of_each_form_is_near_the_slow_one(form: Form) -> None:
    layer, features = random_layer(4, 3).float(), torch.randn(2, 4, 8, 6)
    expected = slow.partial_convolution(features.double().numpy(), *arrays(layer))
    with torch.autocast("cpu", torch.bfloat16):
        found = form(features, layer.weight, layer.bias).detach()
    assert found.dtype == torch.bfloat16
    np.testing.assert_allclose(found.float().numpy(), expected, rtol=0.03, atol=0.1)


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is dispatched and touches values; views cost no kernel."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        is_view = any(
            item.alias_info and not item.alias_info.is_write for item in function._schema.returns
        )
        if not is_view:
            self.count[function.__name__] += 1
        return function(*arguments, **(keywords or {}))


def operations(form: Form) -> int:
    """Forward and backward of one layer."""
    layer, features = random_layer(4, 4).float(), torch.randn(1, 4, 8, 8)
    results(form, layer, features)  # what is made once is kept
    with Operations() as counted:
        results(form, layer, features)
    return sum(counted.count.values())


def plain(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.nn.functional.conv2d(features, weight, bias, padding=1)


def test_the_form_for_a_gpu_adds_four_operations_to_a_convolution_and_the_ring_thirty() -> None:
    """One forward; back the ratio once more, its product with the gradient, the bias's sum."""
    assert operations(scale_map) - operations(plain) == 4
    assert operations(scale_ring) - operations(plain) >= 30


def test_only_a_cpu_scales_the_ring() -> None:
    layer, features = random_layer(2, 2).float(), torch.randn(1, 2, 6, 6)
    with Operations() as on_cpu:
        layer(features)
    with Operations() as elsewhere:
        layer.to("meta")(features.to("meta"))  # a device that computes nothing
    assert on_cpu.count["mul_.Tensor"] == 4
    assert elsewhere.count["addcmul.default"] == 1
    assert not elsewhere.count["mul_.Tensor"]


def test_a_block_compiles_in_one_piece() -> None:
    block, features = Block(1, 2).double(), torch.randn(2, 1, 4, 6, dtype=torch.float64)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    found = []
    for each in (block, compiled):
        block.zero_grad()
        output = each(features)
        output.square().sum().backward()
        found.append([output.detach(), *(value.grad for value in block.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one)


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
    assert torch.autograd.gradcheck(scale_map, (features, weight, bias))


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
