"""What the fuzzer sends over the loopback: MJPEG streams, position lines, requests to the page."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import re
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fuzz_kind import ACCEPTED, Kind, refusal
from benchmarks.fuzz_mutations import BINARY_MUTATORS, mutate
from edgecrack.errors import EdgecrackError
from edgecrack.runtime.position.udp import MAX_LINES, UdpPositions
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.runtime.web.server import LiveServer
from tests.runtime.fakes import frame, result_of
from tests.runtime.web.rig import Rig

_MOST_FRAMES = 20
_LARGEST_DATAGRAM = 65_507
_ANSWER_BYTES = 65_536
# Of a request that is no whole one, nothing may come back; only then is this waited for.
_SILENCE_S, _PATIENCE_S = 0.5, 15.0
_NOW_S = b"1735689600"
_TOKEN = "fuzz-7Qz3kP9d2LwX"


class MjpegStreams(Kind):
    """A camera's whole answer, header and pictures, from a server on the loopback."""

    name = "mjpeg"
    mutators = BINARY_MUTATORS

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._answer = b""
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def examples(self) -> list[bytes]:
        pictures = [result_of(frame(number)).jpeg() for number in range(3)]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n"
        part = b"--frame\r\nContent-Type: image/jpeg\r\n"
        counted = b"".join(
            part + b"Content-Length: %d\r\n\r\n%b\r\n" % (len(jpeg), jpeg) for jpeg in pictures
        )
        plain = b"".join(part + b"\r\n" + jpeg + b"\r\n" for jpeg in pictures) + b"--frame--\r\n"
        chunked = b"".join(
            b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (plain[:700], plain[700:])
        )
        return [
            head + b"\r\n" + counted,
            head + b"\r\n" + plain,
            head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked + b"0\r\n\r\n",
        ]

    def use(self, data: bytes) -> str:
        self._answer = data
        frames, port = 0, self._server.getsockname()[1]
        try:
            options = SourceOptions(timeout_ms=2000)
            with open_source(f"http://127.0.0.1:{port}/stream", options) as source:
                while frames < _MOST_FRAMES and source.read() is not None:
                    frames += 1
        except EdgecrackError as error:
            told = refusal(error)
            return ACCEPTED if frames else told
        return ACCEPTED

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:  # closed
                return
            with caller, contextlib.suppress(OSError):  # the reader went away
                caller.settimeout(_PATIENCE_S)
                caller.recv(_ANSWER_BYTES)
                caller.sendall(self._answer)
                caller.shutdown(socket.SHUT_WR)
                caller.recv(1)


class PositionLines(Kind):
    """Datagrams to a port of the loopback that positions are expected on."""

    name = "positions"

    def examples(self) -> list[bytes]:
        lines: tuple[dict[str, float | int], ...] = (
            {"x": 1.5, "y": 0.2, "z": 0.0, "qx": 0, "qy": 0, "qz": 0, "qw": 1},
            {"t": 1735689600.25, "lat": 52.520008, "lon": 13.404954, "alt": 34.0},
            {"t_ns": 1735689600250000000, "x": 1.0, "y": 2.0, "range": 1.482, "range_u": 0.004},
        )
        texts = [json.dumps(line).encode() for line in lines]
        return [*texts, b"\n".join([texts[2]] * 3) + b"\n"]

    def use(self, data: bytes) -> str:
        # Only a time near this machine's clock is taken; in the input it is always the same.
        data = data.replace(_NOW_S, b"%d" % time.time())[:_LARGEST_DATAGRAM]
        lines = [line for line in data.split(b"\n", MAX_LINES) if line.strip()]
        expected = min(len(lines), MAX_LINES) + (len(lines) > MAX_LINES)
        events = EventLog()
        with UdpPositions("127.0.0.1", 0, events) as positions:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for datagram in (data, b'{"x": 1, "y": 2}'):
                    sender.sendto(datagram, ("127.0.0.1", positions.port))
            while positions.accepted + positions.rejected < expected + 1:
                if "position.failed" in events.counts():
                    raise AssertionError("positions are no longer read")
                time.sleep(0.001)
            for moment_ns in (time.time_ns(), 0, 2**63 - 1):
                positions.locate(moment_ns)
            # The line of our own counts as one of the two.
            return ACCEPTED if positions.accepted > 1 else "line refused"


class PageRequests(Kind):
    """Bytes to the live page's port: requests, forms, a WebSocket's first messages.

    The page must go on to answer, and no answer may be 500.
    """

    name = "page"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._open, self._guarded = _page(folder, None), _page(folder, _TOKEN)
        # Its own setting hides what an application raises.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._patient_for: frozenset[bytes] = frozenset()

    def examples(self) -> list[bytes]:
        bearer = f"Authorization: Bearer {_TOKEN}"
        gets = ("/", "/page.js", "/api/status", "/api/findings", "/api/findings/1.jpg",
                "/api/events", "/metrics")  # fmt: skip
        found = [_request("GET", path) for path in gets]
        found += [
            _request("GET", "/api/status", bearer),
            _request("POST", "/api/threshold", body=b'{"threshold": 0.4}'),
            _request("POST", "/api/threshold", bearer, body=b'{"threshold": 0.25}'),
            _request("POST", "/api/pause", body=b"{}"),
            _request("POST", "/api/resume", body=b"{}"),
            _request("POST", "/api/recording", body=b'{"active": true}'),
            _request("POST", "/api/snapshot", body=b"{}"),
            _request("GET", "/stream.mjpg"),
            _request("GET", f"/stream.mjpg?token={_TOKEN}"),
            _web_socket(b'{"shown": 1}'),
        ]
        found = [each for each in found if self.use(each, _PATIENCE_S) == ACCEPTED]
        self._patient_for = frozenset(found)
        return found

    def spoiled(self, rng: random.Random, examples: Sequence[bytes]) -> bytes:
        if rng.random() < 0.4:
            return super().spoiled(rng, examples)
        head, _, body = rng.choice(examples).partition(b"\r\n\r\n")
        if body and b"Upgrade" not in head:  # the length fits again
            changed = mutate(rng, body, [body])
            head = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(changed), head)
            return head + b"\r\n\r\n" + changed
        if body:  # a WebSocket's message, after a sound handshake
            return head + b"\r\n\r\n" + mutate(rng, body, [body])
        method, path, rest = head.split(b" ", 2)
        return b" ".join((method, b"/" + mutate(rng, path[1:], [path]), rest)) + b"\r\n\r\n"

    def use(self, data: bytes, silence_s: float | None = None) -> str:
        if silence_s is None:
            silence_s = _PATIENCE_S if data in self._patient_for else _SILENCE_S
        page = self._guarded if _TOKEN.encode() in data else self._open
        answer = _answer(page.port, data, silence_s)
        if not _answer(page.port, _request("GET", "/healthz"), _PATIENCE_S):
            raise AssertionError("the page answers no more")
        status = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
        if status is None:
            return "no answer"
        code = int(status[1])
        if code == 500:
            raise AssertionError(f"the page answered {answer[:500]!r}")
        return ACCEPTED if code < 400 else f"status {code}"

    def close(self) -> None:
        self._open.close()
        self._guarded.close()


def _page(folder: Path, token: str | None) -> LiveServer:
    rig = Rig(folder)
    rig.show_crack(3)
    server = rig.server(token=token)
    server.start()
    return server


def _request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _web_socket(message: bytes) -> bytes:
    """A handshake and a masked text message."""
    head = _request(
        "GET", "/api/live", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ).replace(b"Connection: close", b"Connection: Upgrade")  # fmt: skip
    return head + bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message


def _answer(port: int, data: bytes, silence_s: float) -> bytes:
    """What comes back before the end, a silence or 64 KiB; empty if nothing does."""
    answer = b""
    with (
        contextlib.suppress(TimeoutError, ConnectionError),
        socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as connection,
    ):
        connection.sendall(data)
        connection.settimeout(silence_s)
        while len(answer) < _ANSWER_BYTES and (more := connection.recv(_ANSWER_BYTES)):
            answer += more
            connection.settimeout(_SILENCE_S)
            if re.match(rb"HTTP/1.1 101 ", answer) or b"multipart/" in answer:
                break
    return answer
