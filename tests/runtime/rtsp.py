"""A real RTSP server that a test starts, freezes, stops and starts again on the same port."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from functools import lru_cache
from pathlib import Path
from types import TracebackType

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.runtime.frame import Frame
from tests.waiting import PATIENCE_S

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("rtsp_server.py")
BITS = 24
_CHECK = """
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
needed = ("appsrc", "x264enc", "rtph264pay")
missing = [name for name in needed if not Gst.ElementFactory.find(name)]
raise SystemExit(f"GStreamer has no {missing}" if missing else 0)
"""


@lru_cache(maxsize=1)
def why_no_rtsp_server() -> str | None:
    """What this machine lacks for a real RTSP server, or None."""
    if shutil.which(SYSTEM_PYTHON) is None:
        return f"there is no {SYSTEM_PYTHON}"
    asked = subprocess.run(
        [SYSTEM_PYTHON, "-c", _CHECK],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if asked.returncode == 0:
        return None
    last = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"no RTSP server for tests (see .ci/run for its packages): {last}"


def require_rtsp_server() -> None:
    """Skip the test, with the reason, where no RTSP server can run."""
    if reason := why_no_rtsp_server():
        pytest.skip(reason)


class RtspServer:
    """One camera at rtsp://127.0.0.1:PORT/live, in a process of its own.

        with RtspServer() as server:
            server.start(320, 240)
            ... server.url ...
            server.stop()            # the port is closed, viewers lose their connection
            server.start(640, 480)   # the same port, another size

    Args:
        rate_hz: pictures per second.
    """

    def __init__(self, rate_hz: int = 25) -> None:
        require_rtsp_server()
        self.port = 0
        self._rate_hz = rate_hz
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def start(self, width: int = 320, height: int = 240) -> None:
        """Start and wait until it listens; a second start takes the first one's port."""
        assert self._process is None, "stop it first"
        command = [SYSTEM_PYTHON, str(SCRIPT), str(self.port)]
        command += [str(width), str(height), str(self._rate_hz)]
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            assert process.stdout is not None
            line = process.stdout.readline()
            if line.startswith("ready"):
                break
            process.wait(PATIENCE_S)
            process.stdout.close()
            # The kernel may keep the port of a killed server for a moment.
            assert time.monotonic() < deadline_s, f"no RTSP server on port {self.port}"
            time.sleep(0.1)
        self.port = int(line.split()[1])
        self._process = process

    def freeze(self) -> None:
        """Fall silent with the connections open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End at once, as a camera that loses its power; may be called twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "start it first"
        self._process.send_signal(number)

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def read_numbers(image: NDArray[np.uint8]) -> tuple[int, int]:
    """What a picture of the server says.

    Args:
        image: uint8 [H, W, 3].

    Returns:
        Its number, and when it was made in ms of `time.monotonic`, modulo 2**24.
    """
    height, width = image.shape[:2]
    block = width // BITS
    numbers = []
    for row in (height // 8, 3 * height // 8):
        bits = [int(image[row, block * bit + block // 2, 1] > 128) for bit in range(BITS)]
        numbers.append(int("".join(map(str, bits)), 2))
    return numbers[0], numbers[1]


def age_ms(frame: Frame) -> int:
    """How long after the server made the picture it was captured here."""
    made_ms = read_numbers(frame.image)[1]
    return (frame.monotonic_ns // 1_000_000 - made_ms) % (1 << BITS)
