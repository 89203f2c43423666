"""What the CUDA driver is asked about GPUs, by a driver that is not there."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from edgecrack.nvidia.gpu import Gpu, driver_cuda, gpu_devices, why_no_gpu

GIB = 1 << 30


class FakeDriver:
    """Answers as libcuda does; `start` is what cuInit gives."""

    def __init__(self, devices: list[tuple[str, int, int, int]], start: int = 0) -> None:
        self._devices = devices
        self._start = start

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self._start

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self._devices)
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 12060
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: ctypes.c_int) -> int:  # noqa: N802
        name.value = self._devices[device.value][0].encode()
        return 0

    def cuDeviceTotalMem_v2(self, total: Any, device: ctypes.c_int) -> int:  # noqa: N802
        total._obj.value = self._devices[device.value][3]
        return 0

    def cuDeviceGetAttribute(  # noqa: N802
        self, value: Any, attribute: int, device: ctypes.c_int
    ) -> int:
        value._obj.value = self._devices[device.value][{75: 1, 76: 2}[attribute]]
        return 0


def use(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver | None) -> None:
    def load(name: str) -> FakeDriver:
        if driver is None:
            raise OSError(f"{name}: cannot open shared object file")
        return driver

    monkeypatch.setattr(ctypes, "CDLL", load)


def test_every_gpu_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeDriver([("Orin", 8, 7, 32 * GIB), ("RTX 5090", 12, 0, 31 * GIB)]))
    assert gpu_devices() == (
        Gpu(0, "Orin", "8.7", 32 * GIB),
        Gpu(1, "RTX 5090", "12.0", 31 * GIB),
    )
    assert why_no_gpu() is None


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (None, "no NVIDIA driver"),
        (FakeDriver([], start=999), "cuInit gave 999"),
        (FakeDriver([]), "sees no GPU"),
    ],
)
def test_without_a_gpu_there_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, driver: FakeDriver | None, reason: str
) -> None:
    use(monkeypatch, driver)
    assert gpu_devices() == ()
    assert reason in str(why_no_gpu())


@pytest.mark.gpu
def test_the_gpu_of_this_machine_has_memory_and_a_compute_capability() -> None:
    first = gpu_devices()[0]
    assert float(first.compute_capability) >= 5.0
    assert first.total_bytes > GIB


def test_the_newest_cuda_that_the_driver_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeDriver([]))
    assert driver_cuda() == (12, 6)
    use(monkeypatch, None)
    assert driver_cuda() is None
