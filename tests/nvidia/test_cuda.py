"""Both libraries behind `Cuda`: on a GPU made of dictionaries, and on a real one."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from edgecrack.errors import ConfigError, DeviceError, MissingDependencyError
from edgecrack.nvidia import gpu as gpu_module
from edgecrack.nvidia.cuda import open as cuda_open
from edgecrack.nvidia.cuda.base import Cuda, device_error
from edgecrack.nvidia.cuda.open import LIBRARIES, open_cuda
from edgecrack.nvidia.cuda.through_cuda_python import CudaPython
from edgecrack.nvidia.cuda.through_pycuda import PyCuda
from edgecrack.nvidia.gpu import Gpu
from tests.nvidia.fake_cuda import (
    CaptureMode,
    CudaError,
    DeviceAttr,
    FakeGpu,
    FakePyCuda,
    FakeRuntime,
    MemcpyKind,
)
from tests.waiting import PATIENCE_S


def fake(library: str, gpu: FakeGpu) -> Cuda:
    return PyCuda(FakePyCuda(gpu)) if library == "pycuda" else CudaPython(FakeRuntime(gpu))


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def gpu() -> FakeGpu:
    return FakeGpu()


@pytest.fixture
def cuda(library: str, gpu: FakeGpu) -> Cuda:
    return fake(library, gpu)


def round_trip(cuda: Cuda, content: bytes) -> bytes:
    """Host to GPU and back, through pinned memory and a stream; frees everything."""
    size = len(content)
    with cuda.current():
        stream, device = cuda.create_stream(), cuda.allocate_device(size)
        given, taken = cuda.allocate_pinned(size), cuda.allocate_pinned(size)
        given[:] = np.frombuffer(content, np.uint8)
        taken[:] = 7
        cuda.copy_to_device(device, given, stream)
        cuda.copy_to_host(taken, device, stream)
        cuda.synchronize(stream)
        result = taken.tobytes()
        for array in (given, taken):
            cuda.free_pinned(array)
        cuda.free_device(device)
        cuda.destroy_stream(stream)
    return result


@given(content=st.binary(min_size=1, max_size=300), library=st.sampled_from(LIBRARIES))
def test_bytes_go_to_the_gpu_and_back(content: bytes, library: str) -> None:
    gpu = FakeGpu()
    assert round_trip(fake(library, gpu), content) == content
    assert gpu.left() == {}
    assert gpu.faults == []


def test_pinned_memory_is_a_writable_array(cuda: Cuda) -> None:
    with cuda.current():
        array = cuda.allocate_pinned(24)
        assert array.dtype == np.uint8
        assert array.shape == (24,)
        assert array.flags.writeable
        assert array.flags.c_contiguous
        cuda.free_pinned(array)


def test_parts_of_pinned_memory_are_copied(cuda: Cuda) -> None:
    with cuda.current():
        stream, device, array = (
            cuda.create_stream(),
            cuda.allocate_device(6),
            cuda.allocate_pinned(12),
        )
        array[:] = range(12)
        cuda.copy_to_device(device, array[3:9], stream)
        cuda.copy_to_host(array[:6], device, stream)
        cuda.synchronize(stream)
        assert array[:6].tolist() == [3, 4, 5, 6, 7, 8]


def test_what_the_gpu_is(cuda: Cuda) -> None:
    with cuda.current():
        assert cuda.device_name() == "Fake GPU"
        assert cuda.compute_capability() == "8.7"
        assert cuda.memory() == (3 << 30, 8 << 30)


def test_it_can_be_nested_and_used_by_several_threads(cuda: Cuda, gpu: FakeGpu) -> None:
    results: list[bytes] = []

    def work() -> None:
        with cuda.current():
            results.append(round_trip(cuda, b"nested"))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert results == [b"nested"] * 3
    assert gpu.faults == []


def test_an_error_inside_leaves_the_gpu_as_it_was(gpu: FakeGpu) -> None:
    cuda = fake("pycuda", gpu)
    with pytest.raises(KeyError), cuda.current():
        raise KeyError
    assert gpu.here.depth == 0


def test_every_failing_call_is_an_error_of_ours(library: str) -> None:
    whole = FakeGpu()
    round_trip(fake(library, whole), b"content")
    for number in range(1, len(whole.calls) + 1):
        with pytest.raises(DeviceError) as caught:
            round_trip(fake(library, FakeGpu(number)), b"content")
        assert whole.calls[number - 1] in caught.value.problem
        assert caught.value.exit_code == 10


@pytest.mark.parametrize(
    ("error", "named"),
    [
        ("cudaErrorMemoryAllocation", "fewer tiles per call"),
        ("out of memory", "fewer tiles per call"),
        ("cudaErrorInsufficientDriver", "pip install 'cuda-python>=12.6,<13'"),
        ("cudaErrorSystemDriverMismatch", "update its NVIDIA driver"),
        ("cudaErrorIllegalAddress", "start the program again"),
    ],
)
def test_an_error_says_what_to_do(error: str, named: str) -> None:
    assert named in device_error("cudaMalloc", error).remedy
    assert str(device_error("cudaMalloc", error)).startswith(
        f"the GPU failed: cudaMalloc gave {error}; "
    )


def test_a_graph_repeats_what_was_recorded(gpu: FakeGpu) -> None:
    cuda = fake("cuda-python", gpu)
    with cuda.current():
        stream, device = cuda.create_stream(), cuda.allocate_device(4)
        array, back = cuda.allocate_pinned(4), cuda.allocate_pinned(4)

        def work() -> None:
            cuda.copy_to_device(device, array, stream)
            cuda.copy_to_host(back, device, stream)

        graph = cuda.capture(stream, work)
        for value in (1, 2):
            array[:] = value
            back[:] = 0
            cuda.launch(graph, stream)
            cuda.synchronize(stream)
            assert back.tolist() == [value] * 4
        cuda.destroy_graph(graph)
    assert gpu.graphs == {}


def test_a_stream_can_be_used_after_a_recording_that_failed(gpu: FakeGpu) -> None:
    cuda = fake("cuda-python", gpu)

    def work() -> None:
        raise DeviceError("TensorRT refused", "build again")

    with cuda.current():
        stream = cuda.create_stream()
        with pytest.raises(DeviceError, match="TensorRT refused"):
            cuda.capture(stream, work)
        assert stream not in gpu.recording
        assert gpu.graphs == {}


def test_pycuda_says_that_it_has_no_graphs(gpu: FakeGpu) -> None:
    cuda = fake("pycuda", gpu)
    assert not cuda.captures_graphs
    calls: list[Callable[[], Any]] = [
        lambda: cuda.capture(1, lambda: None),
        lambda: cuda.launch(1, 1),
        lambda: cuda.destroy_graph(1),
    ]
    for call in calls:
        with pytest.raises(DeviceError, match="no CUDA graphs"):
            call()


class TestOpening:
    @pytest.fixture(autouse=True)
    def _a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("edgecrack.nvidia.gpu.why_no_gpu", lambda: None)

    def provide(self, monkeypatch: pytest.MonkeyPatch, **modules: Any) -> None:
        """Let imports of these modules give these, or raise them; nothing else is there."""
        named = {name.replace("__", "."): module for name, module in modules.items()}

        def load(name: str) -> Any:
            module = named.get(name, ModuleNotFoundError(f"No module named {name!r}"))
            if isinstance(module, Exception):
                raise module
            return module

        packages = {name.partition(".")[0] for name in named}
        monkeypatch.setattr(importlib, "import_module", load)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: name if name in packages else None
        )

    def test_the_one_that_captures_graphs_comes_first(
        self, monkeypatch: pytest.MonkeyPatch, gpu: FakeGpu
    ) -> None:
        self.provide(
            monkeypatch, pycuda__driver=FakePyCuda(gpu), cuda__bindings__runtime=FakeRuntime(gpu)
        )
        assert open_cuda().library == "cuda-python"
        assert open_cuda().captures_graphs
        assert open_cuda("pycuda").library == "pycuda"

    def test_then_pycuda_and_why_is_told(
        self, monkeypatch: pytest.MonkeyPatch, gpu: FakeGpu
    ) -> None:
        broken = ImportError("libcuda.so.1: wrong version")
        self.provide(monkeypatch, pycuda__driver=FakePyCuda(gpu), cuda__bindings__runtime=broken)
        told: list[str] = []
        assert open_cuda(on_told=told.append).library == "pycuda"
        assert told == ["cuda-python cannot be loaded (libcuda.so.1: wrong version); pycuda serves"]

    def test_a_runtime_that_the_driver_cannot_start_gives_way_to_pycuda(
        self, monkeypatch: pytest.MonkeyPatch, gpu: FakeGpu
    ) -> None:
        newer = FakeRuntime(FakeGpu(brings=12090, runs=12060))
        self.provide(monkeypatch, pycuda__driver=FakePyCuda(gpu), cuda__bindings__runtime=newer)
        told: list[str] = []
        assert open_cuda(on_told=told.append).library == "pycuda"
        assert "brings CUDA 12.9, which the NVIDIA driver here cannot start" in told[0]

    @pytest.mark.parametrize(
        ("jetson", "command"),
        [
            (True, "pip install 'cuda-python==12.6.*'"),
            (False, "pip install 'cuda-python>=12.6,<13'"),
        ],
    )
    def test_alone_it_is_a_missing_package_of_the_right_version(
        self, monkeypatch: pytest.MonkeyPatch, jetson: bool, command: str
    ) -> None:
        monkeypatch.setattr(gpu_module, "on_jetson", lambda: jetson)
        monkeypatch.setattr(gpu_module, "driver_cuda", lambda: (12, 6))
        self.provide(
            monkeypatch, cuda__bindings__runtime=FakeRuntime(FakeGpu(brings=13050, runs=12060))
        )
        with pytest.raises(MissingDependencyError, match=r"brings CUDA 13\.5") as caught:
            open_cuda()
        assert caught.value.exit_code == 7
        assert command in caught.value.remedy
        assert ("update" in caught.value.remedy) == (not jetson)

    def test_under_its_older_name(self, monkeypatch: pytest.MonkeyPatch, gpu: FakeGpu) -> None:
        self.provide(monkeypatch, cuda__cudart=FakeRuntime(gpu))
        assert open_cuda().library == "cuda-python"

    def test_neither_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.provide(monkeypatch)
        with pytest.raises(MissingDependencyError) as caught:
            open_cuda()
        assert "neither cuda-python nor pycuda is installed" in caught.value.problem
        assert "pip install 'cuda-python" in caught.value.remedy

    def test_the_one_that_was_asked_for_is_not_installed(
        self, monkeypatch: pytest.MonkeyPatch, library: str
    ) -> None:
        self.provide(monkeypatch)
        with pytest.raises(MissingDependencyError, match=f"{library} is not installed"):
            open_cuda(library)

    def test_none_can_be_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.provide(monkeypatch, pycuda__driver=ImportError("undefined symbol\nat line 3"))
        with pytest.raises(MissingDependencyError) as caught:
            open_cuda()
        assert "pycuda cannot be loaded (undefined symbol)" in caught.value.problem

    def test_a_gpu_that_fails_is_told_and_not_taken_for_a_missing_package(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in (1, 2, 3):
            self.provide(monkeypatch, cuda__bindings__runtime=FakeRuntime(FakeGpu(number)))
            with pytest.raises(DeviceError, match="cudaErrorUnknown"):
                open_cuda()

    def test_no_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reason = "the CUDA driver sees no GPU"
        monkeypatch.setattr("edgecrack.nvidia.gpu.why_no_gpu", lambda: reason)
        with pytest.raises(DeviceError, match="the CUDA driver sees no GPU") as caught:
            open_cuda()
        assert "ONNX file" in caught.value.remedy

    def test_another_library(self) -> None:
        with pytest.raises(ConfigError, match="cupy"):
            open_cuda("cupy")

    def test_a_folder_of_that_name_is_no_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.provide(monkeypatch, pycuda__driver=type("Empty", (), {"Error": RuntimeError}))
        with pytest.raises(MissingDependencyError, match="cannot be loaded"):
            open_cuda()


@pytest.mark.parametrize(
    ("cuda", "jetson", "wanted"),
    [
        ((12, 6), True, "cuda-python==12.6.*"),
        ((12, 2), True, "cuda-python==12.6.*"),
        ((12, 9), True, "cuda-python==12.6.*"),
        (None, True, "cuda-python==12.6.*"),
        ((13, 0), True, "cuda-python>=13,<13.1"),
        ((13, 2), True, "cuda-python>=13,<13.3"),
        ((12, 4), False, "cuda-python>=12.6,<13"),
        (None, False, "cuda-python>=12.6,<13"),
        ((13, 1), False, "cuda-python>=13,<14"),
    ],
)
def test_the_cuda_python_for_a_driver(
    cuda: tuple[int, int] | None, jetson: bool, wanted: str
) -> None:
    assert gpu_module.cuda_python_for(cuda, jetson=jetson) == wanted
    Requirement(wanted)


def test_a_jetson_is_told_by_its_gpu_or_its_release_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu_module, "RELEASE_FILE", tmp_path / "nv_tegra_release")
    monkeypatch.setattr(gpu_module, "gpu_devices", lambda: (Gpu(0, "RTX 4090", "8.9", 1),))
    assert not gpu_module.on_jetson()
    (tmp_path / "nv_tegra_release").touch()
    assert gpu_module.on_jetson()
    (tmp_path / "nv_tegra_release").unlink()
    monkeypatch.setattr(gpu_module, "gpu_devices", lambda: (Gpu(0, "Orin", "8.7", 1),))
    assert gpu_module.on_jetson()
    assert "NVIDIA driver" not in gpu_module.newer_driver()
    assert "update" not in gpu_module.better_driver()


class TestTheFakeIsLikeTheRealOne:
    """What the fake of cuda-python has exists there, takes as many arguments and is as strict."""

    @pytest.fixture
    def runtime(self) -> Any:
        return pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")

    def test_names(self, runtime: Any) -> None:
        names = [name for name in vars(FakeRuntime) if name.startswith("cuda")]
        assert len(names) > 20
        assert [name for name in names if not hasattr(runtime, name)] == []
        for fake_enum in (MemcpyKind, CaptureMode, DeviceAttr):
            real = {"MemcpyKind": "cudaMemcpyKind", "CaptureMode": "cudaStreamCaptureMode"}.get(
                fake_enum.__name__, "cudaDeviceAttr"
            )
            for member in fake_enum:
                assert int(getattr(getattr(runtime, real), member.name)) == member.value
        for code in CudaError:
            assert int(getattr(runtime.cudaError_t, code.name)) == code.value

    def test_arguments(self, runtime: Any) -> None:
        for name, function in vars(FakeRuntime).items():
            if not name.startswith("cuda") or not inspect.isfunction(function):
                continue
            declared = (getattr(runtime, name).__doc__ or "").partition("\n")[0]
            inside = re.search(r"\((.*)\)", declared)
            assert inside, name
            wanted = len([part for part in inside[1].split(",") if part.strip()])
            assert len(inspect.signature(function).parameters) - 1 == wanted, name


@pytest.mark.gpu
class TestOnARealGpu:
    @pytest.fixture(params=LIBRARIES)
    def cuda(self, request: pytest.FixtureRequest) -> Cuda:
        if not cuda_open._is_installed(request.param):
            pytest.skip(f"{request.param} is not installed")
        return open_cuda(request.param)

    def test_bytes_go_there_and_back(self, cuda: Cuda) -> None:
        for size in (1, 4096, 3_000_001):
            content = np.random.default_rng(size).bytes(size)
            assert round_trip(cuda, content) == content

    def test_in_another_thread(self, cuda: Cuda) -> None:
        results: list[bytes] = []
        thread = threading.Thread(target=lambda: results.append(round_trip(cuda, b"thread")))
        thread.start()
        thread.join(PATIENCE_S)
        assert results == [b"thread"]

    def test_memory_comes_back(self, cuda: Cuda) -> None:
        with cuda.current():
            before, total = cuda.memory()
            pointer = cuda.allocate_device(64 << 20)
            during, _ = cuda.memory()
            cuda.free_device(pointer)
            after, _ = cuda.memory()
        assert 0 < before <= total
        assert before - during >= 32 << 20
        assert after - during >= 32 << 20

    def test_it_is_the_gpu_that_the_driver_names(self, cuda: Cuda) -> None:
        from edgecrack.nvidia.gpu import gpu_devices

        first = gpu_devices()[0]
        with cuda.current():
            assert (cuda.device_name(), cuda.compute_capability()) == (
                first.name,
                first.compute_capability,
            )

    def test_too_much_memory_is_an_error_and_the_gpu_works_on(self, cuda: Cuda) -> None:
        with cuda.current():
            _, total = cuda.memory()
            with pytest.raises(DeviceError, match="emory") as caught:
                cuda.allocate_device(4 * total)
        assert "fewer tiles" in caught.value.remedy
        assert round_trip(cuda, b"after") == b"after"

    def test_a_graph(self, cuda: Cuda) -> None:
        if not cuda.captures_graphs:
            pytest.skip(f"{cuda.library} has no CUDA graphs")
        with cuda.current():
            stream, device = cuda.create_stream(), cuda.allocate_device(4)
            array, back = cuda.allocate_pinned(4), cuda.allocate_pinned(4)

            def work() -> None:
                cuda.copy_to_device(device, array, stream)
                cuda.copy_to_host(back, device, stream)

            graph = cuda.capture(stream, work)
            for value in (1, 2):
                array[:] = value
                cuda.launch(graph, stream)
                cuda.synchronize(stream)
                assert back.tolist() == [value] * 4
            cuda.destroy_graph(graph)
            cuda.free_device(device)
            cuda.free_pinned(array)
            cuda.free_pinned(back)
            cuda.destroy_stream(stream)
