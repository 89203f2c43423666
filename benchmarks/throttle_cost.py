"""What checking for throttling costs: time of one check, and its share of one core.

On a tree of files as a Jetson Orin has them (12 cores, 9 zones, 24 cooling devices, three power
alarms) on this machine's disk cache, and on this machine's own files. A board's sensors behind a
bus answer more slowly than files; that wait costs no core.

    python benchmarks/throttle_cost.py [--looks 300]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.machine_sensors.throttling import ThrottleReader  # noqa: E402
from edgecrack.runtime.telemetry.throttle_watch import INTERVAL_S  # noqa: E402

CORES, ZONES, DEVICES, TRIPS, ALARMS = 12, 9, 24, 3, 3


def write_tree(root: Path) -> None:
    """A Jetson's files; nothing in them speaks for throttling."""
    files: dict[str, object] = {"var/lib/nvpmodel/status": "pmode:0002"}
    for core in range(CORES):
        folder = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        for name in ("scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq"):
            files[f"{folder}/{name}"] = 2_201_600
        files |= {f"{folder}/scaling_driver": "tegra194", f"{folder}/scaling_governor": "schedutil"}
    for zone in range(ZONES):
        folder = f"sys/class/thermal/thermal_zone{zone}"
        files |= {f"{folder}/type": "cpu-thermal", f"{folder}/temp": 61_000}
        for trip in range(TRIPS):
            files[f"{folder}/trip_point_{trip}_type"] = "passive"
            files[f"{folder}/trip_point_{trip}_temp"] = 99_000
    for device in range(DEVICES):
        folder = f"sys/class/thermal/cooling_device{device}"
        files |= {f"{folder}/type": f"cpufreq-cpu{device}", f"{folder}/cur_state": 0}
    for alarm in range(1, ALARMS + 1):
        files[f"sys/class/hwmon/hwmon3/oc{alarm}_event_cnt"] = 0
    lines = [f"cpu{core} {1000 + core} 0 10 5000 0 0 0 0 0 0" for core in range(CORES)]
    files["proc/stat"] = "\n".join(["cpu 1 0 0 1 0 0 0 0 0 0", *lines])
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n", encoding="ascii")


def measure(root: Path, looks: int) -> dict[str, Any]:
    """Milliseconds of making a reader and of its looks, by the wall and by the core."""
    began = time.perf_counter()
    reader = ThrottleReader(root)
    made_ms = 1000 * (time.perf_counter() - began)
    wall_ms = []
    core_began = time.process_time()
    for _ in range(looks):
        began = time.perf_counter()
        found = reader.look()
        wall_ms.append(1000 * (time.perf_counter() - began))
    core_ms = 1000 * (time.process_time() - core_began) / looks
    return {
        "state": found.state,
        "told_by": list(found.told_by),
        "made_ms": round(made_ms, 2),
        "look_median_ms": round(statistics.median(wall_ms), 3),
        "look_95_percent_ms": round(statistics.quantiles(wall_ms, n=20)[-1], 3),
        "look_core_ms": round(core_ms, 3),
        "share_of_one_core_percent": round(core_ms / (10 * INTERVAL_S), 3),
    }


def main() -> None:
    """Measure both and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--looks", type=int, default=300)
    looks = parser.parse_args().looks
    with tempfile.TemporaryDirectory() as folder:
        write_tree(Path(folder))
        result = {
            "looks": looks,
            "interval_s": INTERVAL_S,
            "a Jetson's files": measure(Path(folder), looks),
            "this machine": measure(Path("/"), looks),
        }
    for name in ("a Jetson's files", "this machine"):
        print(name, result[name])
    write_result("throttle_cost", result)


if __name__ == "__main__":
    main()
