"""What a source of frames is to a stream.

A source delivers frames and says what it knows of itself; it does not drop, resize or preprocess.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from edgecrack.runtime.frame import Frame


class Source(Protocol):
    """Delivers frames one by one.

    Attributes:
        live: frames that are not taken in time are gone: a camera or a network stream. Such
            a source never ends by itself; when it stops, `read` raises.
        name: what to call it in messages and results; never holds credentials.
        frame_rate_hz: frames per second of the recording or camera, None if unknown.
        frame_count: frames in the recording or folder, None if unknown or endless.
        corrupt_frames: frames so far that arrived damaged and were left out.
    """

    @property
    def live(self) -> bool:
        """Whether frames that are not taken in time are gone."""
        ...

    @property
    def name(self) -> str:
        """The source's name, without credentials."""
        ...

    @property
    def frame_rate_hz(self) -> float | None:
        """Frames per second, None if unknown."""
        ...

    @property
    def frame_count(self) -> int | None:
        """Number of frames, None if unknown."""
        ...

    @property
    def corrupt_frames(self) -> int:
        """Frames so far that arrived damaged and were left out."""
        ...

    def read(self) -> Frame | None:
        """The next frame, or None at the end of a recording.

        Waits no longer than the options' timeout.

        Raises:
            SourceError: the frame cannot be read, or a live source stopped.
        """
        ...

    def close(self) -> None:
        """Let go of the device or file. May be called twice and from another thread."""
        ...

    def __enter__(self) -> Source:
        """The source itself; leaving the block closes it."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        ...
