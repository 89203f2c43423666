"""Signals, also those that come while the main thread is in native code."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgecrack.terminal.signals import stop_on_signals
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[2]

# A call that no signal interrupts, as a network that hangs: handlers of Python never run in it.
NATIVE = """
import hashlib, sys, threading
from edgecrack.terminal.signals import stop_on_signals
with stop_on_signals() as stop:
    threading.Thread(target=lambda: (stop.wait(), print("heard", flush=True)), daemon=True).start()
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2_000_000_000)
"""


@contextmanager
def in_native_code() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", NATIVE], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_native_call_keeps_no_signal_from_being_heard(number: signal.Signals) -> None:
    with in_native_code() as process:
        assert process.stdout is not None
        process.send_signal(number)
        assert process.stdout.readline() == "heard\n"
        process.send_signal(number)
        # A first signal that came before the native call began was handled by Python, and the
        # second then ends the process by itself; a shell calls both 128 + number.
        assert process.wait(PATIENCE_S) in (128 + number, -number)


def test_handlers_and_threads_are_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    threads = threading.active_count()
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.wait(PATIENCE_S)
    assert signal.getsignal(signal.SIGTERM) == before
    assert threading.active_count() == threads
    assert signal.set_wakeup_fd(-1) == -1
