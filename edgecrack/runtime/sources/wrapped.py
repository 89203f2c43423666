"""What sources that change another one's frames have in common: all that they leave as it is."""

from __future__ import annotations

from typing import Any

from edgecrack.closeable import Closeable
from edgecrack.runtime.sources.base import Source


class WrappedSource(Closeable):
    """Another source; also what only some sources know (`note`, `unreadable`, `size_changes`).

    Such a thing is there exactly where the other source has it, so that nothing it has to tell
    is lost and nothing is claimed for it.

    Args:
        source: opened; this one owns it from now on.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.live = source.live
        self.name = source.name

    @property
    def frame_rate_hz(self) -> float | None:
        """Frames per second, None if unknown."""
        return self._source.frame_rate_hz

    @property
    def frame_count(self) -> int | None:
        """Number of frames, None if unknown."""
        return self._source.frame_count

    @property
    def corrupt_frames(self) -> int:
        """Frames so far that arrived damaged and were left out."""
        return self._source.corrupt_frames

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # as before __init__ has run
            raise AttributeError(name)
        return getattr(self._source, name)
