"""Turns SIGINT, SIGTERM and SIGHUP into an event that stops a stream.

Python runs a signal handler only when the main thread returns from native code, which a hung
network never does. So a thread also receives the signals, through a pipe.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP set; a second signal ends the program immediately.

    SIGHUP means that the terminal is gone, as after a broken ssh connection; if it is ignored, as
    under nohup, it stays ignored.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def request_stop(number: int, frame: FrameType | None) -> None:
        stop.set()
        for each in before:
            signal.signal(each, signal.SIG_DFL)

    for number in before:
        signal.signal(number, request_stop)
    try:
        with _received_in_a_thread(stop, numbers):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _received_in_a_thread(stop: threading.Event, numbers: list[signal.Signals]) -> Iterator[None]:
    """Handle signals even while the main thread is in native code."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def listen() -> None:
        count = 0
        while (number := os.read(reading, 1)) not in (b"", b"\0"):
            if number[0] in numbers:
                count += 1
                stop.set()
            if count > 1:
                os._exit(128 + number[0])

    thread = threading.Thread(target=listen, name="edgecrack-signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, b"\0")
        thread.join(1.0)
        os.close(writing)
        os.close(reading)
