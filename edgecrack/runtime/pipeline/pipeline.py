"""Source -> prepare -> infer -> measure -> sinks, in threads that all end.

    capture thread   reads frames
    prepare thread   turns each into network input
    calling thread   infers and measures; Ctrl-C and the stop event reach it here
    writer thread    gives each result to the sinks

A recording never loses a frame: every thread waits for the next one. A live source keeps
only its newest frame, and what it replaced is counted. An error in any thread travels to
the calling thread and is raised there. Knows nothing of cameras, models or file formats.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import EdgecrackError, SourceError
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.metrics.counting import uint8_level
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.handoff import Handoff, TimedOut
from edgecrack.runtime.outputs.sinks import Sink
from edgecrack.runtime.pipeline.config import Detector, PipelineConfig
from edgecrack.runtime.pipeline.delivery import Delivery
from edgecrack.runtime.pipeline.ignore_mask import Ignoring
from edgecrack.runtime.pipeline.inspection import Inspection
from edgecrack.runtime.pipeline.overload import Pacer
from edgecrack.runtime.pipeline.watch import Counts, StreamWatch
from edgecrack.runtime.pipeline.workers import convert, pump
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.telemetry.stats import (
    EndReason,
    StreamStats,
    StreamSummary,
    is_truncated,
)

__all__ = ["Detector", "PipelineConfig", "run_pipeline"]
_LOG = logging.getLogger(__name__)
_POLL_S = 0.1
_PROGRESS_INTERVAL_S = 0.5
_STOP_JOIN_S = 0.3

# A frame, its network input, how long preparing it took in nanoseconds, and what is ignored.
Prepared = tuple[Frame, NDArray[np.uint8], int, IgnoredPixels | None]


def run_pipeline(
    source: Source,
    detector: Detector,
    sinks: Sequence[Sink | Callable[[FrameResult], None]],
    config: PipelineConfig | None = None,
) -> StreamSummary:
    """Run a source through a detector into sinks, and say what happened.

        >>> from edgecrack import open_detector, open_source, run_pipeline
        >>> with open_source("demo?frames=2") as source, open_detector(threads=1) as detector:
        ...     summary = run_pipeline(source, detector, [lambda result: print(result.frame.index)])
        0
        1
        >>> summary.end_reason
        'end of source'

    Args:
        source: open.
        detector: open.
        sinks: each is given every result, in order, in a thread of its own; a function will do.
        config: None takes the defaults.

    The sinks are closed on every way out, so that what was written stays usable; the source
    stays the caller's to close. No thread is left behind, unless a camera driver hangs in a
    read that ignores its timeout.

    Raises:
        ConfigError: the detector's threshold is out of range.
        SourceError: the source failed; results up to there are written.
        OutputError: a sink failed; the error names it.
    """
    config = config or PipelineConfig()
    uint8_level(detector.threshold)
    outputs: list[Sink] = [_Callback(one) if callable(one) else one for one in sinks]
    return PipelineRun(source, detector, outputs, config).run()


class _Callback:
    """A function as a sink."""

    def __init__(self, function: Callable[[FrameResult], None]) -> None:
        self.name = getattr(function, "__name__", "callback")
        self._function = function

    def write(self, result: FrameResult) -> None:
        """Call it."""
        self._function(result)

    def close(self) -> None:
        """Nothing to close."""


class PipelineRun:
    """Made for one call of `run`."""

    def __init__(
        self, source: Source, detector: Detector, sinks: Sequence[Sink], config: PipelineConfig
    ) -> None:
        self._source, self._detector = source, detector
        self._config = config
        size = 1 if source.live else config.queue_size
        self._frames = Handoff[Frame](size, keep_newest=source.live)
        self._prepared = Handoff[Prepared](size, keep_newest=source.live)
        self._stats = config.stats or StreamStats()
        self._inspection = Inspection(detector, config, self._stats, source.live)
        self._ignoring = Ignoring(config.ignore, config.events.emit)
        self._pacer = None if config.target_fps is None else Pacer(config.target_fps)
        self._frames_read = self._frames_done = self._skipped = self._unreadable = 0
        self._last_progress_s = self._last_read_s = time.monotonic()
        self._started_at = datetime.now(timezone.utc)
        self._capturing = _thread("capture", partial(pump, self._read, self._frames))
        self._preparing = _thread(
            "prepare", partial(convert, self._frames, self._prepared, self._prepare)
        )
        self._delivery = Delivery(sinks, config, source.live, self._inspection.is_fresh)
        self._watch = StreamWatch(
            source, self._inspection, config, self._stats, self._counts, self._give_up
        )

    def run(self) -> StreamSummary:
        """Run to the end and clean up; the first error is raised when all is closed."""
        reason: EndReason = "failed"
        failure: BaseException | None = None
        self._delivery.start()
        for thread in (self._preparing, self._capturing):
            thread.start()
        self._watch.start()
        try:
            reason = self._infer_all()
        except BaseException as error:
            failure = error
        # First the threads, then the sinks: nobody may write into a sink that is closed.
        for finish in (self._end_threads, self._delivery.close):
            try:
                finish()
            except BaseException as error:
                failure = failure or error
        failure = failure or self._delivery.failure
        self._watch.note()
        summary = self._summary("failed" if failure else reason, failure)
        try:
            self._report(summary)
        except BaseException as error:
            failure = failure or error
        if failure is not None:
            raise failure
        return summary

    def _read(self) -> Frame | None:
        """The next frame that is to be inspected; in the capture thread."""
        while (frame := self._next_frame()) is not None:
            self._frames_read += 1
            self._config.on_frame(frame)
            self._last_read_s = time.monotonic()
            if self._pacer is None or self._pacer.takes(frame.monotonic_ns):
                return frame
            self._skipped += 1
            self._frames.check()
        return None

    def _next_frame(self) -> Frame | None:
        frame = self._source.read()
        # Few sources know: those of single files.
        unreadable = self._source.status.unreadable
        for one in unreadable[self._unreadable :]:
            self._config.events.emit(
                "source.unreadable",
                f"{one.path} {one.problem}; it is passed over ({one.remedy})",
                "warning",
                path=str(one.path),
            )
        self._unreadable = len(unreadable)
        return frame

    def _prepare(self, frame: Frame) -> Prepared:
        started_ns = time.monotonic_ns()
        ignored = self._ignoring.of(frame)
        prepared = self._inspection.prepare(frame, ignored)
        return frame, prepared, time.monotonic_ns() - started_ns, ignored

    def _infer_all(self) -> EndReason:
        while not self._config.stop.is_set():
            self._config.heartbeat()
            self._delivery.check()
            if self._config.is_paused and not self._source.live:
                self._config.stop.wait(_POLL_S)  # a recording waits where it is
                self._show_progress()
                continue
            try:
                item = self._prepared.get(_POLL_S)
            except TimedOut:
                self._raise_if_stalled()
                self._show_progress()
                continue
            if item is None:
                return "end of source"
            if self._config.is_paused:
                self._skipped += 1
            elif (result := self._inspection.inspect(*item)) is not None:
                self._publish(result)
            self._show_progress()
            if self._frames_done == self._config.max_frames:
                return "max frames"
        return "stopped"

    def _publish(self, result: FrameResult) -> None:
        self._delivery.put(result)
        self._stats.add(result)
        self._frames_done += 1
        self._watch.note()

    def _counts(self) -> Counts:
        replaced = self._frames.replaced + self._prepared.replaced + self._delivery.replaced
        return Counts(self._frames_read, replaced, self._skipped, not self._capturing.is_alive())

    def _show_progress(self) -> None:
        now_s = time.monotonic()
        if self._config.on_progress and now_s - self._last_progress_s >= _PROGRESS_INTERVAL_S:
            self._last_progress_s = now_s
            self._config.on_progress(self._stats.snapshot())

    def _raise_if_stalled(self) -> None:
        waited_s = time.monotonic() - self._last_read_s
        comes_back = hasattr(self._source, "health")
        if self._source.live and not comes_back and waited_s > self._config.stall_timeout_s:
            raise SourceError(
                f"{self._source.name} delivered no frame for {waited_s:.0f} s",
                "check its cable, power and network, then start again",
            )

    def _end_threads(self) -> None:
        self._prepared.abandon()
        self._frames.abandon()
        if self._source.live:
            with suppress(Exception):  # what is closed has nothing more to say
                self._source.close()  # its read may wait for a camera that is away
        try:
            self._delivery.finish()
        finally:
            stopped = self._config.stop.is_set()
            join_s = _STOP_JOIN_S if stopped else self._config.join_timeout_s
            for thread in (self._preparing, self._capturing):
                thread.join(join_s)
                if thread.is_alive():
                    _LOG.warning("%s: a read is stuck and was left behind", self._source.name)
            self._watch.stop(join_s)

    def _give_up(self) -> None:
        """Somebody asked to stop, and the network does not come back: end without its frame.

        In the watch's thread, for the calling one is in native code.
        """
        abandon = self._config.abandon
        if abandon is None:
            return
        self._config.events.emit(
            "network.abandoned", "the network did not finish its last frame in time", "warning"
        )
        for finish in (self._delivery.finish, self._delivery.close):
            with suppress(Exception):
                finish()
        summary = self._summary("stopped", self._delivery.failure)
        with suppress(Exception):
            self._report(summary)
        abandon(summary)

    def _summary(self, reason: EndReason, failure: BaseException | None) -> StreamSummary:
        is_a_guess = self._source.status.counts_exactly is False
        expected = None if is_a_guess else self._source.frame_count
        ended = reason == "end of source"
        return StreamSummary(
            source=self._source.name,
            model=self._detector.model_name,
            backend=self._config.backend,
            threshold=self._inspection.threshold,
            min_area_px=self._config.min_area_px,
            started_at=self._started_at.isoformat(timespec="seconds"),
            ended_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            end_reason="stopped" if isinstance(failure, KeyboardInterrupt) else reason,
            error=_sentence(failure),
            frames_read=self._frames_read,
            frames_expected=expected,
            truncated=ended and self._is_truncated(),
            unreadable=self._unreadable,
            model_sha256=self._config.model.sha256,
            model_origin=self._config.model.origin,
            model_fallback=self._config.model.fallback,
            stats=self._stats.snapshot(),
        )

    def _is_truncated(self) -> bool:
        """Whether the recording ended early, by its own word or by its count."""
        status = self._source.status
        if status.counts_exactly is not None:  # it knows better than a count of frames
            return status.is_cut_short
        is_short = is_truncated(self._frames_read, self._source.frame_count)
        return is_short or status.is_cut_short

    def _report(self, summary: StreamSummary) -> None:
        if self._config.on_summary is not None:
            self._config.on_summary(summary)
        if self._config.on_progress is not None:
            self._config.on_progress(summary.stats)


def _thread(name: str, body: Callable[[], None]) -> threading.Thread:
    return threading.Thread(target=body, name=f"edgecrack-{name}", daemon=True)


def _sentence(failure: BaseException | None) -> str | None:
    if failure is None or isinstance(failure, KeyboardInterrupt):
        return None
    if isinstance(failure, EdgecrackError):
        return str(failure)
    return f"{type(failure).__name__}: {failure}"
