"""Reads an ONNX file of edgecrack as a graph, and runs a graph without a sidecar on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME, ModelFile
from edgecrack.errors import ModelFileError, first_line
from edgecrack.extras import require
from edgecrack.runtime.backends.onnx_runtime import default_threads

if TYPE_CHECKING:
    from onnx import ModelProto


OPSET = 20  # the newest that TensorRT 10.3 of JetPack 6 parses; FP16 scales of Q/DQ pairs need 19


def read_graph(model: ModelFile, precision: str) -> ModelProto:
    """The graph in an ONNX file.

    Args:
        model: the file.
        precision: the precision that it must have.

    Raises:
        ModelFileError: the file is not an ONNX file, or has another precision.
        ExportError: it has an operator outside the contract.
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
            raise ValueError("its weights are in another file, which no hash covers")
        onnx.checker.check_model(graph)
        if graph.opset_import[0].version < OPSET:  # files of edgecrack 0.1 have 18
            graph = onnx.version_converter.convert_version(graph, OPSET)
        names = [node.name for node in graph.graph.node]
        if len(set(names)) < len(names) or "" in names:
            raise ValueError("its nodes have no unique names")
    except Exception as error:  # protobuf's and onnx's own types are not public
        raise ModelFileError(
            f"{path} cannot be read as ONNX ({first_line(error)})",
            "export the model again with `edgecrack export`",
        ) from error
    check_operators(graph)
    return graph


_CHUNK = 4
_ERRORS_ONLY = 3


class GraphRun:
    """A graph as a plain function.

    Args:
        model: the graph or its bytes, `tiles` in and `crack` out.
        batch: tiles per call, or None for any number.
        outputs: names of the tensors that `values` returns.
    """

    def __init__(
        self,
        model: ModelProto | bytes,
        batch: int | None = None,
        outputs: Sequence[str] = (OUTPUT_NAME,),
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = default_threads()
        serialised = model if isinstance(model, bytes) else model.SerializeToString()
        self._session = onnxruntime.InferenceSession(
            serialised, options, providers=["CPUExecutionProvider"]
        )
        self._batch, self._outputs = batch, list(outputs)

    def __call__(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run tiles.

        Args:
            tiles: uint8 [N, 1, H, W], N at least 1.

        Returns:
            Crack probability, uint8 [N, H, W].

        Raises:
            ModelFileError: the graph fails.
        """
        return np.concatenate([found[0][:, 0] for found in self.values(tiles)])

    def values(self, tiles: NDArray[np.uint8]) -> Iterator[list[NDArray[Any]]]:
        """The outputs [n, ...] of a few tiles at a time; padding of a fixed batch is removed.

        Raises:
            ModelFileError: the graph fails.
        """
        size = self._batch or _CHUNK
        for first in range(0, len(tiles), size):
            chunk = tiles[first : first + size]
            count = len(chunk)
            if self._batch and count < size:
                chunk = np.concatenate([chunk, np.repeat(chunk[-1:], size - count, axis=0)])
            try:
                found = self._session.run(self._outputs, {INPUT_NAME: np.ascontiguousarray(chunk)})
            except Exception as error:  # ONNX Runtime's own types are not public
                raise ModelFileError(
                    f"the graph cannot be run ({first_line(error)})",
                    "export the model again with `edgecrack export`",
                ) from error
            yield [values[:count] for values in found]


def with_outputs(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """A copy of a graph whose outputs are these float tensors."""
    import onnx

    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.output[:]
    result.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors
    )
    return result
