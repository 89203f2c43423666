"""One run of the pipeline: its threads, its hand-overs, and how it ends.

Used through `pipeline.run_pipeline` only.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, EdgecrackError, OutputError, SourceError
from edgecrack.files import write_atomic
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.handoff import Handoff, TimedOut
from edgecrack.runtime.measure import measure_cracks
from edgecrack.runtime.pipeline_config import Detector, PipelineConfig
from edgecrack.runtime.sinks import Sink
from edgecrack.runtime.source import Source
from edgecrack.runtime.stats import EndReason, StreamStats, StreamSummary, is_truncated
from edgecrack.runtime.workers import close_all, convert, pump, write_all

_LOG = logging.getLogger(__name__)
_POLL_S = 0.1
_PROGRESS_INTERVAL_S = 0.5

# A frame, its network input, and how long preparing it took in nanoseconds.
Prepared = tuple[Frame, NDArray[np.uint8], int]


class PipelineRun:
    """Made for one call of `run`."""

    def __init__(
        self, source: Source, detector: Detector, sinks: Sequence[Sink], config: PipelineConfig
    ) -> None:
        self._source, self._detector, self._sinks = source, detector, sinks
        self._config = config
        size = 1 if source.live else config.queue_size
        self._frames = Handoff[Frame](size, keep_newest=source.live)
        self._prepared = Handoff[Prepared](size, keep_newest=source.live)
        self._results = Handoff[FrameResult](config.queue_size)
        self._stats = StreamStats()
        self._frames_read = 0
        self._frames_done = 0
        self._last_progress_s = time.monotonic()
        self._started_at = datetime.now(timezone.utc)
        self._capturing = _thread("capture", partial(pump, self._read, self._frames))
        self._preparing = _thread(
            "prepare", partial(convert, self._frames, self._prepared, self._prepare)
        )
        self._writing = _thread("write", partial(write_all, self._results, sinks))

    def run(self) -> StreamSummary:
        """Run to the end and clean up; the first error is raised when all is closed."""
        reason: EndReason = "failed"
        failure: BaseException | None = None
        for thread in (self._writing, self._preparing, self._capturing):
            thread.start()
        try:
            reason = self._infer_all()
        except BaseException as error:
            failure = error
        # First the threads, then the sinks: nobody may write into a sink that is closed.
        for finish in (self._end_threads, self._close_sinks):
            try:
                finish()
            except BaseException as error:
                failure = failure or error
        summary = self._summary("failed" if failure else reason, failure)
        try:
            self._report(summary)
        except BaseException as error:
            failure = failure or error
        if failure is not None:
            raise failure
        return summary

    def _read(self) -> Frame | None:
        frame = self._source.read()
        self._frames_read += frame is not None
        return frame

    def _prepare(self, frame: Frame) -> Prepared:
        started_ns = time.monotonic_ns()
        prepared = self._detector.prepare(frame.image)
        return frame, prepared, time.monotonic_ns() - started_ns

    def _infer_all(self) -> EndReason:
        last_arrival_s = time.monotonic()
        while not self._config.stop.is_set():
            self._results.check()
            try:
                item = self._prepared.get(_POLL_S)
            except TimedOut:
                self._raise_if_stalled(last_arrival_s)
                continue
            if item is None:
                return "end of source"
            self._infer(*item)
            self._show_progress()
            if self._frames_done == self._config.max_frames:
                return "max frames"
            last_arrival_s = time.monotonic()
        return "stopped"

    def _infer(self, frame: Frame, prepared: NDArray[np.uint8], preparing_ns: int) -> None:
        started_ns = time.monotonic_ns()
        probability = self._detector.infer(prepared)
        inferred_ns = time.monotonic_ns()
        if probability.shape != frame.hw:
            raise ConfigError(
                f"the detector gave {probability.shape} for a frame of {frame.hw}",
                "use a detector that keeps the frame's size",
            )
        found = measure_cracks(probability, self._detector.threshold, self._config.min_area_px)
        done_ns = time.monotonic_ns()
        # A recording is read ahead: its waiting in queues says nothing about the machine.
        latency_ns = (
            done_ns - frame.monotonic_ns if frame.live else preparing_ns + done_ns - started_ns
        )
        result = FrameResult(
            frame=frame,
            probability=probability,
            mask=found.mask,
            crack_pixels=found.crack_pixels,
            regions=found.regions,
            latency_ms=latency_ns / 1e6,
            inference_ms=(inferred_ns - started_ns) / 1e6,
        )
        try:
            self._results.put(result, self._config.drain_timeout_s)
        except TimedOut:
            raise self._stuck_outputs() from None
        self._stats.add(result)
        self._stats.set_counts(drops=self._frames.replaced + self._prepared.replaced)
        self._frames_done += 1

    def _show_progress(self) -> None:
        now_s = time.monotonic()
        if self._config.on_progress and now_s - self._last_progress_s >= _PROGRESS_INTERVAL_S:
            self._last_progress_s = now_s
            self._config.on_progress(self._stats.snapshot())

    def _raise_if_stalled(self, last_arrival_s: float) -> None:
        waited_s = time.monotonic() - last_arrival_s
        if self._source.live and waited_s > self._config.stall_timeout_s:
            raise SourceError(
                f"{self._source.name} delivered no frame for {waited_s:.0f} s",
                "check its cable, power and network, then start again",
            )

    def _end_threads(self) -> None:
        self._prepared.abandon()
        self._frames.abandon()
        self._results.finish()
        self._writing.join(self._config.drain_timeout_s)
        for thread in (self._preparing, self._capturing):
            thread.join(self._config.join_timeout_s)
            if thread.is_alive():
                _LOG.warning("%s: a read is stuck and was left behind", self._source.name)
        if self._writing.is_alive():
            raise self._stuck_outputs()
        self._results.check()

    def _close_sinks(self) -> None:
        if not self._writing.is_alive():
            close_all(self._sinks)

    def _stuck_outputs(self) -> OutputError:
        return OutputError(
            f"the outputs took nothing for {self._config.drain_timeout_s:g} s",
            "check the disk or network folder that they are written to",
        )

    def _summary(self, reason: EndReason, failure: BaseException | None) -> StreamSummary:
        expected = self._source.frame_count
        ended = reason == "end of source"
        return StreamSummary(
            source=self._source.name,
            model=self._detector.model_name,
            threshold=self._detector.threshold,
            min_area_px=self._config.min_area_px,
            started_at=self._started_at.isoformat(timespec="seconds"),
            end_reason="stopped" if isinstance(failure, KeyboardInterrupt) else reason,
            error=_sentence(failure),
            frames_read=self._frames_read,
            frames_expected=expected,
            truncated=ended and is_truncated(self._frames_read, expected),
            stats=self._stats.snapshot(),
        )

    def _report(self, summary: StreamSummary) -> None:
        if self._config.summary_path is not None:
            text = json.dumps(summary.to_dict(), indent=2, ensure_ascii=False)
            write_atomic(self._config.summary_path, text + "\n")
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
