"""A live source whose pictures were taken some time before they arrive, as its user measured."""

from __future__ import annotations

from dataclasses import replace

from edgecrack.runtime.closing import ClosesItself
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.source import Source


class DelayedSource(ClosesItself):
    """Another live source's frames, dated back by a delay unless they carry a time of their own.

    Args:
        source: opened and live; this one owns it from now on.
        delay_ms: from light to arrival here.
    """

    live = True
    frame_count: int | None = None

    def __init__(self, source: Source, delay_ms: float) -> None:
        self._source = source
        self._delay_ns = round(delay_ms * 1e6)
        self.name = source.name

    @property
    def frame_rate_hz(self) -> float | None:
        """Frames per second, None if unknown."""
        return self._source.frame_rate_hz

    @property
    def passed_over(self) -> int:
        """Frames so far that were left out for a newer one."""
        return int(getattr(self._source, "passed_over", 0))

    @property
    def corrupt_frames(self) -> int:
        """Frames so far that arrived damaged and were left out."""
        return self._source.corrupt_frames

    def read(self) -> Frame | None:
        """The next frame, dated back.

        Raises:
            SourceError: as the source does.
        """
        frame = self._source.read()
        if frame is None or frame.time_source != "arrival" or frame.capture_time_ns is None:
            return frame
        return replace(
            frame,
            capture_time_ns=frame.capture_time_ns - self._delay_ns,
            monotonic_ns=frame.monotonic_ns - self._delay_ns,
        )

    def close(self) -> None:
        """Close the source."""
        self._source.close()
