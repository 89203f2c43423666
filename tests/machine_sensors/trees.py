"""Machines as trees of the kernel's files, as they look on the boards that they are named after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CPU = "sys/devices/system/cpu"
THERMAL = "sys/class/thermal"
OC = "sys/class/hwmon/hwmon3"
RASPBERRY = "sys/devices/platform/soc/soc:firmware/get_throttled"


def write(root: Path, files: Mapping[str, object]) -> Path:
    """Writes files of one value each; the kernel ends each with a new line."""
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n", encoding="utf-8")
    return root


def stat(busy: tuple[int, ...], idle: tuple[int, ...]) -> dict[str, object]:
    """`/proc/stat` with each core's ticks so far."""
    lines = [f"cpu  {sum(busy)} 0 0 {sum(idle)} 0 0 0 0 0 0"]
    lines += [
        f"cpu{core} {ticks} 0 0 {rest} 0 0 0 0 0 0"
        for core, (ticks, rest) in enumerate(zip(busy, idle, strict=True))
    ]
    return {"proc/stat": "\n".join([*lines, "intr 1 2", "ctxt 5"])}


def core(number: int, **files: object) -> dict[str, object]:
    """A core's `cpufreq` folder."""
    return {f"{CPU}/cpu{number}/cpufreq/{name}": value for name, value in files.items()}


def clocks(
    current_khz: int,
    largest_khz: int = 2_400_000,
    cores: int = 2,
    more: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Cores of an ARM board, whose largest clock is what they hold under load."""
    files: dict[str, object] = {}
    for number in range(cores):
        given = {
            "scaling_driver": "cpufreq-dt",
            "scaling_governor": "schedutil",
            "scaling_cur_freq": current_khz,
            "scaling_max_freq": largest_khz,
            "cpuinfo_max_freq": largest_khz,
            **(more or {}),
        }
        files |= core(number, **given)
    return files


def heat_counters(core_count: int, package_count: int, ms: int = 0) -> dict[str, object]:
    """Of two cores of an Intel package."""
    return {
        f"{CPU}/cpu{number}/thermal_throttle/{name}": value
        for number in range(2)
        for name, value in (
            ("core_throttle_count", core_count),
            ("core_throttle_total_time_ms", ms),
            ("package_throttle_count", package_count),
            ("package_throttle_total_time_ms", ms),
        )
    }


def cooling(number: int, kind: str, state: object) -> dict[str, object]:
    """A cooling device."""
    folder = f"{THERMAL}/cooling_device{number}"
    return {f"{folder}/type": kind, f"{folder}/cur_state": state, f"{folder}/max_state": 10}


def zone(
    number: int, kind: str, temperature_mc: object, *trips: tuple[str, int]
) -> dict[str, object]:
    """A thermal zone and its trip points."""
    folder = f"{THERMAL}/thermal_zone{number}"
    files: dict[str, object] = {f"{folder}/type": kind, f"{folder}/temp": temperature_mc}
    for place, (what, at_mc) in enumerate(trips):
        files[f"{folder}/trip_point_{place}_type"] = what
        files[f"{folder}/trip_point_{place}_temp"] = at_mc
    return files


def orin(temperature_mc: int = 61_000, alert: int = 0, alarms: int = 0) -> dict[str, object]:
    """A Jetson Orin's files that tell of throttling."""
    trips = (("active", 46_000), ("passive", 99_000), ("critical", 104_500))
    return {
        **clocks(1_344_000, 1_344_000),
        **stat((0, 0), (100, 100)),
        **zone(0, "cpu-thermal", temperature_mc, *trips),
        **zone(1, "gpu-thermal", temperature_mc - 3_000, *trips),
        **cooling(0, "cpu-throttle-alert", alert),
        **cooling(1, "gpu-throttle-alert", 0),
        **cooling(2, "cpufreq-cpu0", 0),
        **cooling(3, "pwm-fan", 2),
        **cooling(4, "hot-surface-alert", 0),
        f"{OC}/name": "soctherm_oc",
        f"{OC}/oc3_event_cnt": alarms,
        f"{OC}/oc3_throt_en": 1,
        "var/lib/nvpmodel/status": "pmode:0002",
    }
