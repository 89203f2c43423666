"""The GPU backend: TensorRT as a `Runner`.

Two batches are in flight, so that copies and CPU work overlap with the GPU's. This module divides
tiles into batches; `tensorrt_engine.Slot` runs one.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import ModelFile, ModelSpec
from edgecrack.closeable import Closeable
from edgecrack.errors import ConfigError, DeviceError
from edgecrack.nvidia.cuda.base import Cuda
from edgecrack.nvidia.cuda.open import open_cuda
from edgecrack.nvidia.engine_info import EngineInfo
from edgecrack.nvidia.tensorrt_module import TensorRT, find_tensorrt
from edgecrack.runtime.backends.base import check_tiles
from edgecrack.runtime.backends.preflight import KernelCache, check_version, open_kernel_cache
from edgecrack.runtime.backends.tensorrt_engine import LoadedEngine, Slot, load_engine


@dataclass(frozen=True)
class TensorRTConfig:
    """How an engine is run.

    Attributes:
        batches_in_flight: how many batches are queued before the first is waited for. Each takes
            GPU memory of its own.
        cuda_graphs: record a batch's work once and start it with one call, where it can be done.
        runtime_cache: keep what TensorRT for RTX compiles beside the engine.
        cuda_library: "cuda-python" or "pycuda"; None takes the first that serves.

    Raises:
        ConfigError: a value is out of range.
    """

    batches_in_flight: int = 2
    cuda_graphs: bool = True
    runtime_cache: bool = True
    cuda_library: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.batches_in_flight <= 8:
            raise ConfigError(f"the batches in flight are {self.batches_in_flight}", "give 1 to 8")


def batch_size(count: int, batch: tuple[int, int, int]) -> int:
    """Tiles of each batch, for a number of tiles.

    All batches of a call are of one size, since a change of size costs TensorRT time and spoils a
    CUDA graph. The price is fewer tiles of filling than there are batches.

    Args:
        count: number of tiles, from 1.
        batch: least, best and most tiles of a batch.
    """
    least, _, most = batch
    batches = -(-count // most)
    return max(least, -(-count // batches))


class TensorRTRunner(Closeable):
    """Runs an engine on the first GPU that CUDA shows.

    May be used from any thread; calls wait for each other. After an error it can be closed, and
    be used again if the GPU can.

    Args:
        model: the file.
        config: how to run it.
        tensorrt: the TensorRT to use; None finds the one that the engine needs.
        cuda: the GPU to use; None opens the first.
        on_told: told what runs the engine, and what is done without, each as a sentence; also while
            it runs, and from the thread that runs it.

    Raises:
        ModelFileError: the engine cannot be loaded or is not what its sidecar says.
        MissingDependencyError: TensorRT or access to CUDA is missing.
        DeviceError: there is no GPU, or it has no memory left, or it fails.
    """

    def __init__(
        self,
        model: ModelFile,
        config: TensorRTConfig | None = None,
        *,
        tensorrt: TensorRT | None = None,
        cuda: Cuda | None = None,
        on_told: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._on_told = on_told
        self._path, self._spec, self._config = model.path, model.spec, config or TensorRTConfig()
        self._info = EngineInfo.from_dict(model.spec.engine)
        self._lock = threading.Lock()
        self._notes: list[str] = []
        self._graphs_failed = False
        self._slots: list[Slot] = []
        self._loaded: LoadedEngine | None = None
        self._kernels: KernelCache | None = None
        self._tensorrt = tensorrt or find_tensorrt(self._info.flavour)
        check_version(model.path, self._info, self._tensorrt.version)
        self._cuda = cuda or open_cuda(self._config.cuda_library, self._add_note)
        self._is_open = True
        try:
            with self._cuda.current():
                self._load(model)
        except BaseException as error:
            # The traceback's frames keep the engine and its GPU memory alive as long as the error.
            with suppress(DeviceError), self._cuda.current():
                traceback.clear_frames(error.__traceback__)
            self._free()
            raise
        on_told(f"{model.path.name} runs on the GPU by {self._words()}")

    def _words(self) -> str:
        """What runs the engine, as in "tensorrt 10.3.0, cuda-python 12.6.2, CUDA graphs"."""
        words = [
            f"{self._tensorrt.flavour} {self._tensorrt.version}",
            f"{self._cuda.library} {self._cuda.version}".rstrip(),
            "CUDA graphs" if self._has_graphs else "no CUDA graphs",
        ]
        return ", ".join(words)

    @property
    def _has_graphs(self) -> bool:
        """Whether graphs are recorded, by TensorRT for RTX itself or by the slots."""
        can = self._tensorrt.is_rtx or (self._cuda.captures_graphs and not self._graphs_failed)
        return self._config.cuda_graphs and can

    def _load(self, model: ModelFile) -> None:
        self._loaded = load_engine(self._tensorrt, model, self._info)
        wants_graphs = self._config.cuda_graphs and not self._tensorrt.is_rtx
        if wants_graphs and not self._cuda.captures_graphs:
            self._add_note(f"runs without CUDA graphs, which {self._cuda.library} does not have")
        runtime_config = self._make_runtime_config(self._loaded.engine)
        for _ in range(self._config.batches_in_flight):
            self._slots.append(self._make_slot(self._loaded, runtime_config))

    def _make_slot(self, loaded: LoadedEngine, runtime_config: Any) -> Slot:
        if runtime_config is None:
            context = loaded.engine.create_execution_context()
        else:
            context = loaded.engine.create_execution_context(runtime_config=runtime_config)
        if context is None:
            free, total = self._cuda.memory()
            raise DeviceError(
                f"TensorRT cannot prepare {self._path} ({loaded.log.reason()}); "
                f"{free >> 20} of {total >> 20} MiB of GPU memory are free",
                "close other programs that use the GPU, or build the engine for fewer tiles per "
                "call",
            )
        return Slot(
            self._cuda,
            context,
            self._spec.tile_hw,
            self._info.batch[2],
            # TensorRT for RTX records its own graphs once it has compiled enough.
            record=self._config.cuda_graphs and not self._tensorrt.is_rtx,
            reason=loaded.log.reason,
            note=self._without_graphs,
        )

    def _make_runtime_config(self, engine: Any) -> Any:
        """TensorRT for RTX's own settings; None for TensorRT, which needs none."""
        has = self._tensorrt.has
        if not (self._tensorrt.is_rtx and has("ICudaEngine.create_runtime_config")):
            return None
        runtime_config = engine.create_runtime_config()
        if self._config.cuda_graphs and has("IRuntimeConfig.cuda_graph_strategy"):
            strategies = self._tensorrt.module.CudaGraphStrategy
            runtime_config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE
        if self._config.runtime_cache:
            self._kernels = open_kernel_cache(
                self._tensorrt, runtime_config, self._path, self._spec.sha256
            )
        return runtime_config

    @property
    def spec(self) -> ModelSpec:
        """The model's description."""
        return self._spec

    @property
    def backend(self) -> str:
        """As in "tensorrt (10.3.0, cuda-python 12.6.2, CUDA graphs)"."""
        flavour, _, rest = self._words().partition(" ")
        return f"{flavour} ({rest})"

    @property
    def notes(self) -> tuple[str, ...]:
        """Requested features that are missing, such as CUDA graphs, as clauses."""
        return tuple(self._notes)

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Run tiles.

        Args:
            tiles: uint8 [N, 1, H, W], N from 1.

        Returns:
            uint8 [N, 1, H, W], 255 = certain crack.

        Raises:
            ConfigError: the tiles have another shape or dtype, or the runner is closed.
            DeviceError: the GPU failed.
        """
        with self._lock:
            if not self._is_open:
                raise ConfigError("the runner is closed", "open the model again")
            check_tiles(tiles, self._spec.tile_hw)
            if self._loaded is not None:
                self._loaded.log.clear()
            with self._cuda.current():
                try:
                    return self._run(tiles)
                except BaseException:  # Ctrl-C, too, must leave nothing in flight
                    for slot in self._slots:
                        slot.abandon()
                    raise

    def _run(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        result = np.empty(tiles.shape, np.uint8)
        size = batch_size(len(tiles), self._info.batch)
        in_flight: deque[tuple[Slot, NDArray[np.uint8]]] = deque()
        for number, first in enumerate(range(0, len(tiles), size)):
            if len(in_flight) == len(self._slots):
                slot, target = in_flight.popleft()
                slot.finish(target)
            slot = self._slots[number % len(self._slots)]
            slot.start(tiles[first : first + size], size)
            in_flight.append((slot, result[first : first + size]))
        for slot, target in in_flight:
            slot.finish(target)
        return result

    def close(self) -> None:
        """Free everything; saves the kernels that TensorRT for RTX compiled."""
        with self._lock:
            if not self._is_open:
                return
            try:
                with suppress(DeviceError), self._cuda.current():
                    problem = self._kernels.keep() if self._kernels is not None else None
                    if problem:
                        self._add_note(problem)
            finally:
                self._free()

    def _free(self) -> None:
        self._is_open = False
        with suppress(DeviceError), ExitStack() as stack:
            with suppress(DeviceError):  # a GPU that has failed; what can be freed is freed
                stack.enter_context(self._cuda.current())
            while self._slots:
                self._slots.pop().close()
            self._kernels = self._loaded = None

    def _without_graphs(self, note: str) -> None:
        self._graphs_failed = True
        self._add_note(note)

    def _add_note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)
            self._on_told(f"{self._path.name}: {note}")
