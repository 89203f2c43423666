"""The engine's slots with a stand-in for TensorRT's context that launches a kernel on their stream.

No TensorRT and no compiler is needed: the kernel is PTX, which the driver compiles, and it is
launched through libcuda itself, so it is the same for both CUDA libraries. The tests marked gpu run
on a real one; the same tests on the GPU made of dictionaries are a rehearsal and no proof.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.artifacts import INPUT_NAME, OUTPUT_NAME
from edgecrack.errors import DeviceError, MissingDependencyError
from edgecrack.nvidia.cuda.base import Cuda
from edgecrack.nvidia.cuda.open import LIBRARIES, open_cuda
from edgecrack.nvidia.cuda.through_cuda_python import CudaPython
from edgecrack.nvidia.cuda.through_pycuda import PyCuda
from edgecrack.nvidia.gpu import DRIVER_LIBRARY
from edgecrack.runtime.backends.tensorrt_engine import Slot
from tests.nvidia.fake_cuda import FakeGpu, FakePyCuda, FakeRuntime
from tests.waiting import PATIENCE_S

Image = NDArray[np.uint8]
TILE, MOST = (64, 96), 8
THREADS = 256
# target[i] = 255 - source[i]; the driver compiles it for compute capability 7.0 and all later ones.
PTX = b"""
.version 6.3
.target sm_70
.address_size 64

.visible .entry invert(
    .param .u64 source,
    .param .u64 target,
    .param .u32 count
)
{
    .reg .pred %p<2>;
    .reg .b16 %h<3>;
    .reg .b32 %r<6>;
    .reg .b64 %d<8>;

    ld.param.u64 %d1, [source];
    ld.param.u64 %d2, [target];
    ld.param.u32 %r1, [count];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.u32 %p1, %r5, %r1;
    @%p1 bra DONE;
    cvta.to.global.u64 %d3, %d1;
    cvta.to.global.u64 %d4, %d2;
    cvt.u64.u32 %d5, %r5;
    add.s64 %d6, %d3, %d5;
    add.s64 %d7, %d4, %d5;
    ld.global.u8 %h1, [%d6];
    not.b16 %h2, %h1;
    st.global.u8 [%d7], %h2;
DONE:
    ret;
}
\0"""


class Driver(Protocol):
    """What of libcuda launches a kernel; each function gives CUDA's error code."""

    def cuModuleLoadData(self, module: Any, image: bytes) -> int: ...  # noqa: N802
    def cuModuleGetFunction(self, function: Any, module: Any, name: bytes) -> int: ...  # noqa: N802
    def cuLaunchKernel(self, function: Any, *given: Any) -> int: ...  # noqa: N802
    def cuModuleUnload(self, module: Any) -> int: ...  # noqa: N802


class FakeDriver:
    """`libcuda.so.1` of the GPU made of dictionaries: launches are queued on its streams."""

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu

    def cuModuleLoadData(self, module: Any, image: bytes) -> int:  # noqa: N802
        self._gpu.need_current("cuModuleLoadData")
        assert image.endswith(b"\0"), "PTX ends with a zero"
        module._obj.value = 1
        return 0

    def cuModuleGetFunction(self, function: Any, module: Any, name: bytes) -> int:  # noqa: N802
        function._obj.value = 2
        return 0 if b".entry " + name in PTX else 500

    def cuLaunchKernel(self, function: Any, *given: Any) -> int:  # noqa: N802
        self._gpu.need_current("cuLaunchKernel")
        blocks, _, _, threads, _, _, _, stream, parameters, _ = given
        kinds = (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32)
        source, target, count = (
            ctypes.cast(address, ctypes.POINTER(kind)).contents.value
            for address, kind in zip(parameters, kinds, strict=True)
        )

        def work() -> None:
            reached = min(count, blocks.value * threads.value)
            self._gpu.device[target][:reached] = 255 - self._gpu.device[source][:reached]

        self._gpu.enqueue(int(stream.value), work)
        return 0

    def cuModuleUnload(self, module: Any) -> int:  # noqa: N802
        return 0


class InvertingContext:
    """As much of `IExecutionContext` as a slot uses; `calls` counts the runs that were queued.

    Args:
        driver: libcuda.
        during: called in each run before the kernel is launched, with the stream.
    """

    def __init__(self, driver: Driver, during: Callable[[int], None] = lambda stream: None) -> None:
        self._driver, self._during = driver, during
        self._addresses: dict[str, int] = {}
        self._count = self.calls = 0
        self._module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        self._done(driver.cuModuleLoadData(ctypes.byref(self._module), PTX))
        name = b"invert"
        self._done(driver.cuModuleGetFunction(ctypes.byref(self._function), self._module, name))

    def _done(self, code: int) -> None:
        assert code == 0, f"libcuda gave {code}"

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return memory % 256 == 0

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._count = int(np.prod(shape))
        return name == INPUT_NAME and 1 <= shape[0] <= MOST

    def execute_async_v3(self, stream_handle: int) -> bool:
        if set(self._addresses) != {INPUT_NAME, OUTPUT_NAME} or not self._count:
            return False
        self.calls += 1
        self._during(stream_handle)
        values = (
            ctypes.c_uint64(self._addresses[INPUT_NAME]),
            ctypes.c_uint64(self._addresses[OUTPUT_NAME]),
            ctypes.c_uint32(self._count),
        )
        addresses = [ctypes.cast(ctypes.byref(value), ctypes.c_void_p) for value in values]
        one, none = ctypes.c_uint(1), ctypes.c_uint(0)
        blocks = ctypes.c_uint(-(-self._count // THREADS))
        code = self._driver.cuLaunchKernel(
            self._function,
            *(blocks, one, one),
            *(ctypes.c_uint(THREADS), one, one),
            none,
            ctypes.c_void_p(stream_handle),
            (ctypes.c_void_p * 3)(*addresses),
            None,
        )
        return code == 0


class Machine:
    """A GPU, real or not, through one of the libraries; `notes` are what slots tell."""

    def __init__(self, library: str, *, real: bool) -> None:
        self.fake = None if real else FakeGpu()
        self.notes: list[str] = []
        self.cuda: Cuda
        self.driver: Any
        if self.fake is None:
            try:
                self.cuda = open_cuda(library)
            except MissingDependencyError as error:
                pytest.skip(error.problem)
            self.driver = ctypes.CDLL(DRIVER_LIBRARY)
        else:
            fake = self.fake
            of_pycuda = library == "pycuda"
            self.cuda = PyCuda(FakePyCuda(fake)) if of_pycuda else CudaPython(FakeRuntime(fake))
            self.driver = FakeDriver(fake)

    def slot(
        self, during: Callable[[int], None] = lambda stream: None
    ) -> tuple[Slot, InvertingContext]:
        """A slot and its context; the GPU must be current."""
        context = InvertingContext(self.driver, during)
        made = Slot(
            self.cuda,
            context,
            TILE,
            MOST,
            record=True,
            reason=lambda: "no reason",
            note=self.notes.append,
        )
        return made, context


@pytest.fixture(
    params=[
        pytest.param(True, marks=pytest.mark.gpu, id="gpu"),
        pytest.param(False, id="rehearsal"),
    ]
)
def real(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=LIBRARIES)
def machine(request: pytest.FixtureRequest, real: bool) -> Iterator[Machine]:
    made = Machine(request.param, real=real)
    yield made
    if made.fake is not None:
        assert made.fake.left() == {}
        assert made.fake.faults == []


def tiles_of(count: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, *TILE), dtype=np.uint8)


def run(slot: Slot, tiles: Image, size: int | None = None) -> None:
    """Run a batch and hold what comes back against what should."""
    slot.start(tiles, size or len(tiles))
    assert_finishes(slot, tiles)


def assert_finishes(slot: Slot, tiles: Image) -> None:
    result = np.zeros_like(tiles)
    slot.finish(result)
    np.testing.assert_array_equal(result, 255 - tiles)


def test_graphs_repeat_what_was_recorded_with_the_bytes_of_the_day(machine: Machine) -> None:
    with machine.cuda.current():
        slot, context = machine.slot()
        for seed in range(6):
            run(slot, tiles_of(MOST, seed))
        # Once as TensorRT wants it, once while it is recorded; from then on the graph runs alone.
        assert context.calls == (2 if machine.cuda.captures_graphs else 6)
        slot.close()
    assert machine.notes == []


def test_another_size_is_another_graph(machine: Machine) -> None:
    with machine.cuda.current():
        slot, context = machine.slot()
        for seed, size in enumerate((8, 8, 8, 3, 3, 3, 1, 8, 8)):
            run(slot, tiles_of(size, seed))
        assert context.calls == (7 if machine.cuda.captures_graphs else 9)
        run(slot, tiles_of(2, 99), size=5)  # filled up with the last tile
        slot.close()


def test_two_streams_are_in_flight_and_do_not_mix(machine: Machine) -> None:
    with machine.cuda.current():
        first, second = machine.slot()[0], machine.slot()[0]
        for seed in range(0, 40, 2):
            one, two = tiles_of(MOST, seed), tiles_of(MOST, seed + 1)
            first.start(one, MOST)
            second.start(two, MOST)
            assert_finishes(first, one)
            assert_finishes(second, two)
        first.close()
        second.close()


def test_the_tiles_may_change_as_soon_as_the_batch_is_queued(machine: Machine) -> None:
    with machine.cuda.current():
        slot, _ = machine.slot()
        for seed in range(4):
            tiles = tiles_of(MOST, seed)
            kept = tiles.copy()
            slot.start(tiles, MOST)
            tiles[:] = 0
            assert_finishes(slot, kept)
        slot.close()


def test_made_in_one_thread_run_in_others_closed_in_a_third(machine: Machine) -> None:
    with machine.cuda.current():
        slots = [machine.slot()[0] for _ in range(2)]
    problems: list[BaseException] = []

    def work(slot: Slot, seed: int, last: bool) -> None:
        try:
            with machine.cuda.current():
                for number in range(5):
                    run(slot, tiles_of(1 + (seed + number) % MOST, seed))
                if last:
                    slot.close()
        except BaseException as error:
            problems.append(error)

    for last in (False, True):
        threads = [
            threading.Thread(target=work, args=(slot, seed, last))
            for seed, slot in enumerate(slots)
        ]
        # The GPU made of dictionaries knows no locks, so there one thread follows the other.
        for thread in threads:
            thread.start()
            if machine.fake is not None:
                thread.join(PATIENCE_S)
        for thread in threads:
            thread.join(PATIENCE_S)
    assert problems == []


def test_an_abandoned_batch_is_forgotten_and_the_next_one_is_right(machine: Machine) -> None:
    with machine.cuda.current():
        slot, context = machine.slot()
        for seed in range(3):
            run(slot, tiles_of(MOST, seed))
        slot.start(tiles_of(MOST, 3), MOST)
        slot.abandon()
        calls = context.calls
        run(slot, tiles_of(MOST, 4))
        assert context.calls == calls + 1  # no graph of before
        slot.close()
        slot.close()


def test_what_cannot_be_recorded_runs_without_a_graph_and_is_told_once(machine: Machine) -> None:
    def wait(stream: int) -> None:  # which no recording allows
        machine.cuda.synchronize(stream)

    with machine.cuda.current():
        slot, context = machine.slot(wait)
        for seed in range(4):
            run(slot, tiles_of(MOST, seed))
        slot.close()
    captures = machine.cuda.captures_graphs
    assert context.calls == (5 if captures else 4)
    assert len(machine.notes) == captures
    assert all("runs without CUDA graphs" in note for note in machine.notes)


def test_another_thread_may_allocate_while_a_graph_is_recorded(machine: Machine) -> None:
    def allocate() -> None:
        with machine.cuda.current():
            machine.cuda.free_device(machine.cuda.allocate_device(1 << 20))

    def meanwhile(stream: int) -> None:
        if machine.fake is None or stream in machine.fake.recording:
            thread = threading.Thread(target=allocate)
            thread.start()
            thread.join(PATIENCE_S)

    with machine.cuda.current():
        slot, _ = machine.slot(meanwhile)
        for seed in range(3):
            run(slot, tiles_of(MOST, seed))
        slot.close()
    assert machine.notes == []


def test_memory_comes_back(machine: Machine) -> None:
    with machine.cuda.current():
        machine.slot()[0].close()  # what the driver keeps for itself
        before, _ = machine.cuda.memory()
        for seed in range(20):
            slot, _ = machine.slot()
            for _ in range(3):
                run(slot, tiles_of(MOST, seed))
            slot.close()
        after, _ = machine.cuda.memory()
    assert before - after < 16 << 20


def test_an_error_of_the_context_leaves_the_slot_usable(machine: Machine) -> None:
    fails = [True]

    def sometimes(stream: int) -> None:
        if fails[0]:
            raise DeviceError("of this test", "none")

    with machine.cuda.current():
        slot, _ = machine.slot(sometimes)
        with pytest.raises(DeviceError):
            slot.start(tiles_of(MOST), MOST)
        slot.abandon()
        fails[0] = False
        for seed in range(3):
            run(slot, tiles_of(MOST, seed))
        with suppress(DeviceError):
            slot.close()
