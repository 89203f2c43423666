"""Chooses the folder of a run: the one asked for, one beside it, or that of a run to continue.

    take_place(Path("runs/bridge"), ["frames.jsonl"]).folder    # runs/bridge-2 if that is taken

Two runs never get the same folder, even if they start at the same moment: a folder is locked before
it is examined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

from edgecrack.errors import ConfigError, OutputError
from edgecrack.runtime.outputs.output_folder import LEDGER_NAME, OutputFolder

# What to do with the results of an earlier run.
Existing = Literal["beside", "overwrite", "continue"]


def existing_of(*, overwrite: bool, go_on: bool = False, option: str = "`continue`") -> Existing:
    """The choice made by the options `overwrite` and `continue`, or another `option` for it.

    Raises:
        ConfigError: both are given.
    """
    if overwrite and go_on:
        raise ConfigError(
            f"`overwrite` and {option} are both given",
            f"give {option} to add to the earlier run, or `overwrite` to replace it",
        )
    return "overwrite" if overwrite else "continue" if go_on else "beside"


@dataclass(frozen=True)
class ResultsPlace:
    """The folder of a run's results.

    Attributes:
        folder: made and locked.
        goes_on: the run in the folder is continued; otherwise this is a new one.
        note: a sentence for the user if the folder is not the one asked for; else empty.
    """

    folder: OutputFolder
    goes_on: bool = False
    note: str = ""


def take_place(
    out: Path,
    patterns: Sequence[str],
    existing: Existing = "beside",
    *,
    named: bool = True,
    why_not: Callable[[Sequence[dict[str, Any]]], str | None] = lambda notes: None,
) -> ResultsPlace:
    """Find the folder for a run's results, make it if necessary, and lock it.

    Nothing is removed yet: `OutputFolder.clear` does that when all else is known to work, and
    `discard` undoes the taking.

    Args:
        out: the folder asked for.
        patterns: glob patterns of what the run may write, relative to the folder.
        existing: "beside" takes `out`, or where that holds an earlier run's results or another
            run writes there, the first of `out-2`, `out-3`, ... that is free; "overwrite" takes
            `out` with the results in it; "continue" takes the newest of them unless there is a
            reason against it, and then acts as "beside".
        named: a person chose the name `out`; otherwise a folder in which foreign files are in the
            way is skipped like one that is taken.
        why_not: returns why the run that left these notes is not continued, as a clause; None to
            continue it.

    Raises:
        OutputError: a folder cannot be made or read, foreign files are in the way, or "overwrite"
            was asked for where another run writes.
    """
    if existing == "overwrite":
        return _overwritten(out, patterns)
    reason = None
    if existing == "continue" and (newest := _newest(out)) is not None:
        # Where the file system has no locks, a run that still goes on is not noticed; a service
        # manager starts a run only when the last one has ended.
        busy = newest.lock() == "busy"
        reason = "still goes on" if busy else why_not(newest.notes())
        if reason is None:
            return ResultsPlace(newest, goes_on=True)
        newest.discard()
        reason = f"the run in {newest.root} {reason}; a new one begins in"
    tried = (
        _free(candidate, patterns, refuses=named and number == 1)
        for number, candidate in enumerate(_beside(out), 1)
    )
    folder = next(folder for folder in tried if folder is not None)
    if reason is None and folder.root == out:
        return ResultsPlace(folder)
    reason = reason or f"{out} holds other results, which stay; those of this run go to"
    return ResultsPlace(folder, note=f"{reason} {folder.root}")


def _beside(out: Path) -> Iterator[Path]:
    """`out`, `out-2`, `out-3` and so on."""
    yield out
    base = out if out.name not in ("", "..") else out.resolve()
    for number in count(2):
        yield base.parent / f"{base.name}-{number}"


def _overwritten(out: Path, patterns: Sequence[str]) -> ResultsPlace:
    folder = OutputFolder(out)
    try:
        if folder.lock() == "busy":
            raise OutputError(
                f"another run writes into {out}", "give another folder, or end that run"
            )
        folder.refuse_foreign(patterns)
    except OutputError:
        folder.discard()
        raise
    return ResultsPlace(folder)


def _newest(out: Path) -> OutputFolder | None:
    """The last of `out`, `out-2`, ... in which a run left its list of files."""
    newest = None
    for candidate in _beside(out):
        if not (candidate / LEDGER_NAME).is_file():
            break
        newest = candidate
    return None if newest is None else OutputFolder(newest)


def _free(path: Path, patterns: Sequence[str], *, refuses: bool) -> OutputFolder | None:
    """The folder, locked, if it has no results of another run.

    Args:
        path: the folder.
        patterns: as in `take_place`.
        refuses: foreign files in the way are an error; otherwise the folder is not free.
    """
    if path.exists() and not path.is_dir() and not refuses:
        return None
    folder = OutputFolder(path)
    try:
        state = folder.lock()
        # Where there are no locks, only the run that made the list can be sure to be alone.
        is_locked = state == "held" or (state == "impossible" and folder.is_new)
        is_free = is_locked and not folder.has_results()
        if is_free and refuses:
            folder.refuse_foreign(patterns)
        is_free = is_free and not folder.in_the_way(patterns)
    except OutputError:
        folder.discard()
        raise
    if not is_free:
        folder.discard()
        return None
    return folder
