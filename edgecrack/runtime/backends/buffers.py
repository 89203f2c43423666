"""One batch in flight: an execution context with a stream and buffers of its own.

Two slots overlap: while one computes, the other copies. Knows nothing of files, nor how many
tiles a frame has.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME
from edgecrack.errors import DeviceError
from edgecrack.nvidia.cuda.base import Cuda

Note = Callable[[str], None]


class Slot:
    """Runs one batch at a time; `start` and `finish` take turns.

    Every method must be called with the GPU current. A batch of a new size runs twice as TensorRT
    wants it before it is recorded as a CUDA graph: in its first run TensorRT settles what depends
    on the size, which is not to be in the graph. A graph holds for one size alone, and changing
    the size of its context spoils it, so there is one at a time.

    Args:
        cuda: the GPU.
        context: TensorRT's IExecutionContext; the slot holds the only reference.
        tile_hw: height and width of a tile in pixels.
        most: most tiles of a batch.
        record: record CUDA graphs, where the library can.
        reason: TensorRT's last words, for an error.
        note: told once if a graph cannot be recorded; then it runs without.

    Raises:
        DeviceError: the GPU has no memory left, or fails.
    """

    def __init__(
        self,
        cuda: Cuda,
        context: Any,
        tile_hw: tuple[int, int],
        most: int,
        *,
        record: bool,
        reason: Callable[[], str],
        note: Note,
    ) -> None:
        self._cuda, self._context, self._tile_hw = cuda, context, tile_hw
        self._record = record and cuda.captures_graphs
        self._reason, self._note = reason, note
        self._graph: int | None = None
        self._size = self._runs = 0
        self._resources = ExitStack()
        self._stream = cuda.create_stream()
        self._later(cuda.destroy_stream, self._stream)
        try:
            self._allocate(most)
        except BaseException:
            self.close()
            raise

    def _allocate(self, most: int) -> None:
        height, width = self._tile_hw
        self._tile_bytes = height * width
        size = most * self._tile_bytes
        cuda = self._cuda
        self._host_in = cuda.allocate_pinned(size)
        self._later(cuda.free_pinned, self._host_in)
        self._host_out = cuda.allocate_pinned(size)
        self._later(cuda.free_pinned, self._host_out)
        self._device_in = cuda.allocate_device(size)
        self._later(cuda.free_device, self._device_in)
        self._device_out = cuda.allocate_device(size)
        self._later(cuda.free_device, self._device_out)
        for name, pointer in ((INPUT_NAME, self._device_in), (OUTPUT_NAME, self._device_out)):
            if not self._context.set_tensor_address(name, pointer):
                raise self._refused(f"the address of {name}")

    def _later(self, free: Callable[[Any], None], what: Any) -> None:
        """Free something when the slot closes, whether or not freeing others fails."""

        def quietly() -> None:
            with suppress(DeviceError):  # the GPU has failed before; there is nothing left to do
                free(what)

        self._resources.callback(quietly)

    def start(self, tiles: NDArray[np.uint8], size: int) -> None:
        """Queue a batch; the slot must be idle.

        Args:
            tiles: uint8 [N, 1, H, W], N from 1 to `size`; it may change when this returns.
            size: tiles of the batch; what is missing is filled up with the last tile.

        Raises:
            DeviceError: TensorRT or the GPU refuses.
        """
        batch = self._host_in[: size * self._tile_bytes].reshape(size, *tiles.shape[1:])
        batch[: len(tiles)] = tiles
        batch[len(tiles) :] = tiles[-1]
        if size != self._size:
            self._resize(size)
        if self._graph is None and self._record and self._runs:
            self._record_graph()
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.launch(self._graph, self._stream)
        self._runs += 1

    def finish(self, target: NDArray[np.uint8]) -> None:
        """Wait for the batch and copy its first tiles out.

        Args:
            target: uint8 [N, 1, H, W], contiguous, filled.

        Raises:
            DeviceError: the GPU failed.
        """
        self._cuda.synchronize(self._stream)
        target.reshape(-1)[:] = self._host_out[: target.nbytes]

    def abandon(self) -> None:
        """Wait for whatever was queued, forget it, and start afresh with the next batch."""
        with suppress(DeviceError):
            self._cuda.synchronize(self._stream)
        self._drop_graph()
        self._size = self._runs = 0

    def close(self) -> None:
        """Free everything; may be called twice."""
        if self._context is not None:
            self.abandon()
        self._context = None  # frees TensorRT's own memory, which the stream may have used
        self._resources.close()

    def _resize(self, size: int) -> None:
        self._drop_graph()
        self._size = self._runs = 0
        if not self._context.set_input_shape(INPUT_NAME, (size, 1, *self._tile_hw)):
            raise self._refused(f"a batch of {size} tiles")
        self._size = size

    def _enqueue(self) -> None:
        count = self._size * self._tile_bytes
        self._cuda.copy_to_device(self._device_in, self._host_in[:count], self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise self._refused(f"to run a batch of {self._size} tiles")
        self._cuda.copy_to_host(self._host_out[:count], self._device_out, self._stream)

    def _record_graph(self) -> None:
        try:
            self._graph = self._cuda.capture(self._stream, self._enqueue)
        except DeviceError as error:
            self._record = False
            self._note(f"runs without CUDA graphs: {error.problem}")

    def _drop_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            with suppress(DeviceError):
                self._cuda.destroy_graph(graph)

    def _refused(self, what: str) -> DeviceError:
        return DeviceError(
            f"TensorRT refused {what} ({self._reason()})",
            "close other programs that use the GPU and start again; if it fails again, build the "
            "engine again",
        )
