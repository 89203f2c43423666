"""What a source of positions is to a stream."""

from __future__ import annotations

from typing import Protocol

from edgecrack.runtime.frame import Position


class PositionSource(Protocol):
    """Says where the robot was."""

    def locate(self, time_ns: int) -> Position | None:
        """The position at a moment; None if none is known near it. Never waits."""
        ...

    def close(self) -> None:
        """Let go of the socket or file; may be called twice."""
        ...
