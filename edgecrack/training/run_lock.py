"""Keeps a second run out of a run's folder while the first one writes into it.

A killed run leaves no lock behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecrack.errors import ConfigError
from edgecrack.file_lock import lock_file
from edgecrack.files import output_error

NAME = ".edgecrack-run.lock"


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
            if lock_file(descriptor, required=True) == "busy":
                raise BlockingIOError
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the holder before removed this very file, so it bars no one
