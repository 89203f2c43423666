"""Reading an ONNX file of ours back as a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecrack.artifacts import ModelFile
from edgecrack.errors import ModelFileError, first_line
from edgecrack.extras import require

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20  # the newest that TensorRT 10.3 of JetPack 6 parses; FP16 scales of Q/DQ pairs need 19


def read_graph(model: ModelFile, precision: str) -> ModelProto:
    """The graph in an ONNX file.

    Args:
        model: the file.
        precision: the precision that it must have.

    Raises:
        ModelFileError: the file is no ONNX file, or of another precision.
        ExportError: it holds an operator outside the contract.
        MissingDependencyError: the package onnx is not installed.
    """
    require("onnx", extra="quantize", purpose="changing a model's precision")
    import onnx
    import onnx.version_converter

    path, spec = model.path, model.spec
    if spec.kind != "onnx":
        remedy = "give an ONNX file made by `edgecrack export`"
        if spec.kind == "checkpoint":
            remedy = f"export it first: edgecrack export {path} -o model.onnx"
        raise ModelFileError(f"{path} is a model of kind {spec.kind!r}", remedy)
    from edgecrack.onnx_graph.tidy import check_operators

    if spec.precision != precision:
        raise ModelFileError(
            f"{path} is {spec.precision.upper()} and {precision.upper()} is needed",
            "give the FP32 file that it was made from",
        )
    try:
        graph = onnx.load_model_from_string(model.content)
        if any(item.data_location == onnx.TensorProto.EXTERNAL for item in graph.graph.initializer):
            raise ValueError("its weights lie in another file, which no hash covers")
        onnx.checker.check_model(graph)
        if graph.opset_import[0].version < OPSET:  # files of edgecrack 0.1 have 18
            graph = onnx.version_converter.convert_version(graph, OPSET)
        names = [node.name for node in graph.graph.node]
        if len(set(names)) < len(names) or "" in names:
            raise ValueError("its nodes have no names of their own")
    except Exception as error:  # protobuf's and onnx's own types are not public
        raise ModelFileError(
            f"{path} cannot be read as ONNX ({first_line(error)})",
            "export the model again with `edgecrack export`",
        ) from error
    check_operators(graph)
    return graph
