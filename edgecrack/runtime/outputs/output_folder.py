"""A folder of results that remembers which files it made.

Foreign files are never deleted or overwritten, and results of an earlier run only on request. So
every file is added to a list before it is made; only files on that list are removed, and a folder
in which a file that is not on the list has the name of a result is refused. The list is written
line by line and so survives a killed process; it also keeps the notes of runs. `output_place.py`
chooses the folder.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from edgecrack.errors import OutputError
from edgecrack.file_lock import Lock, lock_file
from edgecrack.files import output_error
from edgecrack.outside_text import parse_json

LEDGER_NAME = ".edgecrack-files"
SUMMARY_NAME = "summary.json"
SNAPSHOTS_NAME = "snapshots"
TEMPORARY_PREFIX = ".edgecrack-"  # as `edgecrack.files.replacing` names them
_TEMPORARY_NAME = re.compile(r"\.edgecrack-[0-9a-f]{12}(\.\w+)?")


class OutputFolder:
    """A folder of results, and the list of its files.

        folder = OutputFolder(Path("runs/bridge"))
        folder.claim("masks/000001.png").write_bytes(mask)

    Args:
        path: made if it does not exist, with the folders above it.

    Attributes:
        root: the folder with the list.
        path: base of file names: `root`, or a folder inside it (`within`).

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.root = self.path = path
        self._ledger = _Ledger(path / LEDGER_NAME)
        with output_errors(path):
            self._made = [each for each in (path, *path.parents) if not os.path.lexists(each)]
            path.mkdir(parents=True, exist_ok=True)

    def within(self, name: str) -> OutputFolder:
        """A folder inside this one, whose files are on the same list.

        Args:
            name: relative, with forward slashes, e.g. `part-2`; made when a file is claimed in it.
        """
        inner = copy.copy(self)
        inner.path = self.path / name
        return inner

    def lock(self) -> Lock:
        """Keep other runs out of the folder until `unlock` or the end of the process.

        Returns:
            "held"; "busy" where another run has it; "impossible" where the file system has no
            locks.

        Raises:
            OutputError: the list cannot be opened.
        """
        while True:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                return self._ledger.lock()
            except FileNotFoundError:
                continue  # another run that could not begin has just removed it
            except OSError as error:
                raise output_error(error.filename or self.root, error) from error

    def unlock(self) -> None:
        """Let other runs in; may be called twice."""
        self._ledger.unlock()

    def discard(self) -> None:
        """Unlock, and remove folder and list again if a run could not begin."""
        if self._ledger.is_new and not self._ledger.lines():
            with suppress(OSError):
                self._ledger.path.unlink()
                for folder in self._made:
                    folder.rmdir()  # fails where other files have been put there
        self.unlock()

    @property
    def is_new(self) -> bool:
        """Whether the list did not exist before `lock`."""
        return self._ledger.is_new

    def results(self) -> set[Path]:
        """The files of earlier runs that still exist; snapshots belong to the user.

        Raises:
            OutputError: the list cannot be read.
        """
        return {file for file in self._listed() if os.path.lexists(file)}

    def has_results(self) -> bool:
        """Whether any file of an earlier run still exists.

        Raises:
            OutputError: the list cannot be read.
        """
        return any(os.path.lexists(file) for file in self._listed())

    def notes(self) -> list[dict[str, Any]]:
        """The notes of runs, oldest first.

        Raises:
            OutputError: the list cannot be read.
        """
        notes = (_parsed(line) for line in self._lines() if line.startswith("{"))
        return [note for note in notes if isinstance(note, dict)]

    def note(self, content: Mapping[str, Any]) -> None:
        """Add a note about the run to the list; it must be possible as JSON.

        Raises:
            OutputError: it cannot be written.
        """
        self._append(dict(content))

    def in_the_way(self, patterns: Sequence[str]) -> list[str]:
        """Files that a run would write and that no earlier run made, relative to `path`, sorted.

        Args:
            patterns: glob patterns of what the run may write, relative to `path`.

        Raises:
            OutputError: the folder cannot be read.
        """
        with output_errors(self.path):
            found = {file for pattern in patterns for file in self.path.glob(pattern)}
        foreign = found - self.results() if found else set()
        # A killed run leaves the temporary file that it was writing; no result has such a name.
        return sorted(
            str(file.relative_to(self.path))
            for file in foreign
            if not file.name.startswith(TEMPORARY_PREFIX)
        )

    def refuse_foreign(self, patterns: Sequence[str]) -> None:
        """Make sure that nothing is in the way.

        Raises:
            OutputError: a foreign file is, or the folder cannot be read.
        """
        if foreign := self.in_the_way(patterns):
            raise OutputError(
                f"{self.path} holds {_some(foreign)}, which no earlier run made",
                "give an empty folder, or move these files away",
            )

    def clear_own(self, patterns: Sequence[str]) -> None:
        """As `clear`, for a writer that made nothing but files of these names.

        Args:
            patterns: glob patterns of what it may write, relative to `path`.

        Raises:
            OutputError: a foreign file is in the way, the folder has results of another kind, such
                as a whole run's, or a file cannot be removed.
        """
        self.refuse_foreign(patterns)
        names = sorted(file.relative_to(self.path).as_posix() for file in self.results()
                       if file.is_relative_to(self.path))  # fmt: skip
        others = [name for name in names if not any(fnmatch(name, each) for each in patterns)]
        if others or self.root != self.path:
            raise OutputError(
                f"{self.path} holds other results: {_some(others)}", "give another folder"
            )
        self.clear()

    def clear(self) -> None:
        """Remove what earlier runs wrote, and nothing else: no foreign file and no snapshot.

        Raises:
            OutputError: a file cannot be removed.
        """
        with output_errors(self.root):
            files = self.results()
            for file in files | _torn(files):
                if file.is_file() or file.is_symlink():
                    file.unlink()
            above = {folder for file in files for folder in file.parents}
            inside = {folder for folder in above if self.root in folder.parents}
            for folder in sorted(inside, reverse=True):
                with suppress(OSError):  # it has other files
                    folder.rmdir()
        self.forget()

    def clear_inner(self, name: str) -> None:
        """As `clear`, of a folder inside of this one that has a list of its own, if it has one.

        Raises:
            OutputError: a file cannot be removed.
        """
        if (self.root / name / LEDGER_NAME).is_file():
            inner = OutputFolder(self.root / name)
            inner.clear()
            with suppress(OSError):
                (inner.root / LEDGER_NAME).unlink()
                inner.root.rmdir()  # not where it has other files

    def remove_torn(self) -> None:
        """Remove what a killed run left half-written; to be called while the folder is locked."""
        for file in _torn(set(self._listed())):
            with suppress(OSError):
                file.unlink()

    def forget(self) -> None:
        """Empty the list; the files on it become foreign.

        Raises:
            OutputError: the list cannot be written.
        """
        with output_errors(self._ledger.path):
            self._ledger.empty()

    def claim(self, name: str) -> Path:
        """The path of a file that is about to be written; its folder is made.

        Args:
            name: relative, with forward slashes, e.g. `masks/000001.png`.

        Raises:
            OutputError: the list or the folder cannot be written.
        """
        file = self.keep(name)
        self._append(file.relative_to(self.root).as_posix())
        return file

    def keep(self, name: str) -> Path:
        """As `claim`, for a file that no run will remove.

        Raises:
            OutputError: the folder cannot be written.
        """
        file = self.path / name
        try:
            # Not the folder itself: that it was removed while a run goes on is an error.
            for folder in reversed(file.parents):
                if self.root in folder.parents:
                    folder.mkdir(exist_ok=True)
        except OSError as error:
            raise output_error(file, error) from error
        return file

    def _append(self, entry: str | dict[str, Any]) -> None:
        with output_errors(self._ledger.path):
            self._ledger.append(json.dumps(entry, allow_nan=False))

    def _listed(self) -> Iterator[Path]:
        for line in self._lines():
            name = None if line.startswith("{") else _name_on(line)
            if name is not None and _is_removable(name):
                yield self.root / name

    def _lines(self) -> list[str]:
        with output_errors(self._ledger.path):
            return self._ledger.lines()


def file_in(folder: Path | OutputFolder, name: str) -> Path:
    """The path of a file that is about to be written, claimed where the folder keeps a list.

    Raises:
        OutputError: the list or the folder cannot be written.
    """
    return folder.claim(name) if isinstance(folder, OutputFolder) else folder / name


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError about the file that it names, or else about `path`."""
    try:
        yield
    except OSError as error:
        raise output_error(error.filename or path, error) from error


class _Ledger:
    """The file of the list, which is also what is locked.

    While it is locked, all goes through one descriptor: on a network file system, closing any
    other one of the same file would end the lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_new = False
        self._descriptor = -1

    def lock(self) -> Lock:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        try:
            descriptor, self.is_new = os.open(self.path, flags | os.O_EXCL, 0o666), True
        except FileExistsError:
            descriptor, self.is_new = os.open(self.path, flags, 0o666), False
        state = lock_file(descriptor)
        if state == "busy":
            os.close(descriptor)
            self.is_new = False  # the run that has it has examined it, too
            return state
        try:
            if not os.path.samestat(os.fstat(descriptor), self.path.stat()):
                raise FileNotFoundError(self.path)  # removed between opening and locking
            _end_torn_line(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return state

    def unlock(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def lines(self) -> list[str]:
        if self._descriptor >= 0:
            size = os.fstat(self._descriptor).st_size
            data = os.pread(self._descriptor, size, 0)
        else:
            data = self.path.read_bytes() if self.path.exists() else b""
        return data.decode("utf-8", errors="replace").splitlines()

    def append(self, line: str) -> None:
        if self._descriptor >= 0:
            _append(self._descriptor, line)
            return
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            _append(descriptor, line)
        finally:
            os.close(descriptor)

    def empty(self) -> None:
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
        else:
            self.path.write_bytes(b"")


def _append(descriptor: int, line: str) -> None:
    """Append a line whole or not at all."""
    size = os.fstat(descriptor).st_size
    rest = f"{line}\n".encode()
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _end_torn_line(descriptor: int) -> None:
    """End the half line that a power cut may have left."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")


def _parsed(line: str) -> Any:
    """The content of a line; None if torn. JSON, since a name may contain a line break."""
    try:
        return parse_json(line)
    except ValueError:
        return None


def _name_on(line: str) -> str | None:
    """The file name on a line; None for a torn line or one that leads outside."""
    name = _parsed(line)
    if not isinstance(name, str) or not name:
        return None
    pure = PurePosixPath(name)
    return None if pure.is_absolute() or ".." in pure.parts else name


def _is_removable(name: str) -> bool:
    """Snapshots stay; edgecrack 0.1 had them on the list."""
    return SNAPSHOTS_NAME not in PurePosixPath(name).parts[:-1]


def _torn(files: set[Path]) -> set[Path]:
    """Temporary files that a killed run left beside the files that it had made."""
    folders = {file.parent for file in files}
    found = (torn for folder in folders for torn in folder.glob(f"{TEMPORARY_PREFIX}*"))
    return {torn for torn in found if _TEMPORARY_NAME.fullmatch(torn.name)}


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
