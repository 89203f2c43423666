"""Outputs of a run, frame by frame: masks, probability maps, JSON lines, widths, snapshots.

Each sink owns its files and leaves them usable whenever it is closed. Sinks run in the stream's
writer thread. Each kind of JSON line names in `schema_version` its schema in `edgecrack/schemas/`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgecrack.errors import ConfigError, OutputError
from edgecrack.files import output_error, write_atomic, write_png
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.outputs.output_folder import (
    SNAPSHOTS_NAME,
    SUMMARY_NAME,
    OutputFolder,
    output_errors,
)
from edgecrack.runtime.outputs.overlay import OverlaySink, draw_overlay
from edgecrack.runtime.telemetry.events import Event, EventLog

if TYPE_CHECKING:
    from edgecrack.runtime.measuring.frame_scale import FrameScale

# Raised when a field of `frame_record` is removed, renamed or given another meaning; a new field
# leaves it as it is. docs/migration.md lists the changes.
FRAME_SCHEMA_VERSION = 3
EVENTS_NAME = "events.jsonl"

# What each kind writes, relative to the output folder.
KINDS = {
    "overlay": "overlay*.mp4",
    "mask": "masks/*.png",
    "prob": "prob/*.png",
    "jsonl": "frames.jsonl",
    "widths": "widths.jsonl",
}

# Called for each measured frame, in the measuring thread; must not wait or raise.
WidthListener = Callable[[FrameResult, Mapping[str, Any]], None]


class Sink(Protocol):
    """Takes results, in order, from one thread."""

    @property
    def name(self) -> str:
        """Its name in an error."""
        ...

    def write(self, result: FrameResult) -> None:
        """Take one result.

        Raises:
            OutputError: it cannot be written.
        """
        ...

    def close(self) -> None:
        """Finish the files. Called once, also after `write` has failed.

        Raises:
            OutputError: a file could not be finished.
        """
        ...


class PassiveSink:
    """A sink that does not keep a live stream going: it ends when all its others have failed."""


class JsonLines:
    """A file of JSON lines that a killed process leaves with whole lines only.

    Args:
        path: replaced if it exists, unless `keeps`.
        keeps: append to the whole lines that exist.

    Raises:
        OutputError: it cannot be made.
    """

    def __init__(self, path: Path, *, keeps: bool = False) -> None:
        self._path = path
        self._size = 0
        self._descriptor = -1
        with output_errors(path):
            if keeps and path.exists():
                self._size = path.read_bytes().rfind(b"\n") + 1
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
            os.ftruncate(self._descriptor, self._size)

    def append(self, record: Mapping[str, Any]) -> None:
        """Append one line; after a failure the file ends with the last whole one.

        Raises:
            OutputError: it cannot be written.
        """
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        try:
            written = 0
            while written < len(line):
                place = self._size + written
                written += os.pwrite(self._descriptor, line[written:], place)
            self._size += written
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            raise output_error(self._path, error) from error

    def close(self) -> None:
        """Close the file; may be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _FilePerFrame:
    """Nothing is open between frames."""

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder

    def close(self) -> None:
        """Nothing is open."""


class MaskSink(_FilePerFrame):
    """`masks/NAME.png`: 255 on crack, 0 elsewhere."""

    name = "mask"

    def write(self, result: FrameResult) -> None:
        """Write one mask, whole or not at all."""
        path = self._folder.claim(f"masks/{result.frame.name}.png")
        write_atomic(path, result.mask_png(), durable=False)


class ProbabilitySink(_FilePerFrame):
    """`prob/NAME.png`: 255 = certain crack, before threshold and speck removal."""

    name = "prob"

    def write(self, result: FrameResult) -> None:
        """Write one probability map, whole or not at all."""
        path = self._folder.claim(f"prob/{result.frame.name}.png")
        write_png(path, result.probability, durable=False)


class JsonlSink:
    """`frames.jsonl`: one JSON object per line and frame.

    Args:
        folder: of the results.
        widths: figures of the newest measured frame; None where nothing is measured.
    """

    name = "jsonl"

    def __init__(
        self, folder: OutputFolder, widths: Callable[[], Mapping[str, Any] | None] | None = None
    ) -> None:
        self._lines = JsonLines(folder.claim("frames.jsonl"))
        self._widths = widths

    def write(self, result: FrameResult) -> None:
        """Append one line; after a failure the file ends with the last whole one."""
        widths = None if self._widths is None else self._widths()
        self._lines.append({**frame_record(result), "widths": widths})

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


def frame_record(result: FrameResult) -> dict[str, Any]:
    """The line of `frames.jsonl` for one frame.

    Boxes are [left, top, right, bottom, area] in pixels, right and bottom exclusive, largest
    area first. Lines are lists of [x, y] in pixels along the middle of cracks, longest first.
    `captured_at` is null where the time of the picture is not known.
    """
    frame = result.frame
    uncertainty_ms = frame.time_uncertainty_ms
    height, width = frame.hw
    media_time_ms = None if frame.media_time_ms is None else round(frame.media_time_ms, 3)
    return {
        "schema_version": FRAME_SCHEMA_VERSION,
        "frame": frame.index,
        "name": frame.name,
        "source": frame.source,
        "path": None if frame.path is None else str(frame.path),
        "captured_at": _utc(frame.capture_time_ns),
        "capture_time_ns": frame.capture_time_ns,
        "time_source": frame.time_source,
        "time_uncertainty_ms": None if uncertainty_ms is None else round(uncertainty_ms, 3),
        "read_at": _utc(frame.read_time_ns),
        "media_time_ms": media_time_ms,
        "width": width,
        "height": height,
        "crack_pixels": result.crack_pixels,
        "crack_ratio": round(result.crack_ratio, 6),
        "boxes": [[*region.xyxy, region.area_px] for region in result.regions],
        "lines": [line.round(1).tolist() for line in result.centre_lines()],
        "latency_ms": round(result.latency_ms, 3),
        "inference_ms": round(result.inference_ms, 3),
        "threshold": round(result.threshold, 4),
        "inspected_ratio": round(result.inspected_ratio, 4),
        "ignored_ratio": round(result.ignored_ratio, 4),
        "photo": None if frame.photo is None else frame.photo.to_dict(),
        "position": None if result.position is None else result.position.to_dict(),
    }


def _utc(time_ns: int | None) -> str | None:
    """A time as ISO 8601 with microseconds."""
    if time_ns is None:
        return None
    seconds, nanoseconds = divmod(time_ns, 10**9)
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1000:06d}Z"


class WidthSink:
    """`widths.jsonl`: length and width of each crack, in px and mm; a line per measured frame.

    Args:
        folder: of the results.
        scale: finds the scale of frames; None leaves all in pixels.
        listeners: called with each line.
    """

    name = "widths"

    def __init__(
        self,
        folder: OutputFolder,
        scale: FrameScale | None = None,
        listeners: Sequence[WidthListener] = (),
    ) -> None:
        from edgecrack.runtime.measuring.measuring_thread import MeasuringThread

        self._lines = JsonLines(folder.claim("widths.jsonl"))
        self._scale, self._listeners = scale, tuple(listeners)
        self._thread = MeasuringThread(self._measure)

    @property
    def left_out(self) -> int:
        """Frames of a live source that were replaced by newer ones before they were measured."""
        return self._thread.left_out

    def write(self, result: FrameResult) -> None:
        """Take a frame to measure; waits for the one before if the source is a recording.

        Raises:
            OutputError: an earlier line could not be written.
        """
        self._thread.put(result)

    def close(self) -> None:
        """Measure the frames taken, and close the file.

        Raises:
            OutputError: a line could not be written.
        """
        self._thread.finish()
        self._lines.close()
        self._thread.check()

    def _measure(self, result: FrameResult) -> None:
        from edgecrack.runtime.measuring.width_record import width_record

        record = width_record(result, self._scale)
        self._lines.append(record)
        for listener in self._listeners:
            listener(result, record)


class EventsFile:
    """`events.jsonl`: one JSON object per event, those from before it was opened included.

    When it can no longer be written, it is left as it is: events still reach the log, and reporting
    the failure by another event would never end.
    """

    def __init__(self, folder: OutputFolder, events: EventLog) -> None:
        self._lock = threading.Lock()
        self._lines: JsonLines | None = JsonLines(folder.claim(EVENTS_NAME))
        for early in events.recent():
            self._write(early)
        self._forget = events.subscribe(self._write)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._forget()
        with self._lock:
            if self._lines is not None:
                self._lines.close()
                self._lines = None

    def _write(self, event: Event) -> None:
        with self._lock:
            if self._lines is None:
                return
            try:
                self._lines.append(event.to_dict())
            except OutputError:
                self._lines.close()
                self._lines = None


class Snapshots(PassiveSink):
    """Keeps the newest result and writes it on request."""

    name = "snapshots"

    def __init__(
        self, folder: OutputFolder, events: EventLog, max_age_ms: float | None = None
    ) -> None:
        self._folder, self._events, self._max_age_ms = folder, events, max_age_ms
        self._newest: FrameResult | None = None

    def write(self, result: FrameResult) -> None:
        """Take the next result."""
        self._newest = result

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> Path | None:
        """Write the newest result: the frame, the overlay, and its line of `frames.jsonl`.

        No run removes or replaces a snapshot.

        Returns:
            The overlay's path; None where there is no result yet, or only one that is too old.

        Raises:
            OutputError: it cannot be written.
        """
        result = self._newest
        if result is None or result.frame.is_older_than(self._max_age_ms):
            return None
        moment = datetime.fromtimestamp(result.frame.stamp_ns / 1e9, tz=timezone.utc)
        name = f"{moment:%Y%m%dT%H%M%S}_{result.frame.index:06d}"
        first = self._folder.keep(f"{SNAPSHOTS_NAME}/{name}.png")
        stem = _free_stem(first.parent, name)
        overlay = first.with_name(f"{stem}_overlay.png")
        write_png(first.with_name(f"{stem}.png"), result.frame.image)
        write_png(overlay, draw_overlay(result))
        text = json.dumps(frame_record(result), indent=2)
        write_atomic(first.with_name(f"{stem}.json"), text + "\n")
        self._events.emit("snapshot.taken", f"a snapshot is in {overlay}", frame=result.frame.index)
        return overlay


def _free_stem(folder: Path, stem: str) -> str:
    """A free name; a recording that is replayed shows the same frame at the same time again."""
    names = (stem if number == 1 else f"{stem}_{number}" for number in count(1))
    return next(name for name in names if not any(folder.glob(f"{name}[._]*")))


def result_patterns(kinds: Sequence[str]) -> list[str]:
    """What outputs of these kinds write, and `summary.json`, as patterns relative to their folder.

    Args:
        kinds: of `overlay`, `mask`, `prob`, `jsonl`, `widths`; each once.

    Raises:
        ConfigError: a kind is unknown or given twice.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ConfigError(f"unknown output {unknown[0]!r}", f"give some of {', '.join(KINDS)}")
    if len(set(kinds)) != len(kinds):
        raise ConfigError(f"the outputs {', '.join(kinds)} repeat", "give each one once")
    return [*(KINDS[kind] for kind in kinds), SUMMARY_NAME]


def open_sinks(kinds: Sequence[str], out: Path, frame_rate_hz: float | None = None) -> list[Sink]:
    """Open the sinks for `kinds` in a folder that no other run has; see `sinks_in`.

    A stream takes its folder with `output_place.take_place`, which finds a free one.

    Raises:
        ConfigError: a kind is unknown or given twice.
        OutputError: the folder cannot be written, or has foreign files under the names of results.
    """
    patterns = result_patterns(kinds)
    folder = OutputFolder(out)
    folder.refuse_foreign(patterns)
    return sinks_in(folder, kinds, frame_rate_hz)


def sinks_in(
    folder: OutputFolder,
    kinds: Sequence[str],
    frame_rate_hz: float | None = None,
    *,
    scale: FrameScale | None = None,
    width_listeners: Sequence[WidthListener] = (),
    newest_widths: Callable[[], Mapping[str, Any] | None] | None = None,
) -> list[Sink]:
    """Open the sinks for `kinds`.

    Args:
        folder: where nothing of `result_patterns(kinds)` is in the way.
        kinds: of `overlay`, `mask`, `prob`, `jsonl`, `widths`; each once.
        frame_rate_hz: of the overlay video; None gives 10 frames per second.
        scale: finds the scale of frames for `widths`; None measures in pixels.
        width_listeners: called for each measured frame.
        newest_widths: figures of the newest measured frame, for `frames.jsonl`.

    Raises:
        OutputError: a file cannot be made.
    """
    sinks: list[Sink] = []
    for kind in kinds:
        if kind == "overlay":
            sinks.append(OverlaySink(folder, frame_rate_hz))
        elif kind == "mask":
            sinks.append(MaskSink(folder))
        elif kind == "prob":
            sinks.append(ProbabilitySink(folder))
        elif kind == "widths":
            sinks.append(WidthSink(folder, scale, width_listeners))
        else:
            sinks.append(JsonlSink(folder, newest_widths))
    return sinks
