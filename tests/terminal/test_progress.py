"""Progress of a long command: each stage once in a file, a clean bar on a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from edgecrack.terminal.progress import ProgressLine, StageBar


class Terminal:
    """Both ends of a pseudo-terminal: `output` to write to, `read` for what arrived."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.output: TextIO = os.fdopen(slave, "w", encoding="utf-8")
        self._is_open = True

    def read(self) -> str:
        self.output.flush()
        parts = []
        while select.select([self._master], [], [], 0.03)[0]:  # the bar is drawn every 0.1 s
            parts.append(os.read(self._master, 1 << 16))
        return b"".join(parts).decode()

    def hang_up(self) -> None:
        if self._is_open:
            self._is_open = False
            os.close(self._master)

    def close(self) -> None:
        self.hang_up()
        with suppress(OSError):  # what was written after the other end had gone
            self.output.close()


def plain(text: str) -> str:
    """The text without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    opened = Terminal()
    yield opened
    opened.close()


def test_in_a_file_or_pipe_each_stage_stands_once_on_a_line_of_its_own() -> None:
    output = io.StringIO()
    with StageBar(output) as bar:
        for done in range(4):
            bar.show("sampling tiles", done, 3)
        bar.show("ranking layers", 0, 2)
        bar.show("sampling tiles", 3, 3)
        bar.show("ranking layers", 2, 2)
    assert output.getvalue() == "sampling tiles\nranking layers\n"


def test_a_real_pipe_gets_the_same() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as output, StageBar(output) as bar:
        bar.show("building", 0, 1)
        bar.show("building", 1, 1)
    with os.fdopen(reading) as result:
        assert result.read() == "building\n"


def test_a_stage_is_in_a_file_at_once(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as output, StageBar(output) as bar:
        bar.show("building", 0, 1)
        assert (tmp_path / "log").read_text() == "building\n"


def test_a_closed_pipe_does_not_end_the_work() -> None:
    reading, writing = os.pipe()
    output = os.fdopen(writing, "w")
    os.close(reading)
    with StageBar(output) as bar:
        bar.show("building", 0, 1)
        bar.show("checking", 0, 1)
    with pytest.raises(BrokenPipeError):
        output.close()


def test_a_closed_stream_does_not_end_the_work() -> None:
    output = io.StringIO()
    with StageBar(output) as bar:
        bar.show("exporting", 1, 1)
        shown = output.getvalue()
        output.close()
        bar.show("building", 0, 1)
    assert shown == "exporting\n"
    assert output.closed


def test_a_terminal_shows_the_stage_and_how_far_it_is(terminal: Terminal) -> None:
    with StageBar(terminal.output) as bar:
        bar.show("sampling tiles", 0, 30)
        bar.show("ranking layers", 7, 45)
        seen = terminal.read()
        assert "sampling tiles" in seen
        assert "0/30" in seen
        assert "ranking layers" in seen
        assert "7/45" in seen.replace(" ", "")


def test_a_terminal_shows_the_elapsed_and_the_remaining_time(terminal: Terminal) -> None:
    with StageBar(terminal.output) as bar:
        bar.show("images", 0, 30)
        assert "0:00:00 -:--:-- left" in plain(terminal.read())


def test_a_new_stage_of_the_same_length_has_a_new_estimate(terminal: Terminal) -> None:
    with StageBar(terminal.output) as bar:
        bar.show("exporting", 0, 1)
        bar.show("exporting", 1, 1)
        terminal.read()
        bar.show("building", 0, 1)
        assert "-:--:-- left" in plain(terminal.read())


def test_leaving_the_block_erases_the_bar_and_shows_the_cursor_again(terminal: Terminal) -> None:
    threads, streams = set(threading.enumerate()), (sys.stdout, sys.stderr)
    with StageBar(terminal.output) as bar:
        bar.show("building", 0, 3)
        bar.show("building", 3, 3)
    seen = terminal.read()
    assert seen.rfind("\x1b[?25h") > seen.rfind("\x1b[?25l") >= 0
    assert seen.endswith("\x1b[2K")
    assert not set(threading.enumerate()) - threads
    assert (sys.stdout, sys.stderr) == streams


def test_an_error_inside_the_block_passes_and_leaves_the_terminal_clean(
    terminal: Terminal,
) -> None:

    def fail() -> None:
        with StageBar(terminal.output) as bar:
            bar.show("building", 0, 3)
            raise RuntimeError("as it was")

    with pytest.raises(RuntimeError, match="as it was"):
        fail()
    assert terminal.read().endswith("\x1b[2K")


def test_results_go_to_standard_output_while_the_bar_is_shown(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    with StageBar(terminal.output) as bar:
        bar.show("building", 0, 3)
        print("a result")
    assert capsys.readouterr().out == "a result\n"
    assert "a result" not in terminal.read()


def test_a_terminal_that_goes_away_does_not_end_the_work(terminal: Terminal) -> None:
    before = sys.stdout, sys.stderr
    with StageBar(terminal.output) as bar:
        bar.show("building", 0, 3)
        terminal.hang_up()
        bar.show("building", 1, 3)
        bar.show("checking", 0, 3)
        bar.show("checking", 3, 3)
    assert (sys.stdout, sys.stderr) == before


def test_a_pipe_that_nobody_reads_holds_up_nobody() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(1 << 16))
    os.set_blocking(writing, True)
    with os.fdopen(writing, "w") as output:
        progress = ProgressLine(output, interval_s=0)
        for number in range(3):
            progress.show(f"{number} frames")
            progress.log("camera:0 is gone")
        progress.end()
        os.read(reading, 1 << 20)
        progress.show("read again")
        os.set_blocking(reading, False)
        rest = b""
        with suppress(BlockingIOError):
            while chunk := os.read(reading, 1 << 20):
                rest += chunk
    os.close(reading)
    assert rest.endswith(b"read again\n")
    assert b"frames" not in rest
