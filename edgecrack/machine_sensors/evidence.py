"""Evidence of throttling on each kind of machine, read without root.

A reader finds its files once, when it is made. It returns a list of evidence, empty if there is
none, or None if this machine does not report it.
Sources: the kernel's Documentation/ABI/testing/sysfs-class-thermal and
admin-guide/thermal/intel_thermal_throttle.rst, NVIDIA's Jetson Linux developer guide, Raspberry
Pi's documentation of get_throttled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from edgecrack.machine_sensors.sensors import (
    CPUS,
    HWMON,
    ZONES,
    is_chip,
    is_plausible_c,
    read_number,
    read_numbers,
    read_text,
)
from edgecrack.terminal.wording import counted

EvidenceKind = Literal[
    "heat counter",
    "cooling",
    "trip point",
    "power alarm",
    "firmware",
    "clock",
    "clock limit",
    "gpu",
]
# Kernel names of cooling devices that slow a processor or GPU down: ACPI's processors, cpufreq,
# devfreq and idle injection by current and former names, Intel's powerclamp, a Jetson's alerts. Not
# fans, "TCC Offset", whose state is a setting, nor "hot-surface-alert", which slows nothing.
_SLOWING = re.compile(
    r"^(processor$|(thermal-)?(cpufreq|devfreq|idle)-|intel_powerclamp$)|-throttle-alert$",
    re.IGNORECASE,
)
# Those that usually slow a processor down. Not on x86, which slows itself down, often beside an
# ACPI device whose state is always 0.
_SLOWING_THE_CPU = re.compile(r"^(thermal-)?(cpufreq|idle)-|cpu\d*-throttle-alert$", re.IGNORECASE)
# Notification thresholds set by programs; nothing is slowed down there.
_NOTIFYING_ZONES = ("x86_pkg_temp",)
_FIRMWARE_NOW = (
    (0, "the supply's voltage is too low"),
    (1, "the firmware caps the clock"),
    (2, "the firmware throttles the processor"),
    (3, "the soft temperature limit is reached"),
)
_FIRMWARE_PAST = (
    (0, "the supply's voltage was too low"),
    (1, "the firmware capped the clock"),
    (2, "the firmware throttled the processor"),
    (3, "the soft temperature limit was reached"),
)
_SINCE = 16  # bit offset of the flags for the past


@dataclass(frozen=True, slots=True)
class Evidence:
    """One piece of evidence of throttling.

    Attributes:
        kind: its origin.
        text: a clause for the user.
    """

    kind: EvidenceKind
    text: str


class EvidenceReader(Protocol):
    """One kind of evidence."""

    @property
    def name(self) -> str:
        """What it reads, for the user."""
        ...

    @property
    def tells_of_the_processor(self) -> bool:
        """Whether it usually shows a throttled processor."""
        ...

    def read(self) -> list[Evidence] | None:
        """Evidence now or since the previous call; None if this machine does not report it."""
        ...

    def since_start(self) -> str:
        """What happened since the machine started, as a clause; empty if unknown."""
        return ""


class HeatCounters(EvidenceReader):
    """Intel's counters of how often, and how long, the processor slowed itself down for heat.

    A count rises when throttling begins, its time when it ends. Continuous throttling changes
    neither; the clock shows it then.

    Args:
        root: the file system root, `/`.
    """

    name, tells_of_the_processor = "heat counters", True

    def __init__(self, root: Path) -> None:
        folders = sorted((root / CPUS).glob("cpu[0-9]*/thermal_throttle"))
        self._files = [
            folder / f"{level}_throttle_{what}"
            for folder in folders
            for level in ("core", "package")
            for what in ("count", "total_time_ms")
        ]
        self._before = read_numbers(self._files)

    def read(self) -> list[Evidence] | None:
        """As `EvidenceReader`."""
        now = read_numbers(self._files)
        if not now:
            return None
        # All cores of a package repeat its count, so the largest rise counts.
        rises = [value - self._before.get(path, value) for path, value in now.items()]
        self._before = now
        if max(rises) <= 0:
            return []
        counts = [
            rise for path, rise in zip(now, rises, strict=True) if path.name.endswith("_count")
        ]
        times = f" {count} times" if (count := max(counts, default=0)) > 1 else ""
        return [Evidence("heat counter", f"the processor slowed itself down{times} for heat")]

    def since_start(self) -> str:
        """As `EvidenceReader`."""
        counts = [value for path, value in self._before.items() if path.name.endswith("_count")]
        most = max(counts, default=0)
        return f"the processor slowed itself down for heat {counted(most, 'time')}" if most else ""


class CoolingDevices(EvidenceReader):
    """Devices that the kernel slows down to cool the processor or GPU.

    Args:
        root: the file system root, `/`.
    """

    name = "cooling"

    def __init__(self, root: Path) -> None:
        self._types = slowing_devices(root)

    @property
    def tells_of_the_processor(self) -> bool:
        """As `EvidenceReader`."""
        return any(_SLOWING_THE_CPU.search(kind) for kind in self._types.values())

    def read(self) -> list[Evidence] | None:
        """As `EvidenceReader`."""
        states = read_numbers(folder / "cur_state" for folder in self._types)
        if not states:
            return None
        # Intel's powerclamp reports -1 when idle.
        active = {self._types[path.parent] for path, state in states.items() if state > 0}
        return [Evidence("cooling", f"the kernel cools by {kind}") for kind in sorted(active)]


def slowing_devices(root: Path) -> dict[Path, str]:
    """The folders of cooling devices that slow a processor or a GPU down, and their types."""
    folders = sorted((root / ZONES).glob("cooling_device*"))
    found = {folder: read_text(folder / "type") or "" for folder in folders}
    return {folder: kind for folder, kind in found.items() if _SLOWING.search(kind)}


class TripPoints(EvidenceReader):
    """Thermal zones of chips at or above the temperature where throttling begins.

    Where the kernel names the devices of a trip point, one must be slowed down, too: some governors
    prepare at one trip point and act at the next.

    Args:
        root: the file system root, `/`.
    """

    name = "trip points"

    def __init__(self, root: Path) -> None:
        self._trips = [
            trip
            for zone in sorted((root / ZONES).glob("thermal_zone*"))
            for trip in _trips_of(zone)
        ]

    @property
    def tells_of_the_processor(self) -> bool:
        """As `EvidenceReader`."""
        return any(re.search(r"cpu|soc|^tj", trip.name, re.IGNORECASE) for trip in self._trips)

    def read(self) -> list[Evidence] | None:
        """As `EvidenceReader`."""
        heats = {trip.zone: read_number(trip.zone / "temp") for trip in self._trips}
        known = {zone: heat for zone, heat in heats.items() if heat is not None}
        known = {zone: heat for zone, heat in known.items() if is_plausible_c(heat / 1000)}
        if not known:
            return None
        return [
            Evidence("trip point", f"{trip.name} is at {known[trip.zone] / 1000:.0f} °C, "
                     f"and slows down from {trip.at_mc / 1000:.0f} °C")
            for trip in self._trips
            if known.get(trip.zone, trip.at_mc - 1) >= trip.at_mc and _acts(trip.devices)
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Trip:
    """A trip point: zone, name, temperature in millidegrees, and the devices slowed down."""

    zone: Path
    name: str
    at_mc: int
    devices: tuple[Path, ...]


def _trips_of(zone: Path) -> list[_Trip]:
    name = read_text(zone / "type") or ""
    notifies = name in _NOTIFYING_ZONES or read_text(zone / "policy") == "user_space"
    if not is_chip(name) or notifies:
        return []
    found = []
    for file in sorted(zone.glob("trip_point_*_type")):
        number, at_mc = file.name.split("_")[2], read_number(Path(str(file)[:-5] + "_temp"))
        if read_text(file) in ("passive", "hot") and at_mc is not None and at_mc > 0:
            bound = tuple(
                zone / each.name.removesuffix("_trip_point")
                for each in sorted(zone.glob("cdev*_trip_point"))
                if read_text(each) == number
            )
            found.append(_Trip(zone, name, at_mc, bound))
    return found


def _acts(devices: Iterable[Path]) -> bool:
    """Whether a device of a trip point is slowed down; True if none is known."""
    states = read_numbers(folder / "cur_state" for folder in devices)
    return not states or any(state > 0 for state in states.values())


class PowerAlarms(EvidenceReader):
    """A Jetson's counters of over-current and under-voltage, at which its hardware slows down.

    Args:
        root: the file system root, `/`.
    """

    name, tells_of_the_processor = "power alarms", False

    def __init__(self, root: Path) -> None:
        files = sorted((root / HWMON).glob("hwmon*/oc*_event_cnt"))
        # With `oc3_throt_en` at 0, alarm 3 slows nothing down.
        self._files = [
            path for path in files
            if read_number(path.with_name(path.name.replace("event_cnt", "throt_en"))) != 0
        ]  # fmt: skip
        self._before = read_numbers(self._files)
        # Raspberry Pi's under-voltage, where its kernel has no `get_throttled`.
        self._voltage = [
            chip / "in0_lcrit_alarm"
            for chip in sorted((root / HWMON).glob("hwmon*"))
            if read_text(chip / "name") == "rpi_volt"
        ]

    def read(self) -> list[Evidence] | None:
        """As `EvidenceReader`."""
        now, voltage = read_numbers(self._files), read_numbers(self._voltage)
        if not now and not voltage:
            return None
        found = []
        for path, value in now.items():
            rise = value - self._before.get(path, value)
            if rise > 0:
                alarm = path.name.removesuffix("_event_cnt")
                text = f"the power alarm {alarm} (over-current or under-voltage) came "
                text += counted(rise, "time")
                found.append(Evidence("power alarm", text))
        self._before = now
        if any(voltage.values()):
            found.append(Evidence("power alarm", _FIRMWARE_NOW[0][1]))
        return found

    def since_start(self) -> str:
        """As `EvidenceReader`."""
        came = {path: value for path, value in self._before.items() if value}
        alarms = ", ".join(
            f"{path.name.removesuffix('_event_cnt')} {counted(value, 'time')}"
            for path, value in came.items()
        )
        return f"power alarms came ({alarms})" if alarms else ""


class RaspberryFirmware(EvidenceReader):
    """A Raspberry Pi's `get_throttled`.

    Four bits are current and four past: since the start with old kernels, and since the kernel's
    last poll two seconds ago with new ones. A past bit counts when it appears, as the event may be
    over before the next call.

    Args:
        root: the file system root, `/`.
    """

    name, tells_of_the_processor = "firmware", True

    def __init__(self, root: Path) -> None:
        # soc:firmware; soc@107c000000:firmware on a Raspberry Pi 5.
        self._files = sorted(
            (root / "sys/devices/platform").glob("soc*/soc*:firmware/get_throttled")
        )
        self._before = self._value() or 0

    def read(self) -> list[Evidence] | None:
        """As `EvidenceReader`."""
        value = self._value()
        if value is None:
            return None
        came, self._before = value & ~self._before, value
        return [
            Evidence("firmware", text)
            for bit, text in _FIRMWARE_NOW
            if value >> bit & 1 or came >> (bit + _SINCE) & 1
        ]

    def since_start(self) -> str:
        """As `EvidenceReader`; new kernels forget it after two seconds."""
        value = self._before
        return "; ".join(text for bit, text in _FIRMWARE_PAST if value >> (bit + _SINCE) & 1)

    def _value(self) -> int | None:
        return read_number(self._files[0], base=16) if self._files else None
