"""The names of a recording's parts, and the parts in its folder.

`run.mcap` is recorded as `run_0001.mcap`, `run_0002.mcap` and so on; an unfinished part ends in
`.part`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from edgecrack.mcap.format import HEADER, MAGIC

UNFINISHED = ".part"
# A part that was recovered with losses.
DAMAGED = ".damaged"
LIBRARY = "edgecrack"


class Part(NamedTuple):
    """One file of a recording."""

    number: int
    path: Path


class PartNames:
    """The files of one recording.

    Args:
        path: as in `RecordingConfig`.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self._stem, self._suffix = path.stem, path.suffix
        name = rf"{re.escape(self._stem)}_(\d{{4,}}){re.escape(self._suffix)}"
        self._pattern = re.compile(rf"{name}(?P<unfinished>{re.escape(UNFINISHED)})?")

    def path_of(self, number: int) -> Path:
        """The file of a part when it is whole."""
        return self.folder / f"{self._stem}_{number:04d}{self._suffix}"

    def check_length(self) -> None:
        """Make sure that the disk supports the longest name that a part can have.

        Raises:
            OSError: it does not.
        """
        with suppress(FileNotFoundError):
            whole = self.path_of(1)
            whole.with_name(whole.name + max(UNFINISHED, DAMAGED, key=len)).lstat()

    def next_number(self) -> int:
        """One above the highest number that any file has, whole or not."""
        return 1 + max((part.number for part, _ in self._found()), default=0)

    def leftovers(self) -> list[Part]:
        """Parts that are not whole, oldest first; also one being recorded."""
        return sorted(part for part, is_whole in self._found() if not is_whole)

    def finished(self) -> list[Part]:
        """Whole parts that edgecrack wrote, oldest first; no foreign files, no links."""
        whole = sorted(part for part, is_whole in self._found() if is_whole)
        return [
            part for part in whole if not part.path.is_symlink() and written_by_edgecrack(part.path)
        ]

    def _found(self) -> list[tuple[Part, bool]]:
        """Each part, and whether it is whole."""
        matches = [(path, self._pattern.fullmatch(path.name)) for path in self.folder.iterdir()]
        return [
            (Part(int(match[1]), path), match["unfinished"] is None)
            for path, match in matches
            if match
        ]


def written_by_edgecrack(path: Path) -> bool:
    """Whether a file is a recording whose header names edgecrack as its writer."""
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError:
        return False
    if not head.startswith(MAGIC) or head[8:9] != bytes([HEADER]):
        return False
    profile_end = 21 + int.from_bytes(head[17:21], "little")
    library = head[profile_end + 4 : profile_end + 4 + len(LIBRARY)]
    return library == LIBRARY.encode()
