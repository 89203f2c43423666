"""The Q/DQ graph: which tensors are INT8, how, and that a plain simulation gives the same."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgecrack.calibration.quantize import (
    layer_inputs,
    layer_work,
    layers_after_concat,
    quantizable_layers,
    quantize,
)
from edgecrack.calibration.ranges import collect_histograms, range_of
from edgecrack.errors import ExportError
from edgecrack.onnx_graph.graph_file import OPSET
from edgecrack.onnx_graph.precision import float32_tensors
from edgecrack.onnx_graph.tidy import check_operators
from tests.calibration.small import constants_of, producers_of, run, small_graph, tiles

PAIR = ("QuantizeLinear", "DequantizeLinear")
SMALLEST_NORMAL = 2.0**-14
KINDS = ["encoder.1.project", "encoder.1.convolutions.2", "decoder.2.convolutions.0"]
CONVOLUTIONS = ("Conv", "ConvTranspose")
TINY = "encoder.1.project"


@lru_cache(maxsize=1)
def ranges() -> dict[str, float]:
    model = small_graph()
    names = sorted(set(layer_inputs(model).values()))
    found = collect_histograms(model, names, tiles(6, seed=8))
    return {name: range_of(values, "percentile") for name, values in found.items()}


@lru_cache(maxsize=8)
def quantized(kept: tuple[str, ...] = (), half: bool = True) -> onnx.ModelProto:
    return quantize(small_graph(), ranges(), kept, half=half)


def others_than(*names: str) -> tuple[str, ...]:
    return tuple(name for name in quantizable_layers(small_graph()) if name not in names)


def layers_of(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {node.name: node for node in model.graph.node if node.name}


def reads_pair(model: onnx.ModelProto, node: onnx.NodeProto) -> list[bool]:
    producers = producers_of(model)
    return [name in producers and producers[name].op_type in PAIR for name in node.input]


def test_layers_that_read_a_concatenation_are_the_decoder_s_first() -> None:
    model = small_graph()
    producers = producers_of(model)
    found = layers_after_concat(model)
    assert found == [f"decoder.{number}.project" for number in range(3)]
    for name in quantizable_layers(model):
        read = producers.get(layers_of(model)[name].input[0])
        assert (name in found) == (read is not None and read.op_type == "Concat")


def test_layers_are_the_dense_convolutions_by_their_names_in_order() -> None:
    layers = quantizable_layers(small_graph())
    assert layers[0] == "encoder.0.convolutions.0"
    assert layers[-1] == "decoder.2.convolutions.3"
    assert len(set(layers)) == len(layers) == 34
    assert set(layer_inputs(small_graph())) == set(layers)
    left_out = [
        node.name
        for node in small_graph().graph.node
        if node.op_type in CONVOLUTIONS and node.name not in layers
    ]
    # Of a single channel on one side, depthwise, or transposed.
    assert sorted(left_out) == sorted(
        ["encoder.0.project"]
        + [
            f"{name}.{index}"
            for name, count in (("heads", 4), ("upsamples", 3))
            for index in range(count)
        ]
        + [f"pools.{index}.gate" for index in range(3)]
    )


def test_input_and_weights_of_layers_are_int8_and_nothing_else() -> None:
    model = quantized()
    producers = producers_of(model)
    for node in model.graph.node:
        if node.op_type in PAIR:
            continue
        wanted = node.name in quantizable_layers(small_graph())
        expected = [wanted and index < 2 for index in range(len(node.input))]
        assert reads_pair(model, node) == expected, node.name
        if wanted:
            restore = producers[node.input[0]]
            assert producers[restore.input[0]].op_type == "QuantizeLinear"
            # What goes in is what went into the layer before.
            source = producers[restore.input[0]].input[0]
            assert source == layer_inputs(small_graph())[node.name]


def test_kept_layers_are_left_as_they_are() -> None:
    kept = quantizable_layers(small_graph())[::2]
    model, before = quantized(tuple(kept)), layers_of(small_graph())
    for node in model.graph.node:
        if node.name in quantizable_layers(small_graph()):
            is_kept = node.name in kept
            assert reads_pair(model, node)[:2] == [not is_kept] * 2, node.name
            if is_kept:
                assert list(node.input) == list(before[node.name].input)


def test_what_shares_a_tensor_with_a_layer_reads_it_unrounded() -> None:
    """A block's shortcut: the pair belongs to the layer, not to the tensor."""
    inputs = set(layer_inputs(small_graph()).values())
    layers = quantizable_layers(small_graph())
    shared = {
        node.name: [name for name in node.input if name in inputs]
        for node in small_graph().graph.node
        if node.name not in layers and inputs & set(node.input)
    }
    assert {layers_of(quantized())[name].op_type for name in shared} == {"Add"}
    for name, tensors in shared.items():
        assert set(tensors) <= set(layers_of(quantized())[name].input)


def test_all_is_symmetric_and_weights_have_a_scale_for_each_output_channel() -> None:
    model = quantized()
    constants, producers = constants_of(model), producers_of(model)
    for node in model.graph.node:
        if node.name not in quantizable_layers(small_graph()):
            continue
        data, weight = (producers[name] for name in node.input[:2])
        assert constants[data.input[1]].shape == ()
        assert constants[data.input[2]].dtype == np.int8
        assert [item.i for item in weight.attribute if item.name == "axis"] == [0]
        levels = constants[weight.input[0]]
        assert levels.dtype == np.int8
        assert levels.min() >= -127
        assert constants[weight.input[1]].shape == (levels.shape[0],)
        for restore in (data, weight):
            assert not constants[restore.input[2]].any()


def with_tiny_weights() -> onnx.ModelProto:
    """One layer's weights are so small that their steps lie below FP16's normal range."""
    model = small_graph()
    name = layers_of(model)[TINY].input[1]
    for value in model.graph.initializer:
        if value.name == name:
            tiny = numpy_helper.to_array(value) * np.float32(2e-3)
            value.CopyFrom(numpy_helper.from_array(tiny, name))
    return model


def test_weights_come_back_to_within_half_a_step_tiny_ones_too() -> None:
    original = with_tiny_weights()
    model, before = quantize(original, ranges()), constants_of(original)
    constants, producers = constants_of(model), producers_of(model)
    named, lifted = layers_of(original), set()
    for name in quantizable_layers(original):
        restore = producers[layers_of(model)[name].input[1]]
        weight = before[named[name].input[1]].astype(np.float64)
        levels = constants[restore.input[0]].astype(np.float64)
        for channel, step in enumerate(constants[restore.input[1]].astype(np.float64).tolist()):
            # A step rounded downwards clips the largest weight by another sliver.
            assert np.abs(levels[channel] * step - weight[channel]).max() <= 0.57 * step
            # As fine as INT8 allows, unless FP16 cannot hold such a step.
            assert step <= max(np.abs(weight[channel]).max() / 127 * 1.001, SMALLEST_NORMAL)
            lifted |= {name} if step == SMALLEST_NORMAL else set()
    assert lifted == {TINY}


def test_scales_are_what_fp16_holds_and_normal_numbers() -> None:
    for half in (True, False):
        model = quantized((), half)
        constants = constants_of(model)
        names = {node.input[1] for node in model.graph.node if node.op_type in PAIR}
        for name in names:
            scale = constants[name]
            assert scale.dtype == (np.float16 if half else np.float32)
            assert (scale.astype(np.float16).astype(np.float64) == scale.astype(np.float64)).all()
            assert (scale >= SMALLEST_NORMAL).all()


def test_a_range_too_small_for_fp16_gets_the_smallest_normal_step() -> None:
    small = dict.fromkeys(ranges(), 1e-6)
    model = quantize(small_graph(), small)
    constants = constants_of(model)
    steps = {
        float(constants[node.input[1]])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert steps == {SMALLEST_NORMAL}


def test_biases_and_all_other_constants_are_only_rounded_to_fp16() -> None:
    before, after = constants_of(small_graph()), constants_of(quantized())
    layers = quantizable_layers(small_graph())
    weights = {node.input[1] for node in small_graph().graph.node if node.name in layers}
    biases = [name for name in before if "bias" in name]
    assert biases
    for name in set(before) - weights:
        value = before[name]
        if name in after and after[name].dtype == np.float16:
            np.testing.assert_array_equal(after[name], value.astype(np.float16))
        else:
            np.testing.assert_array_equal(after[name], value)
    assert all(after[name].dtype == np.float16 for name in biases)


def test_the_graph_is_fp16_else_and_of_the_contract_s_operators() -> None:
    model = quantized()
    onnx.checker.check_model(model, full_check=True)
    assert float32_tensors(model) == []
    assert [(item.domain, item.version) for item in model.opset_import] == [("", OPSET)]
    assert OPSET == 20
    assert model.ir_version <= 10
    check_operators(model, quantized=True)
    with pytest.raises(ExportError, match=r"ai\.onnx\.DequantizeLinear"):
        check_operators(model)
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.UINT8
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("tiles", "crack")


def test_the_model_given_is_not_changed() -> None:
    model = small_graph()
    quantize(model, ranges())
    assert model.SerializeToString() == small_graph().SerializeToString()


def test_the_same_graph_comes_out_each_time() -> None:
    again = quantize(small_graph(), ranges())
    assert again.SerializeToString() == quantized().SerializeToString()


def fake_quantized(values: NDArray[Any], step: float) -> NDArray[np.float64]:
    """Rounded to the nearest of 256 levels, ties to even, as the standard has it."""
    levels = np.rint(values.astype(np.float32) / np.float32(step))
    return np.asarray(np.clip(levels, -128, 127) * np.float64(step), np.float64)


def weight_steps(weight: NDArray[Any]) -> NDArray[np.float64]:
    """One for each output channel, float64 [outputs, 1, 1, 1]."""
    largest = np.abs(weight).max((1, 2, 3), keepdims=True)
    steps = np.maximum(largest / np.float32(127), SMALLEST_NORMAL)
    return np.asarray(steps.astype(np.float16).astype(np.float64))


def slow_convolution(data: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """A convolution that keeps the size, output value by output value; one tile."""
    outputs, _, kernel, _ = weight.shape
    margin = kernel // 2
    padded = np.pad(data[0], ((0, 0), (margin, margin), (margin, margin)))
    height, width = data.shape[2:]
    result = np.zeros((1, outputs, height, width))
    for channel in range(outputs):
        for row in range(height):
            for column in range(width):
                window = padded[:, row : row + kernel, column : column + kernel]
                result[0, channel, row, column] = (window * weight[channel]).sum()
    return result


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_an_int8_layer_gives_what_a_plain_simulation_gives(name: str, tiny: bool) -> None:
    original = with_tiny_weights() if tiny else small_graph()
    model = quantize(original, ranges(), others_than(name), half=False)
    node, before = layers_of(model)[name], layers_of(original)[name]
    source = before.input[0]
    data, found = run(model, tiles(1), (source, node.output[0]))
    weight = constants_of(original)[before.input[1]]
    data_step = float(np.float16(max(ranges()[source] / 127, SMALLEST_NORMAL)))
    steps = weight_steps(weight)
    levels = np.clip(np.rint(weight.astype(np.float64) / steps), -127, 127)
    expected = slow_convolution(fake_quantized(data, data_step), levels * steps)
    if len(before.input) > 2:
        expected += constants_of(original)[before.input[2]][:, None, None]
    (exact,) = run(original, tiles(1), (before.output[0],))
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    if not tiny:  # and that is near what the layer gives in floating point
        assert np.abs(found - exact).mean() <= 0.05 * np.abs(exact).mean()


def test_the_whole_graph_stays_near_the_float_one() -> None:
    expected, found = (
        run(model, tiles(4))[0].astype(int) for model in (small_graph(), quantized())
    )
    assert np.abs(found - expected).mean() < 10
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95


def test_one_int8_layer_costs_no_more_than_all_of_them() -> None:
    (expected,) = run(small_graph(), tiles(4))

    def error(kept: tuple[str, ...]) -> float:
        (found,) = run(quantize(small_graph(), ranges(), kept, half=False), tiles(4))
        return float(((found.astype(float) - expected) ** 2).mean())

    assert error(others_than("encoder.1.project")) < error(())


def test_with_every_layer_kept_there_is_nothing_to_quantize() -> None:
    with pytest.raises(ExportError, match="no layer is left in INT8; export with `precision` fp16"):
        quantize(small_graph(), ranges(), quantizable_layers(small_graph()))


def test_logging_is_on_again_after_the_quantizer(caplog: pytest.LogCaptureFixture) -> None:
    import logging

    quantize(small_graph(), ranges())
    logging.getLogger().warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]


def test_work_is_the_number_of_multiplications_for_a_tile() -> None:
    """Width 2, tiles of 32 px: channels 2, 4, 8, 16 on maps of 32, 16, 8, 4 px."""
    work = layer_work(small_graph())
    convolutions = [node for node in small_graph().graph.node if node.op_type in CONVOLUTIONS]
    assert list(work) == [node.name for node in convolutions]
    expected = {
        "encoder.0.project": 1 * 2 * 32 * 32,
        "encoder.0.convolutions.3": 2 * 2 * 9 * 32 * 32,
        "pools.0.gate": 2 * 4 * 16 * 16,
        "encoder.1.project": 2 * 4 * 16 * 16,
        "encoder.3.convolutions.0": 16 * 16 * 9 * 4 * 4,
        "heads.0": 16 * 4 * 4,
        "upsamples.0": 16 * 8 * 4 * 4 * 4,
        "decoder.0.project": 16 * 8 * 8 * 8,
        "decoder.2.convolutions.1": 2 * 2 * 9 * 32 * 32,
        "heads.3": 2 * 32 * 32,
    }
    assert {name: work[name] for name in expected} == expected
    assert layer_work(small_graph(2)) == work
