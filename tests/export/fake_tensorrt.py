"""A `tensorrt` 10.3 as on a Jetson, as far as a build uses it; what it is told, it remembers."""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from edgecrack.export.engine import target_machines, verification
from edgecrack.nvidia.gpu import Gpu
from tests.nvidia.fake_cuda import Dims

DataType = IntEnum("DataType", ["FLOAT", "HALF", "INT8", "UINT8"])
LayerType = IntEnum("LayerType", ["CAST", "CONVOLUTION", "DECONVOLUTION", "QUANTIZE", "DEQUANTIZE"])


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2


class IProgressMonitor:
    pass


class Tensor:
    def __init__(self, name: str, dtype: DataType, shape: tuple[int, ...]) -> None:
        self.name, self.dtype = name, dtype
        self.shape = Dims(shape)


class Layer:
    def __init__(self, kind: LayerType, taken: Tensor, given: Tensor) -> None:
        self.type, self.name, self.metadata = kind, given.name, ""
        self._taken, self._given = taken, given
        self.num_inputs = 1

    def get_input(self, index: int) -> Tensor:
        return self._taken

    def get_output(self, index: int) -> Tensor:
        return self._given


class Network:
    """uint8 -> half -> convolution -> uint8, tiles of 32 px."""

    def __init__(self) -> None:
        shape = (-1, 1, 32, 32)
        self.tensors = [
            Tensor("tiles", DataType.UINT8, shape),
            Tensor("real", DataType.HALF, shape),
            Tensor("features", DataType.HALF, shape),
            Tensor("crack", DataType.UINT8, shape),
        ]
        kinds = [LayerType.CAST, LayerType.CONVOLUTION, LayerType.CAST]
        pairs = zip(kinds, self.tensors[:-1], self.tensors[1:], strict=True)
        self._layers = [Layer(kind, taken, given) for kind, taken, given in pairs]
        self.num_layers, self.num_inputs, self.num_outputs = 3, 1, 1

    def get_layer(self, index: int) -> Layer:
        return self._layers[index]

    def get_input(self, index: int) -> Tensor:
        return self.tensors[index]

    def get_output(self, index: int) -> Tensor:
        return self.tensors[-1]


class Timings:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> memoryview:
        return memoryview(self.content + b"+measured")


class BuilderConfig:
    def __init__(self, machine: FakeTensorRT) -> None:
        self._machine = machine
        self.flags: list[int] = []
        self.limits: dict[int, int] = {}
        self.timings: Timings | None = None
        self.profiles: list[Any] = []
        self.progress_monitor: Any = None

    def set_flag(self, flag: int) -> None:
        self.flags.append(flag)

    def set_memory_pool_limit(self, pool: int, size: int) -> None:
        self.limits[pool] = size

    def create_timing_cache(self, content: bytes) -> Timings:
        return Timings(content)

    def set_timing_cache(self, timings: Timings, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if timings.content and not timings.content.startswith(b"+measured"):
            return False
        self.timings = timings
        return True

    def get_timing_cache(self) -> Timings | None:
        return self.timings

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return 0

    def can_run_on_DLA(self, layer: Layer) -> bool:  # noqa: N802
        return layer.type in self._machine.dla_layers


class Profile:
    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        least, best, most = shapes
        if not all(a <= b <= c for a, b, c in zip(least, best, most, strict=True)):
            raise ValueError("Shape provided for min, opt and max do not fit each other")
        self.name, self.shapes = name, shapes


class Builder:
    def __init__(self, machine: FakeTensorRT) -> None:
        self._machine = machine
        self.num_DLA_cores = machine.dla_cores

    def create_network(self, flags: int) -> Network:
        assert flags == 1 << FakeTensorRT.STRONGLY_TYPED
        network = self._machine.network = Network()
        return network

    def create_builder_config(self) -> BuilderConfig:
        config = self._machine.config = BuilderConfig(self._machine)
        return config

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(
        self, network: Network, config: BuilderConfig
    ) -> memoryview | None:
        """Gives `IHostMemory`, which is a buffer and no bytes."""
        monitor = config.progress_monitor
        monitor.phase_start("Timing tactics", None, self._machine.steps)
        for step in range(self._machine.steps):
            self._machine.taken = step + 1
            if not monitor.step_complete("Timing tactics", step):
                return None
        monitor.phase_finish("Timing tactics")
        built = self._machine.engine
        return None if built is None else memoryview(built)


class FakeTensorRT:
    """The machine: an Orin by default.

    Attributes:
        network, config: what the last build made.
        steps: steps that a build takes; `taken` counts them.
        dla_cores: cores that the builder finds; `dla_layers` are the types that they run.
        engine: bytes that a build gives.
        inspected: type that the inspector tells of the one layer.
        prepares: whether there is memory for an execution context.
    """

    STRONGLY_TYPED = 1

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capability: str = "8.7", version: str = "10.3.0"
    ) -> None:
        self.version = version
        self.network: Any = None
        self.config: Any = None
        self.steps, self.taken = 3, 0
        self.dla_cores = 2
        self.dla_layers: tuple[int, ...] = (LayerType.CONVOLUTION,)
        self.engine: bytes | None = b"an engine"
        self.inspected = "Row major linear FP16"
        self.prepares = True
        self.runtime = SimpleNamespace(
            engine_host_code_allowed=False,
            DLA_core=None,
            deserialize_cuda_engine=lambda engine: self._loaded(),
        )
        gpus = (Gpu(0, "Orin", capability, 1 << 34),)
        monkeypatch.setattr(target_machines, "gpu_devices", lambda: gpus)
        monkeypatch.setattr(verification, "gpu_devices", lambda: gpus)
        monkeypatch.setitem(sys.modules, "tensorrt", self._module())

    def _module(self) -> ModuleType:
        module = ModuleType("tensorrt")
        contents = {
            "__spec__": ModuleSpec("tensorrt", None),
            "__version__": self.version,
            "DataType": DataType,
            "LayerType": LayerType,
            "ILogger": ILogger,
            "IProgressMonitor": IProgressMonitor,
            "IBuilderConfig": BuilderConfig,
            "NetworkDefinitionCreationFlag": SimpleNamespace(STRONGLY_TYPED=self.STRONGLY_TYPED),
            "ProfilingVerbosity": SimpleNamespace(DETAILED="detailed"),
            "MemoryPoolType": SimpleNamespace(WORKSPACE=7),
            "BuilderFlag": SimpleNamespace(GPU_FALLBACK=11, VERSION_COMPATIBLE=12),
            "HardwareCompatibilityLevel": SimpleNamespace(AMPERE_PLUS="ampere+"),
            "DeviceType": SimpleNamespace(DLA="dla"),
            "LayerInformationFormat": SimpleNamespace(JSON="json"),
            "Builder": lambda logger: Builder(self),
            "OnnxParser": lambda network, logger: SimpleNamespace(parse=lambda model: True),
            "Runtime": lambda logger: self.runtime,
        }
        vars(module).update(contents)
        return module

    def _loaded(self) -> Any:
        names = ["tiles", "crack"]
        batch = self._batch()
        shape = Dims((batch[0] if batch[0] == batch[2] else -1, 1, 32, 32))
        return SimpleNamespace(
            num_io_tensors=2,
            get_tensor_name=names.__getitem__,
            get_tensor_dtype=lambda name: DataType.UINT8,
            get_tensor_shape=lambda name: shape,
            create_engine_inspector=lambda: Inspector(self.inspected, is_dynamic=shape[0] == -1),
            create_execution_context=lambda: Context(batch) if self.prepares else None,
        )

    def _batch(self) -> tuple[int, int, int]:
        """Least, best and most tiles of what was built last."""
        if self.config.profiles:
            least, best, most = (shape[0] for shape in self.config.profiles[0].shapes)
            return least, best, most
        fixed = self.network.get_input(0).shape[0]
        return fixed, fixed, fixed


class Context:
    """`IExecutionContext`: a shape that no profile has is refused."""

    def __init__(self, batch: tuple[int, int, int]) -> None:
        self._batch = batch
        self.shape: tuple[int, ...] | None = None
        if batch[0] == batch[2]:
            self.shape = (batch[0], 1, 32, 32)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._batch
        if name != "tiles" or not least <= shape[0] <= most or shape[1:] != (1, 32, 32):
            return False
        self.shape = shape
        return True


class Inspector:
    """`EngineInspector`: of a dynamic engine it tells no type without a context with shapes."""

    execution_context: Context | None = None

    def __init__(self, kind: str, *, is_dynamic: bool) -> None:
        self._kind, self._is_dynamic = kind, is_dynamic

    def get_engine_information(self, layer_format: str) -> str:
        context = self.execution_context
        is_known = not self._is_dynamic or (context is not None and context.shape is not None)
        output = {
            "Name": "crack",
            "Location": "Device",
            "Dimensions": [8 if is_known else -1, 1, 32, 32],
            "Format/Datatype": self._kind if is_known else "N/A due to dynamic shapes",
        }
        return json.dumps({"Layers": [{"Name": "conv", "Outputs": [output]}], "Bindings": []})
