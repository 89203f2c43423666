"""Latency of several detectors in turn, and speed over minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.constants import MIN_AREA_PX
from edgecrack.machine_sensors.sensors import clock_mhz, energy_j, power_w, temperature_c
from edgecrack.measurement.regions import measure_cracks
from edgecrack.runtime.detector import CrackDetector

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Latencies:
    """Latencies of one detector, in milliseconds, by round and frame.

    Attributes:
        ms: float64 [rounds, frames].
        pixels: of a frame.
    """

    ms: NDArray[np.float64]
    pixels: int

    def percentile(self, share: float) -> float:
        """Percentile over all frames of all rounds."""
        return float(np.percentile(self.ms, share))

    @property
    def frames_per_s(self) -> float:
        """The median over the rounds."""
        return float(np.median(1000 / self.ms.mean(axis=1)))

    @property
    def spread(self) -> tuple[float, float]:
        """Frames per second in the slowest and in the fastest round."""
        rates = 1000 / self.ms.mean(axis=1)
        return float(rates.min()), float(rates.max())


def seconds_of(detector: CrackDetector, frame: Frame) -> float:
    """From a frame in memory to its mask and regions."""
    began = time.perf_counter()
    probability = detector.infer(detector.prepare(frame))
    measure_cracks(probability, detector.threshold, MIN_AREA_PX)
    return time.perf_counter() - began


def measure_latencies(
    detectors: Sequence[CrackDetector],
    frames: Sequence[Frame],
    rounds: int,
    on_round: Callable[[int], None] = lambda done: None,
) -> list[Latencies]:
    """Measure detectors in turn, so that a busy moment of the machine affects all of them.

    Args:
        detectors: open ones; each is warmed up with the first frame.
        frames: uint8 [H, W, 3] BGR of one size.
        rounds: passes over all frames.
        on_round: called with the number of finished rounds.
    """
    ms = np.zeros((len(detectors), rounds, len(frames)))
    for detector in detectors:
        seconds_of(detector, frames[0])
    for number in range(rounds):
        for place, detector in enumerate(detectors):
            for at, frame in enumerate(frames):
                ms[place, number, at] = 1000 * seconds_of(detector, frame)
        on_round(number + 1)
    pixels = frames[0].shape[0] * frames[0].shape[1]
    return [Latencies(each, pixels) for each in ms]


_BUCKET_S = 10.0
# Throttled if the last quarter is slower than the first by this ratio.
_THROTTLED = 0.9
Clock = Callable[[], float]


@dataclass(frozen=True)
class Moment:
    """A time slice of a run.

    Attributes:
        at_s: since the start.
        frames_per_s: in this slice.
        clock_mhz: mean of the cores; None if unknown.
        temperature_c: of the hottest chip, or else zone; None if unknown.
        power_w: None if unknown.
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
        """Whether the machine became slower; False if the run is too short to tell."""
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
        on_moment: called for each slice of 10 seconds, or less in a short run.
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
