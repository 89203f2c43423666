"""One line of JSON that says where the robot is.

    {"t": 1735689600.25, "x": 1.5, "y": 0.2, "z": 0.0, "qx": 0, "qy": 0, "qz": 0, "qw": 1}
    {"t_ns": 1735689600250000000, "lat": 52.520008, "lon": 13.404954, "alt": 34.0}
    {"t": 1735689600.25, "range": 1.482, "range_u": 0.004}

`t` is Unix time in seconds, `t_ns` the same in nanoseconds; without either, the line counts from
its arrival. A line has a pose (x and y, and z where it is not 0), a fix (lat and lon, perhaps
alt), a range (metres from the camera to what it looks at, perhaps with `range_u`, its standard
uncertainty in metres), or several of these; the orientation is given with all four numbers or not
at all. Other keys are left out. Knows text only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from edgecrack.outside_text import parse_json

MAX_LINE_BYTES = 4_096
_QUATERNION = ("qx", "qy", "qz", "qw")


class PositionLine(NamedTuple):
    """What a line says.

    Attributes:
        time_ns: wall clock, None where the line has no time.
        xyz_m: position in the odometry's frame.
        quaternion_xyzw: orientation in it.
        fix: latitude and longitude in degrees, altitude in metres or None.
        range_m: from the camera to what it looks at.
        range_deviation_m: standard uncertainty of the range.
    """

    time_ns: int | None
    xyz_m: tuple[float, float, float] | None
    quaternion_xyzw: tuple[float, float, float, float] | None
    fix: tuple[float, float, float | None] | None
    range_m: float | None = None
    range_deviation_m: float | None = None


def parse_line(line: bytes) -> PositionLine:
    """Read one line. Ranges are the track's to check.

    Raises:
        ValueError: it is no such line; the text says why, for a person.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"a line of {len(line)} bytes")
    try:
        values = parse_json(line)
    except ValueError as error:
        raise ValueError("a line that is not JSON") from error
    if not isinstance(values, dict):
        raise ValueError("a line that is not a JSON object")
    found = PositionLine(_time(values), _xyz(values), _turn(values), _fix(values), *_range(values))
    if found.xyz_m is None and found.fix is None and found.range_m is None:
        raise ValueError("a line with neither x and y nor lat and lon nor a range")
    return found


def _time(values: dict[str, Any]) -> int | None:
    exact = values.get("t_ns")
    if exact is not None:
        if isinstance(exact, bool) or not isinstance(exact, int):
            raise ValueError("t_ns is not a whole number")
        return exact
    seconds = _number(values, "t")
    if seconds is None:
        return None
    if not 0 <= seconds < 2**63 / 1e9:
        raise ValueError(f"t is {seconds}")
    whole = int(seconds)
    return whole * 10**9 + round((seconds - whole) * 1e9)


def _xyz(values: dict[str, Any]) -> tuple[float, float, float] | None:
    x, y, z = (_number(values, name) for name in "xyz")
    if x is None and y is None:
        return None
    if x is None or y is None:
        raise ValueError("only one of x and y")
    return x, y, 0.0 if z is None else z


def _turn(values: dict[str, Any]) -> tuple[float, float, float, float] | None:
    x, y, z, w = (_number(values, name) for name in _QUATERNION)
    if x is None and y is None and z is None and w is None:
        return None
    if x is None or y is None or z is None or w is None:
        raise ValueError(f"not all of {', '.join(_QUATERNION)}")
    return x, y, z, w


def _fix(values: dict[str, Any]) -> tuple[float, float, float | None] | None:
    latitude, longitude = _number(values, "lat"), _number(values, "lon")
    if latitude is None and longitude is None:
        return None
    if latitude is None or longitude is None:
        raise ValueError("only one of lat and lon")
    return latitude, longitude, _number(values, "alt")


def _range(values: dict[str, Any]) -> tuple[float | None, float | None]:
    range_m, deviation_m = _number(values, "range"), _number(values, "range_u")
    if range_m is None and deviation_m is not None:
        raise ValueError("range_u without range")
    return range_m, deviation_m


def _number(values: dict[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is not a number")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{name} is too large") from error
