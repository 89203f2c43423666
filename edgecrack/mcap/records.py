"""The bytes of an MCAP file: records one after another, and what is inside a chunk.

What is not whole is an error here, and its reader's to count; a damaged length never makes this
read or unpack more than 1 GiB. Knows where records are; must not know what
messages mean.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edgecrack.errors import SourceError
from edgecrack.mcap.bag_compression import open_unpacked
from edgecrack.mcap.format import (
    DATA_END,
    INDEX_HEAD,
    LARGEST_BYTES,
    MAGIC,
    MESSAGE_INDEX,
    RECORD_HEAD,
    DamagedRecordError,
    data_checksum,
    records_inside,
    unpack_chunk,
)
from edgecrack.mcap.locating import foreign_recording

# What tells other kinds of recordings.
_HEAD_BYTES = 16
# Its head, and the checksum of all before it.
_DATA_END = struct.Struct("<BQI")


class Record(NamedTuple):
    """One record of the file: its kind, and the place and length of its content."""

    opcode: int
    place: int
    length: int

    @property
    def start(self) -> int:
        """Where its head begins."""
        return self.place - RECORD_HEAD.size

    @property
    def end(self) -> int:
        """Where the next begins."""
        return self.place + self.length


class RecordFile:
    """An open MCAP file, read at any place; one that is packed as a whole is unpacked first.

    Attributes:
        has_bare_chunks: a chunk without a checksum has been read.

    Raises:
        SourceError: it cannot be opened or unpacked, or does not begin as MCAP files do.
        MissingDependencyError: it is packed, and what unpacks it is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.has_bare_chunks = False
        try:
            self._file = open_unpacked(path)
        except OSError as error:
            raise SourceError(
                f"cannot read {path}: {error.strerror}", "check the file and its permissions"
            ) from error
        try:
            self.size = self._file.seek(0, io.SEEK_END)
            self._check_magic()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def at(self, place: int, length: int) -> bytes:
        """Bytes of the file; fewer where it ends, also for places that damage invented.

        Raises:
            SourceError: the disk fails.
        """
        if place >= self.size:
            return b""
        try:
            self._file.seek(place)
            return self._file.read(min(length, self.size - place))
        except OSError as error:
            raise SourceError(
                f"cannot read {self.path}: {error.strerror}", "check the disk"
            ) from error

    def walk(self, start: int, end: int) -> Iterator[Record]:
        """The records in a stretch, up to the first that is not whole."""
        end = min(end, self.size)
        while start + RECORD_HEAD.size <= end:
            opcode, length = RECORD_HEAD.unpack(self.at(start, RECORD_HEAD.size))
            record = Record(opcode, start + RECORD_HEAD.size, length)
            # Code 0 does not exist: what a power cut leaves behind is often all zero.
            if opcode == 0 or record.end > end:
                return
            yield record
            start = record.end

    def content(self, record: Record) -> bytes:
        """A record's content.

        Raises:
            DamagedRecordError: it claims to be larger than 1 GiB.
        """
        if record.length > LARGEST_BYTES:
            raise DamagedRecordError("its length is damaged")
        return self.at(record.place, record.length)

    def inside(self, chunk: Record) -> Iterator[tuple[int, memoryview]]:
        """Code and content of each record in a chunk.

        Raises:
            DamagedRecordError: it is damaged; what could be told from the rest was given.
        """
        found = unpack_chunk(self.content(chunk))
        self.has_bare_chunks |= not found.has_checksum
        for opcode, _, content in records_inside(found.content):
            yield opcode, content

    def data_differs(self, data_end: int | None) -> bool:
        """Whether the data differs from the checksum at its end; False where there is none.

        Args:
            data_end: where the record that ends the data begins; None where that is not known.
        """
        if data_end is None:
            return False
        opcode, length, told = _DATA_END.unpack(self.at(data_end, _DATA_END.size))
        is_told = (opcode, length) == (DATA_END, _DATA_END.size - RECORD_HEAD.size) and told != 0
        return is_told and data_checksum(data_end, self.at) != told

    def index_times(self, place: int) -> list[int]:
        """Log times in the message index at a place; none where there is no index."""
        for record in self.walk(place, self.size):
            if (
                record.opcode != MESSAGE_INDEX
                or not INDEX_HEAD.size <= record.length <= LARGEST_BYTES
            ):
                break
            entries = self.content(record)[INDEX_HEAD.size :]
            whole = entries[: len(entries) // 16 * 16]
            return [time_ns for time_ns, _ in struct.iter_unpack("<QQ", whole)]
        return []

    def _check_magic(self) -> None:
        if self.size == 0:
            raise SourceError(f"{self.path} is empty", "give a recording that holds images")
        head = self.at(0, _HEAD_BYTES)
        if not head.startswith(MAGIC):
            raise foreign_recording(self.path, head) or SourceError(
                f"{self.path} is not an MCAP recording",
                "give one that ros2 bag (storage mcap), Foxglove or edgecrack wrote",
            )
