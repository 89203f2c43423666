"""Inspection of one frame: the network, at the effort that time allows, and what is too old.

Where the machine is too slow for the rate asked for, a live stream leaves parts out in this order:
frames above the rate are skipped; then neighbouring tiles overlap less (a larger stride); then only
a share of the tiles is inspected in each frame, another share in the next. Each step is taken when
the last frames were too slow, and taken back when there is time for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.measurement.regions import measure_cracks
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.pipeline.config import PipelineConfig
from edgecrack.runtime.telemetry.events import RepeatLimiter
from edgecrack.runtime.telemetry.stats import StreamStats

TOO_SLOW = 1.05
FAST_ENOUGH = 0.85
PATIENCE_FRAMES = 5
_SMOOTHING = 0.3


@dataclass(frozen=True, slots=True)
class Effort:
    """How much of a frame is inspected.

    Attributes:
        overlap_px: smallest overlap of tiles; None is the stream's own.
        share: 1 inspects all tiles, 2 every second one in turn, 3 every third.
    """

    overlap_px: int | None = None
    share: int = 1

    @property
    def name(self) -> str:
        """What is left out of a frame, in words."""
        if self.share == 2:
            return "every second tile"
        if self.share > 2:
            return f"{self.share - 1} of {self.share} tiles"
        return "nothing" if self.overlap_px is None else "the overlap of tiles"


FULL = Effort()
_STEPS = (FULL, Effort(0), Effort(0, 2), Effort(0, 3), Effort(0, 4))


class Detector(Protocol):
    """Finds cracks in two stages, so that one thread prepares while another infers."""

    @property
    def threshold(self) -> float:
        """Decision threshold, 0 to 1."""
        ...

    @property
    def model_name(self) -> str:
        """Name of the model in results."""
        ...

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Network input uint8 [H, W] from uint8 [H, W, 3] BGR; called in its own thread."""
        ...

    def infer(self, prepared: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crack probability uint8 [H, W] of a result of `prepare`, 255 = certain."""
        ...


@runtime_checkable
class SheddingDetector(Detector, Protocol):
    """A detector that can inspect less of a frame, for when the machine is too slow."""

    def tiles_of(self, frame_hw: tuple[int, int], effort: Effort) -> float:
        """Mean number of tiles that an effort inspects in a frame of a size."""
        ...

    def infer_some(
        self, prepared: NDArray[np.uint8], effort: Effort, turn: int
    ) -> tuple[NDArray[np.uint8], float]:
        """Like `infer`, with less effort; also the share of the frame that was inspected."""
        ...


@runtime_checkable
class IgnoringDetector(Detector, Protocol):
    """A detector that can leave a part of a frame out."""

    def ignoring(self, ignored: IgnoredPixels | None) -> Detector:
        """The same detector for frames of one size, with results of 0 where they are ignored."""
        ...


class Pacer:
    """Decides which frames of a live source are inspected, so that a rate is not exceeded.

    Args:
        rate_hz: frames per second to take.
    """

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = 1e9 / rate_hz
        self._due_ns = 0.0

    def takes(self, time_ns: int) -> bool:
        """Whether to take the frame of this time; times must not decrease."""
        # A tenth of a period early is on time: cameras jitter.
        if time_ns < self._due_ns - 0.1 * self._period_ns:
            return False
        self._due_ns = max(self._due_ns + self._period_ns, time_ns + 0.5 * self._period_ns)
        return True


class Governor:
    """Chooses the effort for the next frame from how long the last ones took.

    Args:
        rate_hz: frames per second to keep to.
        tiles_of: number of tiles that an effort inspects in one frame of the current size.

    Raises:
        ConfigError: the rate is out of range.
    """

    def __init__(self, rate_hz: float, tiles_of: Callable[[Effort], float]) -> None:
        if not 0 < rate_hz <= 1000:
            raise ConfigError(
                f"the target rate is {rate_hz} frames/s", "give a number above 0, at most 1000"
            )
        self._period_ms = 1000.0 / rate_hz
        self._tiles_of = tiles_of
        self._step = 0
        self._mean_ms: float | None = None
        self._slow = self._fast = 0

    @property
    def effort(self) -> Effort:
        """The effort for the next frame."""
        return _STEPS[self._step]

    def note(self, busy_ms: float) -> bool:
        """Note how long the last frame kept the network busy.

        Returns:
            Whether the effort changed.
        """
        mean = self._mean_ms
        self._mean_ms = busy_ms if mean is None else mean + _SMOOTHING * (busy_ms - mean)
        steps = self._useful_steps()
        if self._step not in steps:  # useful at the last frame size only
            return self._go_to(max(step for step in steps if step <= self._step))
        position = steps.index(self._step)
        self._slow = self._slow + 1 if self._mean_ms > TOO_SLOW * self._period_ms else 0
        if self._slow >= PATIENCE_FRAMES and position + 1 < len(steps):
            return self._go_to(steps[position + 1])
        if position > 0:
            fuller = steps[position - 1]
            expected_ms = self._mean_ms * self._cost(fuller) / max(self._cost(self._step), 1e-9)
            fits = expected_ms < FAST_ENOUGH * self._period_ms
            self._fast = self._fast + 1 if fits else 0
            if self._fast >= 2 * PATIENCE_FRAMES:
                return self._go_to(fuller)
        return False

    def _useful_steps(self) -> Sequence[int]:
        """The steps that inspect fewer tiles than the previous one at this frame size."""
        useful = [0]
        for step in range(1, len(_STEPS)):
            if self._cost(step) < self._cost(useful[-1]):
                useful.append(step)
        return useful

    def _cost(self, step: int) -> float:
        return self._tiles_of(_STEPS[step])

    def _go_to(self, step: int) -> bool:
        if self._mean_ms is not None:
            self._mean_ms *= self._cost(step) / max(self._cost(self._step), 1e-9)
        self._step = step
        self._slow = self._fast = 0
        return True


class Inspection:
    """Turns prepared frames into results.

    Args:
        detector: the network.
        config: the run's settings.
        stats: counts what was too old.
        live: the source is live.

    Raises:
        ConfigError: a setting for live sources is given for another one, or the detector cannot
            ignore a part of a frame.
    """

    def __init__(
        self, detector: Detector, config: PipelineConfig, stats: StreamStats, live: bool
    ) -> None:
        check_live_only(config.max_age_ms, config.target_fps, live)
        if config.ignore is not None and not isinstance(detector, IgnoringDetector):
            raise ConfigError(
                f"{detector.model_name} cannot ignore a part of a frame", "leave the mask out"
            )
        self._whole, self._config, self._stats = detector, config, stats
        self._detector = detector
        self._governor: Governor | None = None
        self._frame_hw = (0, 0)
        self._turn = 0
        self._stale_limiter = RepeatLimiter()
        self._busy_since_s: float | None = None
        if config.target_fps is not None:
            self._governor = Governor(config.target_fps, self._tiles_of)

    @property
    def effort(self) -> Effort:
        """How much of a frame is inspected now."""
        return FULL if self._governor is None else self._governor.effort

    @property
    def threshold(self) -> float:
        """Decision threshold of the next frame."""
        controls = self._config.controls
        return self._detector.threshold if controls is None else controls.threshold

    def busy_s(self) -> float:
        """How long the network has been busy with its frame; 0 while it has none."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def is_fresh(self, result: FrameResult) -> bool:
        """Whether a result may still be published; counts it if not. From any thread."""
        return not self._is_stale(result.frame)

    def prepare(self, frame: Frame, ignored: IgnoredPixels | None = None) -> NDArray[np.uint8]:
        """Network input of a frame; called in a thread of its own."""
        return self._detector_for(ignored).prepare(frame.image)

    def inspect(
        self,
        frame: Frame,
        prepared: NDArray[np.uint8],
        preparing_ns: int,
        ignored: IgnoredPixels | None = None,
    ) -> FrameResult | None:
        """Find the cracks in a frame; None if the frame, or its result, is too old.

        Args:
            frame: the frame.
            prepared: of `prepare`.
            preparing_ns: how long that took.
            ignored: as given to `prepare`.

        Raises:
            ConfigError: the detector returns a map of another size.
        """
        if self._is_stale(frame):
            return None
        threshold = self.threshold
        self._detector = self._detector_for(ignored)
        started_ns = time.monotonic_ns()
        self._busy_since_s = started_ns / 1e9
        try:
            probability, inspected_ratio = self._infer(frame, prepared, ignored)
        finally:
            self._busy_since_s = None
        inferred_ns = time.monotonic_ns()
        if probability.shape != frame.hw:
            raise ConfigError(
                f"the detector gave {probability.shape} for a frame of {frame.hw}",
                "use a detector that keeps the frame's size",
            )
        found = measure_cracks(probability, threshold, self._config.min_area_px)
        done_ns = time.monotonic_ns()
        if self._is_stale(frame):
            return None
        # A recording is read ahead: time in queues says nothing about the machine.
        latency_ns = (
            done_ns - frame.monotonic_ns if frame.live else preparing_ns + done_ns - started_ns
        )
        positions = self._config.positions
        return FrameResult(
            frame=frame,
            probability=probability,
            mask=found.mask,
            crack_pixels=found.crack_pixels,
            regions=found.regions,
            latency_ms=latency_ns / 1e6,
            inference_ms=(inferred_ns - started_ns) / 1e6,
            threshold=threshold,
            inspected_ratio=inspected_ratio,
            ignored=ignored,
            position=(
                None
                if positions is None or frame.capture_time_ns is None
                else positions.locate(frame.capture_time_ns)
            ),
        )

    def _detector_for(self, ignored: IgnoredPixels | None) -> Detector:
        if ignored is None or not isinstance(self._whole, IgnoringDetector):
            return self._whole
        return self._whole.ignoring(ignored)

    def _infer(
        self, frame: Frame, prepared: NDArray[np.uint8], ignored: IgnoredPixels | None
    ) -> tuple[NDArray[np.uint8], float]:
        if self._governor is None or not isinstance(self._detector, SheddingDetector):
            probability = self._detector.infer(prepared)
            return probability, 1.0 if ignored is None else 1.0 - ignored.ratio
        self._frame_hw = frame.hw
        started_s = time.monotonic()
        found = self._detector.infer_some(prepared, self._governor.effort, self._turn)
        self._turn += 1
        if self._governor.note((time.monotonic() - started_s) * 1000):
            self._say_effort(self._governor.effort)
        return found

    def _tiles_of(self, effort: Effort) -> float:
        if not isinstance(self._detector, SheddingDetector):
            return 1.0
        return self._detector.tiles_of(self._frame_hw, effort)

    def _say_effort(self, effort: Effort) -> None:
        if effort == FULL:
            self._config.events.emit(
                "overload.over", "frames are inspected whole again", effort=effort.name
            )
        else:
            self._config.events.emit(
                "overload.shedding",
                f"too slow for {self._config.target_fps:g} frames/s; leaves out {effort.name}",
                "warning",
                effort=effort.name,
                share=effort.share,
            )

    def _is_stale(self, frame: Frame) -> bool:
        limit_ms = self._config.max_age_ms
        if limit_ms is None:
            return False
        age_ms = (time.monotonic_ns() - frame.monotonic_ns) / 1e6
        if age_ms <= limit_ms:
            return False
        self._stats.add_stale()
        if self._stale_limiter.is_due():
            self._config.events.emit(
                "result.stale",
                f"a result was {age_ms:.0f} ms old and is not published ({limit_ms:g} ms allowed)",
                "warning",
                age_ms=round(age_ms, 1),
                limit_ms=limit_ms,
            )
        return True


def check_live_only(max_age_ms: float | None, target_fps: float | None, live: bool) -> None:
    """Refuse settings that have no meaning for a recording.

    Raises:
        ConfigError: one of them is given, and the source is not live.
    """
    for name, value in (("`max_age_ms`", max_age_ms), ("`target_fps`", target_fps)):
        if value is not None and not live:
            raise ConfigError(
                f"{name} is {value:g}, but the source is a recording",
                "leave it out: every frame of a recording is inspected whole",
            )
