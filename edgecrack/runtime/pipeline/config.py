"""Settings of a pipeline, and what an operator changes while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from edgecrack.constants import MIN_AREA_PX
from edgecrack.errors import ConfigError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask
from edgecrack.runtime.position.open import PositionSource
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.stats import (
    ModelInUse,
    StatsSnapshot,
    StreamStats,
    StreamSummary,
)


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """A recording at one moment.

    Attributes:
        active: results are being recorded.
        path: the part in progress, or else the last one; None before the first.
        parts: parts made by this run, including the one in progress.
        bytes_written: in all parts of this run.
        problem: why it stopped without being asked, or None.
        dropped: frames of this run that are missing because the disk was too slow.
    """

    active: bool
    path: str | None
    parts: int
    bytes_written: int
    problem: str | None = None
    dropped: int = 0


class Recorder(Protocol):
    """A recording that can be started and stopped; does not raise errors of the disk."""

    def start(self) -> None:
        """Record from the next result on, into a new part; no effect while it records."""
        ...

    def stop(self) -> None:
        """Finish the part in progress; it is complete and readable when this returns."""
        ...

    def status(self) -> RecordingStatus:
        """The recording as it is now."""
        ...


class StreamControls:
    """What an operator changes while a stream runs: threshold, pause, recording.

    Set from any thread, read by the pipeline between frames.

    Args:
        threshold: initial decision threshold, above 0 and below 1.
        events: gets an event for each change.
        recorder: None where nothing can be recorded.

    Raises:
        ConfigError: the threshold is out of range.
    """

    def __init__(
        self, threshold: float, events: EventLog | None = None, recorder: Recorder | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._threshold = _checked(threshold)
        self._events = events or EventLog()
        self._paused = threading.Event()
        self.recorder = recorder

    @property
    def threshold(self) -> float:
        """Decision threshold of the next frame."""
        with self._lock:
            return self._threshold

    def set_threshold(self, threshold: float, who: str = "an operator") -> None:
        """Use another threshold from the next frame on, for all outputs.

        Raises:
            ConfigError: not above 0 and below 1.
        """
        _checked(threshold)
        with self._lock:
            before, self._threshold = self._threshold, threshold
        if threshold != before:
            self._events.emit(
                "threshold.changed",
                f"{who} changed the threshold from {before:g} to {threshold:g}",
                before=before,
                threshold=threshold,
            )

    @property
    def paused(self) -> bool:
        """Whether the inspection is paused."""
        return self._paused.is_set()

    def pause(self, who: str = "an operator") -> None:
        """Inspect nothing until `resume`; the source stays open."""
        if not self._paused.is_set():
            self._paused.set()
            self._events.emit("stream.paused", f"{who} paused the inspection", "warning")

    def resume(self, who: str = "an operator") -> None:
        """Go on after `pause`."""
        if self._paused.is_set():
            self._paused.clear()
            self._events.emit("stream.resumed", f"{who} resumed the inspection")


def _checked(threshold: float) -> float:
    if not 0 < threshold < 1:
        raise ConfigError(f"threshold is {threshold}", "give a number above 0 and below 1")
    return threshold


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
        on_frame: called with each captured frame in the thread that reads the source, also those
            that are skipped or replaced.
        on_progress: called in the calling thread, at most twice a second and once at the end.
        on_summary: called with the summary when all outputs are closed, also after a failure; an
            error that it raises is a failure of the run.
        max_age_ms: results older than this, counted from the grab, go to no output; for live
            sources only. None publishes all.
        target_fps: results per second to keep to, for live sources: frames above it are skipped,
            and where it is not reached, less of each frame is inspected.
        ignore: where nothing is inspected; None inspects everything. Needs an `IgnoringDetector`.
        controls: threshold, pause; None keeps the detector's threshold.
        positions: where the robot was; None if unknown.
        events: gets events of overload, stale results, failed outputs and a hanging network.
        backend: what runs the model, for the summary.
        model: which model it is and why, for the summary.
        stats: the counters to use, so that others can read them meanwhile; None makes new ones.
        findings: number of cracks so far, and number of confirmed ones, for the counters.
        heartbeat: called in the calling thread between frames and while it waits.
        abandon: ends the process where `stop` was set and the network does not return; all outputs
            are closed by then. None waits for the network.
        stall_timeout_s: a live source that delivers nothing for so long is an error, unless it
            reconnects.
        hang_timeout_s: an inference that takes longer is an event.
        drain_timeout_s: longest wait at the end for results that still have to be written.
        join_timeout_s: longest wait at the end for a read in progress.
        stop_timeout_s: replaces these two where `stop` was set, since somebody waits.
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
        """Refuse values out of range."""
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
        """Whether an operator paused the inspection."""
        return self.controls is not None and self.controls.paused
