"""Whether CPU cores are throttled, by lowered limits and clocks under load.

An idle core runs slowly on purpose, so only busy ones are judged; a limit in place at the start is
a power mode or a setting, so only a later drop counts. Sources: the kernel's
admin-guide/pm/cpufreq.rst, intel_pstate.rst, amd-pstate.rst, acpi/cppc_sysfs.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecrack.machine_sensors.evidence import Evidence, EvidenceReader
from edgecrack.machine_sensors.sensors import CPUS, read_number, read_text

BUSY = 0.8
SLOW = 0.75
FALLEN = 0.9
# On x86 the largest clock is the turbo of a single core, which cannot hold on all cores.
_TURBO_DRIVERS = ("intel_pstate", "intel_cpufreq", "acpi-cpufreq", "pcc-cpufreq", "powernow-k8")
# These fix the clock regardless of load; with intel_pstate and amd-pstate "powersave" is an
# ordinary governor.
_FIXED_GOVERNORS = ("userspace", "powersave")
_CHOOSING_DRIVERS = ("intel_pstate", "amd-pstate-epp")
_POWER_MODE = "var/lib/nvpmodel/status"


@dataclass(slots=True)
class _Core:
    """One core: its number and folder, its rated clock, the highest limit so far; kHz."""

    number: int
    folder: Path
    rated_khz: int | None
    highest_khz: int
    is_judged: bool


class CpuClocks(EvidenceReader):
    """The cores' clocks and limits.

    Args:
        root: the file system root, `/`.
    """

    name, tells_of_the_processor = "clocks", True

    def __init__(self, root: Path) -> None:
        self._stat, self._mode_file = root / "proc/stat", root / _POWER_MODE
        folders = (root / CPUS).glob("cpu[0-9]*/cpufreq")
        self._cores = [
            _core(folder) for folder in sorted(folders, key=lambda each: _number(each.parent))
        ]
        self._times = self._read_times()
        self._mode = read_text(self._mode_file)
        self.clock_mhz: float | None = None

    @property
    def rated_mhz(self) -> float | None:
        """Mean clock that the cores should reach under load; None if unknown."""
        known = [each.rated_khz for each in self._cores if each.rated_khz]
        return round(sum(known) / len(known) / 1000, 1) if known else None

    def read(self) -> list[Evidence] | None:
        """As `EvidenceReader`; keeps the clock of the busy cores, or of all, in `clock_mhz`."""
        if not self._cores:
            return None
        self._note_power_mode()
        busy = self._busy_cores()
        fallen, limits_known = self._fallen_limits()
        clocks = {
            each.number: read_number(each.folder / "scaling_cur_freq") for each in self._cores
        }
        known = {number: clock for number, clock in clocks.items() if clock}
        shown = [clock for number, clock in known.items() if number in busy] or [*known.values()]
        self.clock_mhz = round(sum(shown) / len(shown) / 1000, 1) if shown else None
        pairs = [
            (known[each.number], min(each.rated_khz, each.highest_khz))
            for each in self._cores
            if each.number in busy and each.number in known and each.rated_khz and each.is_judged
        ]
        if pairs and (slow := _slow_clock(pairs)) is not None:
            return [*fallen, slow]
        # A machine that reports nothing under load reports nothing while idle, either.
        would_tell = any(each.is_judged and each.rated_khz for each in self._cores)
        can_tell = bool(pairs) or (limits_known and would_tell and not busy)
        return fallen if fallen or can_tell else None

    @property
    def power_mode(self) -> str | None:
        """A Jetson's, as `nvpmodel` keeps it; None elsewhere."""
        return self._mode

    def _note_power_mode(self) -> None:
        """Reset the limits when a Jetson changes its power mode, which is not throttling."""
        mode = read_text(self._mode_file)
        if mode != self._mode:
            self._mode = mode
            for core in self._cores:
                core.highest_khz = read_number(core.folder / "scaling_max_freq") or core.highest_khz

    def _fallen_limits(self) -> tuple[list[Evidence], bool]:
        """Evidence that the limit fell, and whether limits are known."""
        pairs = []
        for core in self._cores:
            limit = read_number(core.folder / "scaling_max_freq")
            if limit:
                core.highest_khz = max(core.highest_khz, limit)
                pairs.append((limit, core.highest_khz))
        lowered = [pair for pair in pairs if pair[0] < FALLEN * pair[1]]
        if not lowered:
            return [], bool(pairs)
        now, before = (sum(values) / len(lowered) for values in zip(*lowered, strict=True))
        text = f"the clock's limit fell from {before / 1e6:.1f} to {now / 1e6:.1f} GHz"
        return [Evidence("clock limit", text)], True

    def _busy_cores(self) -> set[int]:
        """Cores that were busy nearly all the time since the previous call."""
        before, self._times = self._times, self._read_times()
        found = set()
        for core, (busy, total) in self._times.items():
            busy_before, total_before = before.get(core, (0, 0))
            passed = total - total_before
            if core in before and passed > 0 and (busy - busy_before) / passed >= BUSY:
                found.add(core)
        return found

    def _read_times(self) -> dict[int, tuple[int, int]]:
        """Ticks that each core was busy, and in all, since the machine started."""
        found = {}
        for line in (read_text(self._stat) or "").splitlines():
            words = line.split()
            if len(words) > 5 and words[0][:3] == "cpu" and words[0][3:].isdecimal():
                # user nice system idle iowait irq softirq steal; guests are part of user.
                ticks = [int(word) for word in words[1:9] if word.isdecimal()]
                found[int(words[0][3:])] = (sum(ticks) - sum(ticks[3:5]), sum(ticks))
        return found


def _slow_clock(pairs: list[tuple[int, int]]) -> Evidence | None:
    """Evidence from the clocks of busy cores and what each should reach, in kHz."""
    clock, rated = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    if clock >= SLOW * rated:
        return None
    return Evidence("clock", f"busy cores run at {clock / 1e6:.1f} of {rated / 1e6:.1f} GHz")


def _core(folder: Path) -> _Core:
    driver = read_text(folder / "scaling_driver") or ""
    governor = read_text(folder / "scaling_governor") or ""
    largest = read_number(folder / "cpuinfo_max_freq")
    return _Core(
        _number(folder.parent),
        folder,
        _rated_khz(folder, driver, largest),
        read_number(folder / "scaling_max_freq") or largest or 0,
        governor not in _FIXED_GOVERNORS or driver in _CHOOSING_DRIVERS,
    )


def _rated_khz(folder: Path, driver: str, largest_khz: int | None) -> int | None:
    """The clock that a core holds under load: its base clock, or the largest without a turbo."""
    base = read_number(folder / "base_frequency")
    if base:
        return base
    nominal_mhz = read_number(folder.parent / "acpi_cppc/nominal_freq")
    if nominal_mhz:  # some firmware says 0
        return 1000 * nominal_mhz
    has_turbo = driver in _TURBO_DRIVERS or driver.startswith("amd-pstate")
    return None if has_turbo else largest_khz


def _number(folder: Path) -> int:
    return int(folder.name[3:])
