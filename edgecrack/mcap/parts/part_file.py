"""The file of a part: grows by whole pieces, and gets its final name when it is complete.

While it grows, its name is `NAME_0001.mcap.part` and it is locked, so that another process can
distinguish a recording in progress from one that a killed process left behind. Changes by other
programs are noticed.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from itertools import count
from pathlib import Path

from edgecrack.errors import OutputError
from edgecrack.file_lock import lock_file
from edgecrack.mcap.parts.part_names import DAMAGED

_LEAVE_ALONE = "leave its files alone while a recording lasts, and start it again"


class PartFile:
    """An open part. Every method but `close` and `is_in_place` may raise OSError.

    Args:
        path: the file, with `.part` at its end.
        existing: continue a part that was left behind instead of making a new one.

    Raises:
        FileExistsError: it exists and should be new.
        BlockingIOError: another process is recording into it.
        OSError: it cannot be made or opened.
    """

    def __init__(self, path: Path, *, existing: bool = False) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CLOEXEC | (0 if existing else os.O_CREAT | os.O_EXCL)
        self._descriptor = os.open(path, flags, 0o666)
        try:
            lock(self._descriptor)
            status = os.fstat(self._descriptor)
        except OSError:
            self.close()
            raise
        self._identity = status.st_dev, status.st_ino
        self.size = self._length = status.st_size

    @property
    def is_in_place(self) -> bool:
        """Whether the file still has its name; False too if that cannot be found out."""
        try:
            return self._has_name()
        except OSError:
            return False

    def check_place(self) -> None:
        """Make sure that the file still has its name.

        Raises:
            OutputError: the file or its folder was removed or renamed.
        """
        if not self._has_name():
            raise OutputError(
                f"{self.path} was removed or renamed while it was written", _LEAVE_ALONE
            )

    def append(self, data: bytes) -> None:
        """Append bytes, all of them or none.

        Raises:
            OutputError: another program made the file longer or shorter.
        """
        found = os.fstat(self._descriptor).st_size
        if found != self._length:
            raise OutputError(
                f"{self.path} was changed while it was written: "
                f"it has {found} bytes instead of {self._length}",
                _LEAVE_ALONE,
            )
        rest, position = memoryview(data), self.size
        try:
            while rest:
                written = os.pwrite(self._descriptor, rest, position)
                rest, position = rest[written:], position + written
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            with suppress(OSError):
                self._length = os.fstat(self._descriptor).st_size
            raise
        self.size = self._length = position

    def cut(self, size: int) -> None:
        """Cut off what follows the first `size` bytes."""
        os.ftruncate(self._descriptor, size)
        self.size = self._length = size

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        os.fdatasync(self._descriptor)

    def finish(self, path: Path) -> None:
        """Give the file its final name, durably, and close it; `path` must be free."""
        try:
            os.fsync(self._descriptor)
            self.check_place()
            if path.exists():
                raise FileExistsError(f"{path} exists")
            self.path.rename(path)
            sync_folder(path.parent)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file and let go of its lock; may be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _has_name(self) -> bool:
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (status.st_dev, status.st_ino) == self._identity


def lock(descriptor: int) -> None:
    """Mark a file as being recorded into, until it is closed.

    Raises:
        BlockingIOError: another process has marked it.
    """
    if lock_file(descriptor) == "busy":
        raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))


def set_aside(part: Path) -> Path:
    """Rename `NAME.mcap.part` to `NAME.mcap.damaged`, or a number behind that if it is taken.

    Raises:
        OSError: it cannot be renamed.
    """
    for number in count(1):
        kept = part.with_suffix(DAMAGED if number == 1 else f"{DAMAGED}{number}")
        if os.path.lexists(kept):
            continue
        try:
            os.link(part, kept)  # a rename would overwrite a file made just now
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            return part.rename(kept)
        part.unlink()
        break
    return kept


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # as network file systems say
            raise
    finally:
        os.close(descriptor)
