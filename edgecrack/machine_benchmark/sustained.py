"""Whether the machine keeps its speed over minutes: rate, clock, temperature and power."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgecrack.machine_benchmark.latencies import Frame, seconds_of
from edgecrack.machine_sensors.sensors import clock_mhz, energy_j, power_w, temperature_c
from edgecrack.runtime.detector import CrackDetector

_BUCKET_S = 10.0
# Slower than at first by more than this, for the last quarter of the time.
_THROTTLED = 0.9

Clock = Callable[[], float]


@dataclass(frozen=True)
class Moment:
    """Some seconds of a run.

    Attributes:
        at_s: since its beginning.
        frames_per_s: in these seconds.
        clock_mhz: mean of the cores; None where the system does not say.
        temperature_c: of the hottest chip, or zone where none is a chip; None likewise.
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
