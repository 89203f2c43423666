"""The MCAP file format, as far as every reader and the writer of recordings share it.

Layouts of records, chunks unpacked within bounds, and the summary at a file's end. What is not
whole is an error or None here, and its reader's to count or to leave out. Knows bytes; must not
know what messages mean, and imports no optional package unless a chunk is compressed.

Source: MCAP specification, https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import NamedTuple

from edgecrack.extras import require

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, DATA_END = 1, 2, 3, 4, 5, 6, 7, 15

# Opcode and length of a record.
RECORD_HEAD = struct.Struct("<BQ")
# Channel, sequence number, log time and publish time of a message.
MESSAGE_HEAD = struct.Struct("<HIQQ")
# First and last log time, size and CRC-32 of the content, length of the compression's name.
CHUNK_HEAD = struct.Struct("<QQQII")
# Channel, and bytes of the entries that follow.
INDEX_HEAD = struct.Struct("<HI")
# Of a chunk's stored content.
LENGTH = struct.Struct("<Q")
# A footer with its opcode and length: start of the summary and of its offsets, CRC-32; the magic.
_ENDING = struct.Struct("<BQQQI8s")
_CHECKSUM_BYTES = 4
_PIECE_BYTES = 2**20

# A damaged or hostile length never makes a reader take more memory than this for one record.
LARGEST_BYTES = 2**30

_MODULES = {"lz4": "lz4.frame", "zstd": "zstandard"}


class DamagedRecordError(ValueError):
    """A record's bytes are not what was written."""


class UnpackedChunk(NamedTuple):
    """What is in a chunk record.

    Attributes:
        content: its records, one after another.
        compression: "", "lz4" or "zstd".
        stored_bytes: length of the content as stored.
        has_checksum: the content has been compared with one.
        is_exact: nothing stands behind the stored content.
    """

    content: memoryview
    compression: str
    stored_bytes: int
    has_checksum: bool
    is_exact: bool


class Summary(NamedTuple):
    """The records at a file's end that say what it holds.

    Attributes:
        start: where the first begins.
        data: the records, the footer, and the magic bytes.
        has_checksum: it has been compared with one.
    """

    start: int
    data: bytes
    has_checksum: bool


def unpack_chunk(record: bytes | memoryview) -> UnpackedChunk:
    """Unpack a chunk and compare it with its checksum, if it has one.

    Args:
        record: the content of its record, without opcode and length.

    Raises:
        DamagedRecordError: it is damaged, or would be larger than 1 GiB.
        MissingDependencyError: what unpacks it is not installed.
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
    """Opcode, place of the head, and content of each record in a chunk's content or a summary.

    Raises:
        DamagedRecordError: they do not fill it exactly; whole ones before that were given.
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


def read_summary(size: int, read: Callable[[int, int], bytes]) -> Summary | None:
    """The summary at a file's end; None where there is no whole one.

    Args:
        size: of the file, in bytes.
        read: gives the bytes at a place, so many of them; what it raises passes through.
    """
    footer_at = size - _ENDING.size
    if footer_at < len(MAGIC):
        return None
    opcode, length, start, _, checksum, magic = _ENDING.unpack(read(footer_at, _ENDING.size))
    if (opcode, length, magic) != (FOOTER, _ENDING.size - RECORD_HEAD.size - len(MAGIC), MAGIC):
        return None
    if not len(MAGIC) <= start < footer_at <= start + LARGEST_BYTES:
        return None
    data = read(start, size - start)
    # The checksum covers the footer up to itself.
    if checksum not in (0, zlib.crc32(data[: -len(MAGIC) - _CHECKSUM_BYTES])):
        return None
    return Summary(start, data, checksum != 0)


def data_checksum(end: int, read: Callable[[int, int], bytes]) -> int:
    """The CRC-32 of the data section, as its last record, DataEnd, holds it.

    Args:
        end: where that record begins.
        read: gives the bytes at a place, so many of them; what it raises passes through.
    """
    checksum, place = 0, 0
    while place < end:
        data = read(place, min(_PIECE_BYTES, end - place))
        if not data:
            break
        checksum, place = zlib.crc32(data, checksum), place + len(data)
    return checksum


def _decompressed(packed: memoryview, compression: str, size: int) -> bytes | memoryview:
    """A chunk's content; at most a byte more than `size`, whatever is packed in it."""
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
        raise DamagedRecordError("it has no end, or more in it than it says")
    return content


def _zstd_content(library: ModuleType, packed: memoryview, size: int) -> bytes:
    # The library believes a size in the frame rather than a limit that it is given.
    told = library.get_frame_parameters(packed).content_size
    if told not in (size, library.CONTENTSIZE_UNKNOWN):
        raise DamagedRecordError("its size differs from what the chunk says")
    return bytes(library.ZstdDecompressor().decompress(packed, max_output_size=max(size, 1)))
