"""Where the robot was when a frame was taken.

Plain records and what interpolates between two of them; knows no socket, file or frame.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Position:
    """Where the robot was at one moment; what is not known is None.

    Attributes:
        time_ns: wall clock of the moment, as in `Frame.capture_time_ns`.
        gap_ms: to the nearest measured sample; 0 at a sample itself. How far interpolation went.
        xyz_m: position in the odometry's frame.
        quaternion_xyzw: orientation in that frame, of length 1.
        latitude_deg: WGS 84, -90 to 90.
        longitude_deg: WGS 84, -180 to 180.
        altitude_m: above the ellipsoid.
        distance_m: length of the path driven since the first sample.
    """

    time_ns: int
    gap_ms: float = 0.0
    xyz_m: tuple[float, float, float] | None = None
    quaternion_xyzw: tuple[float, float, float, float] | None = None
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    altitude_m: float | None = None
    distance_m: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None where something is not known."""
        return asdict(self)


class PositionSource(Protocol):
    """Says where the robot was."""

    def locate(self, time_ns: int) -> Position | None:
        """The position at a moment; None if none is known near it. Never waits."""
        ...

    def close(self) -> None:
        """Let go of the socket or file; may be called twice."""
        ...


def describe_position(position: Position | None) -> str:
    """Where that is, in a few words for a caption; empty where nothing is known.

    The place on the earth where there is one, otherwise the distance driven, otherwise the place
    in the odometry's frame.
    """
    if position is None:
        return ""
    if position.latitude_deg is not None and position.longitude_deg is not None:
        # Plus zero, for a minus before zeros tells nobody anything.
        latitude, longitude = (
            round(angle, 6) + 0.0 for angle in (position.latitude_deg, position.longitude_deg)
        )
        return f"{latitude:.6f}, {longitude:.6f}"
    if position.distance_m is not None:
        return f"distance {round(position.distance_m, 1) + 0.0:.1f} m"
    if position.xyz_m is not None:
        x, y, z = (round(value, 1) + 0.0 for value in position.xyz_m)
        return f"x {x:.1f} y {y:.1f} z {z:.1f} m"
    return ""
