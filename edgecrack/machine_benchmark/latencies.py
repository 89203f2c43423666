"""Time from a frame to its crack map, of several detectors in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecrack.constants import MIN_AREA_PX
from edgecrack.measurement.regions import measure_cracks
from edgecrack.runtime.detector import CrackDetector

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Latencies:
    """Of one detector, in milliseconds, by round and frame.

    Attributes:
        ms: float64 [rounds, frames].
        pixels: of a frame.
    """

    ms: NDArray[np.float64]
    pixels: int

    def percentile(self, share: float) -> float:
        """Of all frames of all rounds."""
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
    """Measure detectors in turn, so that a busy moment of the machine strikes all of them.

    Args:
        detectors: open ones; each is warmed up with the first frame.
        frames: uint8 [H, W, 3] BGR of one size.
        rounds: how often all frames are gone through.
        on_round: told how many rounds are done.
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
