"""An image from an http:// or https:// address. Knows bytes, not pictures."""

from __future__ import annotations

import time

from edgecrack.errors import SourceError
from edgecrack.images.decoding import UnreadableImageError
from edgecrack.runtime.sources.http_connection import READ_ERRORS, connect

_LARGEST_DOWNLOAD_BYTES = 512 * 2**20


def downloaded(address: str, timeout_ms: int) -> bytes:
    """What an address answers with.

    Raises:
        UnreadableImageError: nothing, or too much.
    """
    try:
        connection = connect(address, timeout_ms)
    except SourceError as error:
        why = error.problem.rpartition(": ")[2]
        raise UnreadableImageError(f"cannot be had: {why}", error.remedy) from error
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            connection.deadline_s = time.monotonic() + timeout_ms / 1000
            part = connection.read()
            if not part:
                return b"".join(parts)
            size += len(part)
            if size > _LARGEST_DOWNLOAD_BYTES:
                raise UnreadableImageError(
                    f"is larger than {_LARGEST_DOWNLOAD_BYTES >> 20} MiB", "download it first"
                )
            parts.append(part)
    except READ_ERRORS as error:
        raise UnreadableImageError("came in part only", "try again") from error
    finally:
        connection.close()
