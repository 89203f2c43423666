"""What a pipeline is given besides its source: the detector's interface and the settings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgecrack.constants import MIN_AREA_PX
from edgecrack.errors import ConfigError
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.pipeline.controls import StreamControls
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask
from edgecrack.runtime.pipeline.overload import Effort
from edgecrack.runtime.position.open import PositionSource
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.model_in_use import ModelInUse
from edgecrack.runtime.telemetry.stats import StatsSnapshot, StreamStats, StreamSummary


class Detector(Protocol):
    """Finds cracks in two stages, so that one thread prepares while another infers.

    Attributes:
        threshold: decision threshold, 0 to 1.
        model_name: what to call the model in results.
    """

    @property
    def threshold(self) -> float:
        """Decision threshold, 0 to 1."""
        ...

    @property
    def model_name(self) -> str:
        """What to call the model in results."""
        ...

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Network input uint8 [H, W] from uint8 [H, W, 3] BGR; called in its own thread."""
        ...

    def infer(self, prepared: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crack probability uint8 [H, W] of what `prepare` gave, 255 = certain."""
        ...


@runtime_checkable
class SheddingDetector(Detector, Protocol):
    """A detector that can inspect less of a frame, for when the machine is too slow."""

    def tiles_of(self, frame_hw: tuple[int, int], effort: Effort) -> float:
        """How many tiles an effort inspects in a frame of a size, on average."""
        ...

    def infer_some(
        self, prepared: NDArray[np.uint8], effort: Effort, turn: int
    ) -> tuple[NDArray[np.uint8], float]:
        """As `infer`, with less effort; and the share of the frame that was inspected."""
        ...


@runtime_checkable
class IgnoringDetector(Detector, Protocol):
    """A detector that can leave a part of a frame out."""

    def ignoring(self, ignored: IgnoredPixels | None) -> Detector:
        """The same detector for frames of one size, whose results say 0 where they are ignored."""
        ...


@dataclass(frozen=True)
class PipelineConfig:
    """How a stream runs.

        >>> from edgecrack import PipelineConfig
        >>> PipelineConfig(max_frames=100).max_frames
        100

    Attributes:
        max_frames: stop after this many processed frames; None goes on to the end.
        min_area_px: groups of crack pixels smaller than this are specks and dropped.
        queue_size: frames that may wait between two threads of a recording; memory for speed.
        stop: set it from anywhere to end the run after the frame in flight.
        on_frame: given each captured frame in the capture thread, also those that are skipped.
        on_progress: called in the calling thread, at most twice a second and once at the end.
        on_summary: given the summary when all outputs are closed, also after a failure; what it
            raises is a failure of the run.
        max_age_ms: results older than this, counted from the grab, go to no output; a live
            source only. None publishes whatever comes.
        target_fps: results per second to keep to, of a live source: frames above it are skipped,
            and where it is not reached, less of each frame is inspected.
        ignore: where nothing is to be inspected; None inspects everything. Needs an
            `IgnoringDetector`.
        controls: threshold, pause; None keeps the detector's threshold.
        positions: where the robot was; None knows nothing.
        events: hears of overload, stale results, failed outputs and a network that hangs.
        backend: what runs the model, for the summary.
        model: which model it is and why that one, for the summary.
        stats: the counters to use, for who reads them while the stream runs; None makes its own.
        findings: number of cracks so far, and of the confirmed among them, for the counters.
        heartbeat: called in the calling thread between frames and while it waits.
        abandon: ends the process, where `stop` was set and the network does not come back; all
            outputs are closed by then. None waits for the network.
        stall_timeout_s: a live source that delivers nothing for so long is an error, unless it
            comes back by itself.
        hang_timeout_s: an inference that takes longer is an event.
        drain_timeout_s: longest wait at the end for results that still have to be written.
        join_timeout_s: longest wait at the end for a read that is under way.
        stop_timeout_s: instead of these two where `stop` was set: whoever asked is waiting.
    """

    max_frames: int | None = None
    min_area_px: int = MIN_AREA_PX
    queue_size: int = 4
    stop: threading.Event = field(default_factory=threading.Event)
    on_frame: Callable[[Frame], None] = lambda frame: None
    on_progress: Callable[[StatsSnapshot], None] | None = None
    on_summary: Callable[[StreamSummary], None] | None = None
    max_age_ms: float | None = None
    target_fps: float | None = None
    ignore: IgnoreMask | None = None
    controls: StreamControls | None = None
    positions: PositionSource | None = None
    backend: str = ""
    model: ModelInUse = field(default_factory=ModelInUse)
    events: EventLog = field(default_factory=EventLog)
    stats: StreamStats | None = None
    findings: Callable[[], tuple[int, int]] = lambda: (0, 0)
    heartbeat: Callable[[], None] = lambda: None
    abandon: Callable[[StreamSummary], None] | None = None
    stall_timeout_s: float = 15.0
    hang_timeout_s: float = 5.0
    drain_timeout_s: float = 60.0
    join_timeout_s: float = 10.0
    stop_timeout_s: float = 1.2

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        if self.max_frames is not None and self.max_frames < 1:
            raise ConfigError(f"max_frames is {self.max_frames}", "give 1 or more, or leave it out")
        if self.min_area_px < 0:
            raise ConfigError(f"min_area_px is {self.min_area_px}", "give 0 or more")
        if self.max_age_ms is not None and not self.max_age_ms > 0:
            raise ConfigError(
                f"the largest age of a result is {self.max_age_ms} ms", "give more than 0"
            )
        if self.target_fps is not None and not 0 < self.target_fps <= 1000:
            raise ConfigError(
                f"the target rate is {self.target_fps} frames/s",
                "give a number above 0, at most 1000",
            )
        if not 1 <= self.queue_size <= 1024:
            raise ConfigError(f"queue_size is {self.queue_size}", "give 1 to 1024")

    @property
    def is_paused(self) -> bool:
        """Whether a person paused the inspection."""
        return self.controls is not None and self.controls.paused
