from __future__ import annotations

from pathlib import Path

from edgecrack.machine_sensors.sensors import clock_mhz, energy_j, power_w, temperature_c
from tests.machine_sensors.trees import core, write, zone

RAPL = "sys/class/powercap/intel-rapl:0/energy_uj"
BOARD = "sys/class/hwmon/hwmon3"


def test_the_clock_is_the_mean_of_the_cores_that_tell(tmp_path: Path) -> None:
    for number, text in enumerate(("1500000", "2500000", "nonsense")):
        write(tmp_path, core(number, scaling_cur_freq=text))
    assert clock_mhz(tmp_path) == 2000


def test_the_temperature_is_that_of_the_hottest_chip(tmp_path: Path) -> None:
    write(tmp_path, {**zone(0, "acpitz", 45_000), **zone(1, "", 61_500), **zone(2, "x", -274_000)})
    assert temperature_c(tmp_path) == 61.5
    write(tmp_path, {f"{BOARD}/name": "k10temp", f"{BOARD}/temp1_input": 52_250})
    assert temperature_c(tmp_path) == 52.2
    write(tmp_path, {**zone(3, "cpu-thermal", 50_000), **zone(4, "cpu-thermal", 58_000)})
    assert temperature_c(tmp_path) == 58.0


def test_energy_and_power(tmp_path: Path) -> None:
    write(tmp_path, {RAPL: 2_000_000})
    assert energy_j(tmp_path) == 2.0
    board = {"in1_label": "VDD_IN", "in1_input": 5000, "curr1_input": 2000}
    write(tmp_path, {f"{BOARD}/{name}": value for name, value in board.items()})
    assert power_w(tmp_path) == 10.0
    (tmp_path / BOARD / "in1_label").write_bytes(b"\xff\xfe")
    assert power_w(tmp_path) is None


def test_nothing_is_told_where_there_is_nothing(tmp_path: Path) -> None:
    for read in (clock_mhz, temperature_c, energy_j, power_w):
        assert read(tmp_path) is None
