"""Viewers of the live page for benchmarks: they take each picture and ask for the next.

    python benchmarks/viewer.py URL [--viewers 10] [--seconds 30]

prints how many pictures each got. They do not draw: a viewer's browser runs on another machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

_POLL_S = 0.5


def watch(url: str, seconds: float, stop: threading.Event | None = None) -> int:
    """Look at a page for some seconds; returns the number of pictures.

    Raises:
        OSError: there is no answer.
    """
    pictures, until_s = 0, time.monotonic() + seconds
    address = url.replace("http", "ws", 1) + "api/live"
    try:
        with connect(address, proxy=None, compression=None) as connection:
            while time.monotonic() < until_s and not (stop and stop.is_set()):
                try:
                    message = connection.recv(_POLL_S)
                except TimeoutError:
                    continue
                if isinstance(message, bytes):
                    length = int.from_bytes(message[:4], "big")
                    number = json.loads(message[4 : 4 + length])["number"]
                    connection.send(json.dumps({"shown": number}))
                    pictures += 1
    except WebSocketException:
        pass  # the page closed
    return pictures


@contextmanager
def viewers(url: str, count: int) -> Iterator[None]:
    """Viewers in a process of their own, while the block runs."""
    process = subprocess.Popen(
        [sys.executable, __file__, url, "--viewers", str(count), "--seconds", "3600"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise SystemExit("the viewers did not start")
        yield
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url")
    parser.add_argument("--viewers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    counts = [0] * options.viewers

    def look(index: int) -> None:
        counts[index] = watch(options.url, options.seconds)

    threads = [threading.Thread(target=look, args=(index,)) for index in range(options.viewers)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
