"""Clock, temperature, energy and power from kernel files, which may be missing or invalid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path


def read_text(path: Path) -> str | None:
    """A file's text, stripped; None if it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # a Jetson's GPU zone while the GPU is switched off, a core that went offline
        return None


def read_number(path: Path, base: int = 10) -> int | None:
    """A file's integer; None if it cannot be read or parsed."""
    text = read_text(path)
    try:
        return None if text is None else int(text, base)
    except ValueError:
        return None


def read_numbers(paths: Iterable[Path]) -> dict[Path, int]:
    """The integers of the files that contain one."""
    found = {path: read_number(path) for path in paths}
    return {path: value for path, value in found.items() if value is not None}


ROOT = Path("/")
CPUS = "sys/devices/system/cpu"
ZONES = "sys/class/thermal"
HWMON = "sys/class/hwmon"
# Chips that slow down when hot: Intel, AMD, Raspberry Pi, Jetson (cpu, gpu, soc0, cv1, tj). Not
# disks, power supplies and boards, nor Jetson's PMIC-Die, which always reports 50 or 100.
_CHIPS = re.compile(
    r"cpu|gpu|soc|^tj|^cv\d|coretemp|k10temp|zenpower|x86_pkg|bcm\d+_thermal", re.IGNORECASE
)
_PLAUSIBLE_C = (-40.0, 150.0)


def clock_mhz(root: Path = ROOT) -> float | None:
    """Mean clock of the cores, by the kernel's frequency scaling."""
    values = read_numbers((root / CPUS).glob("cpu[0-9]*/cpufreq/scaling_cur_freq")).values()
    return round(sum(values) / len(values) / 1000, 1) if values else None


def temperature_c(root: Path = ROOT) -> float | None:
    """Of the hottest processor, GPU or SoC; else of the hottest zone."""
    found = [*zone_temperatures(root / ZONES), *_hwmon_temperatures(root / HWMON)]
    hottest = hottest_chip(dict(sorted(found, key=lambda each: each[1])))
    return hottest if hottest is not None else max((value for _, value in found), default=None)


def hottest_chip(temperatures: dict[str, float]) -> float | None:
    """The highest temperature of a processor, GPU or SoC; None if unknown."""
    return max((value for name, value in temperatures.items() if is_chip(name)), default=None)


def is_chip(name: str) -> bool:
    """Whether a sensor of this name is in a processor, GPU or SoC."""
    return _CHIPS.search(name) is not None


def is_plausible_c(value_c: float) -> bool:
    """Whether a sensor value is plausible; one that is off reports -274, for example."""
    return _PLAUSIBLE_C[0] < value_c < _PLAUSIBLE_C[1]


def zone_temperatures(folder: Path) -> Iterator[tuple[str, float]]:
    """Name and degrees Celsius of each thermal zone; names may come twice.

    Args:
        folder: the kernel's folder of thermal zones.
    """
    for zone in sorted(folder.glob("thermal_zone*")):
        value = read_number(zone / "temp")
        if value is not None and is_plausible_c(value / 1000):
            yield read_text(zone / "type") or zone.name, round(value / 1000, 1)


def _hwmon_temperatures(folder: Path) -> Iterator[tuple[str, float]]:
    """As `zone_temperatures`, of chips that have no zone, as AMD's."""
    for chip in sorted(folder.glob("hwmon*")):
        name = read_text(chip / "name") or ""
        if not is_chip(name):
            continue
        for value in read_numbers(sorted(chip.glob("temp*_input"))).values():
            if is_plausible_c(value / 1000):
                yield name, round(value / 1000, 1)


def energy_j(root: Path = ROOT) -> float | None:
    """Energy used by the processor (RAPL)."""
    values = read_numbers((root / "sys/class/powercap").glob("*-rapl:[0-9]/energy_uj")).values()
    return sum(values) / 1e6 if values else None


def power_w(root: Path = ROOT) -> float | None:
    """Power of a board that has a sensor for it, as a Jetson's `VDD_IN`."""
    for folder in sorted((root / HWMON).glob("hwmon*")):
        for label in sorted(folder.glob("in*_label")):
            if read_text(label) not in ("VDD_IN", "POM_5V_IN"):
                continue
            number = label.name[2:-6]
            volt_m, ampere_m = (
                read_number(folder / f"{kind}{number}_input") for kind in ("in", "curr")
            )
            if volt_m is not None and ampere_m is not None:
                return round(volt_m * ampere_m / 1e6, 2)
    return None
