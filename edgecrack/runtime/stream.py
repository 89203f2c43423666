"""One `edgecrack stream`: open everything, run the pipeline, show progress, say what was found."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import cv2

from edgecrack.errors import ConfigError, OutputError
from edgecrack.progress import ProgressLine
from edgecrack.runtime.defaults import MIN_AREA_PX
from edgecrack.runtime.detector import open_detector
from edgecrack.runtime.output_folder import SUMMARY_NAME
from edgecrack.runtime.pipeline import PipelineConfig, run_pipeline
from edgecrack.runtime.sinks import KINDS, open_sinks
from edgecrack.runtime.source import open_source
from edgecrack.runtime.stats import StatsSnapshot, StreamSummary


@dataclass(frozen=True)
class StreamConfig:
    """One stream.

    Attributes:
        source: address as `open_source` takes it.
        out: folder of the results.
        model: model file; None takes the bundled one.
        save: of "overlay", "mask", "prob" and "jsonl"; ("none",) writes only the summary.
        max_frames: stop after so many; None goes on to the end.
        threshold: decision threshold; None takes the model's.
        min_area_px: groups of fewer crack pixels are dropped.
        overlap_px: smallest overlap of tiles; None takes the default.
        threads: CPU threads; None takes all.
    """

    source: str
    out: Path
    model: Path | None = None
    save: tuple[str, ...] = ("overlay", "mask", "jsonl")
    max_frames: int | None = None
    threshold: float | None = None
    min_area_px: int = MIN_AREA_PX
    overlap_px: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        # Here, so that a slip shows before a model is loaded and a camera opened.
        unknown = [kind for kind in self.save if kind not in KINDS]
        if self.save != ("none",) and (
            unknown or len(set(self.save)) != len(self.save) or not self.save
        ):
            raise ConfigError(
                f"the outputs to save are {','.join(self.save)!r}",
                f"give some of {', '.join(KINDS)}, each once, or none alone",
            )
        if self.max_frames is not None and self.max_frames < 1:
            raise ConfigError(
                f"the number of frames to stop after is {self.max_frames}",
                "give 1 or more, or leave --max-frames out",
            )


def run_stream(config: StreamConfig, *, as_json: bool = False) -> StreamSummary:
    """Run a stream to its end, to Ctrl-C or to an error; results stay usable in each case.

    Args:
        config: the stream.
        as_json: print the summary as JSON on standard output, and nothing else there.

    Raises:
        EdgecrackError: source, model or output cannot be used; what was written stays.
    """
    _keep_source_out_of_results(config)
    leave_cores_to_the_network()
    progress = ProgressLine(sys.stderr)

    def show(stats: StatsSnapshot) -> None:
        progress.show(progress_text(stats))

    with stop_on_signals() as stop:
        pipeline = PipelineConfig(
            max_frames=config.max_frames,
            min_area_px=config.min_area_px,
            stop=stop,
            on_progress=show,
            summary_path=config.out / SUMMARY_NAME,
        )
        with (
            open_detector(
                config.model,
                threshold=config.threshold,
                overlap_px=config.overlap_px,
                threads=config.threads,
            ) as detector,
            open_source(config.source) as source,
        ):
            kinds = () if config.save == ("none",) else config.save
            sinks = open_sinks(kinds, config.out, source.frame_rate_hz)
            try:
                summary = run_pipeline(source, detector, sinks, pipeline)
            finally:
                progress.end()
    print(json.dumps(summary.to_dict()) if as_json else describe(summary, config.out))
    return summary


def leave_cores_to_the_network() -> None:
    """Let OpenCV work in the calling thread only, for the whole process.

    The network keeps all cores busy, and more threads of OpenCV only take turns with it.
    """
    cv2.setNumThreads(1)


def _keep_source_out_of_results(config: StreamConfig) -> None:
    """A new run clears the results of the one before, which may be what is to be read."""
    source = Path(config.source).expanduser()
    if source.exists() and source.resolve().is_relative_to(config.out.resolve()):
        raise OutputError(
            f"the source {config.source} lies in the folder of the results, {config.out}",
            "give another --out",
        )


def describe(summary: StreamSummary, out: Path) -> str:
    """What a person wants to know at the end."""
    stats = summary.stats
    lines = [
        f"{stats.frames} frames at {stats.fps_overall:.1f} frames/s ({summary.end_reason}), "
        f"{stats.frames_with_cracks} with cracks, {stats.drops} dropped"
    ]
    if summary.truncated:
        lines.append(
            f"warning: the source ended after {summary.frames_read} of "
            f"{summary.frames_expected} frames; it is damaged or cut short"
        )
    lines.append(f"results: {out}")
    return "\n".join(lines)


def progress_text(stats: StatsSnapshot) -> str:
    """The progress line: frames, rate, latency, crack pixels, drops."""
    return (
        f"{stats.frames} frames | {stats.fps:.1f}/s | latency {stats.latency_p50_ms:.0f} ms "
        f"(p95 {stats.latency_p95_ms:.0f}) | crack {stats.crack_pixels} px | "
        f"{stats.drops} dropped"
    )


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set; a second one ends the program at once.

    SIGHUP comes when the terminal goes away, as with a broken ssh connection; where it is
    ignored, as under nohup, it stays ignored.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def request_stop(number: int, frame: FrameType | None) -> None:
        stop.set()
        for each in before:
            signal.signal(each, signal.SIG_DFL)

    for number in before:
        signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
