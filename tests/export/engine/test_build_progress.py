"""A build that is watched from one thread and runs in another: progress, failure, interruption."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from edgecrack.export.engine.builder import BuildControl, run_watched
from tests.waiting import PATIENCE_S


def test_the_result_comes_back() -> None:
    assert run_watched(lambda: b"engine", BuildControl(), None) == b"engine"


def test_a_failure_of_the_build_is_raised_in_the_callers_thread() -> None:
    def build() -> None:
        raise ValueError("it broke")

    with pytest.raises(ValueError, match="it broke"):
        run_watched(build, BuildControl(), None)


def test_progress_is_told_in_the_callers_thread_and_nothing_is_lost_at_the_end() -> None:
    control = BuildControl()
    told: list[tuple[str, int, int]] = []
    threads = set()

    def build() -> None:
        for done in range(1, 1001):
            control.put("first", done, 1000)
        control.put("second", 1, 1)

    def tell(stage: str, done: int, total: int) -> None:
        threads.add(threading.current_thread())
        told.append((stage, done, total))

    run_watched(build, control, tell)
    assert told[-2:] == [("first", 1000, 1000), ("second", 1, 1)]
    assert threads == {threading.current_thread()}


def until_cancelled(control: BuildControl, ended: threading.Event) -> Callable[[], None]:
    """A build that tells that it runs, works until it is told to stop, and takes its time."""

    def build() -> None:
        control.put("running", 0, 1)
        assert control.cancelled.wait(PATIENCE_S)
        threading.Event().wait(0.3)
        ended.set()

    return build


def test_control_c_waits_until_the_build_has_ended() -> None:
    control, ended = BuildControl(), threading.Event()

    def tell(stage: str, done: int, total: int) -> None:
        # From a thread, so that it may arrive while this one waits, as at a terminal.
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    # A shell's background jobs, and what they start, ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_watched(until_cancelled(control, ended), control, tell)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.is_set()


def test_an_error_of_the_one_who_is_told_ends_the_build_and_goes_on() -> None:
    control, ended = BuildControl(), threading.Event()

    def tell(stage: str, done: int, total: int) -> None:
        raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="terminal"):
        run_watched(until_cancelled(control, ended), control, tell)
    assert ended.is_set()
