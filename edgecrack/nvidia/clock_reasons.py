"""Why an NVIDIA GPU is throttled, from the driver's library (NVML), without a package.

Loading it may take a while and waking a GPU costs power, so use it only if the network runs on
one. Sources: NVIDIA's NVML reference,
nvmlClocksEventReasons.
"""

from __future__ import annotations

import ctypes
from typing import Any

from edgecrack.machine_sensors.evidence import Evidence, EvidenceReader

LIBRARY = "libnvidia-ml.so.1"
_SM_CLOCK, _TEMPERATURE_GPU = 1, 0
# Not the software power cap (0x4), which a GPU under full load usually reaches.
_REASONS = (
    (0x20, "for heat, by the driver"),
    (0x40, "for heat, by its hardware"),
    (0x80, "by the power supply's brake"),
)
_HARDWARE_SLOWDOWN = 0x8  # set beside the two hardware reasons, and alone by old drivers


class GpuClocks(EvidenceReader):
    """Throttling of GPUs.

    Args:
        library: NVML; None loads the driver's.
    """

    name, tells_of_the_processor = "GPU driver", False

    def __init__(self, library: Any = None) -> None:
        self._gpus: list[ctypes.c_void_p] = []
        self._nvml = _opened() if library is None else library
        if self._nvml is None or self._nvml.nvmlInit_v2() != 0:
            return
        count = ctypes.c_uint(0)
        if self._nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return
        for index in range(count.value):
            gpu = ctypes.c_void_p()
            handle = ctypes.byref(gpu)
            if self._nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), handle) == 0:
                self._gpus.append(gpu)

    def read(self) -> list[Evidence] | None:
        """As `EvidenceReader`; None if no GPU reports it, as on a Jetson."""
        found, told = [], False
        for index, gpu in enumerate(self._gpus):
            reasons = ctypes.c_ulonglong(0)
            asked = self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons
            if asked(gpu, ctypes.byref(reasons)) != 0:
                continue
            told = True
            said = [text for bit, text in _REASONS if reasons.value & bit]
            if not said and reasons.value & _HARDWARE_SLOWDOWN:
                said = ["by its hardware"]
            if said:
                text = f"GPU {index} slows down {' and '.join(said)}{self._figures(gpu)}"
                found.append(Evidence("gpu", text))
        return found if told else None

    def _figures(self, gpu: ctypes.c_void_p) -> str:
        clock, largest, heat = ctypes.c_uint(0), ctypes.c_uint(0), ctypes.c_uint(0)
        text = ""
        if self._nvml.nvmlDeviceGetTemperature(gpu, _TEMPERATURE_GPU, ctypes.byref(heat)) == 0:
            text += f", {heat.value} °C"
        is_known = self._nvml.nvmlDeviceGetClockInfo(gpu, _SM_CLOCK, ctypes.byref(clock)) == 0
        limit = ctypes.byref(largest)
        if is_known and self._nvml.nvmlDeviceGetMaxClockInfo(gpu, _SM_CLOCK, limit) == 0:
            text += f", {clock.value} of {largest.value} MHz"
        return text


def _opened() -> Any:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        return None
