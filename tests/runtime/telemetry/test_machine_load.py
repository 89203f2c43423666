from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from edgecrack.machine_sensors.sensors import hottest_chip
from edgecrack.runtime.telemetry.machine_load import MachineMonitor, read_temperatures
from tests.waiting import PATIENCE_S


def make_zone(folder: Path, number: int, kind: str, temperature: str) -> None:
    zone = folder / f"thermal_zone{number}"
    zone.mkdir(parents=True)
    (zone / "type").write_text(kind + "\n")
    (zone / "temp").write_text(temperature + "\n")


@pytest.fixture
def no_sensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)


def test_a_sample_says_what_this_process_is_doing(tmp_path: Path) -> None:
    sample = MachineMonitor(tmp_path).sample()
    assert 0 <= sample.cpu_percent <= 100
    assert 0 < sample.memory_percent <= 100
    assert sample.process_rss_mb > 1
    assert sample.threads == threading.active_count() or sample.threads >= 1
    assert sample.open_files is not None
    assert sample.open_files >= 3
    assert sample.disk_free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
    assert json.loads(json.dumps(sample.to_dict()))["threads"] == sample.threads


def test_a_sample_is_kept_for_a_second() -> None:
    now_s = [0.0]
    monitor = MachineMonitor(clock=lambda: now_s[0])
    first = monitor.sample()
    now_s[0] = 0.9
    assert monitor.sample() is first
    now_s[0] = 1.1
    assert monitor.sample() is not first


def test_many_threads_may_ask_at_once() -> None:
    monitor = MachineMonitor(clock=iter(range(10_000)).__next__)  # never from the store
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(10):
                monitor.sample()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not failures


def test_load_is_of_the_time_between_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(
        [
            SimpleNamespace(_asdict=lambda: {"user": 10.0, "idle": 90.0, "guest": 5.0}, idle=90.0),
            SimpleNamespace(_asdict=lambda: {"user": 13.0, "idle": 91.0, "guest": 9.0}, idle=91.0),
        ]
    )
    monkeypatch.setattr(psutil, "cpu_times", lambda: next(times))
    assert MachineMonitor().sample().cpu_percent == 75.0


def test_a_folder_that_is_not_there_yet_counts_as_the_one_above(tmp_path: Path) -> None:
    assert MachineMonitor(tmp_path / "a" / "b").sample().disk_free_bytes is not None
    assert MachineMonitor().sample().disk_free_bytes is None


@pytest.mark.usefixtures("no_sensors")
def test_a_jetson_is_as_hot_as_its_hottest_chip(tmp_path: Path) -> None:
    make_zone(tmp_path, 0, "cpu-thermal", "51500")
    make_zone(tmp_path, 1, "gpu-thermal", "56250")
    make_zone(tmp_path, 2, "soc0-thermal", "49000")
    make_zone(tmp_path, 3, "PMIC-Die", "100000")
    make_zone(tmp_path, 4, "cv0-thermal", "")  # switched off: it cannot be read
    found = read_temperatures(tmp_path)
    assert found == {
        "cpu-thermal": 51.5, "gpu-thermal": 56.2, "soc0-thermal": 49.0, "PMIC-Die": 100.0
    }  # fmt: skip
    assert hottest_chip(found) == 56.2


def test_zones_are_read_beside_other_sensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psutil itself reads no zones as soon as, say, an NVMe disk has a sensor."""
    disk = [SimpleNamespace(label="Composite", current=71.0)]
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: {"nvme": disk * 2}, raising=False)
    make_zone(tmp_path, 0, "CPU-therm", "40000")
    found = read_temperatures(tmp_path)
    assert found == {"nvme Composite": 71.0, "nvme Composite 2": 71.0, "CPU-therm": 40.0}
    assert hottest_chip(found) == 40.0


def test_a_zone_that_psutil_knows_is_not_named_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"cpu_thermal": [SimpleNamespace(label="", current=42.0)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: known, raising=False)
    make_zone(tmp_path, 0, "cpu-thermal", "42100")
    assert read_temperatures(tmp_path) == {"cpu_thermal": 42.0}


@pytest.mark.usefixtures("no_sensors")
def test_nonsense_is_left_out_and_nothing_is_none(tmp_path: Path) -> None:
    make_zone(tmp_path, 0, "cpu-thermal", "-273000")
    make_zone(tmp_path, 1, "gpu-thermal", "words")
    assert read_temperatures(tmp_path) == {}
    assert hottest_chip({}) is None
    assert hottest_chip({"nvme": 60.0}) is None


def test_a_driver_that_fails_is_no_sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("broken driver")

    monkeypatch.setattr(psutil, "sensors_temperatures", fail, raising=False)
    assert read_temperatures(tmp_path) == {}
