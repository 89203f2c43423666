"""Whether the machine is throttled, from all kinds of evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgecrack.machine_sensors.cpu_clocks import CpuClocks
from edgecrack.machine_sensors.evidence import (
    CoolingDevices,
    Evidence,
    EvidenceReader,
    HeatCounters,
    PowerAlarms,
    RaspberryFirmware,
    TripPoints,
)
from edgecrack.machine_sensors.sensors import ROOT, temperature_c

ThrottleState = Literal["throttled", "not throttled", "unknown"]


@dataclass(frozen=True, slots=True)
class ThrottleLook:
    """The result of one reading.

    Attributes:
        state: "unknown" without evidence on a machine that does not report on its processor, as in
            most containers and virtual machines.
        evidence: of throttling.
        told_by: kinds of evidence that this machine reports.
        clock_mhz: mean of the busy cores, or of all while none is busy; None if unknown.
        rated_mhz: mean clock that the cores should reach under load; None likewise.
        temperature_c: of the hottest chip; None likewise.
        power_mode: of a Jetson, as `nvpmodel` keeps it; None elsewhere.
    """

    state: ThrottleState
    evidence: tuple[Evidence, ...] = ()
    told_by: tuple[str, ...] = ()
    clock_mhz: float | None = None
    rated_mhz: float | None = None
    temperature_c: float | None = None
    power_mode: str | None = None

    @property
    def figures(self) -> str:
        """Temperature and clock as "71 °C, 1.2 of 2.4 GHz"; empty if both are unknown."""
        parts = [] if self.temperature_c is None else [f"{self.temperature_c:.0f} °C"]
        if self.clock_mhz is not None:
            rated = "" if self.rated_mhz is None else f" of {self.rated_mhz / 1000:.1f}"
            parts.append(f"{self.clock_mhz / 1000:.1f}{rated} GHz")
        return ", ".join(parts)

    @property
    def reasons(self) -> str:
        """The evidence as clauses for the user."""
        return "; ".join(each.text for each in self.evidence)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "evidence": [{"kind": each.kind, "text": each.text} for each in self.evidence],
            "told_by": list(self.told_by),
            "clock_mhz": self.clock_mhz,
            "rated_mhz": self.rated_mhz,
            "temperature_c": self.temperature_c,
            "power_mode": self.power_mode,
        }


class ThrottleReader:
    """Reads all evidence; counters count from one call to the next.

        >>> ThrottleReader(Path("/nowhere")).look().state
        'unknown'

    Args:
        root: the file system root, `/`.
        more: further kinds of evidence, as of a GPU.
    """

    def __init__(self, root: Path = ROOT, more: Sequence[EvidenceReader] = ()) -> None:
        self._root = root
        self._clocks = CpuClocks(root)
        self._readers: tuple[EvidenceReader, ...] = (
            HeatCounters(root),
            CoolingDevices(root),
            TripPoints(root),
            PowerAlarms(root),
            RaspberryFirmware(root),
            self._clocks,
            *more,
        )

    def look(self) -> ThrottleLook:
        """The machine now."""
        evidence: list[Evidence] = []
        told_by: list[str] = []
        knows_the_processor = False
        for reader in self._readers:
            found = reader.read()
            if found is None:
                continue
            evidence += found
            told_by.append(reader.name)
            knows_the_processor |= reader.tells_of_the_processor
        state: ThrottleState = "not throttled" if knows_the_processor else "unknown"
        return ThrottleLook(
            "throttled" if evidence else state,
            tuple(evidence),
            tuple(told_by),
            self._clocks.clock_mhz,
            self._clocks.rated_mhz,
            temperature_c(self._root),
            self._clocks.power_mode,
        )

    def since_start(self) -> str:
        """What happened since the machine started, as clauses; empty if unknown."""
        return "; ".join(text for reader in self._readers if (text := reader.since_start()))
