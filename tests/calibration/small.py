"""One small network, exported once for all tests, and what is needed to calibrate it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from edgecrack.artifacts import ModelSpec, write_sidecar
from edgecrack.export.graph import ExportConfig, build_onnx
from tests.model.networks import lively_network, random_tiles

SIDE = 32
TILE_HW = (SIDE, SIDE)


@lru_cache(maxsize=1)
def _exported() -> bytes:
    network = lively_network(gate_bias=True, tile_hw=TILE_HW)
    serialised: bytes = build_onnx(network, ExportConfig(TILE_HW)).SerializeToString()
    return serialised


def small_graph(batch: int | None = None) -> onnx.ModelProto:
    """A random network of width 2 for tiles of 32 px, a copy of one's own."""
    model = onnx.load_from_string(_exported())
    if batch is not None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch
    return model


def save_model(model: onnx.ModelProto, path: Path, **spec: Any) -> Path:
    """Write a graph with the sidecar that fits it, but for what `spec` says."""
    path.write_bytes(model.SerializeToString())
    given = {"kind": "onnx", "pooling": "gated-scale", "width": 2, "gate_bias": True}
    write_sidecar(path, ModelSpec(**{**given, "tile_hw": TILE_HW, **spec}))
    return path


def tiles(count: int = 3, seed: int = 4) -> NDArray[np.uint8]:
    """Random tiles, uint8 [count, 1, 32, 32]."""
    return random_tiles(count, TILE_HW, seed)


def constants_of(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """The initializers by name."""
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def producers_of(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The node that makes each tensor."""
    return {name: node for node in model.graph.node for name in node.output}


def run(
    model: onnx.ModelProto, pixels: NDArray[np.uint8], names: tuple[str, ...] = ("crack",)
) -> list[NDArray[Any]]:
    """Values of float tensors, or of the output, on tiles."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    opened.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in names
        if name != "crack"
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # What is read inside the graph must be what was written into it.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        opened.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[NDArray[Any]] = session.run(list(names), {"tiles": pixels})
    return found
