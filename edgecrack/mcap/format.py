"""The bytes of an MCAP file: record layouts, chunks, and the file as a sequence of records.

Damaged lengths are never trusted: no record takes more than 1 GiB of memory. Optional packages are
imported only to unpack a chunk.

Source: MCAP specification, https://mcap.dev/spec.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, NamedTuple

from edgecrack.errors import SourceError
from edgecrack.extras import require

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, DATA_END = 1, 2, 3, 4, 5, 6, 7, 15

# Opcode and length of a record.
RECORD_HEAD = struct.Struct("<BQ")
# Channel, sequence number, log time and publish time of a message.
MESSAGE_HEAD = struct.Struct("<HIQQ")
# First and last log time, size and CRC-32 of the content, length of the compression's name.
CHUNK_HEAD = struct.Struct("<QQQII")
# Length of a chunk's stored content.
LENGTH = struct.Struct("<Q")
DATA_END_BYTES = RECORD_HEAD.size + 4

# Channel, and bytes of the entries that follow: log time and place of each message.
_INDEX_HEAD = struct.Struct("<HI")
_INDEX_ENTRY = struct.Struct("<QQ")
# A footer with its opcode and length: start of the summary and of its offsets, CRC-32; the magic.
_ENDING = struct.Struct("<BQQQI8s")
_CHECKSUM_BYTES = 4
_PIECE_BYTES = 2**20

# A damaged or hostile length never makes a reader take more memory than this for one record.
LARGEST_BYTES = 2**30

_MODULES = {"lz4": "lz4.frame", "zstd": "zstandard"}


class DamagedRecordError(ValueError):
    """A record's bytes differ from what was written."""


class UnpackedChunk(NamedTuple):
    """The content of a chunk record.

    Attributes:
        content: its records, one after another.
        compression: "", "lz4" or "zstd".
        stored_bytes: length of the content as stored.
        has_checksum: the content was compared with a checksum.
        is_exact: nothing follows the stored content.
    """

    content: memoryview
    compression: str
    stored_bytes: int
    has_checksum: bool
    is_exact: bool


class Summary(NamedTuple):
    """The records at the end of a file that describe its content.

    Attributes:
        start: offset of the first.
        data: the records and the footer.
        has_checksum: it was compared with a checksum.
    """

    start: int
    data: bytes
    has_checksum: bool


class Record(NamedTuple):
    """One record of a file: opcode, and offset and length of its content."""

    opcode: int
    place: int
    length: int

    @property
    def start(self) -> int:
        """Offset of its head."""
        return self.place - RECORD_HEAD.size

    @property
    def end(self) -> int:
        """Offset of the next record."""
        return self.place + self.length


class RecordFile:
    """An MCAP file that can be read at any offset, damaged or whole.

    Args:
        file: open for reading; closed by `close`.
        path: its name in messages.

    Attributes:
        path: as given.
        size: bytes.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.path = path
        self._file = file
        self.size = file.seek(0, io.SEEK_END)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def at(self, place: int, length: int) -> bytes:
        """Bytes at an offset; fewer, or none, where the file ends.

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
                f"cannot read {self.path}: {error.strerror or error}", "check the disk"
            ) from error

    def record_at(self, start: int) -> Record:
        """The record whose head is at an offset; opcode 0 and an end past the file's if cut."""
        head = self.at(start, RECORD_HEAD.size)
        place = start + RECORD_HEAD.size
        if len(head) < RECORD_HEAD.size:
            return Record(0, place, self.size)
        return Record(RECORD_HEAD.unpack(head)[0], place, RECORD_HEAD.unpack(head)[1])

    def walk(self, start: int, end: int) -> Iterator[Record]:
        """The records in a range, up to the first that is not whole."""
        end = min(end, self.size)
        while start < end:
            record = self.record_at(start)
            # Opcode 0 does not exist: what a power cut leaves behind is often all zero.
            if record.opcode == 0 or record.end > end:
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

    def summary(self) -> Summary | None:
        """The summary at the file's end; None where there is no whole one."""
        footer_at = self.size - _ENDING.size
        if footer_at < len(MAGIC):
            return None
        opcode, length, start, _, checksum, magic = _ENDING.unpack(self.at(footer_at, _ENDING.size))
        if (opcode, length, magic) != (FOOTER, _ENDING.size - RECORD_HEAD.size - len(MAGIC), MAGIC):
            return None
        if not len(MAGIC) <= start < footer_at <= start + LARGEST_BYTES:
            return None
        data = self.at(start, self.size - start - len(MAGIC))
        # The checksum covers the footer up to itself.
        if checksum not in (0, zlib.crc32(data[:-_CHECKSUM_BYTES])):
            return None
        return Summary(start, data, checksum != 0)

    def data_fits(self, data_end: int) -> bool | None:
        """Whether the data section has the checksum in its DataEnd record; None without one.

        Args:
            data_end: offset of that record.
        """
        record = self.record_at(data_end)
        if (record.opcode, record.length) != (DATA_END, _CHECKSUM_BYTES):
            return None
        stored = int.from_bytes(self.at(record.place, _CHECKSUM_BYTES), "little")
        if not stored:
            return None
        checksum, place = 0, 0
        while place < data_end:
            data = self.at(place, min(_PIECE_BYTES, data_end - place))
            if not data:
                break
            checksum, place = zlib.crc32(data, checksum), place + len(data)
        return checksum == stored


def parse_message_index(content: bytes) -> tuple[int, list[tuple[int, int]]] | None:
    """Channel of a message index, and (log time, place) of each message; None if damaged."""
    entries = content[_INDEX_HEAD.size :]
    if len(content) < _INDEX_HEAD.size or len(entries) % _INDEX_ENTRY.size:
        return None
    channel_id, length = _INDEX_HEAD.unpack_from(content)
    if length != len(entries):
        return None
    return channel_id, [*_INDEX_ENTRY.iter_unpack(entries)]


def unpack_chunk(record: bytes | memoryview) -> UnpackedChunk:
    """Unpack a chunk and verify its checksum, if it has one.

    Args:
        record: the content of its record, without opcode and length.

    Raises:
        DamagedRecordError: it is damaged, or would be larger than 1 GiB.
        MissingDependencyError: the library that unpacks it is not installed.
    """
    try:
        _, _, size, checksum, name_length = CHUNK_HEAD.unpack_from(record)
        place = CHUNK_HEAD.size + name_length
        name = bytes(record[CHUNK_HEAD.size : place]).decode()
        (length,) = LENGTH.unpack_from(record, place)
    except (struct.error, ValueError) as error:
        raise DamagedRecordError("the chunk's head is damaged") from error
    packed = memoryview(record)[place + LENGTH.size :]
    if length > len(packed) or size > LARGEST_BYTES:
        raise DamagedRecordError("the chunk's size is damaged")
    content = _decompressed(packed[:length], name, size)
    if len(content) != size or (checksum and zlib.crc32(content) != checksum):
        raise DamagedRecordError("the chunk's checksum differs")
    return UnpackedChunk(
        memoryview(content), name, length, checksum != 0, is_exact=length == len(packed)
    )


def records_inside(content: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Opcode, offset of the head, and content of each record in a chunk or a summary.

    Raises:
        DamagedRecordError: the last one is cut short; those before it were yielded.
    """
    place = 0
    while place < len(content):
        begin = place + RECORD_HEAD.size
        if begin > len(content):
            raise DamagedRecordError("a record in it is cut short")
        opcode, length = RECORD_HEAD.unpack_from(content, place)
        end = begin + length
        if end > len(content):
            raise DamagedRecordError("a record in it is cut short")
        yield opcode, place, content[begin:end]
        place = end


def _decompressed(packed: memoryview, compression: str, size: int) -> bytes | memoryview:
    """A chunk's content; at most one byte more than `size`, whatever is packed in it."""
    if compression == "":
        return packed
    if compression not in _MODULES:
        raise DamagedRecordError(f"its compression is {compression[:40]!r}")
    library = require(
        _MODULES[compression],
        extra="record",
        purpose=f"a recording compressed with {compression}",
    )
    unpack = _lz4_content if compression == "lz4" else _zstd_content
    try:
        return unpack(library, packed, size)
    except Exception as error:  # each library has its own
        raise DamagedRecordError(f"the chunk cannot be unpacked: {error}") from error


def _lz4_content(library: ModuleType, packed: memoryview, size: int) -> bytes:
    decompressor = library.LZ4FrameDecompressor()
    content = bytes(decompressor.decompress(packed, size + 1))
    if not decompressor.eof:
        raise DamagedRecordError("it is cut short or larger than its head says")
    return content


def _zstd_content(library: ModuleType, packed: memoryview, size: int) -> bytes:
    # The library trusts the size in the frame more than the limit that it is given.
    stored = library.get_frame_parameters(packed).content_size
    if stored not in (size, library.CONTENTSIZE_UNKNOWN):
        raise DamagedRecordError("its size differs from the chunk's head")
    return bytes(library.ZstdDecompressor().decompress(packed, max_output_size=max(size, 1)))
