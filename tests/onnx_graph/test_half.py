"""An FP16 graph is handed out only when it was measured to be near the FP32 one."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecrack.errors import ExportError
from edgecrack.onnx_graph import precision as module
from edgecrack.onnx_graph.graph_file import OPSET
from edgecrack.onnx_graph.precision import (
    checked_half,
    float32_tensors,
    largest_activation,
    simulate_half,
    to_half,
)
from tests.calibration.small import SIDE, run, small_graph, tiles


def chain(operators: Sequence[tuple[str, float]], batch: int | str = "batch") -> onnx.ModelProto:
    """tiles / 255, then each operator with its constant, times 255, as bytes."""
    steps = [("Mul", 1 / 255), *operators, ("Mul", 255.0)]
    nodes = [helper.make_node("Cast", ["tiles"], ["value0"], to=TensorProto.FLOAT)]
    constants = []
    for index, (operator, constant) in enumerate(steps):
        constants.append(numpy_helper.from_array(np.array(constant, np.float32), f"by{index}"))
        names = [f"value{index}", f"by{index}"]
        nodes.append(helper.make_node(operator, names, [f"value{index + 1}"]))
    last = f"value{len(steps)}"
    nodes.append(helper.make_node("Round", [last], ["whole"]))
    nodes.append(helper.make_node("Cast", ["whole"], ["crack"], to=TensorProto.UINT8))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [batch, 1, SIDE, SIDE])
        for name in ("tiles", "crack")
    ]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


BRIGHT = np.full((2, 1, SIDE, SIDE), 255, np.uint8)


@pytest.fixture
def any_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random network's values are far larger than a trained one's, and so is FP16's rounding."""
    monkeypatch.setattr(module, "PARITY_LEVELS", 255)
    monkeypatch.setattr(module, "PARITY_MEAN_LEVELS", 255.0)


@pytest.mark.usefixtures("any_difference")
def test_what_was_measured_is_what_a_comparison_gives() -> None:
    result = checked_half(small_graph(), tiles(5))
    expected = run(small_graph(), tiles(5))[0].astype(int)
    simulated = simulate_half(to_half(small_graph()))
    difference = np.abs(run(simulated, tiles(5))[0].astype(int) - expected)
    # Two sessions may round apart by a level.
    assert abs(result.largest_difference - difference.max()) <= 2
    assert result.mean_difference == pytest.approx(difference.mean(), abs=0.05)
    assert result.tiles == 5
    assert float32_tensors(result.model) == []
    assert result.model.SerializeToString() == to_half(small_graph()).SerializeToString()
    document = json.loads(json.dumps(result.to_dict()))
    assert document["tiles"] == 5
    assert document["largest_difference"] == result.largest_difference


@pytest.mark.usefixtures("any_difference")
def test_a_fixed_batch_need_not_divide_the_number_of_tiles() -> None:
    free, fixed = checked_half(small_graph(), tiles(5)), checked_half(small_graph(3), tiles(5), 3)
    assert fixed.tiles == 5
    assert fixed.largest_activation == pytest.approx(free.largest_activation, rel=1e-4)


def test_the_largest_activation_is_of_any_tensor_of_any_tile() -> None:
    model = chain([("Mul", 1000.0), ("Mul", -2.0), ("Div", -2000.0)])
    pixels = np.zeros((3, 1, SIDE, SIDE), np.uint8)
    assert largest_activation(model, pixels) == 0
    pixels[2, 0, 5, 7] = 51  # a fifth of 255
    assert largest_activation(model, pixels) == pytest.approx(400)


@pytest.mark.parametrize("factor", [16_000.0, 1.0])
def test_values_well_within_fp16_pass(factor: float) -> None:
    result = checked_half(chain([("Mul", factor), ("Div", factor)]), BRIGHT)
    assert result.largest_activation == pytest.approx(max(factor, 255), rel=1e-3)


@pytest.mark.parametrize("factor", [50_000.0, 17_000.0, 65_000.0])
def test_values_near_what_fp16_holds_are_refused_with_how_large_they_are(factor: float) -> None:
    model = chain([("Mul", factor), ("Div", factor)])
    with pytest.raises(ExportError, match="a value of the network reaches") as one:
        checked_half(model, BRIGHT)
    assert f"reaches {factor:.0f}" in one.value.problem
    assert "65504" in one.value.problem
    assert "`precision` fp32" in one.value.remedy
    # On a dark tile the same graph shows nothing.
    assert checked_half(model, BRIGHT // 255).largest_activation < 300


def test_an_infinite_value_is_refused() -> None:
    with pytest.raises(ExportError, match="reaches inf"):
        checked_half(chain([*[("Mul", 6e4)] * 9, *[("Div", 6e4)] * 9]), BRIGHT)


def test_a_graph_that_fp16_changes_is_refused_with_both_limits() -> None:
    """FP16 has steps of 2 from 2048 on, so 2048.4 becomes 2048."""
    model = chain([("Mul", 0.1), ("Add", 2048.4), ("Sub", 2048.0)])
    with pytest.raises(ExportError) as caught:
        checked_half(model, tiles(2))
    assert re.search(r"FP16 differs from FP32 by up to 1\d\d/255, 1\d\d\.", caught.value.problem)
    assert "16 and 0.1 are allowed" in caught.value.problem
    assert caught.value.remedy.startswith("use `precision` fp32, or train longer")
    assert "`precision` fp32" in caught.value.remedy


def test_rounding_between_nodes_is_measured_though_a_cpu_leaves_it_out() -> None:
    """8192 + x - 8192 keeps x in FP32; FP16 has steps of 8 there."""
    with pytest.raises(ExportError, match="FP16 differs from FP32 by up to"):
        checked_half(chain([("Mul", 0.9), ("Add", 8192.0), ("Sub", 8192.0)]), tiles(2))


@pytest.mark.usefixtures("any_difference")
@pytest.mark.parametrize("limit", ["PARITY_LEVELS", "PARITY_MEAN_LEVELS"])
def test_each_limit_alone_refuses(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    model = chain([("Mul", 0.9), ("Add", 2048.02), ("Sub", 2048.0)])
    assert checked_half(model, tiles(2)).largest_difference > 1
    monkeypatch.setattr(module, limit, 0.01)
    with pytest.raises(ExportError, match="FP16 differs from FP32"):
        checked_half(model, tiles(2))


def test_a_float32_tensor_that_is_left_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "float32_tensors", lambda model: ["a", "b", "c", "d"])
    with pytest.raises(ExportError, match=r"4 tensors are still FP32 \(a, b, c\)"):
        checked_half(small_graph(), tiles(1))
