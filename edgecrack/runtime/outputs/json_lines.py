"""A file of JSON lines that a killed process leaves with whole lines only.

Each kind of line says in `schema_version` which of its schemas in `edgecrack/schemas/` it follows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecrack.files import output_error


class JsonLines:
    """Appends one object per line; each line goes to the system in one piece.

    Args:
        path: replaced if it exists, unless `keeps`.
        keeps: go on behind the whole lines that are there.

    Raises:
        OutputError: it cannot be made.
    """

    def __init__(self, path: Path, *, keeps: bool = False) -> None:
        self._path = path
        self._size = 0
        self._descriptor = -1
        try:
            if keeps and path.exists():
                self._size = path.read_bytes().rfind(b"\n") + 1
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
        except OSError as error:
            raise output_error(path, error) from error

    def append(self, record: Mapping[str, Any]) -> None:
        """Append one line; after a failure the file ends with the last whole one.

        Raises:
            OutputError: it cannot be written.
        """
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            self._size += written
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            raise output_error(self._path, error) from error

    def close(self) -> None:
        """Close the file; may be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
