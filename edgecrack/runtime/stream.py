"""One `edgecrack stream`: opens all parts, runs the pipeline, shows progress and a summary."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
from threadpoolctl import threadpool_limits

from edgecrack.errors import OutputError, UnreadableInputsError
from edgecrack.runtime.outputs.run_parts import RunPart
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline
from edgecrack.runtime.session import Session, open_session
from edgecrack.runtime.stream_config import StreamConfig
from edgecrack.runtime.telemetry.events import Event, EventLog, log_to, write_to_stderr
from edgecrack.runtime.telemetry.stats import StatsSnapshot, StreamSummary
from edgecrack.runtime.telemetry.systemd import SystemdNotifier
from edgecrack.terminal.progress import ProgressLine
from edgecrack.terminal.signals import stop_on_signals
from edgecrack.terminal.wording import counted

__all__ = ["StreamConfig", "run_stream"]

STATS_LOG_INTERVAL_S = 5.0


def run_stream(config: StreamConfig, *, as_json: bool = False) -> StreamSummary:
    """Run a stream to its end, to Ctrl-C or to an error; results stay usable in each case.

    Args:
        config: the stream.
        as_json: print the summary as JSON on standard output, and nothing else there.

    Raises:
        EdgecrackError: source, model or output cannot be used; what was written stays.
    """

    def show(summary: StreamSummary, part: RunPart) -> None:
        if as_json:
            print(json.dumps(part.document(summary)), flush=True)
        else:
            print(describe(summary, part.folder.path, part.note), flush=True)

    def show_and_leave(summary: StreamSummary, part: RunPart) -> None:
        with suppress(OSError, ValueError):
            show(summary, part)
        os._exit(0)  # the calling thread is in native code, and Python cannot end it

    summary, part, problem = _run(config, show_and_leave)
    show(summary, part)
    _raise_for(summary, part, problem)
    return summary


def stream_to_folder(config: StreamConfig) -> tuple[Path, UnreadableInputsError | None]:
    """Run a stream to its end for a caller that uses its results, without a summary.

    Returns:
        The results folder, which may not be the one asked for; and the error to raise in the end,
        where some pictures could not be read.

    Raises:
        EdgecrackError: as `run_stream`.
    """
    summary, part, problem = _run(config, None)
    try:
        _raise_for(summary, part, problem)
    except UnreadableInputsError as error:
        return part.folder.root, error
    return part.folder.root, None


def _run(
    config: StreamConfig, abandon: Callable[[StreamSummary, RunPart], None] | None
) -> tuple[StreamSummary, RunPart, str | None]:
    _keep_source_out_of_results(config)
    with leave_cores_to_the_network():
        return _Run(config, abandon).run()


def _raise_for(summary: StreamSummary, part: RunPart, problem: str | None) -> None:
    """Raise an error if the results of a finished run are incomplete."""
    if problem is not None:
        raise OutputError(
            f"the recording is not whole: {problem}",
            "make room, and see the log for when it stopped",
        )
    if summary.unreadable and summary.error is None:
        raise UnreadableInputsError(
            f"{counted(summary.unreadable, 'picture')} could not be read",
            f"see the events of kind source.unreadable in {part.folder.path} or the log",
        )


class _Run:
    """One run with its progress in the terminal, the log and systemd."""

    def __init__(
        self, config: StreamConfig, abandon: Callable[[StreamSummary, RunPart], None] | None
    ) -> None:
        self._config, self._abandon = config, abandon
        self._progress = ProgressLine(sys.stderr)
        self._systemd = SystemdNotifier()
        self._events = EventLog()
        self._next_stats_s = time.monotonic()

    def run(self) -> tuple[StreamSummary, RunPart, str | None]:
        """The summary, the run, and why the recording stopped without being asked, if it did."""
        form = self._config.log_format
        quiet = log_to(write_to_stderr if form == "json" else self._progress.log, form)
        if self._config.shows_password:
            self._events.emit(
                "source.password_shown",
                "everybody on this machine can read the source's password in the list of its "
                "processes; give the address in a file with `source_file`, or in EDGECRACK_SOURCE",
                "warning",
            )
        try:
            with (
                stop_on_signals() as stop,
                open_session(self._config, self._events, stop) as session,
            ):
                self._say_ready(session)
                pipeline = PipelineConfig(
                    max_frames=self._config.max_frames,
                    min_area_px=self._config.min_area_px,
                    stop=stop,
                    on_progress=self._show,
                    on_summary=session.part.end,
                    max_age_ms=self._config.max_age_ms,
                    target_fps=self._config.target_fps,
                    ignore=session.ignore,
                    controls=session.controls,
                    positions=session.positions,
                    events=self._events,
                    stats=session.stats,
                    backend=session.detector.runner.backend,
                    model=session.model,
                    findings=lambda: (session.book.count, session.book.confirmed),
                    on_frame=session.tracker.watch,
                    heartbeat=self._systemd.alive,
                    abandon=self._abandons(session.part),
                )
                try:
                    summary = run_pipeline(
                        session.source, session.detector, session.sinks, pipeline
                    )
                    recorder = session.controls.recorder
                    problem = None if recorder is None else recorder.status().problem
                    return summary, session.part, problem
                finally:
                    self._systemd.stopping()
        finally:
            self._progress.end()
            self._systemd.close()
            quiet()

    def _abandons(self, part: RunPart) -> Callable[[StreamSummary], None] | None:
        abandon = self._abandon
        return None if abandon is None else lambda summary: abandon(summary, part)

    def _say_ready(self, session: Session) -> None:
        if session.page is not None:
            self._events.emit("page.open", f"live page: {session.page}", url=session.page)
        self._systemd.ready()

    def _show(self, stats: StatsSnapshot) -> None:
        text = progress_text(stats)
        self._systemd.status(text)
        if self._config.log_format == "text":
            self._progress.show(text)
        elif time.monotonic() >= self._next_stats_s:
            self._next_stats_s = time.monotonic() + STATS_LOG_INTERVAL_S
            event = Event(time.time_ns(), "info", "stats", text, stats.to_dict())
            with suppress(OSError, ValueError):  # standard error may be closed
                write_to_stderr(json.dumps(event.to_dict()))


def leave_cores_to_the_network() -> threadpool_limits:
    """Restrict OpenCV and numpy to the calling thread, for the whole process.

    The network keeps all cores busy, and more threads would only compete with it; those of numpy's
    matrix products spin while they wait.

    Returns:
        A context that restores numpy's threads at its end.
    """
    cv2.setNumThreads(1)
    return threadpool_limits(limits=1, user_api="blas")


def _keep_source_out_of_results(config: StreamConfig) -> None:
    """Refuse a source in the results folder: `overwrite` would remove it, and results be read."""
    if "://" in config.source:
        return
    try:
        source = Path(config.source).expanduser()
        inside = source.exists() and source.resolve().is_relative_to(config.out.resolve())
    except (OSError, RuntimeError, ValueError):
        return  # not a path; opening it will raise
    if inside:
        raise OutputError(
            f"the source {config.source} lies in the folder of the results, {config.out}",
            "give another `out`",
        )


def describe(summary: StreamSummary, out: Path, note: str = "") -> str:
    """The summary as text for people.

    Args:
        summary: of the stream.
        out: where its results are.
        note: a further line about them.
    """
    stats = summary.stats
    lines = [
        f"{counted(stats.frames, 'frame')} at {stats.fps_overall:.1f} frames/s "
        f"({summary.end_reason}), {stats.frames_with_cracks} with cracks, {stats.drops} dropped"
    ]
    if summary.truncated and summary.lacks_frames:
        lines.append(
            f"warning: the source ended after {summary.frames_read} of {summary.frames_expected} "
            "frames; it is damaged or cut short"
        )
    elif summary.truncated:
        lines.append(
            "warning: the recording was cut off or is damaged; what is whole of it was inspected"
        )
    faults = [
        counted(count, *words)
        for count, words in (
            (stats.reconnects, ("reconnect",)),
            (stats.stalls, ("stall",)),
            (stats.open_failures, ("failed attempt to open", "failed attempts to open")),
            (stats.corrupt_frames, ("damaged frame",)),
            (stats.size_changes, ("change of size", "changes of size")),
            (stats.stale, ("result too old", "results too old")),
            (stats.skipped, ("frame skipped on purpose", "frames skipped on purpose")),
        )
        if count
    ]
    if faults:
        lines.append(", ".join(faults))
    if stats.throttle_episodes:
        rate = "" if stats.throttled_fps is None else f", at {stats.throttled_fps:.1f} frames/s"
        lines.append(
            f"the machine was throttled {counted(stats.throttle_episodes, 'time')}, "
            f"for {stats.throttled_s:.0f} s in all{rate}"
        )
    if summary.model_fallback:
        lines.append(f"warning: {summary.model_fallback}")
    if note:
        lines.append(note)
    lines.append(f"results: {out}")
    return "\n".join(lines)


def progress_text(stats: StatsSnapshot) -> str:
    """The progress line: frames, rate, latency, crack pixels, drops."""
    parts = [
        f"{counted(stats.frames, 'frame')} | {stats.fps:.1f}/s | "
        f"latency {stats.latency_p50_ms:.0f} ms (p95 {stats.latency_p95_ms:.0f}) | "
        f"crack {stats.crack_pixels} px | {stats.drops} dropped"
    ]
    if stats.stale:
        parts.append(f"{stats.stale} too old")
    if stats.shedding != "nothing":
        parts.append(f"too slow, leaves out {stats.shedding}")
    if stats.throttling == "throttled":
        parts.append("machine throttled")
    if stats.paused:
        parts.append("paused")
    if stats.source_state == "lost":
        parts.append("source lost")
    elif stats.source_state == "connecting" and not stats.frames:
        parts.append("waiting for the source")
    return " | ".join(parts)
