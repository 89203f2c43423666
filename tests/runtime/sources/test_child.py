"""A child process that cannot be started, starts too late or says what cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from edgecrack.runtime.sources import child
from edgecrack.runtime.sources.child import Child
from tests.runtime.fakes import stream_threads
from tests.waiting import PATIENCE_S


@pytest.fixture
def write_end() -> Iterator[int]:
    ends = os.pipe()
    yield ends[1]
    for end in ends:
        os.close(end)


def started(command: list[str], pass_fd: int) -> Exception | Child:
    """What the constructor gives or raises, in a thread, so that a test cannot hang on it."""
    outcome: list[Exception | Child] = []

    def run() -> None:
        try:
            outcome.append(Child(command, pass_fd))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "it waits for ever"
    return outcome[0]


def test_what_it_says_and_how_it_ended_is_told(write_end: int) -> None:
    one = Child([sys.executable, "-c", "print('hello'); raise SystemExit(3)"], write_end)
    assert one.wait(PATIENCE_S)
    assert (one.last_lines, one.exit_status) == (["hello"], 3)


def test_any_error_of_the_start_travels(write_end: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(started([sys.executable, "a\0b"], write_end), ValueError)
    monkeypatch.setattr(child, "_ending_with_us", list)
    assert isinstance(started(["/dev/null"], write_end), OSError)
    assert stream_threads() == []


def test_a_start_that_takes_too_long_is_given_up_and_ended_later(
    write_end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_start = threading.Event()
    processes: list[subprocess.Popen[bytes]] = []
    start = Child._start

    def late(self: Child) -> subprocess.Popen[bytes]:
        may_start.wait(PATIENCE_S)
        processes.append(start(self))
        return processes[0]

    monkeypatch.setattr(child, "START_S", 0.05)
    monkeypatch.setattr(Child, "_start", late)
    failure = started([sys.executable, "-c", "import time; time.sleep(60)"], write_end)
    assert isinstance(failure, TimeoutError)
    assert "0.05 s" in str(failure)
    may_start.set()
    keepers = [one for one in threading.enumerate() if one.name == "edgecrack-child"]
    for keeper in keepers:
        keeper.join(PATIENCE_S)
    assert stream_threads() == []
    assert processes[0].returncode == -9


def test_a_child_that_cannot_be_heard_is_ended_and_the_reason_kept(
    write_end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Child._start

    class Deaf:
        def readline(self, limit: int) -> bytes:
            raise ValueError("cannot be read")

        def close(self) -> None:
            pass

    def broken(self: Child) -> subprocess.Popen[bytes]:
        process = start(self)
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = Deaf()  # type: ignore[assignment]
        return process

    monkeypatch.setattr(Child, "_start", broken)
    one = Child([sys.executable, "-c", "import time; time.sleep(60)"], write_end)
    assert one.wait(PATIENCE_S)
    assert one.last_lines == ["ValueError: cannot be read"]
    assert one.exit_status == -9
