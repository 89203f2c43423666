"""The whole network against the same network written out pixel by pixel in numpy."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from edgecrack.artifacts import POOLINGS, Pooling
from edgecrack.errors import ConfigError
from edgecrack.model.unet import Block, CrackUNet, NetworkConfig, Upsample
from tests.model import slow
from tests.model.networks import lively_network, random_tiles


def arrays(module: torch.nn.Module) -> slow.Weights:
    return {name: value.double().numpy() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_whole_network_equals_the_slow_one(pooling: Pooling) -> None:
    network = lively_network(pooling, width=2, gate_bias=True)
    tiles = random_tiles(1, (16, 24), seed=7) / 255
    expected = slow.crack_unet(tiles, arrays(network), pooling)
    assert expected.std() > 0.3
    with torch.no_grad():
        single = network(torch.from_numpy(tiles).float()).numpy()
        double = network.double()(torch.from_numpy(tiles)).numpy()
    np.testing.assert_allclose(double, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-4)


def test_the_whole_network_of_width_1_on_a_batch() -> None:
    network = lively_network(width=1).double()
    tiles = random_tiles(2, (24, 16), seed=8) / 255
    expected = slow.crack_unet(tiles, arrays(network), "gated-scale")
    with torch.no_grad():
        found = network(torch.from_numpy(tiles)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [(1, 5), (4, 4), (7, 5)])
def test_block_equals_the_slow_one(size: tuple[int, int]) -> None:
    block = Block(3, 2).double()
    features = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        for convolution in block.convolutions:
            convolution.bias.normal_()  # type: ignore[operator]
        found = block(features).numpy()
    np.testing.assert_allclose(found, slow.block(features.numpy(), arrays(block)), atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (4, 5)])
def test_upsample_equals_the_slow_one(size: tuple[int, int]) -> None:
    upsample = Upsample(4).double()
    features = torch.randn(2, 4, *size, dtype=torch.float64)
    with torch.no_grad():
        assert upsample.bias is not None
        upsample.bias.normal_()
        found = upsample(features).numpy()
    weights = arrays(upsample)
    expected = slow.double_size(features.numpy(), weights["weight"], weights["bias"])
    assert found.shape == (2, 2, 2 * size[0], 2 * size[1])
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_gradients_of_a_block() -> None:
    block = Block(1, 2).double()
    names, values = zip(*block.named_parameters(), strict=True)
    features = torch.randn(1, 1, 4, 5, dtype=torch.float64, requires_grad=True)

    def run(features: Tensor, *parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        result: Tensor = functional_call(block, given, (features,))
        return result

    parameters = [
        (value + 0.3 * torch.randn_like(value)).detach().requires_grad_() for value in values
    ]
    assert torch.autograd.gradcheck(run, (features, *parameters))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_parameter_gets_a_gradient(pooling: Pooling) -> None:
    network = lively_network(pooling, width=4, gate_bias=True)
    tiles = torch.from_numpy(random_tiles(2, (32, 32), seed=1)).float() / 255
    network(tiles)[:, 1].square().mean().backward()
    without = [
        name
        for name, value in network.named_parameters()
        if value.grad is None or not value.grad.abs().sum() > 0
    ]
    assert not without


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (NetworkConfig(32, gate_bias=True), 4_171_514),
        (NetworkConfig(16, gate_bias=True), 1_044_362),
        # One bias per channel that is pooled (f + 2f + 4f), then four weights for each as well.
        (NetworkConfig(32), 4_171_514 - 7 * 32),
        (NetworkConfig(16), 1_044_362 - 7 * 16),
        (NetworkConfig(16, "stacked"), 1_044_362 - 5 * 7 * 16),
        (NetworkConfig(16, "max"), 1_044_362 - 5 * 7 * 16),
    ],
    ids=str,
)
def test_number_of_parameters(config: NetworkConfig, parameters: int) -> None:
    assert sum(value.numel() for value in CrackUNet(config).parameters()) == parameters


def reach_of_one_output(pooling: Pooling, axis: int) -> dict[int, tuple[int, int, int]]:
    """For each of the 8 places an output can have in the deepest map's cell: what it sees.

    All weights are positive and all biases zero, so that black stays exactly black and one white
    pixel brightens precisely what it reaches.

    Returns:
        place -> (first and last offset of the pixels that the output sees, their number).
    """
    length, centre = 512, 256
    network = CrackUNet(NetworkConfig(1, pooling)).double()
    tiles = torch.zeros(8, 1, 16, length, dtype=torch.float64)
    for phase in range(8):
        tiles[phase, 0, 8, centre + phase] = 1.0
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.fill_(0.0 if name.endswith("bias") or "gate" in name else 1 / 9)
        logits = network(tiles if axis else tiles.mT.contiguous())
    bright = (logits if axis else logits.mT)[:, 1].amax(1) > 0
    offsets = defaultdict(set)
    for phase, output in bright.nonzero().tolist():
        offsets[output % 8].add(centre + phase - output)
    return {place: (min(seen), max(seen), len(seen)) for place, seen in sorted(offsets.items())}


@pytest.mark.parametrize("axis", [0, 1], ids=["vertical", "horizontal"])
@pytest.mark.parametrize(
    ("pooling", "size_px", "first_place"),
    [
        ("gated-scale", 226, (-106, 119)),
        ("stacked", 226, (-106, 119)),
        ("max", 184, (-92, 91)),
    ],
)
def test_receptive_field(
    pooling: Pooling, size_px: int, first_place: tuple[int, int], axis: int
) -> None:
    reach = reach_of_one_output(pooling, axis)
    assert reach[0][:2] == first_place
    assert {place: seen for place, (_, _, seen) in reach.items()} == dict.fromkeys(
        range(8), size_px
    )
    # Without holes.
    assert all(last - first + 1 == seen for first, last, seen in reach.values())


def test_a_batch_is_its_members_one_by_one() -> None:
    network = lively_network(width=2).double()
    tiles = torch.rand(3, 1, 16, 32, dtype=torch.float64)
    with torch.no_grad():
        one_by_one = torch.cat([network(tile[None]) for tile in tiles])
        torch.testing.assert_close(network(tiles), one_by_one)


@pytest.mark.parametrize("size", [(8, 8), (8, 40), (56, 16)])
def test_logits_have_the_tile_s_size(size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert CrackUNet(NetworkConfig(1))(torch.rand(2, 1, *size)).shape == (2, 2, *size)


@pytest.mark.parametrize("size", [(12, 16), (16, 20), (7, 7), (0, 4)])
def test_a_size_that_is_no_multiple_of_8_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=f"{size[1]}x{size[0]} px.*multiples of 8"):
        CrackUNet(NetworkConfig(1))(torch.rand(1, 1, *size))


@pytest.mark.parametrize("width", [0, -4, 257])
def test_a_width_out_of_range_is_refused(width: int) -> None:
    with pytest.raises(ConfigError, match=f"`width` is {width}; give a whole number from 1 to 256"):
        NetworkConfig(width)


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(ConfigError, match="'average'; give one of"):
        NetworkConfig(pooling="average")  # type: ignore[arg-type]


def test_a_configuration_comes_back_from_its_dictionary() -> None:
    config = NetworkConfig(24, "stacked", True)
    assert NetworkConfig(**config.to_dict()) == config  # type: ignore[arg-type]


def test_starts_he_normal_without_biases() -> None:
    network = CrackUNet(NetworkConfig(16, gate_bias=True))
    deviations = {
        "encoder.3.project.weight": (2 / 64) ** 0.5,
        "upsamples.0.weight": (2 / 128) ** 0.5,
        "decoder.0.project.weight": (2 / 128) ** 0.5,
    }
    state = network.state_dict()
    for name, expected in deviations.items():
        assert state[name].std().item() == pytest.approx(expected, rel=0.05), name
    assert not any(value.any() for name, value in state.items() if name.endswith("bias"))
