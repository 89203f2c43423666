"""Turns an FP32 graph into one typed FP16, with uint8 at both ends, and checks the result.

TensorRT's strong typing takes each tensor's type from the file, so the precision of an engine is
decided here and not by builder flags. Two things go wrong with FP16: values above 65,504, which a
CPU that computes in FP32 does not show, and rounding. Both are measured on tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgecrack.errors import ExportError
from edgecrack.onnx_graph.graph_file import GraphRun, with_outputs
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence


HALF_MAXIMUM = 65504.0
HALF_SMALLEST_NORMAL = 2.0**-14
_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph in which every float32 tensor is float16.

    Weights are rounded to nearest even. Scales of Q/DQ pairs become float16 as well, so that the
    output of DequantizeLinear is float16; INT8 weights do not change.

    Args:
        model: a graph with float32 tensors, as `edgecrack export` or `calibrate` makes it.

    Raises:
        ExportError: a constant exceeds float16's range.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    settings = _float32_by_definition(result)
    for value in graph.initializer:
        if value.name not in settings:
            _retype(value)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _retype(attribute.t)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == _FLOAT:
                attribute.i = _HALF
    for info in (*graph.input, *graph.output, *graph.value_info):
        if info.type.tensor_type.elem_type == _FLOAT:
            info.type.tensor_type.elem_type = _HALF
    onnx.checker.check_model(result, full_check=True)
    return result


def float32_tensors(model: onnx.ModelProto) -> list[str]:
    """Names of the float32 tensors of a graph, initializers included, sorted.

    Without inputs that an operator defines as float32, such as the scales of Resize.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    infos = (*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info)
    found = {info.name for info in infos if info.type.tensor_type.elem_type == _FLOAT}
    found |= {item.name for item in inferred.graph.initializer if item.data_type == _FLOAT}
    return sorted(found - _float32_by_definition(inferred))


def _float32_by_definition(model: onnx.ModelProto) -> set[str]:
    """Inputs that an operator defines as float32 for every data type.

    For example the scales of Resize, which are settings, not data.
    """
    version = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    names = set()
    for node in model.graph.node:
        formal = onnx.defs.get_schema(node.op_type, version).inputs
        for name, parameter in zip(node.input, formal, strict=False):
            if "tensor(float)" in parameter.types and "tensor(float16)" not in parameter.types:
                names.add(name)
    return names


def half_scale(scale: NDArray[Any]) -> NDArray[np.float32]:
    """Q/DQ scales rounded to float16 and kept out of its subnormal range."""
    kept = np.maximum(np.asarray(scale, np.float32), HALF_SMALLEST_NORMAL)
    return kept.astype(np.float16).astype(np.float32)


def _retype(tensor: TensorProto) -> None:
    if tensor.data_type != _FLOAT:
        return
    values = numpy_helper.to_array(tensor)
    if np.isnan(values).any():
        raise ExportError(f"{tensor.name} contains NaN", "train the network again")
    largest = float(np.abs(values).max()) if values.size else 0.0
    if not largest <= HALF_MAXIMUM:
        raise ExportError(
            f"{tensor.name} contains {largest:.3g}, which exceeds FP16's range",
            "export with `precision` fp32, or train again with weight decay",
        )
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))


def simulate_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """An FP32 graph that rounds like an FP16-typed one, for a CPU.

    ONNX Runtime's CPU kernels compute FP16 graphs in FP32 and drop the casts between nodes, so
    nothing is rounded and nothing overflows. Here every FP16 result is rounded by casts of its own,
    which are kept. The output of DequantizeLinear is not rounded: an INT8 convolution adds whole
    numbers.

    Args:
        model: a graph typed FP16, from `to_half`; one without FP16 is copied unchanged.

    Returns:
        A new graph with the same inputs and outputs.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    infos = inferred.graph.value_info
    halves = {info.name for info in infos if info.type.tensor_type.elem_type == _HALF}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for value in result.graph.initializer:
        if value.data_type == _HALF:
            wide = numpy_helper.to_array(value).astype(np.float32)
            value.CopyFrom(numpy_helper.from_array(wide, value.name))
    nodes = []
    for node in result.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == _HALF:
                attribute.i = _FLOAT
        nodes.append(node)
        if node.output[0] in halves and node.op_type != "DequantizeLinear":
            nodes += _rounding(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del result.graph.node[:]
    result.graph.node.extend(copies)
    del result.graph.value_info[:]
    return result


def _rounding(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Two casts that take over the node's output name; the node gets another one."""
    name = node.output[0]
    exact, half = f"{name}.exact", f"{name}.half"
    node.output[0] = exact
    return [
        onnx.helper.make_node("Cast", [exact], [half], name=half, to=_HALF),
        onnx.helper.make_node("Cast", [half], [name], name=f"{name}.rounded", to=_FLOAT),
    ]


PARITY_LEVELS = 16  # of 255; real tiles differ by 7 at most, see docs/engines.md
PARITY_MEAN_LEVELS = 0.1
_HEADROOM = 4.0  # other images may reach larger values


@dataclass(frozen=True, eq=False)
class Half:
    """An FP16 graph and its measured differences from FP32.

    Attributes:
        model: the graph.
        largest_activation: largest magnitude of a tensor on the tiles, computed in FP32.
        largest_difference: largest difference from FP32, in levels of 255.
        mean_difference: mean difference from FP32, in levels of 255.
        tiles: number of tiles.
    """

    model: onnx.ModelProto
    largest_activation: float
    largest_difference: int
    mean_difference: float
    tiles: int

    def to_dict(self) -> dict[str, float | int]:
        """The figures as a sidecar stores them."""
        return {
            "largest_activation": round(self.largest_activation, 1),
            "largest_difference": self.largest_difference,
            "mean_difference": round(self.mean_difference, 5),
            "tiles": self.tiles,
        }


def checked_half(
    model: onnx.ModelProto, tiles: NDArray[np.uint8], batch: int | None = None
) -> Half:
    """Type a graph FP16 and check it against FP32.

    Args:
        model: the FP32 graph.
        tiles: uint8 [N, 1, H, W].
        batch: tiles per call that the graph wants, or None for any number.

    Raises:
        ExportError: a value is near FP16's maximum, a float32 tensor remains, or the outputs
            differ too much.
    """
    half = to_half(model)
    if left := float32_tensors(half):
        raise ExportError(
            f"{counted(len(left), 'tensor')} {'is' if len(left) == 1 else 'are'} still FP32 "
            f"({', '.join(left[:3])})",
            "install the versions in constraints.txt",
        )
    largest = largest_activation(model, tiles, batch)
    if not largest * _HEADROOM <= HALF_MAXIMUM:
        raise ExportError(
            f"a value of the network reaches {largest:.0f}, too close to FP16's maximum of 65504",
            "use `precision` fp32, or train again with weight decay",
        )
    expected = GraphRun(model, batch)(tiles).astype(np.int16)
    difference = np.abs(GraphRun(simulate_half(half), batch)(tiles).astype(np.int16) - expected)
    result = Half(half, largest, int(difference.max()), float(difference.mean()), len(tiles))
    if result.largest_difference > PARITY_LEVELS or result.mean_difference > PARITY_MEAN_LEVELS:
        raise ExportError(
            f"FP16 differs from FP32 by up to {result.largest_difference}/255, "
            f"{result.mean_difference:.3f}/255 in the mean; {PARITY_LEVELS} and "
            f"{PARITY_MEAN_LEVELS} are allowed",
            "use `precision` fp32, or train longer: rounding matters most where a network is "
            "unsure, as after a short training",
        )
    return result


def largest_activation(
    model: onnx.ModelProto, tiles: NDArray[np.uint8], batch: int | None = None
) -> float:
    """Largest magnitude of any float32 tensor between a graph's nodes, on tiles.

    Args:
        model: the FP32 graph.
        tiles: uint8 [N, 1, H, W].
        batch: tiles per call that the graph wants, or None for any number.
    """
    names = _float_outputs(model)
    run = GraphRun(with_outputs(model, names), batch, names)
    peaks = [float(np.abs(value).max()) for found in run.values(tiles) for value in found]
    return max(peaks, default=0.0)


def _float_outputs(model: onnx.ModelProto) -> Sequence[str]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    floats = {
        info.name
        for info in inferred.graph.value_info
        if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    return [name for node in model.graph.node for name in node.output if name in floats]
