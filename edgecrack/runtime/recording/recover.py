"""Makes a damaged or unfinished recording whole again.

Any MCAP file can be recovered into a new one; parts that a killed process of ours left behind
are finished in place, since a robot's disk may have no room for a second copy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgecrack.errors import OutputError, SourceError
from edgecrack.files import replacing
from edgecrack.runtime.mcap_format import MAGIC
from edgecrack.runtime.recording.names import UNFINISHED
from edgecrack.runtime.recording.part_file import PartFile, lock
from edgecrack.runtime.recording.rebuild import Rebuild
from edgecrack.runtime.recording.scan import is_mcap

_LARGEST_ENDING = 64 * 2**20


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What a recovery found.

    Attributes:
        path: the damaged file.
        out: the whole one; `path` itself where nothing was damaged; None where it held no
            message and was removed.
        messages: messages in the whole file.
        bytes_lost: bytes of data that could not be kept.
        time_span_ns: first and last log time, None without messages.
        was_whole: nothing was damaged.
    """

    path: Path
    out: Path | None
    messages: int
    bytes_lost: int
    time_span_ns: tuple[int, int] | None
    was_whole: bool


def recover(path: Path, out: Path | None = None) -> RecoveryReport:
    """Write what is whole of a recording into a new file with an index.

    Chunks count as whole if their checksum confirms them. The damaged file stays as it is.

    Args:
        path: an MCAP file, cut short, damaged or unfinished.
        out: must not exist; None takes `run_0001.mcap` for `run_0001.mcap.part`, and
            `NAME_recovered.mcap` for `NAME.mcap`, and writes nothing if the file is whole.

    Raises:
        SourceError: the file cannot be read, is no MCAP file, or is being recorded.
        OutputError: the new file cannot be written or exists already.
    """
    with _opened(path) as file:
        try:
            if out is None:
                ending = _Ending(file)
                survey = Rebuild(ending, file)
                unfinished = path.name.endswith(UNFINISHED)
                if not unfinished and (survey.was_whole or ending.nothing_missing):
                    return _report(path, path, survey, was_whole=True)
            target = out or _default_target(path)
            if target.exists():
                raise OutputError(f"{target} exists already", "give another name with --out")
            rebuilt = _copy(file, target)
        except OSError as error:
            raise _unreadable(path, error) from error
    return _report(path, target, rebuilt, rebuilt.was_whole)


def finish_leftover(path: Path, target: Path) -> RecoveryReport:
    """Make a part that a killed process left behind whole, and give it its name.

    Args:
        path: the part.
        target: its name when whole; must be free.

    Raises:
        BlockingIOError: it is being recorded into.
        OSError: it cannot be read or written; it stays as it was or can be tried again.
        SourceError: it is no MCAP file.
        OutputError: the new file cannot be written.
    """
    part = PartFile(path, existing=True)
    try:
        with path.open("rb") as file:
            if part.size < len(MAGIC) and MAGIC.startswith(file.read()):
                return _removed(path)
            file.seek(0)
            _check_magic(path, file)
            ending = _Ending(file)
            rebuilt = Rebuild(ending, file)
            if not rebuilt.messages:
                return _removed(path)
            if ending.is_all_that_is_missing(rebuilt):
                part.cut(ending.same)
                part.append(bytes(ending.rest))
                part.finish(target)
            else:
                rebuilt = _copy(file, target)
                path.unlink()
    finally:
        part.close()
    return _report(path, target, rebuilt, rebuilt.was_whole)


class _Ending:
    """Compares what a rebuilt file would hold with a file, and keeps what that one lacks.

    Attributes:
        same: as many bytes from the start are equal.
        rest: what follows in the rebuilt file; cut where it is not only an ending.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.same = 0
        self.rest = bytearray()

    @property
    def nothing_missing(self) -> bool:
        """Whether the file is what it would be rebuilt as."""
        return not self.rest and self.same == self._file.seek(0, os.SEEK_END)

    def is_all_that_is_missing(self, rebuilt: Rebuild) -> bool:
        """Whether the data is in the file as it should be, so that only `rest` is missing."""
        return rebuilt.data_end <= self.same and len(self.rest) < _LARGEST_ENDING

    def __call__(self, data: bytes) -> None:
        if not self.rest:
            self._file.seek(self.same)
            found = self._file.read(len(data))
            equal = _equal_bytes(found, data)
            self.same += equal
            data = data[equal:]
        if len(self.rest) < _LARGEST_ENDING:
            self.rest += data


def _equal_bytes(one: bytes, other: bytes) -> int:
    """How many bytes from the start are equal."""
    if one == other:
        return len(one)
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        if not path.is_file():
            problem = "is not a file" if path.exists() else "does not exist"
            raise SourceError(f"{path} {problem}", "give an MCAP file")
        with path.open("rb") as file:
            if path.name.endswith(UNFINISHED):
                lock(file.fileno())
            _check_magic(path, file)
            yield file
    except BlockingIOError as error:
        raise SourceError(f"{path} is being recorded", "stop that recording first") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _check_magic(path: Path, file: BinaryIO) -> None:
    if not is_mcap(file):
        raise SourceError(f"{path} is no MCAP file", "give a recording whose start is whole")


def _copy(file: BinaryIO, target: Path) -> Rebuild:
    with ExitStack() as kept, replacing(target) as partial, partial.open("xb") as output:
        # Locked until it has its name, so that nobody takes it for a killed process's leftover.
        kept.callback(os.close, os.dup(output.fileno()))
        lock(output.fileno())

        def append(data: bytes) -> None:
            output.write(data)

        return Rebuild(append, file)


def _default_target(path: Path) -> Path:
    if path.name.endswith(UNFINISHED):
        return path.with_name(path.name.removesuffix(UNFINISHED))
    return path.with_name(f"{path.stem}_recovered.mcap")


def _removed(path: Path) -> RecoveryReport:
    path.unlink()
    return RecoveryReport(path, None, 0, 0, None, was_whole=False)


def _report(path: Path, out: Path, rebuilt: Rebuild, was_whole: bool) -> RecoveryReport:
    return RecoveryReport(
        path, out, rebuilt.messages, rebuilt.bytes_lost, rebuilt.time_span_ns, was_whole
    )


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(
        f"cannot read {path}: {error.strerror or error}", "check the file and the disk"
    )
