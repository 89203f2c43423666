"""Every operator that a model file holds is one that TensorRT 10.3, 11 and TensorRT for RTX parse.

The list below was written from NVIDIA's tables of supported ONNX operators (onnx-tensorrt,
docs/operators.md, read for TensorRT 10.15 and compared with that for 8.5: between the two no row
used here lost a type) and TensorRT 11's guide to opsets (9 to 25). TensorRT for RTX is asked
itself, where it is installed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecrack.artifacts import POOLINGS, Pooling
from edgecrack.calibration.quantize import layer_inputs, quantize
from edgecrack.onnx_graph.precision import to_half
from edgecrack.onnx_graph.tidy import ALLOWED_OPERATORS, QUANTIZATION_OPERATORS
from tests.export.exported import DYNAMIC, MAX, STACKED, Case, exported

FLOATS: set[int] = {TensorProto.FLOAT, TensorProto.FLOAT16}
# Operator -> types that its first input may have.
SUPPORTED: dict[str, set[int]] = {
    "Add": FLOATS,
    "Cast": FLOATS | {TensorProto.UINT8},
    "Concat": FLOATS,
    "Conv": FLOATS,
    "ConvTranspose": FLOATS,
    "DequantizeLinear": {TensorProto.INT8},
    "Div": FLOATS,
    "MaxPool": FLOATS,
    "Mul": FLOATS,
    "QuantizeLinear": FLOATS,
    "Relu": FLOATS,
    "Resize": FLOATS,
    "Round": FLOATS,
    "Sigmoid": FLOATS,
    "Sub": FLOATS,
}
NEWEST_OPSET = 20  # of TensorRT 10.3; 10.15 has 24 and 11 has 25
RESIZE_TRANSFORMATIONS = {"half_pixel", "pytorch_half_pixel"}

PRECISIONS = ("fp32", "fp16", "int8")
EXPORTED: dict[Pooling, Case] = {"gated-scale": DYNAMIC, "stacked": STACKED, "max": MAX}
CASES = [(pooling, precision) for pooling in POOLINGS for precision in PRECISIONS]
each_graph = pytest.mark.parametrize(("pooling", "precision"), CASES)


@lru_cache(maxsize=len(CASES))
def graph_of(pooling: Pooling, precision: str) -> onnx.ModelProto:
    model = copy.deepcopy(exported(EXPORTED[pooling])[1])
    if precision == "fp16":
        return to_half(model)
    if precision == "int8":
        return quantize(model, dict.fromkeys(layer_inputs(model).values(), 4.0))
    return model


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    infos = (*inferred.input, *inferred.output, *inferred.value_info)
    types = {info.name: info.type.tensor_type.elem_type for info in infos}
    return {**types, **{item.name: item.data_type for item in inferred.initializer}}


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def complaints(model: onnx.ModelProto) -> Iterator[str]:
    """What of a graph is not on the list."""
    if (version := model.opset_import[0].version) > NEWEST_OPSET:
        yield f"opset {version}"
    types = types_of(model)
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    ends = {model.graph.input[0].name, model.graph.output[0].name}
    for name, kind in types.items():
        if kind == TensorProto.UINT8 and name not in ends:
            yield f"{name} is uint8 inside the network"
    for node in model.graph.node:
        if types[node.input[0]] not in SUPPORTED.get(node.op_type, set()):
            yield f"{node.op_type} of {TensorProto.DataType.Name(types[node.input[0]])}"
        yield from restrictions(node, constants)


def restrictions(node: onnx.NodeProto, constants: dict[str, Any]) -> Iterator[str]:
    given = attributes(node)
    if node.op_type in ("Conv", "ConvTranspose", "MaxPool"):
        if len(given.get("kernel_shape", (0, 0))) != 2:
            yield f"{node.op_type} is not two-dimensional"
        if node.op_type == "MaxPool" and set(given.get("dilations", [1])) != {1}:
            yield "MaxPool is dilated"
        if node.op_type == "MaxPool" and len(node.output) != 1:
            yield "MaxPool gives indices"
    if node.op_type == "Resize":
        if given.get("mode") != b"linear" or given.get("antialias", 0):
            yield "Resize is not plain bilinear"
        if given["coordinate_transformation_mode"].decode() not in RESIZE_TRANSFORMATIONS:
            yield "Resize has another transformation"
        if given.get("keep_aspect_ratio_policy", b"stretch") != b"stretch" or "axes" in given:
            yield "Resize has axes or a policy"
    if node.op_type in QUANTIZATION_OPERATORS and constants[node.input[2]].any():
        yield f"{node.op_type} has a zero point"


@each_graph
def test_every_operator_is_on_the_list(pooling: Pooling, precision: str) -> None:
    assert list(complaints(graph_of(pooling, precision))) == []


def test_the_list_covers_what_the_exporter_allows() -> None:
    assert set(SUPPORTED) == ALLOWED_OPERATORS | QUANTIZATION_OPERATORS


@pytest.mark.parametrize(
    ("operator", "change", "complaint"),
    [
        ("MaxPool", {"dilations": [2, 2]}, "MaxPool is dilated"),
        ("Resize", {"antialias": 1}, "Resize is not plain bilinear"),
        ("Resize", {"coordinate_transformation_mode": "align_corners"}, "another transformation"),
        ("Conv", {"kernel_shape": [3]}, "Conv is not two-dimensional"),
    ],
)
def test_the_list_can_refuse(operator: str, change: dict[str, Any], complaint: str) -> None:
    node = copy.deepcopy(
        next(
            node for node in graph_of("gated-scale", "fp32").graph.node if node.op_type == operator
        )
    )
    kept = [item for item in node.attribute if item.name not in change]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(*item) for item in change.items())])
    assert any(complaint in text for text in restrictions(node, {}))


def test_the_graph_has_the_two_that_are_easily_refused() -> None:
    nodes = [
        (node.op_type, attributes(node)) for node in graph_of("gated-scale", "fp32").graph.node
    ]
    pads = [given.get("pads") for kind, given in nodes if kind == "MaxPool"]
    assert [0, 0, 1, 1] in pads  # the second pooling, at the bottom and right alone
    groups = [given.get("group", 1) for kind, given in nodes if kind == "Conv"]
    assert max(groups) > 1  # the gate: one filter for each channel


@each_graph
def test_tensorrt_for_rtx_parses_the_whole_graph(pooling: Pooling, precision: str) -> None:
    trt = pytest.importorskip(
        "tensorrt_rtx", reason="TensorRT for RTX is not installed (extra rtx)"
    )
    logger = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(logger).create_network(0)
    parser = trt.OnnxParser(network, logger)
    model = graph_of(pooling, precision)
    unknown = {
        node.op_type for node in model.graph.node if not parser.supports_operator(node.op_type)
    }
    assert not unknown
    assert parser.parse(model.SerializeToString()), parser.get_error(0).desc()
    kinds = [network.get_layer(index).type for index in range(network.num_layers)]
    poolings = [
        network.get_layer(index)
        for index, kind in enumerate(kinds)
        if kind == trt.LayerType.POOLING
    ]
    assert len(poolings) == (3 if pooling == "max" else 9)


def test_asymmetric_pads_arrive_in_tensorrt_as_they_were() -> None:
    trt = pytest.importorskip(
        "tensorrt_rtx", reason="TensorRT for RTX is not installed (extra rtx)"
    )
    logger = trt.Logger(trt.Logger.ERROR)
    network = trt.Builder(logger).create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(graph_of("gated-scale", "fp32").SerializeToString())
    found = set()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.POOLING:
            layer.__class__ = trt.IPoolingLayer
            found.add((tuple(layer.pre_padding), tuple(layer.post_padding)))
    assert ((0, 0), (1, 1)) in found
    assert np.array_equal(sorted(found)[0], ((0, 0), (0, 0)))
