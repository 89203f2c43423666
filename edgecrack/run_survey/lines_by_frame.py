"""Lines of JSON files by frame, read on demand so that long runs fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from edgecrack.outside_text import parse_json

Line = TypeVar("Line")


class LinesByFrame(Mapping[int, Line]):
    """Lines of files by frame, each parsed on demand.

    Args:
        kept: most parsed lines to cache.
    """

    def __init__(self, kept: int) -> None:
        self._most = kept
        self._at: dict[int, tuple[Path, int, Callable[[dict[str, Any]], Line | None]]] = {}
        self._parsed: dict[int, Line] = {}

    def add(
        self, frame: int, path: Path, offset: int, parse: Callable[[dict[str, Any]], Line | None]
    ) -> None:
        """Register a frame's line, which `parse` has already accepted, by its offset in a file."""
        self._at[frame] = path, offset, parse

    def put(self, frame: int, line: Line) -> None:
        """Register a line that is not in a file."""
        self._parsed[frame] = line

    def __getitem__(self, frame: int) -> Line:
        if frame in self._parsed:
            return self._parsed[frame]
        path, offset, parse = self._at[frame]
        with path.open("rb") as file:
            file.seek(offset)
            line = parse(parse_json(file.readline()))
        if line is None:
            raise KeyError(frame)
        while len(self._parsed) >= self._most:
            del self._parsed[next(iter(self._parsed))]
        self._parsed[frame] = line
        return line

    def __iter__(self) -> Iterator[int]:
        return iter(self._at or self._parsed)

    def __len__(self) -> int:
        return len(self._at or self._parsed)

    def __contains__(self, frame: object) -> bool:
        return frame in self._at or frame in self._parsed
