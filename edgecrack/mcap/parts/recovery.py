"""Recovers a damaged or unfinished recording.

Any MCAP file can be recovered into a new one; parts that a killed process of ours left behind are
finished in place, since a robot's disk may have no room for a second copy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgecrack.errors import OutputError, SourceError
from edgecrack.files import replacing
from edgecrack.mcap.bag_compression import open_unpacked
from edgecrack.mcap.format import MAGIC, RecordFile
from edgecrack.mcap.parts.part_file import PartFile, lock, set_aside
from edgecrack.mcap.parts.part_names import UNFINISHED, written_by_edgecrack
from edgecrack.mcap.parts.rebuild import Rebuild

_LARGEST_ENDING = 64 * 2**20
# The longest write that can be cut off: a chunk with the messages of one result behind it.
_LARGEST_TEAR = 16 * 2**20


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """The result of a recovery.

    Attributes:
        path: the damaged file.
        out: the whole one; `path` itself where nothing was damaged; None where there is no message
            to keep.
        messages: messages in the whole file.
        bytes_lost: bytes of data that could not be kept.
        time_span_ns: first and last log time, None without messages.
        was_whole: nothing was damaged.
        kept: the new name of a leftover that could not be replaced without loss.
        damage: what else differs from what was written, each in a few words.
        unprotected: what has no checksum, so damage in it would not be noticed.
    """

    path: Path
    out: Path | None
    messages: int
    bytes_lost: int
    time_span_ns: tuple[int, int] | None
    was_whole: bool
    kept: Path | None = None
    damage: tuple[str, ...] = ()
    unprotected: tuple[str, ...] = ()


def recover(path: Path, out: Path | None = None) -> RecoveryReport:
    """Write what is whole of a recording into a new file with an index.

    Chunks count as whole if their checksum confirms them. The damaged file stays as it is.

    Args:
        path: an MCAP file, cut short, damaged or unfinished; also one that `ros2 bag` packed as a
            whole, which is recovered as far as it can be unpacked.
        out: must not exist; None takes `run_0001.mcap` for `run_0001.mcap.part`, and
            `NAME_recovered.mcap` for `NAME.mcap` and `NAME.mcap.zstd`, and writes nothing if the
            file is whole.

    Raises:
        SourceError: the file cannot be read or unpacked, is not an MCAP file, is being recorded, or
            has no whole message left.
        OutputError: the new file cannot be written or exists already.
        MissingDependencyError: it is packed, and what unpacks it is not installed.
    """
    with _opened(path) as file:
        if out is None and not path.name.endswith(UNFINISHED):
            ending = _Ending(file)
            found = Rebuild(ending.append, file)
            if found.was_whole or (ending.nothing_missing and not found.damage):
                return _report(path, path, found, was_whole=True)
        target = out or _default_target(path)
        if target.exists():
            raise OutputError(f"{target} exists already", "give another name with `out`")
        rebuilt = _copy(file, target)
    return _report(path, target, rebuilt, rebuilt.was_whole)


def finish_leftover(path: Path, target: Path) -> RecoveryReport:
    """Finish a part that a killed process left behind, and give it its final name.

    It is removed only if all of its content is kept and edgecrack wrote it. A torn end of one of
    our own is cut off in place. Otherwise it stays beside the whole one, as `NAME.mcap.damaged`.

    Args:
        path: the part.
        target: its final name; must be free.

    Raises:
        BlockingIOError: it is being recorded into.
        OSError: it cannot be read or written; it stays as it was or can be tried again.
        SourceError: it cannot be read, or is not an MCAP file.
        OutputError: the new file cannot be written.
    """
    part = PartFile(path, existing=True)
    try:
        with path.open("rb") as opened:
            file = RecordFile(opened, path)
            if part.size < len(MAGIC) and MAGIC.startswith(file.at(0, part.size)):
                return RecoveryReport(path, None, 0, part.size, None, False, set_aside(path))
            _check_magic(file)
            ending = _Ending(file)
            rebuilt = Rebuild(ending.append, file)
            is_ours = written_by_edgecrack(path)
            # Bytes that a whole file would not have there, an index behind the data included.
            differs_bytes = part.size - ending.same
            has_ending = rebuilt.messages and ending.is_all_that_is_missing(rebuilt.data_end)
            if has_ending and differs_bytes <= (_LARGEST_TEAR if is_ours else 0):
                part.cut(ending.same)
                part.append(bytes(ending.rest))
                part.finish(target)
                return _report(path, target, rebuilt, rebuilt.was_whole)
            out = None
            if rebuilt.messages:
                rebuilt, out = _copy(file, target), target
            report = _report(path, out, rebuilt, was_whole=False)
            if is_ours and not rebuilt.bytes_lost and not rebuilt.damage and not differs_bytes:
                path.unlink()
                return report
            return replace(report, kept=set_aside(path))
    finally:
        part.close()


class _Ending:
    """Compares a rebuilt file with the damaged one, and keeps what the damaged one lacks.

    Attributes:
        same: number of bytes from the start that are equal.
        rest: what follows in the rebuilt file; cut where it is more than an ending.
    """

    def __init__(self, file: RecordFile) -> None:
        self._file = file
        self.same = 0
        self.rest = bytearray()

    @property
    def nothing_missing(self) -> bool:
        """Whether the file equals the rebuilt one."""
        return not self.rest and self.same == self._file.size

    def is_all_that_is_missing(self, data_end: int) -> bool:
        """Whether the data up to `data_end` is in the file unchanged, so only `rest` is missing."""
        return data_end <= self.same and len(self.rest) < _LARGEST_ENDING

    def append(self, data: bytes) -> None:
        """Take the next bytes of the rebuilt file."""
        if not self.rest:
            found = self._file.at(self.same, len(data))
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
def _opened(path: Path) -> Iterator[RecordFile]:
    try:
        if not path.is_file():
            problem = "is not a file" if path.exists() else "does not exist"
            raise SourceError(f"{path} {problem}", "give an MCAP file")
        with open_unpacked(path) as opened:
            if path.name.endswith(UNFINISHED):
                lock(opened.fileno())
            file = RecordFile(opened, path)
            _check_magic(file)
            yield file
    except BlockingIOError as error:
        raise SourceError(f"{path} is being recorded", "stop that recording first") from error
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror or error}", "check the file and the disk"
        ) from error


def _check_magic(file: RecordFile) -> None:
    if file.at(0, len(MAGIC)) != MAGIC:
        raise SourceError(
            f"{file.path} is not an MCAP file", "give a recording whose start is whole"
        )


def _copy(file: RecordFile, target: Path) -> Rebuild:
    with ExitStack() as kept, replacing(target) as partial, partial.open("xb") as output:
        # Locked until it has its name, so that it is not taken for a leftover.
        kept.callback(os.close, os.dup(output.fileno()))
        lock(output.fileno())

        def append(data: bytes) -> None:
            output.write(data)

        rebuilt = Rebuild(append, file)
        if rebuilt.bytes_lost and not rebuilt.messages:
            raise SourceError(
                f"nothing in {file.path} is whole: no message, {rebuilt.bytes_lost} bytes lost",
                "give another recording, or an earlier copy of this one",
            )
        return rebuilt


def _default_target(path: Path) -> Path:
    if path.name.endswith(UNFINISHED):
        return path.with_name(path.name.removesuffix(UNFINISHED))
    stem = path.stem.removesuffix(".mcap")  # of `run.mcap.zstd`
    return path.with_name(f"{stem}_recovered.mcap")


def _report(path: Path, out: Path | None, rebuilt: Rebuild, was_whole: bool) -> RecoveryReport:
    return RecoveryReport(
        path,
        out,
        rebuilt.messages,
        rebuilt.bytes_lost,
        rebuilt.time_span_ns,
        was_whole,
        damage=tuple(rebuilt.damage),
        unprotected=rebuilt.unprotected,
    )
