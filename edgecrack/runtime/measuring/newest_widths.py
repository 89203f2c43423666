"""The newest measured frame, between the measuring thread and the page's."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from edgecrack.runtime.frame import FrameResult


class NewestWidths:
    """Keeps a few words of the newest record; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._record: Mapping[str, Any] | None = None
        self._taken_ns: int | None = None

    def take(self, result: FrameResult, record: Mapping[str, Any]) -> None:
        """Take a record in place of the one before; never waits."""
        with self._lock:
            self._record = record
            self._taken_ns = result.frame.monotonic_ns if result.frame.live else None

    def brief(self) -> dict[str, Any] | None:
        """What a page says of it; None before the first.

        `age_ms` is that of the picture, which may lie well behind the newest one; None for
        recordings.
        """
        with self._lock:
            record, taken_ns = self._record, self._taken_ns
        if record is None:
            return None
        from edgecrack.runtime.measuring.width_record import brief_record

        age_ms = None if taken_ns is None else max(0, time.monotonic_ns() - taken_ns) // 1_000_000
        return {**brief_record(record), "age_ms": age_ms}

    def figures(self) -> dict[str, Any] | None:
        """What `frames.jsonl` says of it: the frame that was measured, and its cracks' figures.

        None before the first.
        """
        with self._lock:
            record = self._record
        if record is None:
            return None
        scale = record["scale"]
        return {
            "frame": record["frame"],
            "verdict": record["fitness"]["verdict"],
            "mm_per_px": None if scale is None else scale["mm_per_px"],
            "cracks": [
                {
                    "box": crack["box"],
                    "length_px": crack["length_px"],
                    "length_mm": crack["length_mm"] and crack["length_mm"]["value_mm"],
                    "width_px": crack["width"]["mean"],
                    "width_mm": crack["width_mm"] and crack["width_mm"]["mean"],
                }
                for crack in record["cracks"]
            ],
        }
