"""`widths.jsonl`: how long and how wide each crack of a frame is, in pixels and millimetres."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.measuring.frame_scale import FrameScale
from edgecrack.runtime.measuring.measuring_thread import MeasuringThread
from edgecrack.runtime.measuring.width_record import WIDTHS_SCHEMA_VERSION, width_record
from edgecrack.runtime.outputs.json_lines import JsonLines
from edgecrack.runtime.outputs.output_folder import OutputFolder

__all__ = ["WIDTHS_SCHEMA_VERSION", "WidthListener", "WidthSink", "width_record"]

# Hears of each measured frame, in the measuring thread; must not wait or raise.
WidthListener = Callable[[FrameResult, Mapping[str, Any]], None]


class WidthSink:
    """Writes a line per measured frame.

    Args:
        folder: of the results.
        scale: finds the scale of frames; None leaves all in pixels.
        listeners: hear of each line.
    """

    name = "widths"

    def __init__(
        self,
        folder: OutputFolder,
        scale: FrameScale | None = None,
        listeners: Sequence[WidthListener] = (),
    ) -> None:
        self._lines = JsonLines(folder.claim("widths.jsonl"))
        self._scale, self._listeners = scale, tuple(listeners)
        self._thread = MeasuringThread(self._measure)

    @property
    def left_out(self) -> int:
        """Frames of a live source that were replaced by newer ones before they were measured."""
        return self._thread.left_out

    def write(self, result: FrameResult) -> None:
        """Hand a frame over; waits for the one before where the source is a recording.

        Raises:
            OutputError: an earlier line could not be written.
        """
        self._thread.put(result)

    def close(self) -> None:
        """Measure what waits, and close the file.

        Raises:
            OutputError: a line could not be written.
        """
        self._thread.finish()
        self._lines.close()
        self._thread.check()

    def _measure(self, result: FrameResult) -> None:
        record = width_record(result, self._scale)
        self._lines.append(record)
        for listener in self._listeners:
            listener(result, record)
