"""Looks up the file or folder that an address names, and says why there is none."""

from __future__ import annotations

import os
from pathlib import Path

from edgecrack.errors import SourceError


def readable_path(address: str, remedy: str) -> Path:
    """The file or folder at `address`, of which `~` and `~user` stand for a home folder.

    Args:
        address: without NUL bytes.
        remedy: what to do where there is none.

    Raises:
        SourceError: there is none, or it may not be read.
    """
    try:
        path = Path(address).expanduser()
        exists = path.exists()
    except RuntimeError as error:
        user = address.split("/")[0]
        raise SourceError(f"cannot look up {address}: {user} has no home folder", remedy) from error
    except (OSError, ValueError) as error:  # e.g. a name that is too long
        reason = getattr(error, "strerror", None) or "it is no possible name"
        raise SourceError(f"cannot look up {address}: {reason}", remedy) from error
    if not exists:
        if address.isdigit():
            remedy = f"for a camera give camera:{address}"
        raise SourceError(f"{address} does not exist", remedy)
    if not (path.is_file() or path.is_dir()):
        raise SourceError(f"{address} is neither a file nor a folder", remedy)
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise SourceError(f"{address} may not be read by this user", "change its permissions")
    return path
