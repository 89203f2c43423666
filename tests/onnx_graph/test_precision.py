"""Graphs typed FP16 throughout, bytes at both ends, and files of earlier versions brought up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgecrack.artifacts import read_model_file
from edgecrack.calibration.quantize import layer_inputs, quantizable_layers, quantize
from edgecrack.calibration.ranges import collect_histograms
from edgecrack.errors import ExportError, ModelFileError
from edgecrack.export import graph as exporting
from edgecrack.export.graph import ExportConfig, build_onnx
from edgecrack.onnx_graph.graph_file import OPSET, read_graph
from edgecrack.onnx_graph.precision import (
    HALF_MAXIMUM,
    HALF_SMALLEST_NORMAL,
    float32_tensors,
    half_scale,
    simulate_half,
    to_half,
)
from edgecrack.onnx_graph.tidy import check_operators
from tests.calibration.small import TILE_HW, constants_of, run, save_model, small_graph, tiles
from tests.model.networks import lively_network

SIDE = TILE_HW[0]


def scaled(factor: float, **attributes: float) -> onnx.ModelProto:
    """tiles / 255 times a constant, as bytes again."""
    nodes = [
        helper.make_node("Cast", ["tiles"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["real", "factor"], ["levels"], name="times"),
        helper.make_node("Cast", ["levels"], ["crack"], to=TensorProto.UINT8),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, ["batch", 1, SIDE, SIDE])
        for name in ("tiles", "crack")
    ]
    constant = numpy_helper.from_array(np.array(factor, np.float32), "factor")
    made = helper.make_graph(nodes, "scaled", ends[:1], ends[1:], [constant])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def test_bytes_go_in_and_out_and_all_between_is_fp16() -> None:
    half = to_half(small_graph())
    onnx.checker.check_model(half, full_check=True)
    for value in (*half.graph.input, *half.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.UINT8
    assert float32_tensors(half) == []
    assert float32_tensors(small_graph())
    check_operators(half)
    assert [(item.domain, item.version) for item in half.opset_import] == [("", OPSET)]


def test_the_factors_of_resize_stay_float32_for_the_standard_has_them_so() -> None:
    half = to_half(small_graph())
    constants = constants_of(half)
    factors = {node.input[2] for node in half.graph.node if node.op_type == "Resize"}
    assert factors
    for name in factors:
        assert constants[name].dtype == np.float32
    others = {item.dtype for name, item in constants.items() if name not in factors}
    assert np.dtype(np.float32) not in others


def test_weights_are_rounded_to_the_nearest() -> None:
    before, after = constants_of(small_graph()), constants_of(to_half(small_graph()))
    assert set(before) == set(after)
    for name, value in before.items():
        if after[name].dtype == np.float16:
            np.testing.assert_array_equal(after[name], value.astype(np.float16))
        else:
            np.testing.assert_array_equal(after[name], value)


def test_the_graph_runs_and_is_near_the_float_one() -> None:
    half = to_half(small_graph())
    session = onnxruntime.InferenceSession(
        half.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(["crack"], {"tiles": tiles(3)})
    (expected,) = run(small_graph(), tiles(3))
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 8


def chain(*steps: tuple[str, float]) -> onnx.ModelProto:
    """tiles, then each operator with its constant, rounded, as bytes."""
    nodes = [helper.make_node("Cast", ["tiles"], ["value0"], to=TensorProto.FLOAT)]
    constants = []
    for index, (operator, constant) in enumerate(steps):
        constants.append(numpy_helper.from_array(np.array(constant, np.float32), f"by{index}"))
        names = [f"value{index}", f"by{index}"]
        nodes.append(helper.make_node(operator, names, [f"value{index + 1}"]))
    nodes.append(helper.make_node("Round", [f"value{len(steps)}"], ["whole"]))
    nodes.append(helper.make_node("Cast", ["whole"], ["crack"], to=TensorProto.UINT8))
    ends = list(scaled(1.0).graph.input), list(scaled(1.0).graph.output)
    made = helper.make_graph(nodes, "chain", *ends, constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def test_the_simulation_rounds_after_each_node_as_fp16_does() -> None:
    """From 4096 on FP16 has steps of 4, from 8192 on of 8; ONNX Runtime's own runs have none."""
    steps = (("Mul", 0.7), ("Add", 8192.0), ("Sub", 8192.0), ("Mul", 1.1), ("Add", 4096.0))
    model = to_half(chain(*steps, ("Sub", 4096.0)))
    value = tiles(2).astype(np.float16)
    for operator, constant in (*steps, ("Sub", 4096.0)):
        other = np.float16(constant)
        compute = {"Mul": np.multiply, "Add": np.add, "Sub": np.subtract}[operator]
        value = compute(value, other, dtype=np.float16)
    (found,) = run(simulate_half(model), tiles(2))
    np.testing.assert_array_equal(found, np.rint(value).astype(np.uint8))
    assert not np.array_equal(found, run(model, tiles(2))[0])


def test_the_simulation_takes_the_same_bytes_and_is_near_the_fp16_graph() -> None:
    half = to_half(small_graph())
    model = simulate_half(half)
    onnx.checker.check_model(model, full_check=True)
    assert (model.graph.input[0], model.graph.output[0]) == (
        half.graph.input[0],
        half.graph.output[0],
    )
    assert half.SerializeToString() == to_half(small_graph()).SerializeToString()
    found, other = run(model, tiles(4))[0].astype(int), run(half, tiles(4))[0].astype(int)
    assert 0 < np.abs(found - other).max() <= 16
    assert np.abs(found - other).mean() < 1


def test_the_simulation_of_an_fp32_graph_is_that_graph() -> None:
    np.testing.assert_array_equal(
        run(simulate_half(small_graph()), tiles(3))[0], run(small_graph(), tiles(3))[0]
    )


def test_the_simulation_leaves_what_int8_layers_read_alone() -> None:
    model = small_graph()
    spans = dict.fromkeys(layer_inputs(model).values(), 3.0)
    simulated = simulate_half(quantize(model, spans))
    producers = {node.output[0]: node.op_type for node in simulated.graph.node}
    for node in simulated.graph.node:
        if node.name in quantizable_layers(model):
            assert [producers[name] for name in node.input[:2]] == ["DequantizeLinear"] * 2


def test_the_model_given_is_not_changed() -> None:
    model = small_graph()
    to_half(model)
    assert model.SerializeToString() == small_graph().SerializeToString()


def test_int8_weights_stay_int8() -> None:
    model = small_graph()
    spans = dict.fromkeys(layer_inputs(model).values(), 3.0)
    quantized = quantize(model, spans, half=False)
    before, after = constants_of(quantized), constants_of(to_half(quantized))
    whole = [name for name, value in before.items() if value.dtype == np.int8]
    assert len(whole) > len(quantizable_layers(model))
    for name in whole:
        np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.parametrize("factor", [65504.0, -65504.0, 0.0, 1e-9])
def test_a_constant_that_fp16_holds_is_taken(factor: float) -> None:
    assert constants_of(to_half(scaled(factor)))["factor"] == np.float16(factor)


@pytest.mark.parametrize(
    ("factor", "shown"),
    [(70000.0, r"7e\+04"), (-1e6, r"1e\+06"), (np.inf, "inf")],
)
def test_a_constant_that_fp16_cannot_hold_is_refused_by_its_name(factor: float, shown: str) -> None:
    with pytest.raises(ExportError, match=f"factor contains {shown}, which exceeds FP16") as caught:
        to_half(scaled(factor))
    assert "`precision` fp32" in caught.value.remedy


def test_a_constant_that_is_no_number_is_refused() -> None:
    with pytest.raises(ExportError, match="factor contains NaN; train"):
        to_half(scaled(np.nan))


@given(st.floats(0, HALF_MAXIMUM, width=32))
def test_a_scale_is_rounded_to_a_normal_fp16_number(value: float) -> None:
    found = float(half_scale(np.array(value))[()])
    assert found == float(np.float16(found)) >= HALF_SMALLEST_NORMAL
    if value >= HALF_SMALLEST_NORMAL:
        assert abs(found - value) <= value * 2.0**-11


def test_a_file_of_an_earlier_version_is_brought_to_the_contract_s_operator_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of version 0.1 have operator set 18, in which FP16 scales of Q/DQ pairs are none."""
    monkeypatch.setattr(exporting, "OPSET", 18)
    network = lively_network(gate_bias=True, tile_hw=TILE_HW)
    old = build_onnx(network, ExportConfig(TILE_HW))
    assert old.opset_import[0].version == 18
    path = save_model(old, tmp_path / "old.onnx")
    model = read_graph(read_model_file(path), "fp32")
    assert model.opset_import[0].version == OPSET
    onnx.checker.check_model(model, full_check=True)
    assert quantizable_layers(model) == quantizable_layers(small_graph())
    expected = run(old, tiles(3))[0].astype(int)
    assert np.abs(run(model, tiles(3))[0].astype(int) - expected).max() <= 1
    half = to_half(model)
    assert float32_tensors(half) == []
    assert np.abs(run(half, tiles(3))[0].astype(int) - expected).max() <= 8
    inputs = sorted(set(layer_inputs(model).values()))
    histograms = collect_histograms(model, inputs, tiles(3))
    spans = {name: values.maximum for name, values in histograms.items()}
    quantized = quantize(model, spans)
    assert float32_tensors(quantized) == []
    found = run(quantized, tiles(3))[0].astype(int)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


def test_a_file_of_this_version_is_read_as_it_is(tmp_path: Path) -> None:
    written = small_graph()
    path = save_model(written, tmp_path / "model.onnx")
    read = read_graph(read_model_file(path), "fp32")
    assert read.SerializeToString(deterministic=True) == written.SerializeToString(
        deterministic=True
    )


def test_a_file_of_another_precision_is_refused(tmp_path: Path) -> None:
    path = save_model(to_half(small_graph()), tmp_path / "model.onnx", precision="fp16")
    model = read_model_file(path)
    with pytest.raises(ModelFileError, match=r"model\.onnx is FP16 and FP32 is needed; give the"):
        read_graph(model, "fp32")
    assert read_graph(model, "fp16").graph.node
