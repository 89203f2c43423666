"""Locks on open files: they end with the process that holds them, however it ends."""

from __future__ import annotations

import errno
import fcntl
from typing import Literal

Lock = Literal["held", "busy", "impossible"]
# What file systems without locks report, as some network file systems do.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


def lock_file(descriptor: int, *, required: bool = False) -> Lock:
    """Lock an open file until it is closed; never waits, never changes the file.

    Args:
        descriptor: the open file.
        required: raise an error of a file system that has locks, instead of going on without one.

    Returns:
        "busy" if it is locked already, "impossible" if it cannot be locked.

    Raises:
        OSError: `required`, and locking failed on a file system that has locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "busy"
    except OSError as error:
        if required and error.errno not in _NO_LOCKS:
            raise
        return "impossible"
    return "held"
