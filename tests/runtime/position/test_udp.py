"""Positions over a real UDP port of the loopback: what is taken, refused, and said."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecrack.errors import ConfigError, SourceError
from edgecrack.runtime.position import udp
from edgecrack.runtime.position.interpolate import PositionTrack
from edgecrack.runtime.position.open import open_positions
from edgecrack.runtime.position.udp import PositionLine, UdpPositions, parse_line
from edgecrack.runtime.telemetry.events import EventLog
from tests.waiting import wait_until

T0 = 1_700_000_000


@pytest.fixture(autouse=True)
def quick_to_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver looks often whether it shall end, so that no test waits for that."""
    monkeypatch.setattr(udp, "_POLL_S", 0.01)


class Sender:
    """Sends to an open receiver, and knows what it said."""

    def __init__(self, **settings: Any) -> None:
        self.events = EventLog()
        self.now_s = float(T0)
        clock = {"clock_ns": lambda: int(self.now_s * 1e9), **settings}
        self.positions = UdpPositions("127.0.0.1", 0, self.events, **clock)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(self, *lines: Any) -> None:
        """One datagram, and wait until all of its lines are counted."""
        packed = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        before = self.positions.accepted + self.positions.rejected
        self._socket.sendto(b"\n".join(packed), ("127.0.0.1", self.positions.port))
        wait_until(
            lambda: self.positions.accepted + self.positions.rejected >= before + len(packed)
        )

    def said(self) -> list[str]:
        return [event.kind for event in self.events.recent()]

    def close(self) -> None:
        self.positions.close()
        self._socket.close()


@pytest.fixture
def sender() -> Iterator[Sender]:
    opened = Sender(track=PositionTrack(max_gap_ms=60_000.0))
    yield opened
    opened.close()


def test_poses_and_fixes_are_located_by_their_time(sender: Sender) -> None:
    sender.send({"t": T0, "x": 1, "y": 2, "qx": 0, "qy": 0, "qz": 0, "qw": 1})
    sender.send(
        {"t_ns": T0 * 10**9 + 10**8, "x": 2.0, "y": 2.0, "z": 1.0},
        {"t": T0 + 0.1, "lat": 52.5, "lon": 13.4, "alt": 34, "frame": "map"},
    )
    found = sender.positions.locate(T0 * 10**9 + 5 * 10**7)
    assert found is not None
    assert found.xyz_m == (1.5, 2.0, 0.5)
    assert found.quaternion_xyzw == (0.0, 0.0, 0.0, 1.0)
    assert (found.latitude_deg, found.longitude_deg, found.altitude_m) == (52.5, 13.4, 34.0)
    assert found.gap_ms == 50
    assert (sender.positions.accepted, sender.positions.rejected) == (3, 0)


def test_ranges_come_alone_or_with_a_pose(sender: Sender) -> None:
    sender.send({"t": T0, "range": 1.5, "range_u": 0.01})
    sender.send({"t": T0 + 0.1, "x": 1, "y": 2, "range": 1.7, "range_u": 0.03})
    found = sender.positions.locate(T0 * 10**9 + 5 * 10**7)
    assert found is not None
    assert found.range_m == pytest.approx(1.6)
    assert found.range_deviation_m == pytest.approx(0.02)
    assert (sender.positions.accepted, sender.positions.rejected) == (2, 0)
    sender.send({"t": T0 + 0.2, "range": 2.0})
    last = sender.positions.locate(T0 * 10**9 + 2 * 10**8)
    assert last is not None
    assert last.range_m == pytest.approx(2.0)
    assert last.range_deviation_m is None


def test_without_a_time_the_arrival_counts(sender: Sender) -> None:
    sender.send({"x": 1, "y": 2})
    found = sender.positions.locate(T0 * 10**9 + 10**8)
    assert found is not None
    assert (found.xyz_m, found.gap_ms) == ((1.0, 2.0, 0.0), 100.0)
    assert sender.said() == ["position.heard"]


BAD = [
    b"",
    b"not json",
    b"[1, 2]",
    b"3",
    b"\xff\xfe\x00",
    b'{"x": 1}',
    b'{"lat": 50.0}',
    b'{"t": 1.0}',
    b'{"x": "1", "y": 2}',
    b'{"x": true, "y": 2}',
    b'{"x": NaN, "y": 2}',
    b'{"x": Infinity, "y": 2}',
    b'{"x": 1e300, "y": 2}',
    b'{"x": 1e999, "y": 2}',
    b'{"x": 1' + b"0" * 400 + b', "y": 2}',
    b'{"x": 1' + b"0" * 4200 + b', "y": 2}',
    b'{"x": 1, "y": 2, "qx": 0}',
    b'{"x": 1, "y": 2, "qx": 0, "qy": 0, "qz": 0, "qw": 0}',
    b'{"lat": 91, "lon": 0}',
    b'{"range": 0}',
    b'{"range": -1.5}',
    b'{"range": NaN}',
    b'{"range": Infinity}',
    b'{"range": "1.5"}',
    b'{"range": 1e5}',
    b'{"range": 1.5, "range_u": -0.1}',
    b'{"range": 1.5, "range_u": 2}',
    b'{"range_u": 0.1}',
    b'{"x": 1, "y": 2, "range": -1}',
    b'{"lat": 50, "lon": 200}',
    b'{"x": 1, "y": 2, "lat": 50, "lon": 200}',
    b'{"lat": 50, "lon": 20, "alt": 1e9}',
    b'{"t": -1, "x": 1, "y": 2}',
    b'{"t": 1e30, "x": 1, "y": 2}',
    b'{"t": NaN, "x": 1, "y": 2}',
    b'{"t_ns": 1.5, "x": 1, "y": 2}',
    b'{"t_ns": 1' + b"0" * 30 + b', "x": 1, "y": 2}',
    b"[" * 4_000,
    b'{"x": 1, "y": 2, "note": "' + b"a" * 5_000 + b'"}',
]


def test_bad_lines_are_counted_said_once_and_change_nothing(sender: Sender) -> None:
    for line in BAD[1:]:
        sender.send(line)
    assert sender.positions.rejected == len(BAD) - 1
    assert sender.positions.accepted == 0
    assert sender.said() == ["position.rejected"]
    sender.send({"t": T0, "x": 5, "y": 6})
    found = sender.positions.locate(T0 * 10**9)
    assert found is not None
    assert (found.xyz_m, found.latitude_deg) == ((5.0, 6.0, 0.0), None)


def test_good_lines_beside_bad_ones_in_a_datagram_count(sender: Sender) -> None:
    sender.send(b"{", {"t": T0, "x": 1, "y": 1}, b"no", {"t": T0 + 0.2, "x": 2, "y": 1})
    assert (sender.positions.accepted, sender.positions.rejected) == (2, 2)


def test_of_a_datagram_full_of_lines_the_first_256_count(sender: Sender) -> None:
    line = b'{"x":1,"y":2}'
    sender._socket.sendto(b"\n".join([line] * 400), ("127.0.0.1", sender.positions.port))
    wait_until(lambda: sender.positions.rejected == 1)
    assert sender.positions.accepted == 256


@given(st.binary(max_size=300))
def test_any_bytes_are_a_line_or_refused(data: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(parse_line(data), PositionLine)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(["t", "t_ns", "x", "y", "z", "qx", "qy", "qz", "qw", "lat", "lon", "alt"])


@given(st.dictionaries(KEYS, JSON))
@settings(max_examples=200)
def test_any_json_is_a_line_or_refused(values: dict[str, Any]) -> None:
    with suppress(ValueError):
        found = parse_line(json.dumps(values).encode())
        assert found.xyz_m is not None or found.fix is not None


@pytest.mark.parametrize("seconds", [0, 1, 1.5, 1_700_000_000.123456, 2**33])
def test_seconds_keep_what_a_float_has(seconds: float) -> None:
    found = parse_line(json.dumps({"t": seconds, "x": 0, "y": 0}).encode())
    assert found.time_ns is not None
    assert abs(found.time_ns - seconds * 10**9) <= 300


def test_late_stragglers_are_counted(sender: Sender) -> None:
    sender.now_s += 10
    sender.send({"t": T0 + 10, "x": 1, "y": 1})
    sender.send({"t": T0, "x": 1, "y": 1})
    assert (sender.positions.accepted, sender.positions.rejected) == (1, 1)


def test_times_that_no_frame_can_have_are_said(sender: Sender) -> None:
    for index in range(5):
        sender.send({"t": 12.0 + index / 10, "x": 1, "y": 1})  # since the machine was started
    assert sender.said() == ["position.clock"]
    assert (sender.positions.accepted, sender.positions.rejected) == (0, 5)
    (event,) = [event for event in sender.events.recent() if event.kind == "position.clock"]
    assert "before this machine's clock" in event.message
    assert event.data["ahead_s"] < -1e9


@pytest.mark.parametrize("share", [2, 5, 50])
@pytest.mark.parametrize("lie_s", [2.5, 30, 3600, 1e8, -3.0, -59.0, -3600])
def test_samples_with_a_wrong_time_among_true_ones_blind_no_frame(
    lie_s: float, share: int, sender: Sender
) -> None:
    for index in range(100):
        sender.now_s = T0 + 200 + index / 20
        time_s = sender.now_s + (lie_s if index % share == share - 1 else 0)
        sender.send({"t": time_s, "x": float(index), "y": 0})
        if index % share != share - 1:
            found = sender.positions.locate(int(sender.now_s * 1e9))
            assert found is not None
            assert found.gap_ms == pytest.approx(0, abs=1e-3)
    assert sender.positions.accepted == 100 - 100 // share
    # Nor do many in a row, in order among themselves, as of a clock that was set.
    for index in range(20):
        sender.send({"t": sender.now_s + lie_s + index / 100, "x": -1.0, "y": 0})
    assert sender.positions.locate(int((T0 + 202) * 1e9)) is not None


def test_a_clock_of_this_machine_that_is_set_back_is_followed_at_once(sender: Sender) -> None:
    for index in range(10):
        sender.now_s = T0 + 3600 + index / 20
        sender.send({"t": sender.now_s, "x": 1.0, "y": 0})
    for index in range(10):
        sender.now_s = T0 + index / 20
        sender.send({"t": sender.now_s, "x": 2.0, "y": 0})
    assert (sender.positions.accepted, sender.positions.rejected) == (20, 0)
    found = sender.positions.locate(int(T0 * 1e9))
    assert found is not None
    assert (found.xyz_m, found.gap_ms) == ((2.0, 0.0, 0.0), 0.0)


def test_silence_is_said_once_and_so_is_its_end() -> None:
    sender = Sender(silence_s=0.3)
    try:
        wait_until(lambda: sender.said() == ["position.lost"])
        assert "have not arrived yet" in sender.events.recent()[0].message
        sender.send({"x": 1, "y": 1})
        wait_until(lambda: sender.said()[1:] == ["position.heard", "position.lost"])
        assert "no longer arrive" in sender.events.recent()[-1].message
        sender.send({"x": 1, "y": 1})
        assert sender.said()[3:4] == ["position.heard"]
    finally:
        sender.close()


def test_closing_frees_the_port_and_leaves_no_thread() -> None:
    first = UdpPositions("127.0.0.1", 0)
    assert "edgecrack-position" in [thread.name for thread in threading.enumerate()]
    port = first.port
    first.close()
    first.close()
    assert "edgecrack-position" not in [thread.name for thread in threading.enumerate()]
    with UdpPositions("localhost", port) as second:
        assert second.address == f"udp://127.0.0.1:{port}"


def test_a_port_in_use_is_an_error_of_the_source() -> None:
    with (
        UdpPositions("127.0.0.1", 0) as first,
        pytest.raises(SourceError, match=rf"UDP port {first.port}: .*; stop the other program"),
    ):
        open_positions(first.address, "demo", EventLog())


def test_the_loopback_of_version_6_will_do() -> None:
    try:
        positions = UdpPositions("::1", 0)
    except SourceError as error:
        pytest.skip(f"no IPv6 here: {error.problem}")
    with positions, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.sendto(b'{"x": 1, "y": 2}', ("::1", positions.port))
        wait_until(lambda: positions.accepted == 1)
        assert positions.address == f"udp://[::1]:{positions.port}"


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "192.168.1.7", "[::]", "[2001:db8::1]", "robot.local", "255.255.255.255"]
)
def test_only_the_loopback_is_listened_on(host: str) -> None:
    with pytest.raises(ConfigError, match=r"from the network, on .*; give udp://127\.0\.0\.1:PORT"):
        open_positions(f"udp://{host}:5555", "demo", EventLog())


@pytest.mark.parametrize(
    "address",
    ["udp://", "udp://127.0.0.1", "udp://:5555", "udp://127.0.0.1:0", "udp://127.0.0.1:99999",
     "udp://127.0.0.1:port", "udp://127.0.0.1:5555/path", "udp://me@127.0.0.1:5555",
     "udp://[::1:5555", "tcp://127.0.0.1:5555", "", "gps", "recordings", "/dev/ttyUSB0"],
)  # fmt: skip
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"udp://127\.0\.0\.1:PORT"):
        open_positions(address, "demo", EventLog())


def test_a_fault_in_the_thread_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    sender = Sender()
    try:

        def fail(*_: object) -> None:
            raise MemoryError("none left")

        monkeypatch.setattr(sender.positions, "_take_line", fail)
        sender._socket.sendto(b"{}", ("127.0.0.1", sender.positions.port))
        wait_until(lambda: sender.said() == ["position.failed"])
        assert "MemoryError: none left" in sender.events.recent()[0].message
    finally:
        sender.close()
