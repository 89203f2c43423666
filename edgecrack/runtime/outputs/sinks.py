"""Where results go, frame by frame: masks, probability maps, JSON lines, overlay video.

Each sink owns its files and leaves them usable whenever it is closed. Sinks run in the
stream's writer thread; they must not know sources or models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgecrack.errors import ConfigError
from edgecrack.files import write_atomic, write_png
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.outputs.json_lines import JsonLines
from edgecrack.runtime.outputs.output_folder import SUMMARY_NAME, OutputFolder

if TYPE_CHECKING:
    from edgecrack.runtime.measuring.frame_scale import FrameScale
    from edgecrack.runtime.outputs.widths import WidthListener

# Raised when a field of `frame_record` is taken away, renamed or given another meaning; a new
# field leaves it as it is. docs/migration.md tells what changed.
FRAME_SCHEMA_VERSION = 3


class Sink(Protocol):
    """Takes results, in order, from one thread.

    Attributes:
        name: what to call it in an error.
    """

    @property
    def name(self) -> str:
        """What to call it in an error."""
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
    """A sink that is no reason to go on: a live stream ends when all its others have failed."""


class MaskSink:
    """`masks/NAME.png`: 255 on crack, 0 elsewhere."""

    name = "mask"

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder

    def write(self, result: FrameResult) -> None:
        """Write one mask, whole or not at all."""
        path = self._folder.claim(f"masks/{result.frame.name}.png")
        write_atomic(path, result.mask_png(), durable=False)

    def close(self) -> None:
        """Nothing is open between frames."""


class ProbabilitySink:
    """`prob/NAME.png`: 255 = certain crack, before threshold and speck removal."""

    name = "prob"

    def __init__(self, folder: OutputFolder) -> None:
        self._folder = folder

    def write(self, result: FrameResult) -> None:
        """Write one probability map, whole or not at all."""
        path = self._folder.claim(f"prob/{result.frame.name}.png")
        write_png(path, result.probability, durable=False)

    def close(self) -> None:
        """Nothing is open between frames."""


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
    """What `frames.jsonl` says of one frame.

    Boxes are [left, top, right, bottom, area] in pixels, right and bottom exclusive, largest
    area first. Lines are lists of [x, y] in pixels along the middle of cracks, longest first.
    `captured_at` is null where nobody knows when the picture was taken.
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


# What each kind writes, relative to the output folder.
KINDS = {
    "overlay": "overlay*.mp4",
    "mask": "masks/*.png",
    "prob": "prob/*.png",
    "jsonl": "frames.jsonl",
    "widths": "widths.jsonl",
}


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

    A stream takes its folder with `output_place.take_folder`, which finds one that is free.

    Raises:
        ConfigError: a kind is unknown or given twice.
        OutputError: the folder cannot be written, or holds foreign files where results
            would go.
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
        width_listeners: hear of each measured frame.
        newest_widths: figures of the newest measured frame, for `frames.jsonl`.

    Raises:
        OutputError: a file cannot be made.
    """
    from edgecrack.runtime.outputs.overlay_video import OverlaySink
    from edgecrack.runtime.outputs.widths import WidthSink

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
