"""`widths.jsonl`: how long and how wide each crack of a frame is, in pixels.

Measuring takes longer than detecting does on a GPU, so it runs in a thread of its own and after
everything else: of a live source it takes the newest frame when it is free, and leaves out those
between. Of a recording it takes every frame.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from edgecrack.measurement.cracks import Crack, Statistic, measure_image
from edgecrack.measurement.fitness import assess
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.handoff import Abandoned, Handoff
from edgecrack.runtime.outputs.json_lines import JsonLines
from edgecrack.runtime.outputs.output_folder import OutputFolder

WIDTHS_SCHEMA_VERSION = 1
_POLITENESS = 10  # in the scheduler's eyes; the stream's own threads come first
_PATIENCE_S = 60.0
_DIGITS = 3


class WidthSink:
    """Writes a line per measured frame.

    Args:
        folder: of the results.
    """

    name = "widths"

    def __init__(self, folder: OutputFolder) -> None:
        self._lines = JsonLines(folder.claim("widths.jsonl"))
        self._taken: Handoff[FrameResult] | None = None
        self._thread = threading.Thread(target=self._run, name="edgecrack-widths", daemon=True)

    @property
    def left_out(self) -> int:
        """Frames of a live source that were replaced by newer ones before they were measured."""
        return 0 if self._taken is None else self._taken.replaced

    def write(self, result: FrameResult) -> None:
        """Hand a frame over; waits for the one before where the source is a recording.

        Raises:
            OutputError: an earlier line could not be written.
        """
        if self._taken is None:
            self._taken = Handoff(1, keep_newest=result.frame.live)
            self._thread.start()
        with suppress(Abandoned):
            self._taken.put(result)

    def close(self) -> None:
        """Measure what waits, and close the file.

        Raises:
            OutputError: a line could not be written.
        """
        if self._taken is not None:
            self._taken.finish()
            self._thread.join(_PATIENCE_S)
        self._lines.close()
        if self._taken is not None:
            with suppress(Abandoned):
                self._taken.check()

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # where threads have no priority of their own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _POLITENESS)
        results = self._taken
        if results is None:
            return
        try:
            while (result := results.get()) is not None:
                self._lines.append(width_record(result))
        except BaseException as error:
            results.abandon(error)


def width_record(result: FrameResult) -> dict[str, Any]:
    """What `widths.jsonl` says of one frame; see edgecrack/schemas/width.schema.json."""
    cracks = measure_image(result.frame.image, result.probability, threshold=result.threshold)
    return {
        "schema_version": WIDTHS_SCHEMA_VERSION,
        "frame": result.frame.index,
        "name": result.frame.name,
        "fitness": {
            key: _rounded(value) for key, value in asdict(assess(result.frame.image)).items()
        },
        "cracks": [_crack_record(crack) for crack in cracks],
    }


def _crack_record(crack: Crack) -> dict[str, Any]:
    return {
        "box": list(crack.xyxy),
        "length_px": _rounded(crack.length_px),
        "area_px": crack.area_px,
        "orientation_deg": _rounded(crack.orientation_deg),
        "confidence": _rounded(crack.confidence),
        "lines": [line.simplified().round(1).tolist() for line in crack.lines],
        "width": {
            name: _statistic(getattr(crack, name))
            for name in ("mean", "median", "percentile_95", "largest")
        },
        "rows": len(crack.rows),
        "refused": crack.refused,
    }


def _statistic(found: Statistic | None) -> dict[str, Any] | None:
    return None if found is None else {key: _rounded(value) for key, value in asdict(found).items()}


def _rounded(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, float) else value
