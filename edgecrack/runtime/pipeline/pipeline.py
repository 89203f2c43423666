"""Source -> prepare -> infer -> measure -> sinks, in threads.

    source thread    reads frames
    prepare thread   turns each into network input
    calling thread   infers and measures; receives Ctrl-C and the stop event
    writer thread    gives each result to the sinks

A recording never loses a frame: each thread waits for the next one. Of a live source only the
newest frame is kept, and replaced frames are counted. An error in any thread is raised in the
calling thread.
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
from edgecrack.runtime.handoff import Handoff, TimedOut, pump
from edgecrack.runtime.outputs.sinks import Sink
from edgecrack.runtime.pipeline.config import PipelineConfig
from edgecrack.runtime.pipeline.delivery import Delivery
from edgecrack.runtime.pipeline.ignore_mask import Ignoring
from edgecrack.runtime.pipeline.inspection import Detector, Inspection, Pacer
from edgecrack.runtime.pipeline.watch import Counts, StreamWatch
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.newest import SourceReader
from edgecrack.runtime.sources.reconnecting import ReconnectingSource
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
    """Run a source through a detector into sinks.

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
        sinks: each is given all results, in order, in a thread of its own; a function is a sink,
            too.
        config: None for the defaults.

    The sinks are always closed at the end, so that the results written so far are usable. The
    caller closes the source. No thread is left behind, unless a camera driver hangs in a read that
    ignores its timeout.

    Raises:
        ConfigError: the detector's threshold is out of range.
        SourceError: the source failed; results up to then are written.
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
        self._prepared = Handoff[Prepared](size, keep_newest=source.live)
        self._stats = config.stats or StreamStats()
        self._inspection = Inspection(detector, config, self._stats, source.live)
        self._ignoring: Ignoring | None = None
        if config.ignore is not None:
            self._ignoring = Ignoring(config.ignore, config.events.emit)
        self._pacer = None if config.target_fps is None else Pacer(config.target_fps)
        self._frames_read = self._frames_done = self._skipped = self._unreadable = 0
        self._last_progress_s = self._last_read_s = time.monotonic()
        self._started_at = datetime.now(timezone.utc)
        self._has_ended = False
        # A source that reconnects has a thread of its own; others get one.
        self._reader: SourceReader | None = None
        self._preparing = threading.Thread(
            target=partial(pump, self._prepare_next, self._prepared),
            name="edgecrack-prepare",
            daemon=True,
        )
        self._delivery = Delivery(sinks, config, source.live, self._inspection.is_fresh)
        self._watch = StreamWatch(
            source, self._inspection, config, self._stats, self._counts, self._give_up
        )

    def run(self) -> StreamSummary:
        """Run to the end and clean up; raises the first error when all is closed."""
        reason: EndReason = "failed"
        failure: BaseException | None = None
        self._delivery.start()
        self._start_reading()
        self._preparing.start()
        self._watch.start()
        try:
            reason = self._infer_all()
        except BaseException as error:
            failure = error
        # First the threads, then the sinks: nothing may be written to a closed sink.
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

    def _start_reading(self) -> None:
        if isinstance(self._source, ReconnectingSource):
            self._source.watch_frames(self._note_captured)
            return
        live = self._source.live
        self._reader = SourceReader(
            lambda: self._source,
            "capture",
            capacity=1 if live else self._config.queue_size,
            keep_newest=live,
            closes=False,
            may_end=True,
        )
        self._reader.start_reading(self._note_captured)

    def _note_captured(self, frame: Frame) -> Frame | None:
        """Note a captured frame; None if it is to be skipped. Called in the source thread."""
        if not self._source.live:
            self._note_unreadable()
        self._frames_read += 1
        self._config.on_frame(frame)
        self._last_read_s = time.monotonic()
        if self._pacer is None or self._pacer.takes(frame.monotonic_ns):
            return frame
        self._skipped += 1
        return None

    def _note_unreadable(self) -> None:
        unreadable = self._source.status.unreadable
        for one in unreadable[self._unreadable :]:
            self._config.events.emit(
                "source.unreadable",
                f"{one.path} {one.problem}; it is passed over ({one.remedy})",
                "warning",
                path=str(one.path),
            )
        self._unreadable = len(unreadable)

    def _prepare_next(self) -> Prepared | None:
        """The next prepared frame, None at the end; in the prepare thread."""
        frame = None
        try:
            frame = self._source.read() if self._reader is None else self._reader.get()
        finally:
            self._has_ended = frame is None
        if frame is None:
            self._note_unreadable()
            return None
        started_ns = time.monotonic_ns()
        ignored = None if self._ignoring is None else self._ignoring.of(frame)
        prepared = self._inspection.prepare(frame, ignored)
        return frame, prepared, time.monotonic_ns() - started_ns, ignored

    def _infer_all(self) -> EndReason:
        while not self._config.stop.is_set():
            self._config.heartbeat()
            self._delivery.check()
            if self._config.is_paused and not self._source.live:
                self._config.stop.wait(_POLL_S)  # a recording waits
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

    def _counts(self) -> Counts:
        replaced = self._prepared.replaced + self._delivery.replaced
        if self._reader is not None:
            replaced += self._reader.replaced
        return Counts(self._frames_read, replaced, self._skipped, self._has_ended)

    def _show_progress(self) -> None:
        now_s = time.monotonic()
        if self._config.on_progress and now_s - self._last_progress_s >= _PROGRESS_INTERVAL_S:
            self._last_progress_s = now_s
            self._config.on_progress(self._stats.snapshot())

    def _raise_if_stalled(self) -> None:
        waited_s = time.monotonic() - self._last_read_s
        comes_back = isinstance(self._source, ReconnectingSource)
        if self._source.live and not comes_back and waited_s > self._config.stall_timeout_s:
            raise SourceError(
                f"{self._source.name} delivered no frame for {waited_s:.0f} s",
                "check its cable, power and network, then start again",
            )

    def _end_threads(self) -> None:
        self._prepared.abandon()
        if self._reader is not None:
            self._reader.leave(0)
        if self._source.live:
            with suppress(Exception):  # errors of a closed source do not matter
                self._source.close()  # its read may wait for a lost camera
        try:
            self._delivery.finish()
        finally:
            stopped = self._config.stop.is_set()
            join_s = _STOP_JOIN_S if stopped else self._config.join_timeout_s
            self._preparing.join(join_s)
            is_stuck = self._preparing.is_alive()
            if self._reader is not None and not self._reader.join(join_s):
                is_stuck = True
            if is_stuck:
                _LOG.warning("%s: a read is stuck and was left behind", self._source.name)
            self._watch.stop(join_s)

    def _give_up(self) -> None:
        """End without the frame in the network, which did not return after a request to stop.

        Called in the watch thread, since the calling thread is in native code.
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
        """Whether the recording ended early according to itself or to its frame count."""
        status = self._source.status
        if status.counts_exactly is not None:  # more reliable than a count of frames
            return status.is_cut_short
        is_short = is_truncated(self._frames_read, self._source.frame_count)
        return is_short or status.is_cut_short

    def _report(self, summary: StreamSummary) -> None:
        if self._config.on_summary is not None:
            self._config.on_summary(summary)
        if self._config.on_progress is not None:
            self._config.on_progress(summary.stats)


def _sentence(failure: BaseException | None) -> str | None:
    if failure is None or isinstance(failure, KeyboardInterrupt):
        return None
    if isinstance(failure, EdgecrackError):
        return str(failure)
    return f"{type(failure).__name__}: {failure}"
