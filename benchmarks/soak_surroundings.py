"""A robot's surroundings in a separate process: camera, viewers, positions, disk.

`benchmarks/soak.py` starts it and orders one fault at a time; each comes the way it comes on a
robot, by sockets of the loopback and files of a real disk. Lines of JSON on standard input order,
lines on standard output tell when a fault is over.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import socket
import struct
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.camera_server import Camera  # noqa: E402
from benchmarks.viewer import watch  # noqa: E402

# What needs a separate disk, which only root can make.
DISK_FAULTS = ("disk full", "disk slow")
FAULTS = (
    "camera unplugged",
    "viewer stops reading",
    "damaged picture",
    "disk full",
    "another size",
    "viewer vanishes",
    "recording off and on",
    "camera silent",
    "disk slow",
    "positions silent",
    "threshold changed",
    "burst of viewers",
)
_POSITIONS_HZ = 20.0
_VISIT_S, _PAUSE_S = 5.0, 1.0
# Longer than the page waits for a viewer, and than positions may stay away.
_DEAF_S, _SILENCE_S = 14.0, 6.0
_BURST, _BURST_S = 24, 2.0
_PATIENCE_S = 30.0
_PIECE = bytes(256 * 1024)
_FREEZE, _THAW = 0xC0045877, 0xC0045878  # FIFREEZE and FITHAW of linux/fs.h


class Surroundings:
    """Everything outside of the robot's program.

    Args:
        camera: runs already.
        positions_port: UDP port that the program listens to.
        disk: folder of a separate disk that the program records to, or None.
        threshold: of the program, to which it is set back.
    """

    def __init__(
        self, camera: Camera, positions_port: int, disk: Path | None, threshold: float
    ) -> None:
        self._camera, self._disk, self._threshold = camera, disk, threshold
        self._positions = ("127.0.0.1", positions_port)
        self._silent_until_s = 0.0
        self._page = ""
        self._stop = threading.Event()

    def begin(self, page: str) -> None:
        """Look at the page and send positions from now on."""
        self._page = page
        if page:
            threading.Thread(target=self._come_and_go, daemon=True).start()
        threading.Thread(target=self._drive, daemon=True).start()

    def make(self, fault: str) -> None:
        """Make one fault; returns when it is over."""
        made: dict[str, Callable[[], None]] = {
            "camera unplugged": lambda: self._order("refuses"),
            "camera silent": lambda: self._order("is silent"),
            "damaged picture": lambda: self._order("cuts a picture"),
            "another size": lambda: self._order("changes the size"),
            "viewer stops reading": self._deaf_viewers,
            "viewer vanishes": self._vanish,
            "disk full": self._fill,
            "disk slow": self._slow_down,
            "recording off and on": self._record_again,
            "positions silent": self._fall_silent,
            "threshold changed": self._change_threshold,
            "burst of viewers": self._burst,
        }
        made[fault]()

    def _order(self, fault: str) -> None:
        self._camera.next_fault = fault
        self._wait(lambda: not self._camera.next_fault, f"the camera that {fault}")

    def _come_and_go(self) -> None:
        while not self._stop.is_set():
            with suppress(OSError):
                watch(self._page, _VISIT_S, self._stop)
            self._stop.wait(_PAUSE_S)

    def _drive(self) -> None:
        """A robot that drives along a circle."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            begin_s = time.monotonic()
            while not self._stop.wait(1 / _POSITIONS_HZ):
                if time.monotonic() < self._silent_until_s:
                    continue
                angle = (time.monotonic() - begin_s) / 20
                line = {"x": 5 * math.cos(angle), "y": 5 * math.sin(angle), "range": 1.5}
                sender.sendto(json.dumps(line).encode(), self._positions)

    def _fall_silent(self) -> None:
        self._silent_until_s = time.monotonic() + _SILENCE_S
        time.sleep(_SILENCE_S)

    def _deaf_viewers(self) -> None:
        """One of each kind asks for pictures and reads none, until the page has dropped both."""
        asked = (
            "GET /stream.mjpg HTTP/1.1\r\nHost: {host}\r\n\r\n",
            "GET /api/live HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        )
        opened = [self._ask(request) for request in asked]
        time.sleep(_DEAF_S)
        for each in opened:
            each.close()

    def _vanish(self) -> None:
        """A viewer whose network is cut while pictures come: its end is a reset."""
        opened = self._ask("GET /stream.mjpg HTTP/1.1\r\nHost: {host}\r\n\r\n")
        opened.settimeout(_PATIENCE_S)
        for _ in range(20):
            opened.recv(65_536)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        opened.close()

    def _ask(self, request: str) -> socket.socket:
        host = urlsplit(self._page).netloc
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        name, _, port = host.partition(":")
        opened.connect((name, int(port)))
        opened.sendall(request.format(host=host).encode())
        return opened

    def _burst(self) -> None:
        """More viewers at a time than the page takes."""

        def look() -> None:
            with suppress(OSError):
                watch(self._page, _BURST_S, self._stop)

        threads = [threading.Thread(target=look) for _ in range(_BURST)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _record_again(self) -> None:
        self._post("recording", {"active": False})
        time.sleep(0.5)
        self._post("recording", {"active": True})

    def _change_threshold(self) -> None:
        for threshold in (1 - (1 - self._threshold) / 2, self._threshold - 0.03, self._threshold):
            self._post("threshold", {"threshold": threshold})
            time.sleep(1.0)

    def _fill(self) -> None:
        """Take what is free until the recording stops; then make room and record again."""
        if self._disk is None:
            raise RuntimeError("there is no disk to fill")
        filler = self._disk / "filler"
        try:
            with filler.open("wb", buffering=0) as file:
                self._wait(lambda: self._took_all(file.write), "the recording to stop")
        finally:
            filler.unlink()
        self._post("recording", {"active": True})

    def _took_all(self, write: Callable[[bytes], int | None]) -> bool:
        with suppress(OSError):
            while True:
                write(_PIECE)
        return not self._status()["recording"]["active"]

    def _slow_down(self) -> None:
        """A disk that takes nothing for most of four seconds."""
        if self._disk is None:
            raise RuntimeError("there is no disk to slow down")
        folder = os.open(self._disk, os.O_RDONLY)
        try:
            for _ in range(8):
                fcntl.ioctl(folder, _FREEZE, 0)
                try:
                    time.sleep(0.4)
                finally:
                    fcntl.ioctl(folder, _THAW, 0)
                time.sleep(0.1)
        finally:
            os.close(folder)

    def _status(self) -> dict[str, Any]:
        with urllib.request.urlopen(self._page + "api/status", timeout=_PATIENCE_S) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def _post(self, what: str, value: dict[str, Any]) -> None:
        request = urllib.request.Request(
            f"{self._page}api/{what}",
            json.dumps(value).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=_PATIENCE_S).close()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + _PATIENCE_S
        while not condition():
            if time.monotonic() > until_s:
                raise TimeoutError(f"waited {_PATIENCE_S:.0f} s for {what}")
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rate", type=float, default=60.0)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--positions-port", type=int, required=True)
    parser.add_argument("--disk", type=Path)
    parser.add_argument("--threshold", type=float, required=True)
    options = parser.parse_args()
    options.port, options.fault_every = 0, 0
    camera = Camera(options)
    camera.stamps = False  # what is stamped would be taken for cracks
    threading.Thread(target=camera.serve_forever, daemon=True).start()
    around = Surroundings(camera, options.positions_port, options.disk, options.threshold)
    print(json.dumps({"camera": f"http://127.0.0.1:{camera.server_port}/stream"}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "page" in order:
            around.begin(order["page"])
            continue
        try:
            around.make(order["fault"])
            problem = ""
        except (OSError, RuntimeError, KeyError) as error:
            problem = f"{type(error).__name__}: {error}"
        print(json.dumps({"fault": order["fault"], "problem": problem}), flush=True)


if __name__ == "__main__":
    main()
