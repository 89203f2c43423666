"""An FP32 graph turned into FP16, and the proof that nothing was lost that matters.

Two things go wrong with FP16: values that overflow 65,504, which a CPU that computes in FP32
does not show, and rounding. Both are measured on tiles before a file is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecrack.artifacts import INPUT_NAME
from edgecrack.errors import ExportError
from edgecrack.onnx_graph.graph_run import GraphRun
from edgecrack.onnx_graph.precision import HALF_MAXIMUM, float32_tensors, simulate_half, to_half
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

PARITY_LEVELS = 16  # of 255; real tiles differ by 7 at most, see docs/engines.md
PARITY_MEAN_LEVELS = 0.1
_HEADROOM = 4.0  # an unseen image may drive a value somewhat further


@dataclass(frozen=True, eq=False)
class Half:
    """An FP16 graph and what was measured of it.

    Attributes:
        model: the graph.
        largest_activation: largest magnitude of any tensor on the tiles, computed in FP32.
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
        """The figures as they stand in a sidecar."""
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
        ExportError: a value comes near what FP16 can hold, a float32 tensor is left, or the
            outputs differ too much.
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
            f"a value of the network reaches {largest:.0f}, too near FP16's 65504",
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
            "use `precision` fp32, or train for longer: rounding shows most where a network is "
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
    import onnxruntime

    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    names = _float_outputs(model)
    opened.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    session = onnxruntime.InferenceSession(
        opened.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    largest = 0.0
    for tile in tiles:
        values = session.run(names, {INPUT_NAME: np.repeat(tile[None], batch or 1, axis=0)})
        largest = max(largest, *(float(np.abs(value).max()) for value in values))
    return largest


def _float_outputs(model: onnx.ModelProto) -> Sequence[str]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    floats = {
        info.name
        for info in inferred.graph.value_info
        if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    return [name for node in model.graph.node for name in node.output if name in floats]
