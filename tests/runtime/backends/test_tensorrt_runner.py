"""The TensorRT runner on a GPU made of dictionaries, whose work is done as late as it may be."""

from __future__ import annotations

import dataclasses
import gc
import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.artifacts import ModelFile, read_model_file, write_sidecar
from edgecrack.errors import ConfigError, DeviceError, EdgecrackError, ModelFileError
from edgecrack.evaluation.open_model import open_model
from edgecrack.evaluation.protocols import PredictionConfig, Protocol
from edgecrack.nvidia.cuda.base import Cuda
from edgecrack.nvidia.cuda.through_cuda_python import CudaPython
from edgecrack.nvidia.cuda.through_pycuda import PyCuda
from edgecrack.nvidia.engine_info import EngineInfo
from edgecrack.nvidia.tensorrt_module import TensorRT, find_tensorrt
from edgecrack.runtime.backends.open import open_runner
from edgecrack.runtime.backends.preflight import (
    RunningMachine,
    runtime_cache_path,
    write_runtime_cache,
)
from edgecrack.runtime.backends.tensorrt_engine import load_engine
from edgecrack.runtime.backends.tensorrt_runner import TensorRTConfig, TensorRTRunner, batch_size
from edgecrack.runtime.detector import open_detector
from tests.nvidia.fake_cuda import (
    DataType,
    FakeGpu,
    FakePyCuda,
    FakeRuntime,
    FakeTensorRT,
    TensorIOMode,
)
from tests.runtime.models import spec_of
from tests.waiting import PATIENCE_S

Image = NDArray[np.uint8]
TILE = (8, 16)
LIBRARIES = ["cuda-python", "pycuda"]
API = Path(__file__).resolve().parents[2] / "export" / "tensorrt_api"


def cuda_of(gpu: FakeGpu, library: str = "cuda-python") -> Cuda:
    if library == "pycuda":
        return PyCuda(FakePyCuda(gpu), "1.2.3")
    return CudaPython(FakeRuntime(gpu), "1.2.3")


def write_engine(
    folder: Path,
    batch: tuple[int, int, int] = (1, 4, 4),
    *,
    rtx: bool = False,
    content: bytes = b"engine",
    **changes: Any,
) -> ModelFile:
    info = EngineInfo(
        flavour="tensorrt_rtx" if rtx else "tensorrt",
        version="1.7.1" if rtx else "10.3.0",
        compute_capabilities=("8.6",),
        platform="linux-x86_64",
        batch=batch,
        source="crack.onnx",
        **changes,
    )
    path = folder / "crack.engine"
    path.write_bytes(content)
    spec = spec_of(TILE, batch[2] if batch[0] == batch[2] else None, kind="engine")
    write_sidecar(path, dataclasses.replace(spec, engine=info.to_dict()))
    return read_model_file(path)


class Opened:
    """A runner on a fake GPU, and what is behind it."""

    def __init__(
        self,
        folder: Path,
        batch: tuple[int, int, int] = (1, 4, 4),
        *,
        gpu: FakeGpu | None = None,
        library: str = "cuda-python",
        rtx: bool = False,
        config: TensorRTConfig | None = None,
        invert: bool = True,
        **changes: Any,
    ) -> None:
        self.gpu = gpu or FakeGpu()
        model = write_engine(folder, batch, rtx=rtx, **changes)
        self.path = model.path
        self.trt = FakeTensorRT(self.gpu, TILE, batch, invert=invert)
        tensorrt = self.trt.tensorrt(rtx=rtx)
        self.runner = TensorRTRunner(
            model, config, tensorrt=tensorrt, cuda=cuda_of(self.gpu, library)
        )


def tiles_of(count: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, *TILE), dtype=np.uint8)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.parametrize(
    ("count", "batch", "size"),
    [
        (1, (1, 4, 8), 1),
        (1, (3, 4, 8), 3),
        (8, (1, 4, 8), 8),
        (9, (1, 4, 8), 5),
        (20, (1, 8, 8), 7),
        (16, (1, 8, 8), 8),
        (2, (4, 4, 4), 4),
        (9, (4, 4, 4), 4),
        (5, (3, 4, 4), 3),
    ],
)
def test_batches_of_a_call_are_alike(count: int, batch: tuple[int, int, int], size: int) -> None:
    assert batch_size(count, batch) == size


class TestAnyNumberOfTiles:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
    @given(
        counts=st.lists(st.integers(1, 23), min_size=1, max_size=4),
        sides=st.lists(st.integers(1, 9), min_size=3, max_size=3).map(sorted),
        in_flight=st.integers(1, 3),
        library=st.sampled_from(LIBRARIES),
        rtx=st.booleans(),
        graphs=st.booleans(),
    )
    def test_every_tile_comes_back(
        self,
        tmp_path: Path,
        counts: list[int],
        sides: list[int],
        in_flight: int,
        library: str,
        rtx: bool,
        graphs: bool,
    ) -> None:
        config = TensorRTConfig(in_flight, cuda_graphs=graphs, runtime_cache=False)
        batch = (sides[0], sides[1], sides[2])
        opened = Opened(tmp_path, batch, library=library, rtx=rtx, config=config)
        with opened.runner as runner:
            for seed, count in enumerate(counts):
                tiles = tiles_of(count, seed)
                for _ in range(2):  # the second time a graph may run
                    np.testing.assert_array_equal(runner.infer(tiles), 255 - tiles)
        assert opened.gpu.faults == []
        assert opened.gpu.left() == {}

    def test_the_result_is_the_callers(self, tmp_path: Path, library: str) -> None:
        with Opened(tmp_path, library=library).runner as runner:
            first = runner.infer(tiles_of(3, seed=1))
            kept = first.copy()
            runner.infer(tiles_of(9, seed=2))
            np.testing.assert_array_equal(first, kept)
            assert first.flags.writeable
            assert first.flags.owndata

    def test_a_view_with_strides_and_read_only_tiles(self, tmp_path: Path) -> None:
        with Opened(tmp_path).runner as runner:
            tiles = tiles_of(8)
            tiles.flags.writeable = False
            np.testing.assert_array_equal(runner.infer(tiles[::2]), 255 - tiles[::2])

    def test_what_is_missing_is_filled_up_with_the_last_tile(self, tmp_path: Path) -> None:
        opened = Opened(tmp_path, (4, 4, 4))
        tiles = tiles_of(2)
        with opened.runner as runner:
            runner.infer(tiles)
            full = tiles[[0, 1, 1, 1]].tobytes()
            assert full in [memory.tobytes() for memory in opened.gpu.device.values()]

    def test_two_batches_are_in_flight(self, tmp_path: Path) -> None:
        opened = Opened(tmp_path)
        with opened.runner as runner:
            runner.infer(tiles_of(4))
            assert opened.gpu.deepest == 1
            runner.infer(tiles_of(20))
            assert opened.gpu.deepest == 2

    def test_one_batch_in_flight_where_that_is_asked_for(self, tmp_path: Path) -> None:
        opened = Opened(tmp_path, config=TensorRTConfig(batches_in_flight=1))
        with opened.runner as runner:
            runner.infer(tiles_of(20))
        assert opened.gpu.deepest == 1

    def test_it_runs_in_another_thread_than_it_was_opened_in(
        self, tmp_path: Path, library: str
    ) -> None:
        opened = Opened(tmp_path, library=library)
        tiles, results = tiles_of(9), []

        def work() -> None:
            results.append(opened.runner.infer(tiles))
            opened.runner.close()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(PATIENCE_S)
        np.testing.assert_array_equal(results[0], 255 - tiles)
        assert opened.gpu.faults == []
        assert opened.gpu.left() == {}

    @pytest.mark.parametrize("number", [0, 9])
    def test_a_number_in_flight_out_of_range(self, number: int) -> None:
        with pytest.raises(ConfigError, match=str(number)):
            TensorRTConfig(batches_in_flight=number)


class TestGraphs:
    def launches(self, opened: Opened) -> int:
        return opened.gpu.calls.count("cudaGraphLaunch")

    def test_the_second_batch_of_a_size_is_recorded_and_later_ones_launched(
        self, tmp_path: Path
    ) -> None:
        opened = Opened(tmp_path, config=TensorRTConfig(batches_in_flight=1))
        with opened.runner as runner:
            for number in range(4):
                tiles = tiles_of(4, seed=number)
                np.testing.assert_array_equal(runner.infer(tiles), 255 - tiles)
            assert opened.gpu.calls.count("cudaGraphInstantiate") == 1
            assert self.launches(opened) == 3
            runner.infer(tiles_of(3))  # another size: the graph is of no use any more
            assert self.launches(opened) == 3
            assert opened.gpu.graphs == {}
        assert opened.gpu.faults == []

    def test_they_can_be_turned_off(self, tmp_path: Path) -> None:
        opened = Opened(tmp_path, config=TensorRTConfig(cuda_graphs=False))
        with opened.runner as runner:
            for _ in range(3):
                runner.infer(tiles_of(4))
        assert not [name for name in opened.gpu.calls if "Graph" in name or "Capture" in name]

    def test_without_them_it_runs_and_says_so_once(self, tmp_path: Path) -> None:
        opened = Opened(tmp_path, gpu=FakeGpu(capture_fails=True))
        with opened.runner as runner:
            for number in range(4):
                tiles = tiles_of(9, seed=number)
                np.testing.assert_array_equal(runner.infer(tiles), 255 - tiles)
            (note,) = runner.notes
        assert "without CUDA graphs" in note
        assert "cudaErrorStreamCaptureUnsupported" in note
        assert opened.gpu.left() == {}
        assert opened.gpu.faults == []

    def test_tensorrt_for_rtx_records_its_own(self, tmp_path: Path) -> None:
        opened = Opened(tmp_path, rtx=True)
        with opened.runner as runner:
            for _ in range(3):
                runner.infer(tiles_of(4))
        assert opened.trt.strategy == "whole graph"
        assert self.launches(opened) == 0


class TestWhatRunsItIsTold:
    def told(self, folder: Path, library: str, *, rtx: bool = False, **options: Any) -> list[str]:
        told: list[str] = []
        gpu = options.pop("gpu", FakeGpu())
        model = write_engine(folder, rtx=rtx)
        trt = FakeTensorRT(gpu, TILE, (1, 4, 4)).tensorrt(rtx=rtx)
        config = TensorRTConfig(**options)
        with TensorRTRunner(
            model, config, tensorrt=trt, cuda=cuda_of(gpu, library), on_told=told.append
        ) as runner:
            for _ in range(3):
                runner.infer(tiles_of(4))
            told.append(runner.backend)
        return told

    def test_with_graphs(self, tmp_path: Path) -> None:
        first, backend = self.told(tmp_path, "cuda-python")
        assert first == (
            "crack.engine runs on the GPU by tensorrt 10.3.0, cuda-python 1.2.3, CUDA graphs"
        )
        assert backend == "tensorrt (10.3.0, cuda-python 1.2.3, CUDA graphs)"

    def test_through_a_library_that_has_none(self, tmp_path: Path) -> None:
        first, second, backend = self.told(tmp_path, "pycuda")
        assert first == "crack.engine: runs without CUDA graphs, which pycuda does not have"
        assert second.endswith("by tensorrt 10.3.0, pycuda 1.2.3, no CUDA graphs")
        assert backend == "tensorrt (10.3.0, pycuda 1.2.3, no CUDA graphs)"

    def test_a_recording_that_fails_is_told_while_it_runs(self, tmp_path: Path) -> None:
        _, later, backend = self.told(tmp_path, "cuda-python", gpu=FakeGpu(capture_fails=True))
        assert later.startswith("crack.engine: runs without CUDA graphs: ")
        assert backend.endswith("no CUDA graphs)")

    def test_tensorrt_for_rtx(self, tmp_path: Path) -> None:
        *_, backend = self.told(tmp_path, "pycuda", rtx=True)
        assert backend == "tensorrt_rtx (1.7.1, pycuda 1.2.3, CUDA graphs)"


class TestKernelsOfTensorRTForRtx:
    def test_they_are_kept_for_the_next_start(self, tmp_path: Path) -> None:
        first = Opened(tmp_path, rtx=True)
        first.runner.close()
        assert runtime_cache_path(first.path).is_file()
        second = Opened(tmp_path, rtx=True)
        assert second.trt.caches[0].content == b"kernels 1"
        written = runtime_cache_path(first.path).stat().st_mtime_ns
        second.runner.close()
        assert runtime_cache_path(first.path).stat().st_mtime_ns == written

    @pytest.mark.parametrize("change", [b"", b"kernels", None], ids=["emptied", "foreign", "cut"])
    def test_damaged_ones_are_compiled_anew(self, tmp_path: Path, change: bytes | None) -> None:
        first = Opened(tmp_path, rtx=True)
        first.runner.close()
        path = runtime_cache_path(first.path)
        path.write_bytes(path.read_bytes()[:-1] if change is None else change)
        second = Opened(tmp_path, rtx=True)
        assert second.trt.caches[0].content == b""
        second.runner.close()
        third = Opened(tmp_path, rtx=True)
        assert third.trt.caches[0].content == b"kernels 1"

    def test_those_of_another_engine_are_not_taken(self, tmp_path: Path) -> None:
        model = write_engine(tmp_path, rtx=True)
        assert write_runtime_cache(model.path, "another", b"kernels of another") is None
        opened = Opened(tmp_path, rtx=True)
        assert opened.trt.caches[0].content == b""

    def test_those_that_tensorrt_refuses_are_compiled_anew(self, tmp_path: Path) -> None:
        model = write_engine(tmp_path, rtx=True)
        write_runtime_cache(model.path, model.spec.sha256, b"of another driver")
        opened = Opened(tmp_path, rtx=True)
        opened.runner.close()
        assert Opened(tmp_path, rtx=True).trt.caches[0].content == b"kernels 1"

    def test_a_place_that_cannot_be_written_is_a_note(self, tmp_path: Path) -> None:
        opened = Opened(tmp_path, rtx=True)
        runtime_cache_path(opened.path).mkdir()
        opened.runner.close()
        (note,) = opened.runner.notes
        assert "not kept" in note
        assert opened.gpu.left() == {}

    def test_they_can_be_turned_off(self, tmp_path: Path) -> None:
        opened = Opened(tmp_path, rtx=True, config=TensorRTConfig(runtime_cache=False))
        opened.runner.close()
        assert not runtime_cache_path(opened.path).exists()


class TestFailures:
    """One call fails, whichever it is: everything is freed, and the error is one of ours."""

    def scenario(self, folder: Path, gpu: FakeGpu, library: str, *, rtx: bool) -> int:
        """Open, run, run on after an error, close.

        Returns:
            How many errors there were.
        """
        errors: list[EdgecrackError] = []
        try:
            opened = Opened(folder, gpu=gpu, library=library, rtx=rtx)
        except (DeviceError, ModelFileError) as error:
            return 1 if error.remedy and "\n" not in str(error) else 2
        for seed in range(5):
            tiles = tiles_of(4 + seed // 3 * 5, seed)
            try:
                np.testing.assert_array_equal(opened.runner.infer(tiles), 255 - tiles)
            except DeviceError as error:
                errors.append(error)
        opened.runner.close()
        opened.runner.close()
        with pytest.raises(ConfigError, match="closed"):
            opened.runner.infer(tiles_of(1))
        return len(errors)

    @pytest.mark.parametrize("rtx", [False, True], ids=["tensorrt", "tensorrt_rtx"])
    def test_at_any_call(self, tmp_path: Path, library: str, rtx: bool) -> None:
        whole = FakeGpu()
        runtime_cache = tmp_path / "crack.engine.cache"
        assert self.scenario(tmp_path, whole, library, rtx=rtx) == 0
        assert len(whole.calls) > 60
        failed: dict[str, int] = {}
        for number in range(1, len(whole.calls) + 1):
            runtime_cache.unlink(missing_ok=True)
            gpu = FakeGpu(fail_at=number)
            errors = self.scenario(tmp_path, gpu, library, rtx=rtx)
            if gpu.left():
                gc.collect()
            what = f"call {number}, {whole.calls[number - 1]}"
            assert gpu.failed == whole.calls[number - 1], what
            assert errors <= 1, what
            assert gpu.left() == {}, what
            assert gpu.faults == [], what
            failed[gpu.failed] = max(errors, failed.get(gpu.failed, 0))
        # What only costs speed, or happens while closing, is no error.
        harmless = {
            "set_runtime_cache", "serialize", "deserialize", "cudaStreamBeginCapture",
            "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphDestroy",
            "cudaGraphExecDestroy", "cudaFree", "cudaFreeHost", "cudaStreamDestroy", "cuMemFree",
            "cuMemFreeHost",
        }  # fmt: skip
        assert {name for name, errors in failed.items() if not errors} <= harmless

    def test_no_memory_says_how_much_is_free(self, tmp_path: Path) -> None:
        whole = FakeGpu()
        Opened(tmp_path, gpu=whole).runner.close()
        number = whole.calls.index("create_execution_context") + 1
        with pytest.raises(DeviceError) as caught:
            Opened(tmp_path, gpu=FakeGpu(number))
        assert "3072 of 8192 MiB of GPU memory are free" in caught.value.problem
        assert "fewer tiles per call" in caught.value.remedy

    def test_cuda_s_own_name_of_the_error_is_told(self, tmp_path: Path) -> None:
        whole = FakeGpu()
        Opened(tmp_path, gpu=whole).runner.close()
        with pytest.raises(DeviceError, match="cudaMalloc gave cudaErrorMemoryAllocation"):
            Opened(tmp_path, gpu=FakeGpu(whole.calls.index("cudaMalloc") + 1))

    def test_ctrl_c_leaves_nothing_in_flight(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = Opened(tmp_path)
        finish = opened.runner._slots[0].finish

        def interrupted(target: Image) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(opened.runner._slots[0], "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened.runner.infer(tiles_of(20))
        assert not any(opened.gpu.streams.values())
        monkeypatch.setattr(opened.runner._slots[0], "finish", finish)
        tiles = tiles_of(20, seed=4)
        np.testing.assert_array_equal(opened.runner.infer(tiles), 255 - tiles)


class TestLoading:
    def refusal(self, opener: Callable[[], object]) -> ModelFileError:
        with pytest.raises(ModelFileError) as caught:
            opener()
        assert "edgecrack build-engine crack.onnx --target auto" in caught.value.remedy
        return caught.value

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({0: ("image", TensorIOMode.INPUT, DataType.UINT8, (-1, 1, *TILE))}, "input image"),
            ({1: ("mask", TensorIOMode.OUTPUT, DataType.UINT8, (-1, 1, *TILE))}, "output mask"),
            ({0: ("tiles", TensorIOMode.OUTPUT, DataType.UINT8, (-1, 1, *TILE))}, "output tiles"),
            ({0: ("tiles", TensorIOMode.INPUT, DataType.FLOAT, (-1, 1, *TILE))}, "tiles FLOAT"),
            ({1: ("crack", TensorIOMode.OUTPUT, DataType.FLOAT, (-1, 1, *TILE))}, "crack FLOAT"),
            ({0: ("tiles", TensorIOMode.INPUT, DataType.UINT8, (-1, 3, *TILE))}, "[-1, 3, 8, 16]"),
            ({0: ("tiles", TensorIOMode.INPUT, DataType.UINT8, (-1, 1, 16, 8))}, "[-1, 1, 16, 8]"),
            ({0: ("tiles", TensorIOMode.INPUT, DataType.UINT8, (4, 1, *TILE))}, "[4, 1, 8, 16]"),
            ({2: ("more", TensorIOMode.OUTPUT, DataType.UINT8, (-1, 1, *TILE))}, "output more"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_an_engine_with_other_tensors(
        self, tmp_path: Path, change: dict[int, Any], named: str
    ) -> None:
        gpu = FakeGpu()
        model = write_engine(tmp_path)
        trt = FakeTensorRT(gpu, TILE, (1, 4, 4))
        tensors = dict(enumerate(trt.tensors)) | change
        trt.tensors = [tensors[index] for index in sorted(tensors)]
        error = self.refusal(
            lambda: TensorRTRunner(model, tensorrt=trt.tensorrt(), cuda=cuda_of(gpu))
        )
        assert named in error.problem
        assert "expected" in error.problem
        gc.collect()
        assert gpu.left() == {}

    def test_an_engine_with_another_range(self, tmp_path: Path) -> None:
        gpu = FakeGpu()
        model = write_engine(tmp_path, (1, 4, 8))
        trt = FakeTensorRT(gpu, TILE, (1, 4, 6)).tensorrt()
        error = self.refusal(lambda: TensorRTRunner(model, tensorrt=trt, cuda=cuda_of(gpu)))
        assert "(1, 4, 6), expected (1, 4, 8)" in error.problem

    def test_a_sidecar_that_contradicts_itself(self, tmp_path: Path) -> None:
        gpu = FakeGpu()
        model = write_engine(tmp_path, (1, 4, 8))
        model = dataclasses.replace(model, spec=dataclasses.replace(model.spec, batch=8))
        trt = FakeTensorRT(gpu, TILE, (1, 4, 8)).tensorrt()
        error = self.refusal(lambda: TensorRTRunner(model, tensorrt=trt, cuda=cuda_of(gpu)))
        assert "batch 8 and with batches (1, 4, 8)" in error.problem

    def test_an_engine_that_tensorrt_refuses(self, tmp_path: Path) -> None:
        error = self.refusal(lambda: Opened(tmp_path, content=b"of another version"))
        assert "tensorrt 10.3.0 cannot load" in error.problem
        assert "the magic tag does not match" in error.problem

    def test_a_gpu_without_memory_is_not_the_engine_s_fault(self, tmp_path: Path) -> None:
        whole = FakeGpu()
        Opened(tmp_path, gpu=whole).runner.close()
        number = whole.calls.index("deserialize_cuda_engine") + 1
        with pytest.raises(DeviceError, match="out of memory") as caught:
            Opened(tmp_path, gpu=FakeGpu(number))
        assert "close other programs" in caught.value.remedy

    @pytest.mark.parametrize("content", [b"", b"junk", b"junk" * 5000], ids=len)
    def test_the_real_tensorrt_refuses_what_is_no_engine(
        self, tmp_path: Path, content: bytes
    ) -> None:
        try:
            tensorrt = find_tensorrt()
        except EdgecrackError as error:
            pytest.skip(error.problem)
        model = write_engine(tmp_path, content=content)
        info = EngineInfo.from_dict(model.spec.engine)
        with pytest.raises((ModelFileError, DeviceError)) as caught:
            load_engine(tensorrt, model, info)
        assert "\n" not in str(caught.value)
        assert f"{tensorrt.flavour} {tensorrt.version}" in caught.value.problem

    def test_an_engine_of_another_version_than_the_module_itself(self, tmp_path: Path) -> None:
        gpu = FakeGpu()
        model = write_engine(tmp_path)
        trt = FakeTensorRT(gpu, TILE, (1, 4, 4)).tensorrt(version="10.7.0")
        error = self.refusal(lambda: TensorRTRunner(model, tensorrt=trt, cuda=cuda_of(gpu)))
        assert "10.7.0" in error.problem
        assert gpu.calls == []

    def test_a_file_that_is_swapped_after_it_was_checked(self, tmp_path: Path) -> None:
        gpu = FakeGpu()
        model = write_engine(tmp_path)
        model.path.write_bytes(b"of somebody else")
        trt = FakeTensorRT(gpu, TILE, (1, 4, 4))
        # It loads what was checked: any other bytes are refused.
        TensorRTRunner(model, tensorrt=trt.tensorrt(), cuda=cuda_of(gpu)).close()
        with pytest.raises(ModelFileError, match="does not match its sidecar"):
            read_model_file(model.path)

    def test_only_a_version_compatible_engine_may_run_host_code(self, tmp_path: Path) -> None:
        assert not Opened(tmp_path).trt.host_code_allowed
        assert Opened(tmp_path, version_compatible=True).trt.host_code_allowed

    def test_a_dla_core_is_chosen_before_loading(self, tmp_path: Path) -> None:
        assert Opened(tmp_path, dla_core=1).trt.dla_core == 1
        error = self.refusal(lambda: Opened(tmp_path, dla_core=2))
        assert "DLA core 2, and this machine has 2 DLA cores" in error.problem


class TestFromAFile:
    """Everything that takes a model file takes an engine."""

    @pytest.fixture
    def engine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        gpu = FakeGpu()
        trt = FakeTensorRT(gpu, TILE, (1, 4, 4), invert=True)
        machine = RunningMachine("linux-x86_64", {"tensorrt": "10.3.0"}, "8.6")
        monkeypatch.setattr("edgecrack.runtime.backends.preflight.this_machine", lambda: machine)
        monkeypatch.setattr(
            "edgecrack.runtime.backends.tensorrt_runner.find_tensorrt", lambda name: trt.tensorrt()
        )
        monkeypatch.setattr(
            "edgecrack.runtime.backends.tensorrt_runner.open_cuda",
            lambda library, on_told: cuda_of(gpu),
        )
        return write_engine(tmp_path).path

    def test_a_runner(self, engine: Path) -> None:
        with open_runner(engine) as runner:
            assert isinstance(runner, TensorRTRunner)
            tiles = tiles_of(7)
            np.testing.assert_array_equal(runner.infer(tiles), 255 - tiles)

    def test_a_detector(self, engine: Path) -> None:
        image = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
        with open_detector(engine) as detector:
            found = detector.probability_of(image)
            np.testing.assert_array_equal(found, 255 - detector.prepare(image))

    @pytest.mark.parametrize("protocol", [None, Protocol("tiled")])
    def test_an_evaluation(self, engine: Path, protocol: Protocol | None) -> None:
        image = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
        with ExitStack() as stack:
            opened = open_model(engine, PredictionConfig(protocol=protocol), stack)
            assert opened.predict(image).shape == (45, 70)
            assert opened.spec.kind == "engine"


class _Silent:
    def log(self, severity: Any, message: str) -> None:
        pass


class TestTheFakeIsLikeTheRealOne:
    """What the fake has is all that the runner uses; each real TensorRT must have it, too."""

    @pytest.mark.parametrize("version", ["10.3.0", "10.13.0.35", "11.4.0.106", "1.7.1.116"])
    def test_names(self, version: str) -> None:
        files = list(API.glob(f"*-{version}.json"))
        if not files:
            pytest.skip(f"no list of what TensorRT {version} has")
        api = json.loads(files[0].read_text())
        rtx = version.startswith("1.")
        from tests.nvidia import fake_cuda as fake

        pairs: list[tuple[str, type]] = [
            ("Runtime", fake.FakeRuntimeOfTensorRT),
            ("ICudaEngine", fake.FakeEngine),
            ("IExecutionContext", fake.FakeContext),
            ("ILogger", fake.FakeLogger),
        ]
        if rtx:
            pairs += [("IRuntimeConfig", fake.FakeRuntimeConfig), ("IRuntimeCache", fake.FakeCache)]
        for name, kind in pairs:
            used = {member for member in vars(kind) if not member.startswith("_")}
            used -= set() if rtx else {"create_runtime_config"}
            assert used <= set(api["classes"][name]), name
        assert {"UINT8"} <= set(api["classes"]["DataType"])
        assert {"INPUT", "OUTPUT"} <= set(api["classes"]["TensorIOMode"])
        assert not rtx or "CudaGraphStrategy" in api["names"]

    def test_it_refuses_what_the_real_one_refuses(self) -> None:
        gpu = FakeGpu()
        gpu.here.current = True
        runtime = FakeTensorRT(gpu, TILE, (1, 4, 4)).tensorrt().module.Runtime(_Silent())
        engine = runtime.deserialize_cuda_engine(b"engine")
        with pytest.raises(TypeError):
            engine.create_execution_context(runtime_config=None)
        context, stream = engine.create_execution_context(), gpu.make_stream()
        pointers = [gpu.make_device(4 * 8 * 16) for _ in range(2)]
        assert not context.set_tensor_address("tile", pointers[0])
        assert not context.set_tensor_address("tiles", pointers[0] + 1)
        assert not context.set_input_shape("tiles", (5, 1, *TILE))
        assert context.set_tensor_address("tiles", pointers[0])
        assert context.set_input_shape("tiles", (2, 1, *TILE))
        assert not context.execute_async_v3(stream)
        assert context.set_tensor_address("crack", pointers[1])
        assert context.execute_async_v3(stream)
        gpu.synchronize(stream)
        another = engine.create_execution_context()
        assert another.set_tensor_address("tiles", pointers[0])
        assert another.set_tensor_address("crack", pointers[1])
        assert not another.execute_async_v3(stream)

    def test_the_module_is_what_the_runner_expects(self) -> None:
        trt = FakeTensorRT(FakeGpu(), TILE, (1, 1, 1))
        assert isinstance(trt.tensorrt(rtx=True), TensorRT)
        assert trt.tensorrt(rtx=True).has("IRuntimeConfig.create_runtime_cache")
        assert not trt.tensorrt().has("IRuntimeConfig.create_runtime_cache")
