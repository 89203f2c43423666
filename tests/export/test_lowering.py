"""The network rewritten for inference against the trained one and the slow one in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgecrack.artifacts import POOLINGS, Pooling
from edgecrack.export.lowering import LoweredBlock, LoweredNetwork, LoweredPartialConv
from edgecrack.model.partial_conv import PartialConv2d
from edgecrack.model.unet import Block, CrackUNet
from tests.model import slow
from tests.model.networks import assert_spread, crack_by_torch, lively_network, random_tiles


def lowered_levels(network: CrackUNet, tiles: NDArray[np.uint8]) -> NDArray[np.int64]:
    height, width = tiles.shape[-2:]
    with torch.no_grad():
        output = LoweredNetwork(network, (height, width))(torch.from_numpy(tiles))
    assert output.dtype == torch.uint8
    return np.asarray(output.numpy(), dtype=np.int64)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_equals_the_network_written_out_in_numpy(pooling: Pooling) -> None:
    network = lively_network(pooling, gate_bias=True, tile_hw=(16, 24))
    tiles = random_tiles(1, (16, 24), seed=3)
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    expected = slow.crack_levels(slow.crack_unet(tiles / 255, weights, pooling))
    assert_spread(expected)
    assert np.abs(lowered_levels(network, tiles) - expected).max() <= 1


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("tile_hw", [(16, 16), (64, 24), (40, 88)])
def test_equals_the_trained_network(pooling: Pooling, tile_hw: tuple[int, int]) -> None:
    network = lively_network(pooling, width=3, tile_hw=tile_hw, seed=5)
    tiles = random_tiles(3, tile_hw, seed=4)
    expected = crack_by_torch(network, tiles)
    assert_spread(expected)
    assert np.abs(lowered_levels(network, tiles) - expected).max() <= 1


@pytest.mark.parametrize("level", [0, 255])
def test_equals_the_trained_network_on_a_flat_tile(level: int) -> None:
    network = lively_network()
    tiles = np.full((1, 1, 32, 16), level, dtype=np.uint8)
    difference = lowered_levels(network, tiles) - crack_by_torch(network, tiles)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("bias", [-500.0, 500.0])
def test_a_certain_network_gives_0_or_255_and_never_wraps(bias: float) -> None:
    network = lively_network()
    with torch.no_grad():
        assert network.fuse.bias is not None
        network.fuse.bias[1] += bias
    levels = lowered_levels(network, random_tiles(1, (16, 16), seed=0))
    assert set(np.unique(levels)) == {255 if bias > 0 else 0}


def test_the_trained_network_stays_as_it_was() -> None:
    network = lively_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lowered_levels(network, random_tiles(1, (16, 16), seed=0))
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("map_hw", [(2, 2), (3, 7), (8, 5)])
def test_partial_convolution_and_block_equal_the_slow_ones(map_hw: tuple[int, int]) -> None:
    convolution, block = PartialConv2d(2, 3).double(), Block(2, 3).double()
    features = torch.randn(2, 2, *map_hw, dtype=torch.float64)
    with torch.no_grad():
        for name, value in (*convolution.named_parameters(), *block.named_parameters()):
            if name.endswith("bias"):
                value.normal_()
        found = LoweredPartialConv(convolution, map_hw)(features).numpy()
        found_block = LoweredBlock(block, map_hw)(features).numpy()
    state = {name: value.numpy() for name, value in convolution.state_dict().items()}
    expected = slow.partial_convolution(features.numpy(), state["weight"], state["bias"])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    weights = {name: value.numpy() for name, value in block.state_dict().items()}
    np.testing.assert_allclose(found_block, slow.block(features.numpy(), weights), atol=1e-12)
