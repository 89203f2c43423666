"""The file of a part: grows by whole pieces, and takes its final name when it is whole.

While it grows it is called `NAME_0001.mcap.part` and is locked, so that another process can
tell a recording in progress from one that a killed process left behind. Knows bytes only.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path


class PartFile:
    """An open part. Every method but `close` may raise OSError.

    Args:
        path: the file, with `.part` at its end.
        existing: go on with a part that was left behind, not make a new one.

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
            self.size = os.fstat(self._descriptor).st_size
        except OSError:
            self.close()
            raise

    def append(self, data: bytes) -> None:
        """Put bytes at the end, all of them or none."""
        rest, position = memoryview(data), self.size
        try:
            while rest:
                written = os.pwrite(self._descriptor, rest, position)
                rest, position = rest[written:], position + written
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size = position

    def cut(self, size: int) -> None:
        """Forget what lies behind the first `size` bytes."""
        os.ftruncate(self._descriptor, size)
        self.size = size

    def sync(self) -> None:
        """Wait until all is on the disk."""
        os.fdatasync(self._descriptor)

    def finish(self, path: Path) -> None:
        """Give the file its final name, durably, and close it; `path` must be free."""
        try:
            os.fsync(self._descriptor)
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


def lock(descriptor: int) -> None:
    """Mark a file as being recorded into, until it is closed.

    Raises:
        BlockingIOError: another process has marked it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass  # a file system without locks


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
