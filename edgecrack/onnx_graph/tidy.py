"""Cleans up the graph that the exporter makes, and checks its operators."""

from __future__ import annotations

import ast

import onnx
from onnx import numpy_helper

from edgecrack.errors import ExportError

ALLOWED_OPERATORS = frozenset(
    {
        "Add", "Cast", "Concat", "Conv", "ConvTranspose", "Div", "MaxPool", "Mul",
        "Relu", "Resize", "Round", "Sigmoid", "Sub",
    }
)  # fmt: skip
QUANTIZATION_OPERATORS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_SCOPES = "pkg.torch.onnx.name_scopes"


def tidy(model: onnx.ModelProto, batch: int | None) -> onnx.ModelProto:
    """Drop debugging metadata, fold pads, and name nodes and the batch dimension.

    Args:
        model: changed in place.
        batch: tiles per call, or None for any number.

    Returns:
        The same graph, checked.
    """
    model.producer_name, model.producer_version = "edgecrack", ""
    del model.metadata_props[:]
    del model.functions[:]
    kept = [item for item in model.opset_import if item.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    del model.graph.value_info[:]
    _fold_pads(model.graph)
    _name_nodes(model.graph)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
        if batch is None:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model, full_check=True)
    return model


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Name each node after its place in the network, as in encoder.0.convolutions.1.

    Users see these names in the list of layers that stay in FP16 and in TensorRT's logs.
    """
    taken: set[str] = set()
    for node in graph.node:
        scopes = [item.value for item in node.metadata_props if item.key == _SCOPES]
        path = ast.literal_eval(scopes[0]) if scopes else []
        name = path[-2] if len(path) > 1 else ""
        if node.op_type not in ("Conv", "ConvTranspose"):
            name = f"{name}.{path[-1] if path else node.name}".lstrip(".")
        if name and name not in taken:
            node.name = name
        taken.add(node.name)


def _fold_pads(graph: onnx.GraphProto) -> None:
    """Move the pads of a -inf `Pad` into the max pooling after it; torch cannot express that."""
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    pads = {node.output[0]: node for node in graph.node if node.op_type == "Pad"}
    for node in list(graph.node):  # a copy: nodes are removed on the way
        pad = pads.get(node.input[0]) if node.op_type == "MaxPool" else None
        if pad is None:
            continue
        _, _, top, left, _, _, bottom, right = constants[pad.input[1]].tolist()
        kept = [item for item in node.attribute if item.name != "pads"]
        del node.attribute[:]
        node.attribute.extend(
            [*kept, onnx.helper.make_attribute("pads", [top, left, bottom, right])]
        )
        node.input[0] = pad.input[0]
        graph.node.remove(pad)
    used = {name for node in graph.node for name in node.input}
    unused = [item for item in graph.initializer if item.name not in used]
    for item in unused:
        graph.initializer.remove(item)


def check_operators(model: onnx.ModelProto, *, quantized: bool = False) -> None:
    """Refuse a graph with an operator outside the contract.

    Args:
        model: the graph.
        quantized: whether Q/DQ pairs are allowed.

    Raises:
        ExportError: naming the operators.
    """
    allowed = ALLOWED_OPERATORS | (QUANTIZATION_OPERATORS if quantized else frozenset())
    foreign = sorted(
        f"{node.domain or 'ai.onnx'}.{node.op_type}"
        for node in model.graph.node
        if node.domain not in ("", "ai.onnx") or node.op_type not in allowed
    )
    if foreign:
        raise ExportError(
            f"the graph contains operators outside the contract: {', '.join(sorted(set(foreign)))}",
            "install the versions in constraints.txt",
        )
