"""Positions that another program on this machine sends: lines of JSON on a UDP port.

    {"t": 1735689600.25, "x": 1.5, "y": 0.2, "z": 0.0, "qx": 0, "qy": 0, "qz": 0, "qw": 1}
    {"t_ns": 1735689600250000000, "lat": 52.520008, "lon": 13.404954, "alt": 34.0}
    {"t": 1735689600.25, "range": 1.482, "range_u": 0.004}

A driver, a bridge from ROS 1 or MAVLink or a script can send them, from this machine only, since
whoever can send here can move every finding. `t` is Unix time in seconds, `t_ns` the same in
nanoseconds; without either, the time of arrival counts. A line has a pose (x and y, and z where it
is not 0), a fix (lat and lon, optionally alt), a range (metres from the camera to the surface,
optionally with `range_u`, its standard uncertainty in metres), or several of these; the orientation
has all four numbers or none. Other keys are ignored.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from edgecrack.closeable import Closeable
from edgecrack.errors import ConfigError, SourceError
from edgecrack.outside_text import parse_json
from edgecrack.runtime.frame import Position
from edgecrack.runtime.position.interpolate import PositionTrack, Quaternion, StrangeTimeError
from edgecrack.runtime.telemetry.events import EventLog, Level

SILENCE_S = 5.0
EPISODE_S = 10.0
# No frame is older than this when its position is looked up.
OLDEST_S = 60.0
MAX_LINES = 256
MAX_LINE_BYTES = 4_096
_QUATERNION = ("qx", "qy", "qz", "qw")
_DATAGRAM_BYTES = 65_536
_POLL_S = 0.2
_JOIN_S = 2.0
_REMEDY = "give udp://127.0.0.1:PORT with a port of 1 to 65535"


class PositionLine(NamedTuple):
    """The content of a line.

    Attributes:
        time_ns: wall clock, None where the line has no time.
        xyz_m: position in the odometry's frame.
        quaternion_xyzw: orientation in it.
        fix: latitude and longitude in degrees, altitude in metres or None.
        range_m: from the camera to the surface.
        range_deviation_m: standard uncertainty of the range.
    """

    time_ns: int | None
    xyz_m: tuple[float, float, float] | None
    quaternion_xyzw: tuple[float, float, float, float] | None
    fix: tuple[float, float, float | None] | None
    range_m: float | None = None
    range_deviation_m: float | None = None


def parse_line(line: bytes) -> PositionLine:
    """Parse one line; the track checks the ranges of its numbers.

    Raises:
        ValueError: the line is not as described above; the message says why.
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
    place = _all_or_none(values, "x", "y")
    return None if place is None else (place[0], place[1], _number(values, "z") or 0.0)


def _turn(values: dict[str, Any]) -> Quaternion | None:
    turn = _all_or_none(values, *_QUATERNION)
    return None if turn is None else (turn[0], turn[1], turn[2], turn[3])


def _fix(values: dict[str, Any]) -> tuple[float, float, float | None] | None:
    place = _all_or_none(values, "lat", "lon")
    return None if place is None else (place[0], place[1], _number(values, "alt"))


def _range(values: dict[str, Any]) -> tuple[float | None, float | None]:
    range_m, deviation_m = _number(values, "range"), _number(values, "range_u")
    if range_m is None and deviation_m is not None:
        raise ValueError("range_u without range")
    return range_m, deviation_m


def _all_or_none(values: dict[str, Any], *names: str) -> list[float] | None:
    """The numbers of these names; None where the line has none of them."""
    numbers = [_number(values, name) for name in names]
    found = [number for number in numbers if number is not None]
    if found and len(found) < len(names):
        raise ValueError(f"not all of {', '.join(names)}")
    return found or None


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


class UdpPositions(Closeable):
    """Positions received on a UDP port of the loopback interface.

    A line that cannot be parsed is counted and reported once; it is never an error, since the
    sender may be fixed while the stream runs.

    Args:
        host: 127.0.0.1 or another address of the loopback, ::1, or localhost.
        port: 0 takes any free one.
        events: notified when positions begin or stop to arrive, and of refused lines.
        track: receives the samples; None makes one.
        silence_s: after this time without a sample, positions count as lost.
        clock_ns: this machine's wall clock; tests replace it.

    Attributes:
        accepted: lines accepted so far.
        rejected: lines refused so far: malformed, out of range, far too late or ahead of the clock.

    Raises:
        ConfigError: the host is not the loopback.
        SourceError: the port is in use or may not be opened.
    """

    def __init__(
        self,
        host: str,
        port: int,
        events: EventLog | None = None,
        track: PositionTrack | None = None,
        silence_s: float = SILENCE_S,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._events, self._track = events or EventLog(), track or PositionTrack()
        self._silence_s, self._clock_ns = silence_s, clock_ns
        self.accepted = self.rejected = 0
        self._last_said_s: dict[str, float] = {}
        self._is_heard: bool | None = None
        self._last_sample_s = time.monotonic()
        self._closing = threading.Event()
        self._socket = _bind(_loopback(host), port)
        bound = self._socket.getsockname()
        self.port = int(bound[1])
        self.address = f"udp://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{self.port}"
        self._thread = threading.Thread(target=self._run, name="edgecrack-position", daemon=True)
        self._thread.start()

    def locate(self, time_ns: int) -> Position | None:
        """The position at a moment; None if none is known near it. Never waits."""
        return self._track.locate(time_ns)

    def close(self) -> None:
        """Close the port; may be called twice."""
        self._closing.set()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                try:
                    datagram = self._socket.recv(_DATAGRAM_BYTES)
                except TimeoutError:
                    pass
                else:
                    self._take(datagram, self._clock_ns())
                self._note_silence()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            self._report("failed", f"on {self.address} are no longer read: {reason}", "error")
        finally:
            self._socket.close()

    def _take(self, datagram: bytes, arrival_ns: int) -> None:
        lines = [line for line in datagram.split(b"\n", MAX_LINES) if line.strip()]
        for line in lines[:MAX_LINES]:
            try:
                self._take_line(line, arrival_ns)
            except StrangeTimeError as error:
                self._reject_time(error.ahead_s)
            except ValueError as error:
                self._reject_line(str(error))
        if len(lines) > MAX_LINES:
            self._reject_line(f"a datagram of more than {MAX_LINES} lines")

    def _take_line(self, line: bytes, arrival_ns: int) -> None:
        sample = parse_line(line)._asdict()
        time_ns = sample.pop("time_ns")
        time_ns = arrival_ns if time_ns is None else time_ns
        oldest_ns = int(OLDEST_S * 1e9)
        if not self._track.add(time_ns, **sample, now_ns=arrival_ns, oldest_ns=oldest_ns):
            raise ValueError("a sample more than two seconds older than the one before")
        self._note_sample()

    def _note_sample(self) -> None:
        self.accepted += 1
        self._last_sample_s = time.monotonic()
        if not self._is_heard:
            self._is_heard = True
            self._report("heard", f"arrive on {self.address}", "info")

    def _note_silence(self) -> None:
        silent_s = time.monotonic() - self._last_sample_s
        if silent_s >= self._silence_s and self._is_heard is not False:
            has_come, self._is_heard = self._is_heard is True, False
            what = "no longer arrive" if has_come else "have not arrived yet"
            self._report("lost", f"{what} on {self.address} ({silent_s:.0f} s)", "warning")

    def _report(self, kind: str, what: str, level: Level) -> None:
        self._events.emit(f"position.{kind}", f"positions {what}", level, address=self.address)

    def _reject(self, kind: str, message: str, **data: str | float) -> None:
        """Count a sample that is refused, and report it unless that was done a moment ago."""
        self.rejected += 1
        if self._is_news(kind):
            self._events.emit(kind, message, "warning", **data, rejected=self.rejected)

    def _reject_line(self, why: str) -> None:
        message = f"refused {why[:120]}, sent to {self.address}"
        self._reject("position.rejected", message, address=self.address)

    def _reject_time(self, ahead_s: float) -> None:
        """Refuse a sample that fits no frame and would make true ones look late."""
        self._reject(
            "position.clock",
            f"refused a position on {self.address} whose time is {abs(ahead_s):.0f} s "
            f"{'after' if ahead_s > 0 else 'before'} this machine's clock, so no frame fits; "
            "send Unix time (t in seconds, t_ns in nanoseconds), or none",
            ahead_s=round(ahead_s, 3),
        )

    def _is_news(self, what: str) -> bool:
        """Whether this has not happened for a while; an episode is reported once."""
        now_s = time.monotonic()
        last_s = self._last_said_s.get(what)
        self._last_said_s[what] = now_s
        return last_s is None or now_s - last_s > EPISODE_S


def open_udp(address: str, events: EventLog) -> UdpPositions:
    """Listen on `udp://127.0.0.1:PORT`.

    Raises:
        ConfigError: the address is not of this form, or not of this machine alone.
        SourceError: as `UdpPositions`.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"the position source {address} has no valid port", _REMEDY) from error
    if not host or not port or parts.path.strip("/") or parts.query or parts.username:
        raise ConfigError(f"the position source {address} is not supported", _REMEDY)
    return UdpPositions(host, port, events)


def _loopback(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise ConfigError(
        f"positions would be taken from the network, on {host}",
        "give udp://127.0.0.1:PORT and relay them on this machine",
    )


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.bind((host, port))
    except OSError as error:
        opened.close()
        remedy = {
            errno.EADDRINUSE: "stop the other program, or give another port",
            errno.EACCES: "give a port above 1023",
        }.get(error.errno or 0, "give another port")
        raise SourceError(
            f"cannot listen for positions on UDP port {port}: {error.strerror}", remedy
        ) from error
    opened.settimeout(_POLL_S)
    return opened
