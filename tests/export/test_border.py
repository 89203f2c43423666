"""The two forms of the border ratio: what each computes, and that one is made of the other."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecrack.artifacts import POOLINGS, Pooling, read_verified_spec
from edgecrack.calibration.quantize import layer_inputs, quantize
from edgecrack.errors import ConfigError, ExportError
from edgecrack.export.border import (
    BORDERS,
    IGNORED_PX,
    Border,
    border_difference,
    border_ratio,
    depth_px,
    holds_ratio,
    parse_border,
    with_border,
)
from edgecrack.export.lowering import network_with_border
from edgecrack.model import partial_conv
from edgecrack.model.unet import CrackUNet, NetworkConfig
from edgecrack.onnx_graph.graph_file import GraphRun
from edgecrack.preprocess import preprocess
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.runtime.tiling import TilingConfig, plan_tiles
from edgecrack.synthetic import WallConfig, generate_wall
from tests.export import exported as exports
from tests.export.exported import DYNAMIC, DYNAMIC_EXACT
from tests.model.networks import assert_spread, crack_by_torch, lively_network, random_tiles

TILE_HW = DYNAMIC[1]
FUSED_BLOCKS = ("encoder.0", "encoder.1", "decoder.1", "decoder.2")
OTHER_BLOCKS = ("encoder.2", "encoder.3", "decoder.0")


def exported(border: Border) -> onnx.ModelProto:
    """One random network in the form that the exporter gives it."""
    return exports.exported(DYNAMIC if border == "fused" else DYNAMIC_EXACT)[1]


def other(border: Border) -> Border:
    return "exact" if border == "fused" else "fused"


def run(model: onnx.ModelProto, tiles: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(GraphRun(model)(tiles), dtype=np.int64)


def wall(size_hw: tuple[int, int], number: int) -> NDArray[np.uint8]:
    """A preprocessed wall with cracks that no model was trained on, uint8 [H, W]."""
    config = WallConfig(7_200_000 + number, size_hw, "concrete", 3, 0)
    return preprocess(generate_wall(config).image)


def weights_of(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """All constants but the ratios, however a bias is shaped."""
    return {
        item.name: numpy_helper.to_array(item).ravel()
        for item in model.graph.initializer
        if "ratio" not in item.name
    }


def readers_of(model: onnx.ModelProto, node: onnx.NodeProto) -> list[str]:
    return [item.op_type for item in model.graph.node if node.output[0] in item.input]


each_border = pytest.mark.parametrize("border", ["fused", "exact"])


@each_border
def test_each_form_made_of_the_other_computes_what_the_exporter_s_does(border: Border) -> None:
    made = with_border(exported(other(border)), border)
    tiles = random_tiles(3, TILE_HW, seed=1)
    expected = run(exported(border), tiles)
    assert_spread(expected)
    assert np.abs(run(made, tiles) - expected).max() <= 1
    assert holds_ratio(made.graph) == holds_ratio(exported(border).graph)
    assert [node.op_type for node in made.graph.node] == [
        node.op_type for node in exported(border).graph.node
    ]


@each_border
def test_there_and_back_is_the_same_to_the_last_bit(border: Border) -> None:
    model = exported(border)
    back = with_border(with_border(model, other(border)), border)
    tiles = random_tiles(3, TILE_HW, seed=2)
    np.testing.assert_array_equal(run(back, tiles), run(model, tiles))
    again = with_border(with_border(back, other(border)), border)
    assert again.SerializeToString() == back.SerializeToString()


@each_border
def test_a_form_asked_for_twice_stays_as_it_is(border: Border) -> None:
    model = exported(border)
    assert with_border(model, border).SerializeToString() == model.SerializeToString()


@each_border
def test_no_weight_changes_and_the_model_given_stays(border: Border) -> None:
    model = exported(border)
    before = model.SerializeToString()
    made, kept = weights_of(with_border(model, other(border))), weights_of(model)
    assert made.keys() == kept.keys()
    assert all(np.array_equal(made[name], kept[name]) for name in kept)
    assert model.SerializeToString() == before


def test_the_ratio_stays_on_the_coarse_scales_alone() -> None:
    scaled = holds_ratio(exported("fused").graph)
    assert len(scaled) == 28
    assert set(scaled) == set(holds_ratio(exported("exact").graph))
    assert not any(value for name, value in scaled.items() if name.startswith(FUSED_BLOCKS))
    assert all(value for name, value in scaled.items() if name.startswith(OTHER_BLOCKS))
    assert all(holds_ratio(exported("exact").graph).values())
    sides = {
        tuple(item.dims[2:]) for item in exported("fused").graph.initializer if "ratio" in item.name
    }
    assert sides == {(TILE_HW[0] >> scale, TILE_HW[1] >> scale) for scale in (2, 3)}


def test_fused_is_exact_with_ones_for_the_ratio_of_the_finest_scales() -> None:
    """Of the bundled model, whose checkpoint nobody has: only the ratio is gone."""
    fused = onnx.load(BUNDLED_MODEL)
    ones = with_border(fused, "exact")
    for item in ones.graph.initializer:
        if "ratio" in item.name and item.dims[2] in (256, 128):
            values = np.ones(tuple(item.dims), np.float32)
            item.CopyFrom(numpy_helper.from_array(values, item.name))
    tiles = np.stack([wall((256, 256), seed) for seed in range(2)])[:, None]
    expected = run(ones, tiles)
    assert (expected > 127).sum() > 100  # a crack is there to be changed
    assert np.abs(run(fused, tiles) - expected).max() <= 1
    assert np.abs(run(with_border(fused, "exact"), tiles) - expected).max() > 1


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_fused_network_differs_near_the_border_alone(pooling: Pooling) -> None:
    """By float64, so that an equality is one: how far from the border anything can change."""
    network = CrackUNet(NetworkConfig(1, pooling)).double().eval()
    tiles = torch.rand(1, 1, 320, 320, dtype=torch.float64)
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.fill_(0.1 if name.endswith("bias") else 0.11)
        difference = (network_with_border(network, "fused")(tiles) - network(tiles)).abs()[0, 1]
    depth = depth_px(320, 320)
    # An output sees at most 119 px to one side (tests/model/test_unet.py).
    assert difference[depth >= 119].max() <= 1e-9 * difference.max()
    assert difference[depth == 0].min() > 0


def test_the_network_given_stays_exact() -> None:
    network = lively_network(tile_hw=TILE_HW)
    tiles = random_tiles(1, TILE_HW, seed=5)
    before = crack_by_torch(network, tiles)
    fused = network_with_border(network, "fused")
    assert np.abs(crack_by_torch(fused, tiles) - before).max() > 1
    np.testing.assert_array_equal(crack_by_torch(network, tiles), before)
    assert network_with_border(network, "exact") is network
    state, own = fused.state_dict(), network.state_dict()
    assert list(state) == list(own)
    assert all(torch.equal(state[name], own[name]) for name in own)


# ---- what it is for: nothing stands between convolution, ReLU and quantization


def finest(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [
        node
        for node in model.graph.node
        if node.name.startswith(FUSED_BLOCKS) and ".convolutions." in node.name
        if node.op_type == "Conv"
    ]


def test_relu_follows_each_convolution_of_the_finest_scales_at_once() -> None:
    nodes = finest(exported("fused"))
    assert len(nodes) == 16
    assert all(readers_of(exported("fused"), node) == ["Relu"] for node in nodes)
    assert all(readers_of(exported("exact"), node) == ["Mul"] for node in finest(exported("exact")))


def test_convolution_relu_and_quantization_are_neighbours_in_int8() -> None:
    model = exported("fused")
    quantized = quantize(model, dict.fromkeys(layer_inputs(model).values(), 4.0))
    relus = {node.input[0]: node for node in quantized.graph.node if node.op_type == "Relu"}
    producers = {node.output[0]: node for node in quantized.graph.node}
    nodes = finest(quantized)
    assert len(nodes) == 16
    for node in nodes:
        assert producers[node.input[0]].op_type == "DequantizeLinear"
        assert readers_of(quantized, node) == ["Relu"]
        # The fourth convolution of a block is added to the shortcut, which nothing fuses.
        last = node.name.endswith(".3")
        wanted = ["Add"] if last else ["QuantizeLinear"]
        assert readers_of(quantized, relus[node.output[0]]) == wanted, node.name


# ---- how much it changes


def test_whole_frames_are_decided_alike_but_for_little_at_their_own_border() -> None:
    """Where tiles meet, what changes most counts nothing (tests/runtime/test_tiling.py)."""
    spec = read_verified_spec(BUNDLED_MODEL)
    forms = [with_border(onnx.load(BUNDLED_MODEL), border) for border in BORDERS]
    plan = plan_tiles((448, 448), TilingConfig(spec.tile_hw))
    changed, differences = [], []
    for seed in range(3):
        tiles = plan.cut(wall((448, 448), seed))
        fused, exact = (GraphRun(form)(tiles)[:, None] for form in forms)
        differences.append(border_difference(fused[:, 0], exact[:, 0]))
        level = spec.threshold * 255
        changed.append((plan.stitch(fused) >= level) != (plan.stitch(exact) >= level))
    near = depth_px(448, 448) < 32
    assert np.mean([item[near] for item in changed]) < 0.01
    assert np.mean([item[~near] for item in changed]) < 0.001
    assert max(item.reach_px for item in differences) <= 119  # what one output can see
    assert np.mean([item.share_inside for item in differences]) < np.mean(
        [item.share_at_border for item in differences]
    )


@given(
    arrays(np.uint8, st.tuples(st.just(2), st.integers(2, 20), st.integers(2, 20))),
    st.integers(0, 2**32 - 1),
)
def test_the_difference_is_that_of_a_slow_count(own: NDArray[np.uint8], seed: int) -> None:
    generator = np.random.default_rng(seed)
    exact = np.where(generator.random(own.shape) < 0.1, generator.integers(0, 256, own.shape), own)
    found = border_difference(own, exact.astype(np.uint8))
    zones: dict[bool, list[int]] = {True: [], False: []}
    reach_px = 0
    for n, y, x in np.ndindex(*own.shape):
        distance = min(y, x, own.shape[1] - 1 - y, own.shape[2] - 1 - x)
        levels = abs(int(own[n, y, x]) - int(exact[n, y, x]))
        zones[distance < IGNORED_PX].append(levels)
        if levels > 1:
            reach_px = max(reach_px, distance + 1)
    at_border, inside = zones[True], zones[False] or [0]
    assert (found.tiles, found.reach_px) == (2, reach_px)
    assert (found.largest_at_border, found.largest_inside) == (max(at_border), max(inside))
    assert found.mean_at_border == pytest.approx(np.mean(at_border))
    assert found.mean_inside == pytest.approx(np.mean(inside))
    assert found.share_at_border == pytest.approx(np.mean([item > 1 for item in at_border]))
    assert found.share_inside == pytest.approx(np.mean([item > 1 for item in inside]))


def test_the_ratio_is_the_network_s() -> None:
    for size in [(1, 1), (1, 6), (2, 2), (3, 7), (8, 5)]:
        np.testing.assert_allclose(
            border_ratio(*size), partial_conv.border_ratio(*size).numpy(), rtol=1e-7
        )


def test_a_graph_without_partial_convolutions_is_refused() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(exported("exact"))
    del model.graph.node[:]
    with pytest.raises(ExportError, match=r"no partial convolution; give an FP32 file"):
        with_border(model, "fused")


def test_a_form_by_its_name() -> None:
    assert (parse_border("fused"), parse_border("exact")) == ("fused", "exact")
    with pytest.raises(ConfigError, match="the border is 'Exact'; give one of: fused, exact"):
        parse_border("Exact")
