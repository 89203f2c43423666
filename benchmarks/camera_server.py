"""An HTTP MJPEG camera for benchmarks, with a fixed rate and faults, in a separate process.

Each picture shows the moment it was made, `time.monotonic_ns()`, as 64 black or white squares in
its top rows, so that the receiver can compute the delay from camera to result.
After a set number of pictures one of five faults occurs, in turn: the connection closes, it goes
silent, a picture is cut in half, the size changes, and the camera stops answering for a while.

    python benchmarks/camera_server.py --rate 10 --fault-every 500
"""

from __future__ import annotations

import argparse
import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.synthetic import DemoPath  # noqa: E402

FAULTS = ("closes", "is silent", "cuts a picture", "changes the size", "refuses")
SILENCE_S = 2.0
REFUSAL_S = 1.0
SQUARE_PX = 8
_BITS = 64
_PICTURES = 40


def stamp(image: NDArray[np.uint8], time_ns: int) -> None:
    """Draw a moment into the top rows of a BGR image at least 256 px wide, in place."""
    for bit in range(_BITS):
        row, column = divmod(bit, _BITS // 2)
        y, x = row * SQUARE_PX, column * SQUARE_PX
        image[y : y + SQUARE_PX, x : x + SQUARE_PX] = 255 * (time_ns >> bit & 1)


def stamped_ns(image: NDArray[np.uint8]) -> int:
    """The moment that `stamp` drew, also after JPEG."""
    moment = 0
    for bit in range(_BITS):
        row, column = divmod(bit, _BITS // 2)
        y, x = row * SQUARE_PX, column * SQUARE_PX
        square = image[y + 2 : y + SQUARE_PX - 2, x + 2 : x + SQUARE_PX - 2]
        moment |= int(square.mean() > 127) << bit
    return moment


class Camera(http.server.ThreadingHTTPServer):
    """Delivers pictures to one viewer at a time, and fails on request."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(("127.0.0.1", options.port), _Handler)
        self.rate_hz: float = options.rate
        self.fault_every: int = options.fault_every
        path = DemoPath(seed=7, frame_hw=(options.height, options.width), frame_count=_PICTURES)
        self.pictures = [np.asarray(path.frame(index).image) for index in range(_PICTURES)]
        self.sent = 0
        self.turned = False
        self.refuse_until_s = 0.0
        # A requested fault comes with the next picture, whatever its number.
        self.next_fault = ""
        self.stamps = True


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Camera

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if time.monotonic() < self.server.refuse_until_s:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        due_s = time.monotonic()
        try:
            while self._one_picture():
                due_s = max(due_s + 1 / self.server.rate_hz, time.monotonic())
                time.sleep(max(0.0, due_s - time.monotonic()))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the viewer went away

    def _one_picture(self) -> bool:
        camera = self.server
        camera.sent += 1
        fault, camera.next_fault = camera.next_fault, ""
        if camera.fault_every and camera.sent % camera.fault_every == 0:
            fault = FAULTS[camera.sent // camera.fault_every % len(FAULTS)]
        if fault == "refuses":
            camera.refuse_until_s = time.monotonic() + REFUSAL_S
        if fault in ("closes", "refuses"):
            return False
        if fault == "is silent":
            time.sleep(SILENCE_S)
        if fault == "changes the size":
            camera.turned = not camera.turned
        image = camera.pictures[camera.sent % _PICTURES]
        if camera.turned:
            image = np.ascontiguousarray(image[: image.shape[0] * 3 // 4])
        image = image.copy()
        if camera.stamps:
            stamp(image, time.monotonic_ns())
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        if fault == "cuts a picture":
            data = data[: len(data) // 2]
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        self.wfile.write(head.encode() + data + b"\r\n")
        return True


@contextmanager
def camera_server(
    rate_hz: float, hw: tuple[int, int], fault_every: int = 0
) -> Iterator[tuple[str, int]]:
    """A camera in a separate process: its address and the process's id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    words = ["--rate", rate_hz, "--port", port, "--height", hw[0], "--width", hw[1]]
    words += ["--fault-every", fault_every]
    process = subprocess.Popen(
        [sys.executable, __file__, *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise SystemExit("the camera server did not start")
        yield f"http://127.0.0.1:{port}/stream", process.pid
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--fault-every", type=int, default=0)
    camera = Camera(parser.parse_args())
    threading.Thread(target=camera.serve_forever, daemon=True).start()
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
