"""A live source whose pictures were taken some time before they arrive, as its user measured."""

from __future__ import annotations

from dataclasses import replace

from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.wrapped import WrappedSource


class DelayedSource(WrappedSource):
    """Another live source's frames, dated back by a delay unless they carry a time of their own.

    Args:
        source: opened and live; this one owns it from now on.
        delay_ms: from light to arrival here.
    """

    def __init__(self, source: Source, delay_ms: float) -> None:
        super().__init__(source)
        self._delay_ns = round(delay_ms * 1e6)

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
