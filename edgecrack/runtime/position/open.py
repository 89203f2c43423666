"""Sources of positions, opened by their address."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edgecrack.errors import ConfigError
from edgecrack.runtime.frame import Position
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.terminal.redaction import redact

_KINDS = "give udp://127.0.0.1:PORT, or recording for those of the recording that is replayed"


class PositionSource(Protocol):
    """The robot's positions over time."""

    def locate(self, time_ns: int) -> Position | None:
        """The position at a moment; None if none is known near it. Never waits."""
        ...

    def close(self) -> None:
        """Release the socket or file; may be called twice."""
        ...


def open_positions(
    address: str, source_address: str, events: EventLog, *, needs_range: bool = False
) -> PositionSource:
    """Open a source of positions.

    Args:
        address: `udp://127.0.0.1:PORT`, lines of JSON as in `udp`; `recording`, the positions in
            the MCAP recording that is the source of images; or `recording:/odom,/fix` to name the
            topics.
        source_address: the source of images.
        events: notified when positions begin, stop or are refused.
        needs_range: a recording without ranges is refused.

    Raises:
        ConfigError: the address is of no known kind, not of this machine, or names a recording
            where none is replayed.
        SourceError: the port is in use, the recording has no such positions, or is of an
            unsupported kind.
        MissingDependencyError: the extra "record" is not installed.
    """
    address = address.strip()
    if address.lower().startswith("udp://"):
        from edgecrack.runtime.position.udp import open_udp

        return open_udp(address, events)
    kind, colon, names = address.partition(":")
    if kind != "recording":
        raise ConfigError(f"the position source is {address!r}", _KINDS)
    topics = [name.strip() for name in names.split(",") if name.strip()]
    if colon and not topics:
        raise ConfigError(f"the position source {address!r} names no topic", "give recording:/odom")
    # Imported here: reading the images of a recording needs cv2, which UDP does not.
    from edgecrack.mcap.locating import recording_at

    recording = recording_at(_path(source_address))
    if recording is None:
        raise ConfigError(
            f"`position` is recording, but the source is {redact(source_address)}",
            "replay an .mcap file, or give udp://127.0.0.1:PORT",
        )
    from edgecrack.runtime.position.replay import recorded_positions

    return recorded_positions(recording, topics or None, needs_range=needs_range)


def _path(address: str) -> Path:
    try:
        return Path(address).expanduser()
    except RuntimeError:  # there is no such user, which opening the source reports
        return Path(address)
