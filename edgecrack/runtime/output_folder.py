"""A folder of results that remembers which files it made.

A second run into the same folder must not mix its masks with those of the first, and must
never delete or overwrite a file that somebody else put there. So every file is written
into a list before it is made; the next run removes exactly the files on that list, and
refuses a folder in which a result's name is taken by a file that is not on it. The list is
written line by line and thus survives a killed process.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from edgecrack.errors import OutputError
from edgecrack.files import output_error

LEDGER_NAME = ".edgecrack-files"
SUMMARY_NAME = "summary.json"
TEMPORARY_PREFIX = ".edgecrack-"  # as `edgecrack.files.replacing` names them


class OutputFolder:
    """The folder that a run writes into; earlier results of ours are removed.

    Args:
        path: made if it does not exist.
        patterns: glob patterns of what this run may write, relative to `path`.
        clear: remove the earlier results now; otherwise `clear` does, so that a run that cannot
            begin for another reason leaves them.

    Raises:
        OutputError: the folder cannot be made or written, or holds a file that matches
            `patterns` and is not from an earlier run.
    """

    def __init__(self, path: Path, patterns: Sequence[str] = (), *, clear: bool = True) -> None:
        self.path = path
        self._ledger = path / LEDGER_NAME
        self._lock = -1
        self._ours: set[Path] = set()
        try:
            path.mkdir(parents=True, exist_ok=True)
            found = {file for pattern in patterns for file in path.glob(pattern)}
            # A killed run may leave the temporary file that it was writing.
            torn = {file for file in found if file.name.startswith(TEMPORARY_PREFIX)}
            ours = self._listed() | torn
            foreign = sorted(str(file.relative_to(path)) for file in found - ours)
            if foreign:
                raise OutputError(
                    f"{path} holds {_some(foreign)}, which no earlier run made",
                    "give an empty folder, or move these files away",
                )
            self._ours = ours
            self._ledger.touch()
        except OSError as error:
            raise output_error(error.filename or path, error) from error
        if clear:
            self.clear()

    def clear(self) -> None:
        """Remove what an earlier run of ours wrote.

        Raises:
            OutputError: a file cannot be removed.
        """
        try:
            for file in self._ours:
                if file.is_file() or file.is_symlink():
                    file.unlink()
            self._ledger.write_text("", encoding="utf-8")
        except OSError as error:
            raise output_error(error.filename or self.path, error) from error

    def lock(self) -> None:
        """Keep other runs out of the folder until `unlock` or the end of the process.

        Raises:
            OutputError: another run writes there.
        """
        try:
            descriptor = os.open(self._ledger, os.O_RDWR)
        except OSError as error:
            raise output_error(self._ledger, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise OutputError(
                f"another run writes into {self.path}", "give another folder, or end that run"
            ) from error
        except OSError:  # a network file system without locks
            os.close(descriptor)
            return
        self._lock = descriptor

    def unlock(self) -> None:
        """Let other runs in; may be called twice."""
        descriptor, self._lock = self._lock, -1
        if descriptor >= 0:
            os.close(descriptor)

    def claim(self, name: str) -> Path:
        """The path of a file that is about to be written; its folder is made.

        Args:
            name: relative, with forward slashes, e.g. `masks/000001.png`.

        Raises:
            OutputError: the list or the folder cannot be written.
        """
        file = self.path / name
        try:
            file.parent.mkdir(exist_ok=True)
            # JSON, since a file name may hold any character, a line break too.
            with self._ledger.open("a", encoding="utf-8") as ledger:
                ledger.write(json.dumps(name) + "\n")
        except OSError as error:
            raise output_error(file, error) from error
        return file

    def _listed(self) -> set[Path]:
        if not self._ledger.exists():
            return set()
        files = set()
        for line in self._ledger.read_text(encoding="utf-8", errors="replace").splitlines():
            name = _name_on(line)
            if name is not None:
                files.add(self.path / name)
        return files


def _name_on(line: str) -> str | None:
    """The file name on a line of the list; None for a torn line or one that leads outside."""
    try:
        name = json.loads(line)
    except ValueError:
        return None
    if not isinstance(name, str) or not name:
        return None
    pure = PurePosixPath(name)
    return None if pure.is_absolute() or ".." in pure.parts else name


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
