"""The CPU backend: ONNX Runtime behind the `Runner` contract."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME, ModelFile, ModelSpec
from edgecrack.closeable import Closeable
from edgecrack.errors import ConfigError, ModelFileError, first_line
from edgecrack.runtime.backends.base import check_tiles

_FATAL_ONLY = 4  # ONNX Runtime's log level; its messages would bury our own
# A dynamic model gets no more tiles per call than this: activations of a tile at width 16 take
# tens of MB, and on a CPU larger batches are no faster.
_MAX_BATCH = 4
# Tiles in one piece of work where each thread takes its own pieces.
_PIECE = 2
_SPIN_US = "200"


def default_threads() -> int:
    """CPUs this process may use; ONNX Runtime would count all of the machine."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def checked_threads(threads: int | None) -> int:
    """A number of CPU threads; None takes those this process may use.

    Raises:
        ConfigError: it is out of range.
    """
    if threads is not None and not 1 <= threads <= 1024:
        raise ConfigError(f"the number of threads is {threads}", "give 1 to 1024")
    return threads or default_threads()


class OnnxRuntimeRunner(Closeable):
    """Runs an ONNX file on the CPU.

    The threads share each operator's work where a frame has few tiles, which is the fastest way
    to one result. Where it has many, each thread takes tiles of its own: threads that share
    operators wait for the slowest after each one, all the more so beside threads that decode
    and record (benchmarks/onnxruntime_pieces.py).

    Args:
        model: the file.
        threads: CPU threads; None takes those this process may use.

    Raises:
        ModelFileError: the file cannot be loaded or its graph is not what the sidecar says.
        ConfigError: the number of threads is not positive.
    """

    def __init__(self, model: ModelFile, *, threads: int | None = None) -> None:
        self._model = model
        self._threads = checked_threads(threads)
        self._shared: onnxruntime.InferenceSession | None = _session(model, self._threads)
        self._own: onnxruntime.InferenceSession | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._check_graph(self._shared)

    def _check_graph(self, session: onnxruntime.InferenceSession) -> None:
        expected = [self._model.spec.batch, 1, *self._model.spec.tile_hw]
        for role, name, values in (
            ("input", INPUT_NAME, session.get_inputs()),
            ("output", OUTPUT_NAME, session.get_outputs()),
        ):
            found = [(value.name, value.type, value.shape) for value in values]
            fits = (
                len(values) == 1
                and (values[0].name, values[0].type) == (name, "tensor(uint8)")
                and list(values[0].shape)[1:] == expected[1:]
                and self._takes_batch(values[0].shape[0])
            )
            if not fits:
                raise ModelFileError(
                    f"{self._model.path} has {role} {found}, expected {name!r} uint8 {expected}",
                    "export the model with `edgecrack export`",
                )

    def _takes_batch(self, dimension: int | str | None) -> bool:
        """Whether a graph's first dimension, a number or a name, is that of the sidecar."""
        if self._model.spec.batch is None:
            return not isinstance(dimension, int)
        return dimension == self._model.spec.batch

    @property
    def spec(self) -> ModelSpec:
        """The model's description."""
        return self._model.spec

    @property
    def backend(self) -> str:
        """ONNX Runtime."""
        return "onnxruntime"

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run tiles.

        Args:
            tiles: uint8 [N, 1, H, W], N from 1.

        Returns:
            uint8 [N, 1, H, W], 255 = certain crack.

        Raises:
            ConfigError: the tiles have another shape or dtype, or the runner is closed.
            ModelFileError: the graph fails, or its output has another shape than the tiles.
        """
        if self._shared is None:
            raise ConfigError("the runner is closed", "open the model again")
        check_tiles(tiles, self._model.spec.tile_hw)
        result = np.empty_like(tiles)
        pieces = -(-len(tiles) // (self._model.spec.batch or _PIECE))
        if self._threads > 1 and pieces >= 2 * self._threads:
            self._infer_in_pieces(tiles, result)
        else:
            size = self._model.spec.batch or min(len(tiles), _MAX_BATCH)
            for first in range(0, len(tiles), size):
                self._infer_piece(self._shared, tiles, result, first, size)
        return result

    def _infer_in_pieces(self, tiles: NDArray[np.uint8], result: NDArray[np.uint8]) -> None:
        """Each thread takes the next piece when it has finished one."""
        if self._own is None or self._pool is None:
            self._own = _session(self._model, 1)
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="edgecrack-infer")
        jobs = [
            self._pool.submit(self._infer_piece, self._own, tiles, result, first, size)
            for first, size in self._pieces(len(tiles))
        ]
        for job in jobs:
            job.result()

    def _pieces(self, count: int) -> list[tuple[int, int]]:
        """First tile and size of each piece, as many pieces for one thread as for another.

        With a fixed batch they have its size.
        """
        size = self._model.spec.batch
        if size:
            return [(first, size) for first in range(0, count, size)]
        pieces = min(count, -(-count // (_PIECE * self._threads)) * self._threads)
        shorter, longer = divmod(count, pieces)  # the longer ones come first
        sizes = [shorter + (index < longer) for index in range(pieces)]
        return list(zip(np.cumsum([0, *sizes[:-1]]).tolist(), sizes, strict=True))

    def _infer_piece(
        self,
        session: onnxruntime.InferenceSession,
        tiles: NDArray[np.uint8],
        result: NDArray[np.uint8],
        first: int,
        size: int,
    ) -> None:
        chunk = tiles[first : first + size]
        count = len(chunk)
        if self._model.spec.batch and count < size:  # a fixed batch is filled up with repeats
            chunk = np.concatenate([chunk, np.repeat(chunk[-1:], size - count, axis=0)])
        try:
            (output,) = session.run([OUTPUT_NAME], {INPUT_NAME: np.ascontiguousarray(chunk)})
        except Exception as error:  # ONNX Runtime's own types are not public
            raise self._cannot_run(first_line(error)) from error
        if output.shape != chunk.shape:
            raise self._cannot_run(f"it gives {list(output.shape)} for {list(chunk.shape)}")
        result[first : first + count] = output[:count]

    def _cannot_run(self, reason: str) -> ModelFileError:
        return ModelFileError(
            f"ONNX Runtime cannot run {self._model.path} ({reason})",
            "export the model again with `edgecrack export`",
        )

    def close(self) -> None:
        """Free the sessions and end the threads."""
        self._shared = self._own = None
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def _session(model: ModelFile, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    # Threads that spin until there is work take the cores from capture, video encoding and the
    # robot's other programs; threads that never spin were 1.3 times slower
    # (benchmarks/onnxruntime_spinning.py). Versions that do not know the entry ignore it.
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
    try:
        return onnxruntime.InferenceSession(
            model.content, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's own types are not public
        raise ModelFileError(
            f"ONNX Runtime cannot load {model.path} ({first_line(error)})",
            "export the model again with `edgecrack export`",
        ) from error
