"""One frame through the network: as much of it as time allows, and nothing that comes too late.

The calling thread's part of a stream. Knows the detector and the settings; must not know
threads, sources or outputs.
"""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.measurement.regions import measure_cracks
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.pipeline.config import (
    Detector,
    IgnoringDetector,
    PipelineConfig,
    SheddingDetector,
)
from edgecrack.runtime.pipeline.overload import FULL, Effort, Governor
from edgecrack.runtime.telemetry.stats import StreamStats

EPISODE_S = 10.0


class Inspection:
    """Turns prepared frames into results.

    Args:
        detector: the network.
        config: the run's settings.
        stats: counts what was too old.
        live: the source delivers frames whether they are taken or not.

    Raises:
        ConfigError: a setting for live sources is given for another, or the detector cannot
            leave out what is to be ignored.
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
        self._last_stale_s = -EPISODE_S
        self._stale_lock = threading.Lock()
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
        """How long the frame in the network has been there; 0 while there is none."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    def is_fresh(self, result: FrameResult) -> bool:
        """Whether a result may still be published; counts it where not. From any thread."""
        return not self._is_stale(result.frame)

    def prepare(self, frame: Frame, ignored: IgnoredPixels | None = None) -> NDArray[np.uint8]:
        """A frame as the network is to see it; in a thread of its own."""
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
            prepared: what `prepare` gave.
            preparing_ns: how long that took.
            ignored: as given to `prepare`.

        Raises:
            ConfigError: the detector gives a map of another size.
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
        # A recording is read ahead: its waiting in queues says nothing about the machine.
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
        """The detector that leaves out what is ignored."""
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
        now_s = time.monotonic()
        with self._stale_lock:
            is_new = now_s - self._last_stale_s > EPISODE_S
            self._last_stale_s = now_s
        if is_new:
            self._config.events.emit(
                "result.stale",
                f"a result was {age_ms:.0f} ms old and is not published ({limit_ms:g} ms allowed)",
                "warning",
                age_ms=round(age_ms, 1),
                limit_ms=limit_ms,
            )
        return True


def check_live_only(max_age_ms: float | None, target_fps: float | None, live: bool) -> None:
    """Refuse what has no meaning for a recording.

    Raises:
        ConfigError: one of them is given, and the source is not live.
    """
    for name, value in (("`max_age_ms`", max_age_ms), ("`target_fps`", target_fps)):
        if value is not None and not live:
            raise ConfigError(
                f"{name} is {value:g}, but the source is a recording",
                "leave it out: every frame of a recording is inspected whole",
            )
