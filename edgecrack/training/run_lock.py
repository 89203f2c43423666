"""Keeps a second run out of a run's folder while the first one writes into it.

The lock is the system's, on an open file: it goes with the process that holds it, however that
ends, so that a killed run bars no other. Knows files, nothing of runs.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecrack.errors import ConfigError
from edgecrack.files import output_error

NAME = ".edgecrack-run.lock"
# Some network file systems know no locks; a run there is not kept from another.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Hold a folder, which exists, for the time of the block.

    Raises:
        ConfigError: another process holds it.
        OutputError: it cannot be written into.
    """
    path = folder / NAME
    try:
        descriptor = _lock(path)
    except BlockingIOError:
        raise ConfigError(
            f"{folder} is in use by another run", "wait until that one ends, or give another `out`"
        ) from None
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        yield
    finally:
        # Before the lock is let go, or it would be the next holder's file that is removed.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _lock(path: Path) -> int:
    """Open and lock the file of this name; a process that starts meanwhile does not inherit it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(descriptor)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the holder before removed this very file, so it bars no one


def _take(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
