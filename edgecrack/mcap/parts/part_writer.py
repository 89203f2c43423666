"""One part of a recording, from its first byte to its final name.

Messages are collected into chunks, which reach the file whole. Every method may raise OSError;
the file then ends with its last whole chunk, and what was not written can be tried again. It may
raise OutputError where somebody else removed or changed the file. Knows topics and bytes, no
frames.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

import edgecrack
from edgecrack.errors import OutputError
from edgecrack.mcap.library import Header, Schema
from edgecrack.mcap.parts.chunk import ChunkBuilder
from edgecrack.mcap.parts.container import Container
from edgecrack.mcap.parts.own_records import CHANNEL_IDS, definitions, sealed
from edgecrack.mcap.parts.part_file import PartFile, sync_folder
from edgecrack.mcap.parts.part_names import LIBRARY, UNFINISHED, PartNames

CHUNK_BYTES = 2**20

_ATTEMPTS = 5
_LATEST_NS = 2**63 - 1  # ROS counts in int64


class PartWriter:
    """A part in progress.

    Args:
        names: where it lies; it takes the next number.
        about: what to say of the recording in its metadata.
    """

    def __init__(self, names: PartNames, about: Mapping[str, str]) -> None:
        self._names = names
        self._number, self._file = _new_file(names)
        self._container = Container(self._file.append)
        self._chunk = ChunkBuilder()
        self._sequences: Counter[int] = Counter()
        try:
            self._begin({**about, "part": str(self._number)})
            self._file.sync()
            sync_folder(names.folder)
        except (OSError, OutputError):
            with suppress(OSError):
                if self._file.is_in_place:
                    self._file.path.unlink()
            self._file.close()
            raise

    @property
    def path(self) -> str:
        """The file while it grows."""
        return str(self._file.path)

    @property
    def is_in_place(self) -> bool:
        """Whether the file lies at `path`, as far as that can be told."""
        return self._file.is_in_place

    @property
    def size(self) -> int:
        """Bytes written and about to be written."""
        return self._file.size + self._chunk.size

    @property
    def pending(self) -> int:
        """Bytes that are not in the file yet."""
        return self._chunk.size

    @property
    def messages(self) -> int:
        """Messages in the file."""
        return self._container.messages

    def add(self, topic: str, time_ns: int, data: bytes) -> None:
        """Take one message; it is in memory until `write_out`."""
        channel_id = CHANNEL_IDS[topic]
        self._sequences[channel_id] += 1
        held_ns = min(max(time_ns, 0), _LATEST_NS)
        self._chunk.add(channel_id, self._sequences[channel_id], held_ns, data)

    def write_out(self) -> None:
        """Hand what was taken to the file."""
        if self._chunk.size:
            self._container.add_chunk(self._chunk.build())
            self._chunk.clear()

    def check_place(self) -> None:
        """Make sure that the file lies at `path`; raises OutputError if not."""
        self._file.check_place()

    def sync(self) -> None:
        """Wait until what was handed to the file is on the disk."""
        self._file.sync()

    def finish(self) -> str:
        """Write the index and give the file its final name, which is returned.

        What `write_out` could not write is left out.
        """
        self._chunk.clear()
        self._container.finish()
        self._file.check_place()
        path = self._names.path_of(self._number)
        if path.exists():
            path = self._names.path_of(self._names.next_number())
        self._file.finish(path)
        return str(path)

    def abandon(self) -> None:
        """Let go of the file, which can be recovered."""
        self._file.close()

    def _begin(self, about: Mapping[str, str]) -> None:
        header = Header("ros2", f"{LIBRARY}/{edgecrack.__version__}")
        self._container.start(header)
        self._container.add_metadata(sealed(header, about))
        for definition in definitions():
            if isinstance(definition, Schema):
                self._container.add_schema(definition)
            else:
                self._container.add_channel(definition)


def _new_file(names: PartNames) -> tuple[int, PartFile]:
    """The next part's number and file; another process may be quicker a few times."""
    for _ in range(_ATTEMPTS - 1):
        with suppress(FileExistsError):
            return _open_next(names)
    return _open_next(names)


def _open_next(names: PartNames) -> tuple[int, PartFile]:
    number = names.next_number()
    final = names.path_of(number)
    return number, PartFile(final.with_name(final.name + UNFINISHED))
