"""Small ONNX files that keep the model file's contract, in each precision, and some that do not."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import TensorProto, helper, numpy_helper

from edgecrack.artifacts import ModelSpec, write_sidecar

SIDE = 32
_TYPES: Mapping[str, DTypeLike] = {"fp32": np.float32, "fp16": np.float16, "int8": np.float16}


def small_graph(
    precision: str, batch: int | str = "batch", *, foreign: str | None = None
) -> onnx.ModelProto:
    """Two convolutions, uint8 at both ends.

    Args:
        precision: "fp32", "fp16" or "int8"; in INT8 Q/DQ pairs feed both convolutions.
        batch: a number, or a name for a dynamic one.
        foreign: name of a node to put in that computes in FP32.
    """
    dtype = np.dtype(_TYPES[precision])
    make = functools.partial(numpy_helper.from_array)
    constants = [make(np.array(1 / 255, dtype), "down"), make(np.array(255, dtype), "up")]
    to = helper.np_dtype_to_tensor_dtype(dtype)
    nodes = [
        helper.make_node("Cast", ["tiles"], ["real"], to=to, name="to_real"),
        helper.make_node("Mul", ["real", "down"], ["scaled"], name="scale"),
    ]
    current = "scaled"
    if foreign is not None:
        nodes += [
            helper.make_node("Cast", [current], ["wide"], to=TensorProto.FLOAT, name="widen"),
            helper.make_node("Sigmoid", ["wide"], ["wider"], name=foreign),
            helper.make_node("Cast", ["wider"], ["narrow"], to=to, name="narrow"),
        ]
        current = "narrow"
    for index, (inputs, outputs) in enumerate([(1, 8), (8, 1)]):
        weight = np.random.default_rng(index).normal(0, 0.1, (outputs, inputs, 3, 3)).astype(dtype)
        source, weights = current, f"weight{index}"
        if precision == "int8":
            added, more = _pairs(index, current, weight)
            nodes, constants = nodes + added, constants + more
            source, weights = f"restored{index}", f"weight{index}_restored"
        else:
            constants.append(make(weight, weights))
        name = f"convolution{index}"
        nodes.append(helper.make_node("Conv", [source, weights], [name], pads=[1] * 4, name=name))
        current = f"activation{index}"
        nodes.append(helper.make_node("Sigmoid", [name], [current], name=current))
    nodes += [
        helper.make_node("Mul", [current, "up"], ["levels"], name="stretch"),
        helper.make_node("Round", ["levels"], ["whole"], name="round"),
        helper.make_node("Cast", ["whole"], ["crack"], to=TensorProto.UINT8, name="to_byte"),
    ]
    return _model(nodes, constants, batch)


def unreadable_graph() -> onnx.ModelProto:
    """Two nodes that no TensorRT knows, one of them of a domain of its own."""
    nodes = [
        helper.make_node("Frobnicate", ["tiles"], ["one"], name="first_bad", domain="not.known"),
        helper.make_node("StringNormalizer", ["one"], ["two"], name="second_bad"),
        helper.make_node("Cast", ["two"], ["crack"], to=TensorProto.UINT8, name="to_byte"),
    ]
    return _model(nodes, [], "batch")


def save(model: onnx.ModelProto, path: Path, **spec: Any) -> Path:
    """Write a graph with the sidecar that fits it, but for what `spec` says."""
    path.write_bytes(model.SerializeToString())
    given = {"kind": "onnx", "pooling": "max", "width": 8, "tile_hw": (SIDE, SIDE), **spec}
    write_sidecar(path, ModelSpec(**given))
    return path


def _pairs(
    index: int, source: str, weight: Any
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Q/DQ pair of a convolution's input, and DQ of its INT8 weights, per channel."""
    outputs = weight.shape[0]
    scale, zero = f"scale{index}", f"zero{index}"
    constants = {
        scale: np.array(0.01, weight.dtype),
        zero: np.array(0, np.int8),
        f"weight{index}": np.clip(np.round(weight.astype(np.float32) * 100), -127, 127),
        f"weight{index}_scale": np.full(outputs, 0.01, weight.dtype),
        f"weight{index}_zero": np.zeros(outputs, np.int8),
    }
    constants[f"weight{index}"] = constants[f"weight{index}"].astype(np.int8)
    names = [f"weight{index}", f"weight{index}_scale", f"weight{index}_zero"]
    nodes = [
        helper.make_node(
            "QuantizeLinear", [source, scale, zero], [f"whole{index}"], name=f"quantize{index}"
        ),
        helper.make_node(
            "DequantizeLinear",
            [f"whole{index}", scale, zero],
            [f"restored{index}"],
            name=f"dequantize{index}",
        ),
        helper.make_node(
            "DequantizeLinear",
            names,
            [f"weight{index}_restored"],
            axis=0,
            name=f"dequantize_weight{index}",
        ),
    ]
    return nodes, [numpy_helper.from_array(value, name) for name, value in constants.items()]


def _model(
    nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], batch: int | str
) -> onnx.ModelProto:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [batch, 1, SIDE, SIDE])
        for name in ("tiles", "crack")
    ]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("not.known", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)
