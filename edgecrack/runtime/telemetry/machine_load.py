"""State of the machine: load, memory, temperature, disk; read at most once a second."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from edgecrack.machine_sensors.sensors import hottest_chip, is_plausible_c, zone_temperatures

KEEP_S = 1.0
_THERMAL_ZONES = Path("/sys/class/thermal")


@dataclass(frozen=True, slots=True)
class MachineSnapshot:
    """The machine at one moment.

    Attributes:
        cpu_percent: load of all cores together since the sample before, 0 to 100.
        memory_percent: share of the memory that is not available, 0 to 100.
        process_rss_mb: this process's resident memory in MB (10**6 bytes).
        temperature_c: the hottest of processor, GPU and SoC; None without a sensor.
        temperatures: every sensor's temperature in degrees Celsius, by name.
        threads: of this process.
        open_files: of this process, including sockets; None if unknown.
        disk_free_bytes: free for this user in the results folder; None where no folder is watched
            or it is gone.
    """

    cpu_percent: float
    memory_percent: float
    process_rss_mb: float
    temperature_c: float | None
    temperatures: dict[str, float] = field(default_factory=dict)
    threads: int = 0
    open_files: int | None = None
    disk_free_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


class MachineMonitor:
    """Samples the machine; may be used from any thread.

    Args:
        folder: whose disk's free space is watched, or the nearest existing folder above it; None
            watches none.
        clock: seconds, monotonic.
        thermal_zones: the kernel's folder of thermal zones.
    """

    def __init__(
        self,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        thermal_zones: Path = _THERMAL_ZONES,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._zones = thermal_zones
        self._lock = threading.Lock()
        self._process = psutil.Process()
        self._cpu_times = _cpu_times()
        self._cpu_percent = 0.0
        self._sampled_s: float | None = None
        self._snapshot: MachineSnapshot | None = None

    def sample(self) -> MachineSnapshot:
        """The machine's state, at most a second old."""
        with self._lock:
            now_s = self._clock()
            kept = self._snapshot
            if kept and self._sampled_s is not None and now_s - self._sampled_s < KEEP_S:
                return kept
            self._snapshot = self._measure()
            self._sampled_s = now_s
            return self._snapshot

    def _measure(self) -> MachineSnapshot:
        temperatures = read_temperatures(self._zones)
        with self._process.oneshot():
            rss_mb = self._process.memory_info().rss / 1e6
            threads = self._process.num_threads()
        return MachineSnapshot(
            cpu_percent=self._load(),
            memory_percent=float(psutil.virtual_memory().percent),
            process_rss_mb=round(rss_mb, 1),
            temperature_c=hottest_chip(temperatures),
            temperatures=temperatures,
            threads=threads,
            open_files=self._open_files(),
            disk_free_bytes=_free_bytes(self._folder),
        )

    def _load(self) -> float:
        # Not psutil.cpu_percent, which remembers the last call per thread and so returns 0 on the
        # first call in each thread.
        busy_s, total_s = _cpu_times()
        before_busy_s, before_total_s = self._cpu_times
        if total_s - before_total_s > 0.05:  # the kernel counts in steps of 10 ms
            share = (busy_s - before_busy_s) / (total_s - before_total_s)
            self._cpu_percent = round(100 * min(max(share, 0.0), 1.0), 1)
            self._cpu_times = busy_s, total_s
        return self._cpu_percent

    def _open_files(self) -> int | None:
        try:
            return self._process.num_fds()
        except (psutil.Error, OSError):
            return None


def read_temperatures(thermal_zones: Path = _THERMAL_ZONES) -> dict[str, float]:
    """All temperatures of the system in degrees Celsius, by sensor.

    psutil reads the kernel's thermal zones only if there is no other sensor, so on a Jetson with an
    NVMe disk it returns only the disk's. Therefore the zones are always read, too.
    """
    found: dict[str, float] = {}
    sensors: dict[str, Any] = {}
    try:
        sensors = getattr(psutil, "sensors_temperatures", dict)()
    except (OSError, ValueError, RuntimeError):  # a driver may fail in any of these ways
        sensors = {}
    known = {chip.replace("-", "_") for chip in sensors}
    for chip, readings in sensors.items():
        for reading in readings:
            label = str(reading.label).strip()
            _add(found, f"{chip} {label}" if label else chip, reading.current)
    for name, value_c in zone_temperatures(thermal_zones):
        if name.replace("-", "_") not in known:
            _add(found, name, value_c)
    return found


def _add(found: dict[str, float], name: str, value_c: float | None) -> None:
    if value_c is None or not is_plausible_c(value_c):
        return
    unique, number = name, 2
    while unique in found:
        unique, number = f"{name} {number}", number + 1
    found[unique] = round(float(value_c), 1)


def _cpu_times() -> tuple[float, float]:
    """Seconds that all cores were busy, and seconds in all, since the machine started."""
    times = psutil.cpu_times()
    # Time of guests is part of the user's time already.
    counted = [value for name, value in times._asdict().items() if not name.startswith("guest")]
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    return sum(counted) - idle_s, sum(counted)


def _free_bytes(folder: Path | None) -> int | None:
    if folder is None:
        return None
    for place in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None
