"""Outputs that a live stream has besides files per frame: events and snapshots.

Each takes results in the writer thread. Knows the folder of results; must not know the page.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

from edgecrack.errors import OutputError
from edgecrack.files import write_atomic, write_png
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.outputs.json_lines import JsonLines
from edgecrack.runtime.outputs.output_folder import SNAPSHOTS_NAME, OutputFolder
from edgecrack.runtime.outputs.overlay import draw_overlay
from edgecrack.runtime.outputs.sinks import PassiveSink, frame_record
from edgecrack.runtime.telemetry.events import Event, EventLog

EVENTS_NAME = "events.jsonl"


class EventsFile:
    """`events.jsonl`: one JSON object per event, those from before it was opened included.

    A file that cannot be written any more is left as it is: events still reach the log, and
    telling of the failure by another event would never end.
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
    """Keeps the newest result, and writes it when a person asks for it."""

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
        """Write the newest result: the frame, the overlay, and what is known of it.

        No run removes or replaces a snapshot: somebody chose to keep it.

        Returns:
            The overlay's path; None where there is no result yet, or only one that is older than
            results may be.

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
    """A recording that is replayed shows the same frame at the same time again."""
    names = (stem if number == 1 else f"{stem}_{number}" for number in count(1))
    return next(name for name in names if not any(folder.glob(f"{name}[._]*")))
