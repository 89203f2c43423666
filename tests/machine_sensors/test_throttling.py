"""Whether throttling is told from the files of different machines, and only from these."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from edgecrack.machine_sensors.throttling import ThrottleLook, ThrottleReader
from edgecrack.nvidia.clock_reasons import GpuClocks
from tests.machine_sensors.trees import (
    CPU,
    OC,
    RASPBERRY,
    THERMAL,
    clocks,
    cooling,
    core,
    heat_counters,
    orin,
    stat,
    write,
    zone,
)

RATED = "base_frequency"
RPI_VOLT = "sys/class/hwmon/hwmon1"
PASSIVE = ("passive", 85_000)


def kinds(look: ThrottleLook) -> list[str]:
    return [each.kind for each in look.evidence]


def look_after(root: Path, before: dict[str, object], after: dict[str, object]) -> ThrottleLook:
    """A reader made on one state of a machine, and its look at the next."""
    reader = ThrottleReader(write(root, before))
    write(root, after)
    return reader.look()


@pytest.mark.parametrize(
    "files",
    [
        {},
        zone(0, "cpu-thermal", 99_000),
        zone(0, "cpu-thermal", 99_000, ("critical", 90_000)),
        cooling(0, "Fan", 3),
        cooling(0, "TCC Offset", 5),
        cooling(0, "hot-surface-alert", 1),
        # x86 slows itself down; these are at rest meanwhile.
        {**cooling(0, "Processor", 0), **cooling(1, "intel_powerclamp", -1)},
        clocks(2_000_000, more={"scaling_driver": "acpi-cpufreq"}),
        {f"{OC}/oc3_event_cnt": 7},
        stat((90, 90), (10, 10)),
        {RASPBERRY: "nonsense"},
        core(0, scaling_cur_freq=1_000_000),
    ],
)
def test_a_machine_that_tells_nothing_of_its_processor_is_unknown_and_not_well(
    tmp_path: Path, files: dict[str, object]
) -> None:
    found = ThrottleReader(write(tmp_path, files)).look()
    assert (found.state, found.evidence) == ("unknown", ())


class TestHeatCounters:
    def test_one_that_stands_still_is_well_however_high(self, tmp_path: Path) -> None:
        found = look_after(tmp_path, heat_counters(40, 900), {})
        assert (found.state, found.told_by) == ("not throttled", ("heat counters",))

    @pytest.mark.parametrize(
        ("after", "said"),
        [
            (heat_counters(45, 900), "5 times for heat"),
            (heat_counters(40, 901), "slowed itself down for heat"),
            (heat_counters(40, 900, ms=120), "slowed itself down for heat"),
            (heat_counters(42, 912), "12 times for heat"),
        ],
    )
    def test_a_count_or_a_time_that_rises(
        self, tmp_path: Path, after: dict[str, object], said: str
    ) -> None:
        found = look_after(tmp_path, heat_counters(40, 900), after)
        assert (found.state, kinds(found)) == ("throttled", ["heat counter"])
        assert said in found.reasons

    def test_it_tells_once_and_not_again(self, tmp_path: Path) -> None:
        reader = ThrottleReader(write(tmp_path, heat_counters(40, 900)))
        write(tmp_path, heat_counters(41, 900))
        assert [reader.look().state for _ in range(2)] == ["throttled", "not throttled"]
        assert reader.since_start() == "the processor slowed itself down for heat 900 times"


class TestCooling:
    @pytest.mark.parametrize(
        "kind",
        ["Processor", "cpufreq-cpu0", "thermal-cpufreq-0", "devfreq-17000000.gpu",
         "intel_powerclamp", "cpu-throttle-alert", "gpu-throttle-alert"],
    )  # fmt: skip
    def test_what_slows_processor_or_gpu_down(self, tmp_path: Path, kind: str) -> None:
        found = look_after(tmp_path, cooling(11, kind, 0), cooling(11, kind, 1))
        assert (kinds(found), found.reasons) == (["cooling"], f"the kernel cools by {kind}")

    def test_a_board_at_rest(self, tmp_path: Path) -> None:
        files = {**cooling(0, "cpufreq-cpu0", 0), **cooling(1, "pwm-fan", 3)}
        assert look_after(tmp_path, files, {}).state == "not throttled"

    def test_a_gpu_that_is_cool_says_nothing_of_the_processor(self, tmp_path: Path) -> None:
        assert look_after(tmp_path, cooling(0, "gpu-throttle-alert", 0), {}).state == "unknown"


class TestTripPoints:
    @pytest.mark.parametrize(
        ("kind", "temperature_mc", "trips", "state"),
        [
            ("cpu-thermal", 84_900, (PASSIVE,), "not throttled"),
            ("cpu-thermal", 85_000, (PASSIVE,), "throttled"),
            ("soc0-thermal", 96_000, (("active", 50_000), ("hot", 95_000)), "throttled"),
            ("cpu-thermal", 60_000, (("active", 50_000), PASSIVE), "not throttled"),
            ("cpu-thermal", 60_000, (("passive", 0), ("passive", -274_000)), "unknown"),
            ("cpu-thermal", -274_000, (PASSIVE,), "unknown"),
            ("x86_pkg_temp", 90_000, (PASSIVE,), "unknown"),
            ("nvme", 90_000, (PASSIVE,), "unknown"),
        ],
    )
    def test_at_and_below_a_trip_point(
        self, tmp_path: Path, kind: str, temperature_mc: int, trips: Any, state: str
    ) -> None:
        files = zone(0, kind, temperature_mc, *trips)
        assert look_after(tmp_path, files, {}).state == state

    def test_a_zone_that_only_tells_a_program(self, tmp_path: Path) -> None:
        files = {
            **zone(0, "TCPU", 95_000, PASSIVE),
            f"{THERMAL}/thermal_zone0/policy": "user_space",
        }
        assert look_after(tmp_path, files, {}).state == "unknown"

    @pytest.mark.parametrize(("slowed", "state"), [(0, "not throttled"), (2, "throttled")])
    def test_a_trip_point_that_is_bound_counts_when_something_is_slowed_down(
        self, tmp_path: Path, slowed: int, state: str
    ) -> None:
        """The power allocator only begins to think at its first trip point."""
        bound = f"{THERMAL}/thermal_zone0/cdev0"
        files = {
            **zone(0, "cpu-thermal", 86_000, PASSIVE),
            f"{bound}_trip_point": 0,
            f"{bound}/cur_state": slowed,
        }
        assert look_after(tmp_path, files, {}).state == state


class TestPowerAlarms:
    def test_a_count_that_rises(self, tmp_path: Path) -> None:
        found = look_after(tmp_path, orin(alarms=37), orin(alarms=52))
        assert (found.state, kinds(found)) == ("throttled", ["power alarm"])
        assert "oc3" in found.reasons
        assert "15 times" in found.reasons

    def test_an_alarm_that_slows_nothing_down(self, tmp_path: Path) -> None:
        silent = {f"{OC}/oc3_throt_en": 0}
        found = look_after(tmp_path, {**orin(), **silent}, {f"{OC}/oc3_event_cnt": 9})
        assert found.state == "not throttled"

    def test_a_raspberry_pi_with_too_little_voltage(self, tmp_path: Path) -> None:
        files = {f"{RPI_VOLT}/name": "rpi_volt", f"{RPI_VOLT}/in0_lcrit_alarm": 1}
        found = look_after(tmp_path, files, {})
        assert (found.state, found.reasons) == ("throttled", "the supply's voltage is too low")
        write(tmp_path, {f"{RPI_VOLT}/in0_lcrit_alarm": 0})
        assert ThrottleReader(tmp_path).look().state == "unknown"


class TestRaspberryFirmware:
    @pytest.mark.parametrize(
        ("before", "now", "said"),
        [
            ("0", "0", ""),
            ("0", "4", "the firmware throttles the processor"),
            ("0", "0x50005", "the supply's voltage is too low; the firmware throttles"),
            ("0", "2", "the firmware caps the clock"),
            ("0", "80008", "the soft temperature limit is reached"),
            # What was before this program began is over.
            ("50000", "50000", ""),
            ("f0000", "f0000", ""),
            # It came and went between two looks.
            ("10000", "50000", "the firmware throttles the processor"),
        ],
    )
    def test_bits_of_now_and_of_the_past(
        self, tmp_path: Path, before: str, now: str, said: str
    ) -> None:
        found = look_after(tmp_path, {RASPBERRY: before}, {RASPBERRY: now})
        assert found.reasons.startswith(said)
        assert found.state == ("throttled" if said else "not throttled")

    def test_a_raspberry_pi_5_and_what_has_been_since_the_start(self, tmp_path: Path) -> None:
        place = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
        reader = ThrottleReader(write(tmp_path, {place: "50000"}))
        assert reader.look().state == "not throttled"
        past = "the supply's voltage was too low; the firmware throttled the processor"
        assert reader.since_start() == past


class TestClocks:
    @pytest.mark.parametrize(
        ("current_khz", "idle", "state"),
        [
            (2_400_000, 0, "not throttled"),
            (1_900_000, 0, "not throttled"),
            (1_200_000, 0, "throttled"),
            # An idle governor is no throttling.
            (300_000, 100, "not throttled"),
            (1_200_000, 30, "not throttled"),
        ],
    )
    def test_only_busy_cores_are_judged(
        self, tmp_path: Path, current_khz: int, idle: int, state: str
    ) -> None:
        before = {**clocks(current_khz), **stat((0, 0), (0, 0))}
        found = look_after(tmp_path, before, stat((100, 100), (idle, idle)))
        assert found.state == state
        assert found.rated_mhz == 2400
        assert found.clock_mhz == current_khz / 1000

    def test_the_clock_told_is_that_of_the_busy_cores(self, tmp_path: Path) -> None:
        before = {**clocks(2_400_000), **stat((0, 0), (0, 0)), **core(1, scaling_cur_freq=300_000)}
        found = look_after(tmp_path, before, stat((100, 0), (0, 100)))
        assert (found.state, found.clock_mhz) == ("not throttled", 2400)

    @pytest.mark.parametrize(
        ("files", "rated_mhz", "state"),
        [
            # In a turbo one core reaches 4.8 GHz; both hold 2.1 GHz for sure.
            ({"scaling_driver": "intel_pstate", RATED: 2_100_000}, 2100, "not throttled"),
            ({"scaling_driver": "intel_pstate", RATED: 3_000_000}, 3000, "throttled"),
            ({"scaling_driver": "intel_pstate", "scaling_governor": "powersave",
              RATED: 3_000_000}, 3000, "throttled"),
            ({"scaling_driver": "acpi-cpufreq"}, None, "unknown"),
            ({"scaling_driver": "amd-pstate-epp"}, None, "unknown"),
            ({"scaling_governor": "powersave"}, 4800, "unknown"),
            ({"scaling_governor": "userspace"}, 4800, "unknown"),
        ],
    )  # fmt: skip
    def test_what_a_core_should_reach(
        self, tmp_path: Path, files: dict[str, object], rated_mhz: float | None, state: str
    ) -> None:
        before = {**clocks(2_000_000, 4_800_000, more=files), **stat((0, 0), (0, 0))}
        found = look_after(tmp_path, before, stat((100, 100), (0, 0)))
        assert (found.state, found.rated_mhz) == (state, rated_mhz)

    def test_amd_tells_its_nominal_clock_in_mhz(self, tmp_path: Path) -> None:
        before = {
            **clocks(1_500_000, 4_800_000, more={"scaling_driver": "amd-pstate-epp"}),
            **{f"{CPU}/cpu{number}/acpi_cppc/nominal_freq": 3900 for number in range(2)},
            **stat((0, 0), (0, 0)),
        }
        found = look_after(tmp_path, before, stat((100, 100), (0, 0)))
        assert (found.state, found.figures) == ("throttled", "1.5 of 3.9 GHz")

    def test_a_limit_that_falls_while_the_machine_runs(self, tmp_path: Path) -> None:
        before = {**clocks(1_200_000), **stat((0, 0), (0, 0))}
        after: dict[str, object] = {
            name: 1_200_000 for name in before if name.endswith("scaling_max_freq")
        }
        found = look_after(tmp_path, before, after)
        assert kinds(found) == ["clock limit"]
        assert "from 2.4 to 1.2 GHz" in found.reasons

    def test_a_limit_from_the_start_is_a_setting(self, tmp_path: Path) -> None:
        """Busy cores that reach it are not throttled."""
        limit = {"scaling_max_freq": 1_200_000}
        before = {**clocks(1_200_000, more=limit), **stat((0, 0), (0, 0))}
        assert look_after(tmp_path, before, stat((100, 100), (0, 0))).state == "not throttled"

    def test_another_power_mode_of_a_jetson_is_no_throttling(self, tmp_path: Path) -> None:
        reader = ThrottleReader(write(tmp_path, orin()))
        lower = {name: 729_600 for name in orin() if name.endswith("scaling_max_freq")}
        write(tmp_path, {**lower, "var/lib/nvpmodel/status": "pmode:0001"})
        found = reader.look()
        assert (found.state, found.power_mode) == ("not throttled", "pmode:0001")

    def test_a_core_that_goes_offline(self, tmp_path: Path) -> None:
        reader = ThrottleReader(write(tmp_path, orin()))
        for file in (tmp_path / CPU / "cpu1/cpufreq").iterdir():
            file.unlink()
        assert reader.look().state == "not throttled"


def test_a_jetson_that_is_well_and_one_that_is_too_hot(tmp_path: Path) -> None:
    well = look_after(tmp_path, orin(), {})
    assert (well.state, well.figures) == ("not throttled", "61 °C, 1.3 of 1.3 GHz")
    hot = look_after(tmp_path, orin(), orin(temperature_mc=99_500, alert=1))
    assert (hot.state, hot.figures) == ("throttled", "100 °C, 1.3 of 1.3 GHz")
    assert kinds(hot) == ["cooling", "trip point"]
    assert hot.reasons == (
        "the kernel cools by cpu-throttle-alert; "
        "cpu-thermal is at 100 °C, and slows down from 99 °C"
    )


class FakeNvml:
    """The driver's library, of two GPUs of which one is too hot; calls give 0 where they work."""

    def __init__(self, reasons: tuple[int | None, ...], starts: bool = True) -> None:
        self.reasons, self.starts = reasons, starts

    def nvmlInit_v2(self) -> int:  # noqa: N802
        return 0 if self.starts else 9

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.reasons)
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: Any, gpu: Any) -> int:  # noqa: N802
        gpu._obj.value = 100 + index.value
        return 0

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu: Any, reasons: Any) -> int:  # noqa: N802
        assert isinstance(reasons._obj, ctypes.c_ulonglong)
        known = self.reasons[gpu.value - 100]
        reasons._obj.value = known or 0
        return 3 if known is None else 0

    def nvmlDeviceGetTemperature(self, gpu: Any, sensor: int, value: Any) -> int:  # noqa: N802
        value._obj.value = 87
        return 0

    def nvmlDeviceGetClockInfo(self, gpu: Any, clock: int, value: Any) -> int:  # noqa: N802
        value._obj.value = 900
        return 0

    def nvmlDeviceGetMaxClockInfo(self, gpu: Any, clock: int, value: Any) -> int:  # noqa: N802
        value._obj.value = 1800
        return 0


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        # Idle, and held by its power limit under full load: what any GPU does.
        ((0x1, 0x4), []),
        ((0x0, 0x24), ["GPU 1 slows down for heat, by the driver, 87 °C, 900 of 1800 MHz"]),
        ((0x48, None), ["GPU 0 slows down for heat, by its hardware, 87 °C, 900 of 1800 MHz"]),
        ((0x8,), ["GPU 0 slows down by its hardware, 87 °C, 900 of 1800 MHz"]),
        ((None,), None),
        ((), None),
    ],
)
def test_gpus_tell_by_their_driver(reasons: tuple[int | None, ...], said: list[str] | None) -> None:
    found = GpuClocks(FakeNvml(reasons)).read()
    assert (found if found is None else [each.text for each in found]) == said


def test_a_gpu_adds_to_what_is_known_and_says_nothing_of_the_processor(tmp_path: Path) -> None:
    well = ThrottleReader(tmp_path, [GpuClocks(FakeNvml((0,)))]).look()
    assert (well.state, well.told_by) == ("unknown", ("GPU driver",))
    assert ThrottleReader(tmp_path, [GpuClocks(FakeNvml((0x40,)))]).look().state == "throttled"
    assert GpuClocks(FakeNvml((0x40,), starts=False)).read() is None
