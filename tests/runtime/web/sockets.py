"""Viewers of the live page without a browser."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from edgecrack.runtime.web.server import LiveServer
from tests.waiting import PATIENCE_S


class Viewer:
    """Reads and acknowledges as the page does."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.statuses: list[dict[str, Any]] = []

    def picture(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Header of the next picture, which is not acknowledged."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            message = self.connection.recv(max(0.0, deadline_s - time.monotonic()))
            if isinstance(message, str):
                self.statuses.append(json.loads(message))
                continue
            length = int.from_bytes(message[:4], "big")
            header: dict[str, Any] = json.loads(message[4 : 4 + length])
            return header

    def status(self) -> dict[str, Any]:
        while True:
            message = self.connection.recv(PATIENCE_S)
            if isinstance(message, str):
                status: dict[str, Any] = json.loads(message)
                return status

    def shown(self, number: int) -> None:
        self.connection.send(json.dumps({"shown": number}))

    def closed(self) -> tuple[int, str]:
        """Code and reason with which the server closes."""
        deadline_s = time.monotonic() + PATIENCE_S
        try:
            while True:
                self.connection.recv(max(0.0, deadline_s - time.monotonic()))
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")


@contextmanager
def viewer(server: LiveServer, **settings: Any) -> Iterator[Viewer]:
    address = server.url.replace("http", "ws", 1) + "api/live"
    with connect(address, proxy=None, compression=None, max_size=None, **settings) as connection:
        yield Viewer(connection)


@contextmanager
def mute_viewer(server: LiveServer) -> Iterator[socket.socket]:
    """A viewer that opens a WebSocket and then reads nothing at all, with a small window."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(PATIENCE_S)
        raw.connect(("127.0.0.1", server.port))
        raw.sendall(
            b"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % server.port
        )
        assert raw.recv(12) == b"HTTP/1.1 101"
        yield raw


def acknowledgement(number: int) -> bytes:
    """The page's answer as a WebSocket frame, for a viewer that reads nothing."""
    text, mask = json.dumps({"shown": number}).encode(), os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))
    return bytes((0x81, 0x80 | len(text))) + mask + masked
