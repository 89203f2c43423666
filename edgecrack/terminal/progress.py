"""Progress on a terminal; in a file or pipe, a plain line every few seconds.

A terminal that goes away, as when an ssh connection to a robot breaks, is not an error here:
progress must never end the work that it reports on.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO, cast

PLAIN_INTERVAL_S = 5.0
_ERASE_LINE = "\r\x1b[2K"
_FALLBACK_COLUMNS = 80
_BAR_COLUMNS = 30  # leaves room for the two times on 80 columns


class ProgressLine:
    """Rewrites one line of a terminal; in a file or pipe, writes a line every few seconds.

    Args:
        output: usually standard error.
        interval_s: seconds between lines in a file or pipe.
        clock: monotonic clock in seconds, for tests.
    """

    def __init__(
        self,
        output: TextIO,
        interval_s: float = PLAIN_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._output = output
        self._rewrites = output.isatty()
        self._interval_s = interval_s
        self._clock = clock
        self._next_s = clock()
        self._is_open = False

    def show(self, text: str) -> None:
        """Show `text`, cut to the terminal's width, since a wrapped line cannot be erased."""
        if self._rewrites:
            self._write(f"{_ERASE_LINE}{text[: self._columns() - 1]}")
            self._is_open = True
        elif self._clock() >= self._next_s:
            self._write(f"{text}\n")
            self._next_s = self._clock() + self._interval_s

    def log(self, text: str) -> None:
        """Write a permanent line above the progress line."""
        self._write(f"{_ERASE_LINE if self._is_open else ''}{text}\n")
        self._is_open = False

    def end(self) -> None:
        """Keep the current line, if any, and start a new one."""
        if self._is_open:
            self._is_open = False
            self._write("\n")

    def _columns(self) -> int:
        with suppress(OSError, ValueError):
            return os.get_terminal_size(self._output.fileno()).columns or _FALLBACK_COLUMNS
        return _FALLBACK_COLUMNS

    def _write(self, text: str) -> None:
        if not takes_text(self._output):
            return
        with suppress(OSError, ValueError):
            self._output.write(text)
            self._output.flush()


def takes_text(output: TextIO) -> bool:
    """Whether a line can be written now without blocking.

    A stalled ssh connection, a terminal stopped with Ctrl-S or a pipe without a reader would block
    the writer forever.
    """
    try:
        return bool(select.select([], [output.fileno()], [], 0)[1])
    except (OSError, ValueError):
        return True  # no descriptor: a memory buffer, or closed, which writing detects


class StageBar:
    """A progress bar with the stage of a long command; in a file or pipe, each stage's name once.

    On a terminal it shows the command's elapsed time and the stage's estimated remaining time.

        with StageBar(sys.stderr) as bar:
            bar.show("calibrating", 3, 10)

    Args:
        output: usually standard error.
        names_stages: write the names of stages to a file or pipe.
    """

    def __init__(self, output: TextIO, *, names_stages: bool = True) -> None:
        self._output = output
        self._names_stages = names_stages
        self._stage = ""
        self._done = 0.0
        self._named: set[str] = set()
        self._bar: Any = None
        self._task: Any = None
        if output.isatty():
            self._bar = _rich_bar(output)

    def __enter__(self) -> StageBar:
        """Start the bar; leaving the block removes it."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, stage: str, done: float, total: int) -> None:
        """Show that `done` of `total` steps of a stage are finished."""
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(stage, total=total)
            is_new, self._stage = stage != self._stage, stage
            if done < self._done:  # another stage; only a new total resets rich's estimate
                self._bar.update(self._task, total=total + 1)
            self._done = done
            self._bar.update(
                self._task, description=stage, completed=done, total=total, refresh=is_new
            )
        elif self._names_stages and stage not in self._named:
            self._named.add(stage)
            with suppress(OSError, ValueError):
                self._output.write(f"{stage}\n")
                self._output.flush()


class _Lenient:
    """A stream that drops what cannot be written."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._output.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._output.flush()


def _rich_bar(output: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(_BAR_COLUMNS),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(file=cast(TextIO, _Lenient(output))),
        transient=True,
        redirect_stdout=False,  # results are written there
    )
