"""Opens all parts of one stream in order, and closes them in reverse.

If a part fails to open, the others are closed. Parts that were not asked for are not imported, so
a robot can stream without the extras for page and recording.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecrack import __version__
from edgecrack.errors import ConfigError
from edgecrack.extras import require
from edgecrack.machine_sensors.sensors import ROOT
from edgecrack.machine_sensors.throttling import ThrottleReader
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.installed_models.opening import open_model_in_use
from edgecrack.runtime.measuring.measuring_thread import NewestWidths
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.output_place import take_place
from edgecrack.runtime.outputs.run_parts import RunPart, plan_part, why_not_to_go_on
from edgecrack.runtime.outputs.sinks import (
    EVENTS_NAME,
    EventsFile,
    JsonLines,
    Sink,
    Snapshots,
    result_patterns,
    sinks_in,
)
from edgecrack.runtime.pipeline.config import StreamControls
from edgecrack.runtime.pipeline.ignore_mask import IgnoreMask, read_ignore_mask
from edgecrack.runtime.pipeline.inspection import check_live_only
from edgecrack.runtime.position.open import PositionSource
from edgecrack.runtime.run_provenance import run_provenance
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.open import open_live_source
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.telemetry.stats import ModelInUse, StreamStats, StreamSummary
from edgecrack.runtime.telemetry.throttle_watch import ThrottleWatch
from edgecrack.runtime.tracking.crack_tracker import CrackTracker
from edgecrack.runtime.tracking.finding_book import FindingBook
from edgecrack.runtime.tracking.findings import Finding
from edgecrack.runtime.tracking.kept_run import PATTERNS as KEPT_PATTERNS
from edgecrack.runtime.tracking.kept_run import KeptRun
from edgecrack.terminal.redaction import redact
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from edgecrack.runtime.measuring.frame_scale import FrameScale
    from edgecrack.runtime.outputs.sinks import WidthListener
    from edgecrack.runtime.recording.recorder import McapRecorder
    from edgecrack.runtime.stream_config import StreamConfig
    from edgecrack.scale.camera_file import CameraFile


# Replaces "/" where the machine's own files are read, for tests.
MACHINE_ROOT = ROOT
FINDINGS_NAME = "findings.jsonl"
# Folders that `survey` and `report` make in a run's folder, with their own lists of files.
MADE_OF_A_RUN = ("survey", "report")


@dataclass(frozen=True)
class Session:
    """The open parts of one stream.

    Attributes:
        source: where frames come from.
        detector: the network.
        sinks: where results go.
        controls: threshold, pause and recording.
        events: what happened.
        stats: the counters.
        tracker: follows the captured frames.
        book: the cracks so far, each once.
        positions: where the robot is, or None.
        page: the live page's address, or None.
        part: the run that this is a part of, and where its results go.
        model: which model the detector runs, and why.
        ignore: where nothing is inspected, or None.
    """

    source: Source
    detector: CrackDetector
    sinks: list[Sink]
    controls: StreamControls
    events: EventLog
    stats: StreamStats
    tracker: CrackTracker
    book: FindingBook
    positions: PositionSource | None
    page: str | None
    part: RunPart
    model: ModelInUse
    ignore: IgnoreMask | None = None


@contextmanager
def open_session(
    config: StreamConfig, events: EventLog, stop: threading.Event | None = None
) -> Iterator[Session]:
    """Open all parts of a stream; leaving the block closes them.

    Args:
        config: the stream.
        events: gets the events.
        stop: when it is set, the wait for a source that is slow to open ends.

    Raises:
        EdgecrackError: a part cannot be opened.
    """
    kinds = config.outputs
    ignore = None if config.ignore is None else read_ignore_mask(config.ignore)
    with ExitStack() as stack:
        detector, model = open_model_in_use(
            config.model,
            on_fallback=partial(_tell_of_fallback, events),
            threshold=config.threshold,
            overlap_px=config.overlap_px,
            scales=config.scales,
            threads=config.threads,
            backend=config.backend,
            on_told=partial(_tell_of_backend, events),
        )
        stack.enter_context(detector)
        positions = _open_positions(config, events, stack)
        camera = _open_camera(config)
        source = stack.enter_context(
            open_live_source(config.source, config.source_options, config.policy, events, stop=stop)
        )
        if note := source.status.note:
            events.emit("source.note", note)
        check_live_only(config.max_age_ms, config.target_fps, source.live)
        patterns = [
            *result_patterns(kinds),
            *((EVENTS_NAME, FINDINGS_NAME) if "jsonl" in kinds else ()),
            *(KEPT_PATTERNS if config.survey else ()),
        ]
        about_run = run_provenance(detector, config.scale, camera, model)
        part = _take_part(config, detector, patterns, events, stack, about_run)
        stats = StreamStats()
        throttle = ThrottleWatch(_throttle_reader(detector).look, events, stats)
        tracking = _Tracking(config, events)
        tracker = tracking.tracker
        about = _about(config, detector, model, source)
        snapshots = Snapshots(part.folder, events, config.max_age_ms)
        sinks: list[Sink] = [snapshots]
        recorder, recording = _open_recorder(config, events, stats, about, stack)
        if recorder is not None:
            tracking.listeners.append(recorder.take_finding)
        controls = StreamControls(detector.threshold, events, recorder)
        page, widths = None, NewestWidths() if "widths" in kinds else None
        if config.serve is not None:
            page, latest = _open_page(
                config,
                stack,
                stats,
                events,
                controls,
                tracking.book,
                snapshots,
                about,
                part,
                widths,
                throttle,
            )
            sinks.insert(0, latest)
        # Nothing is written or removed before all else is open.
        if config.existing == "overwrite":
            part.folder.clear()
            for name in MADE_OF_A_RUN:
                part.folder.clear_inner(name)
        part.begin(_nothing_yet(config, detector, model, source, part, stats))
        if "jsonl" in kinds:
            stack.callback(EventsFile(part.folder, events).close)
        scale = _frame_scale(config, camera, source, events)
        tracking.open_files(part.folder, scale)
        stack.callback(tracking.close_files)
        sinks.append(tracker)
        sinks += sinks_in(
            part.folder,
            kinds,
            source.frame_rate_hz,
            scale=scale,
            width_listeners=_width_listeners(stats, widths, recorder),
            newest_widths=None if widths is None else widths.figures,
        )
        # Last, so that frames measured at the end are recorded, too.
        sinks += recording
        throttle.start()
        stack.callback(throttle.close)
        yield Session(
            source,
            detector,
            sinks,
            controls,
            events,
            stats,
            tracker,
            tracking.book,
            positions,
            page,
            part,
            model,
            ignore=ignore,
        )


class _Tracking:
    """The tracker, and the files of its cracks."""

    def __init__(self, config: StreamConfig, events: EventLog) -> None:
        self._config, self._events = config, events
        self._lines: JsonLines | None = None
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self.book = FindingBook(self._tell)
        self.tracker = CrackTracker(self.book, events)

    def open_files(self, folder: OutputFolder, scale: FrameScale | None) -> None:
        """Create the files that the settings ask for.

        Raises:
            OutputError: one cannot be created.
        """
        if "jsonl" in self._config.outputs:
            self._lines = JsonLines(folder.claim(FINDINGS_NAME))
        if self._config.survey:
            self.book.keep(
                KeptRun(folder, self._events, scale, on_measured=self.book.take_measured)
            )

    def close_files(self) -> None:
        """Close the files, when the tracker has closed all cracks."""
        if self._lines is not None:
            self._lines.close()

    def _tell(self, finding: Finding) -> None:
        record = finding.to_dict()
        if self._lines is not None:
            self._lines.append(record)
        for listener in self.listeners:
            listener(record)
        self._events.emit(
            "finding.closed",
            f"crack {finding.id}: {finding.crack.length_px:.0f} px long, "
            f"{finding.status}, in {counted(finding.crack.frames, 'frame')}",
            "detail",
            finding=record,
        )


def _take_part(
    config: StreamConfig,
    detector: CrackDetector,
    patterns: Sequence[str],
    events: EventLog,
    stack: ExitStack,
    about: Mapping[str, Any],
) -> RunPart:
    """Find the results folder, and report it if it is not the one asked for."""
    settings = {
        **config.settings(),
        "model": detector.runner.spec.sha256,
        "threshold": f"{detector.threshold:g}",
        "scales": ",".join(f"{scale:g}" for scale in detector.scales),
    }
    place = take_place(
        config.out,
        patterns,
        config.existing,
        why_not=lambda notes: why_not_to_go_on(notes, settings),
    )
    stack.callback(place.folder.discard)
    part = plan_part(place, config.out, settings, about)
    if place.goes_on:
        part.folder.refuse_foreign(patterns)
    if note := place.note or part.note:
        events.emit("results.place", note, folder=str(part.folder.path))
    return part


def _tell_of_fallback(events: EventLog, text: str) -> None:
    events.emit("model.fallback", text, "error")


def _tell_of_backend(events: EventLog, text: str) -> None:
    events.emit("model.backend", text)


def _nothing_yet(
    config: StreamConfig,
    detector: CrackDetector,
    model: ModelInUse,
    source: Source,
    part: RunPart,
    stats: StreamStats,
) -> StreamSummary:
    return StreamSummary(
        source=source.name,
        model=detector.model_name,
        backend=detector.runner.backend,
        threshold=detector.threshold,
        min_area_px=config.min_area_px,
        started_at=part.started_at,
        ended_at=None,
        end_reason="running",
        error=None,
        frames_read=0,
        frames_expected=None,
        truncated=False,
        stats=stats.snapshot(),
        model_sha256=model.sha256,
        model_origin=model.origin,
        model_fallback=model.fallback,
    )


def _about(
    config: StreamConfig, detector: CrackDetector, model: ModelInUse, source: Source
) -> dict[str, str]:
    return {
        "version": __version__,
        "model": detector.model_name,
        "backend": detector.runner.backend,
        "model_sha256": model.sha256,
        "model_origin": model.origin,
        **({"model_fallback": model.fallback} if model.fallback else {}),
        "threshold": f"{detector.threshold:g}",
        "scales": ",".join(f"{scale:g}" for scale in detector.scales),
        "source": source.name,
        **({} if config.ignore is None else {"ignore": config.ignore.name}),
        "started_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _open_positions(
    config: StreamConfig, events: EventLog, stack: ExitStack
) -> PositionSource | None:
    if config.position is None:
        return None
    from edgecrack.runtime.position.open import open_positions

    needs_range = config.scale is not None and config.scale.needs_range
    positions = open_positions(config.position, config.source, events, needs_range=needs_range)
    stack.callback(positions.close)
    return positions


def _open_camera(config: StreamConfig) -> CameraFile | None:
    """The camera that gives millimetres; None without one."""
    if config.scale is None or config.scale.camera is None:
        return None
    from edgecrack.runtime.measuring.stream_scale import RecordedCamera

    camera = config.scale.camera
    if not isinstance(camera, RecordedCamera):
        return camera
    from edgecrack.mcap.locating import recording_at

    recording = recording_at(Path(config.source).expanduser())
    if recording is None:
        raise ConfigError(
            f"the camera is to come from the recording, but the source is {redact(config.source)}",
            "replay an .mcap file, or give a file with `camera_file`",
        )
    from edgecrack.runtime.measuring.recorded_camera import recorded_camera

    return recorded_camera(recording, camera.topic, config.source_options.topic)


def _frame_scale(
    config: StreamConfig, camera: CameraFile | None, source: Source, events: EventLog
) -> FrameScale | None:
    if config.scale is None:
        return None
    from edgecrack.runtime.measuring.frame_scale import FrameScale

    return FrameScale(
        config.scale,
        camera,
        flip=config.source_options.flip,
        focus_moves=lambda: source.status.focus_moves,
        events=events,
    )


def _throttle_reader(detector: CrackDetector) -> ThrottleReader:
    """Reads the machine, and the GPUs only where the network runs on one."""
    if detector.runner.spec.kind != "engine":
        return ThrottleReader(MACHINE_ROOT)
    from edgecrack.nvidia.clock_reasons import GpuClocks

    return ThrottleReader(MACHINE_ROOT, [GpuClocks()])


def _width_listeners(
    stats: StreamStats, widths: NewestWidths | None, recorder: McapRecorder | None
) -> list[WidthListener]:
    """Receivers of measured frames besides the file."""

    def count(result: FrameResult, record: Mapping[str, Any]) -> None:
        site = record["site_check"]
        stats.add_measured(
            is_fit=record["fitness"]["verdict"] == "measure",
            site_passed=None if site is None else site["passed"],
        )

    listeners: list[WidthListener] = [count]
    if widths is not None:
        listeners.append(widths.take)
    if recorder is not None:
        listeners.append(recorder.take_widths)
    return listeners


def _open_recorder(
    config: StreamConfig,
    events: EventLog,
    stats: StreamStats,
    about: dict[str, str],
    stack: ExitStack,
) -> tuple[McapRecorder | None, list[Sink]]:
    if config.record is None:
        return None, []
    from edgecrack.runtime.recording.recorder import McapRecorder

    recorder = McapRecorder(
        config.record,
        events=events,
        stats=stats.snapshot,
        about=about,
        max_age_ms=config.max_age_ms,
    )
    stack.callback(recorder.close)
    return recorder, [recorder]


def _open_page(
    config: StreamConfig,
    stack: ExitStack,
    stats: StreamStats,
    events: EventLog,
    controls: StreamControls,
    book: FindingBook,
    snapshots: Snapshots,
    about: dict[str, str],
    part: RunPart,
    widths: NewestWidths | None,
    throttle: ThrottleWatch,
) -> tuple[str, Sink]:
    require("psutil", extra="serve", purpose="the live page")  # the server checks its own
    from edgecrack.runtime.telemetry.machine_load import MachineMonitor
    from edgecrack.runtime.web.server import LiveServer
    from edgecrack.runtime.web.status import LastReport, LatestResult, LiveContext

    if config.serve is None:
        raise ValueError("no page was asked for")
    latest = LatestResult(max_age_ms=config.max_age_ms)
    context = LiveContext(
        stats=stats.snapshot,
        events=events,
        controls=controls,
        findings=book,
        machine=MachineMonitor(part.folder.root),
        latest=latest,
        about=about,
        snapshot=snapshots.take,
        widths=None if widths is None else widths.brief,
        report=LastReport(part.folder.root, config.out),
        throttling=throttle.status,
    )
    server = stack.enter_context(LiveServer(config.serve, context))
    return server.url, latest
