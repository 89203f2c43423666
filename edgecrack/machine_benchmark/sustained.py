"""Whether the machine keeps its speed over minutes: rate, clock, temperature and power."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecrack.machine_benchmark.latencies import Frame, seconds_of
from edgecrack.runtime.detector import CrackDetector

_BUCKET_S = 10.0
# Slower than at first by more than this, for the last quarter of the time.
_THROTTLED = 0.9
_CLOCKS = Path("/sys/devices/system/cpu")
_ENERGY = Path("/sys/class/powercap")
_HWMON = Path("/sys/class/hwmon")
_ZONES = Path("/sys/class/thermal")

Clock = Callable[[], float]


@dataclass(frozen=True)
class Moment:
    """Some seconds of a run.

    Attributes:
        at_s: since its beginning.
        frames_per_s: in these seconds.
        clock_mhz: mean of the cores; None where the system does not say.
        temperature_c: of the hottest zone; None likewise.
        power_w: None likewise.
    """

    at_s: float
    frames_per_s: float
    clock_mhz: float | None
    temperature_c: float | None
    power_w: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Sustained:
    """A run of minutes.

    Attributes:
        moments: in order.
    """

    moments: tuple[Moment, ...]

    @property
    def frames_per_s(self) -> float:
        """Over the last quarter, which is what a long inspection gets."""
        return _mean(self._last())

    @property
    def kept_share(self) -> float:
        """Rate of the last quarter over that of the first."""
        count = max(1, len(self.moments) // 4)
        return self.frames_per_s / _mean(self.moments[:count])

    @property
    def is_throttled(self) -> bool:
        """Whether the machine became slower; one that is too short to tell did not."""
        return len(self.moments) >= 4 and self.kept_share < _THROTTLED

    def _last(self) -> Sequence[Moment]:
        return self.moments[-max(1, len(self.moments) // 4) :]


def _mean(moments: Sequence[Moment]) -> float:
    return float(np.mean([each.frames_per_s for each in moments]))


def sustain(
    detector: CrackDetector,
    frames: Sequence[Frame],
    seconds: float,
    on_moment: Callable[[Moment], None] = lambda moment: None,
    clock: Clock = time.monotonic,
) -> Sustained:
    """Run a detector on frames over and over.

    Args:
        detector: an open one.
        frames: uint8 [H, W, 3] BGR.
        seconds: how long, more than 0.
        on_moment: told of each bucket of 10 seconds, or less of a short run.
        clock: seconds.
    """
    bucket_s = min(_BUCKET_S, seconds / 4)
    moments: list[Moment] = []
    began = since = clock()
    energy, done, at = energy_j(), 0, 0
    while (now := clock()) - began < seconds or not moments:
        seconds_of(detector, frames[at % len(frames)])
        done, at = done + 1, at + 1
        now = clock()
        if now - since < bucket_s:
            continue
        used = energy_j()
        power = None
        if used is not None and energy is not None and used >= energy:
            power = round((used - energy) / (now - since), 2)
        moment = Moment(
            round(now - began, 1),
            round(done / (now - since), 3),
            clock_mhz(),
            temperature_c(),
            power if power is not None else power_w(),
        )
        moments.append(moment)
        on_moment(moment)
        since, done, energy = now, 0, energy_j()
    return Sustained(tuple(moments))


def clock_mhz(root: Path = _CLOCKS) -> float | None:
    """Mean clock of the cores, as the kernel's frequency scaling says."""
    values = [_number(path) for path in root.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    known = [value / 1000 for value in values if value is not None]
    return round(float(np.mean(known)), 1) if known else None


def temperature_c(root: Path = _ZONES) -> float | None:
    """Of the hottest thermal zone."""
    values = [_number(path) for path in root.glob("thermal_zone*/temp")]
    known = [value / 1000 for value in values if value is not None and -40e3 < value < 150e3]
    return round(max(known), 1) if known else None


def energy_j(root: Path = _ENERGY) -> float | None:
    """Energy that the processor has used, by its own counter (RAPL); None without one."""
    values = [_number(path) for path in root.glob("*-rapl:[0-9]/energy_uj")]
    known = [value for value in values if value is not None]
    return sum(known) / 1e6 if known else None


def power_w(root: Path = _HWMON) -> float | None:
    """Power of a board that has a sensor for it, as a Jetson's `VDD_IN`."""
    for folder in sorted(root.glob("hwmon*")):
        for label in sorted(folder.glob("in*_label")):
            with suppress(OSError, UnicodeDecodeError):
                if label.read_text(encoding="ascii").strip() not in ("VDD_IN", "POM_5V_IN"):
                    continue
                number = label.name[2:-6]
                volt_m, ampere_m = (
                    _number(folder / f"{kind}{number}_input") for kind in ("in", "curr")
                )
                if volt_m is not None and ampere_m is not None:
                    return round(volt_m * ampere_m / 1e6, 2)
    return None


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
