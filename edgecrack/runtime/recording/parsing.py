"""Parses records of an MCAP file that may be damaged, and accepts only what is whole.

Knows one record at a time, not where it lies.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from edgecrack.runtime.recording.chunk import CHUNK, MESSAGE, RECORD, Chunk, Entries
from edgecrack.runtime.recording.library import (
    Attachment,
    Channel,
    Header,
    McapError,
    McapRecord,
    Metadata,
    Opcode,
    ReadDataStream,
    Schema,
    encoded,
    lz4,
    zstandard,
)

LARGEST_CHUNK = 2**30
CHUNK_HEAD = RECORD.size + CHUNK.size + 8

SMALL: dict[int, Callable[[ReadDataStream], McapRecord]] = {
    Opcode.HEADER: Header.read,
    Opcode.SCHEMA: Schema.read,
    Opcode.CHANNEL: Channel.read,
    Opcode.METADATA: Metadata.read,
    Opcode.ATTACHMENT: Attachment.read,
}


@dataclass(frozen=True, slots=True)
class FoundChunk:
    """A whole chunk and the schemas and channels in it."""

    chunk: Chunk
    content: bytes = field(repr=False)
    definitions: tuple[Schema | Channel, ...]


def parse_small(opcode: int, content: bytes) -> McapRecord | None:
    """A header, schema, channel, metadata or attachment; None if it is damaged."""
    try:
        record: McapRecord = SMALL[opcode](ReadDataStream(BytesIO(content)))
    except (struct.error, ValueError, OverflowError, McapError):
        return None
    # The library accepts fields that are shorter than they say; so compare with the whole.
    expected = encoded(record)[RECORD.size :]
    if isinstance(record, Attachment) and content[-4:] == bytes(4):  # without a checksum
        expected, content = expected[:-4], content[:-4]
    return record if content[: len(expected)] == expected else None


def parse_chunk(record: bytes, need_checksum: bool = False) -> FoundChunk | None:
    """A chunk; None if it is damaged.

    Args:
        record: opcode and length included.
        need_checksum: refuse one that has no checksum.
    """
    if len(record) < CHUNK_HEAD:
        return None
    _, _, size, checksum, name_length = CHUNK.unpack_from(record, RECORD.size)
    name_at = RECORD.size + CHUNK.size
    name = record[name_at : name_at + name_length]
    stored = record[name_at + name_length + 8 :]
    stored_length = record[name_at + name_length : name_at + name_length + 8]
    if name not in (b"", b"lz4", b"zstd") or stored_length != struct.pack("<Q", len(stored)):
        return None
    content = _decompressed(name, stored, size)
    if content is None or (zlib.crc32(content) != checksum if checksum else need_checksum):
        return None
    walked = _walk(content)
    if walked is None:
        return None
    entries, definitions = walked
    return FoundChunk(
        Chunk(record, name.decode(), len(stored), size, entries), content, definitions
    )


def _decompressed(name: bytes, stored: bytes, size: int) -> bytes | None:
    """A chunk's content, None if it does not come out as it went in."""
    if size > LARGEST_CHUNK:
        return None
    try:
        if name == b"lz4":
            content: bytes = lz4.decompress(stored)
        elif name == b"zstd":
            content = zstandard.decompress(stored, size)
        else:
            content = stored
    except (RuntimeError, ValueError, EOFError, MemoryError, zstandard.ZstdError):
        return None
    return content if len(content) == size else None


def _walk(content: bytes) -> tuple[Entries, tuple[Schema | Channel, ...]] | None:
    """A chunk's messages and definitions; None if its records do not fill it exactly."""
    entries: Entries = {}
    definitions: list[Schema | Channel] = []
    position = 0
    while position < len(content):
        if len(content) - position < RECORD.size:
            return None
        opcode, length = RECORD.unpack_from(content, position)
        begin = position + RECORD.size
        end = begin + length
        if end > len(content):
            return None
        if opcode == Opcode.MESSAGE:
            if length < MESSAGE.size:
                return None
            channel_id, _, time_ns, _ = MESSAGE.unpack_from(content, begin)
            entries.setdefault(channel_id, []).append((time_ns, position))
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            definition = parse_small(opcode, content[begin:end])
            if not isinstance(definition, Schema | Channel):
                return None
            definitions.append(definition)
        position = end
    return entries, tuple(definitions)
