"""Runs a graph that is not on disk yet on tiles, in ONNX Runtime on the CPU.

What the runtime does for files with a sidecar, without the sidecar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME
from edgecrack.errors import ModelFileError, first_line
from edgecrack.runtime.backends.onnx_runtime import default_threads

if TYPE_CHECKING:
    import onnx

_CHUNK = 4
_ERRORS_ONLY = 3


class GraphRun:
    """A graph as a plain function.

    Args:
        model: the graph or its bytes, `tiles` in and `crack` out.
        batch: tiles per call that it wants, or None for any number.
    """

    def __init__(self, model: onnx.ModelProto | bytes, batch: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = default_threads()
        serialised = model if isinstance(model, bytes) else model.SerializeToString()
        self._session = onnxruntime.InferenceSession(
            serialised, options, providers=["CPUExecutionProvider"]
        )
        self._batch = batch

    def __call__(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run tiles.

        Args:
            tiles: uint8 [N, 1, H, W], any N from 1.

        Returns:
            Crack probability, uint8 [N, H, W].

        Raises:
            ModelFileError: the graph fails.
        """
        size = self._batch or _CHUNK
        parts = []
        for first in range(0, len(tiles), size):
            chunk = tiles[first : first + size]
            count = len(chunk)
            if self._batch and count < size:
                chunk = np.concatenate([chunk, np.repeat(chunk[-1:], size - count, axis=0)])
            given = {INPUT_NAME: np.ascontiguousarray(chunk)}
            try:
                (output,) = self._session.run([OUTPUT_NAME], given)
            except Exception as error:  # ONNX Runtime's own types are not public
                raise ModelFileError(
                    f"the graph cannot be run ({first_line(error)})",
                    "export the model again with `edgecrack export`",
                ) from error
            parts.append(output[:count, 0])
        return np.concatenate(parts)
