"""Parses records of an MCAP file that may be damaged, and accepts only what is whole.

Knows one record at a time, not where it lies.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from edgecrack.mcap.format import (
    CHUNK_HEAD,
    LENGTH,
    MESSAGE_HEAD,
    RECORD_HEAD,
    DamagedRecordError,
    records_inside,
    unpack_chunk,
)
from edgecrack.mcap.library import (
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
)
from edgecrack.mcap.parts.chunk import Chunk, Entries

SMALLEST_CHUNK = RECORD_HEAD.size + CHUNK_HEAD.size + LENGTH.size

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
    content: memoryview = field(repr=False)
    definitions: tuple[Schema | Channel, ...]


def parse_small(opcode: int, content: bytes) -> McapRecord | None:
    """A header, schema, channel, metadata or attachment; None if it is damaged."""
    try:
        record: McapRecord = SMALL[opcode](ReadDataStream(BytesIO(content)))
    except (struct.error, ValueError, OverflowError, McapError):
        return None
    # The library accepts fields that are shorter than they say; so compare with the whole.
    expected = encoded(record)[RECORD_HEAD.size :]
    if isinstance(record, Attachment) and content[-4:] == bytes(4):  # without a checksum
        expected, content = expected[:-4], content[:-4]
    return record if content[: len(expected)] == expected else None


def parse_definition(opcode: int, content: memoryview) -> Schema | Channel:
    """A schema or channel.

    Raises:
        DamagedRecordError: it is damaged.
    """
    definition = parse_small(opcode, bytes(content))
    if not isinstance(definition, Schema | Channel):
        raise DamagedRecordError("a definition is damaged")
    return definition


def parse_chunk(record: bytes, need_checksum: bool = False) -> FoundChunk | None:
    """A chunk; None if it is damaged.

    Args:
        record: opcode and length included.
        need_checksum: refuse one that has no checksum.
    """
    try:
        found = unpack_chunk(memoryview(record)[RECORD_HEAD.size :])
        if not found.is_exact or (need_checksum and not found.has_checksum):
            return None
        entries, definitions = _walk(found.content)
    except DamagedRecordError:
        return None
    size = len(found.content)
    chunk = Chunk(record, found.compression, found.stored_bytes, size, entries)
    return FoundChunk(chunk, found.content, definitions)


def _walk(content: memoryview) -> tuple[Entries, tuple[Schema | Channel, ...]]:
    """A chunk's messages and definitions.

    Raises:
        DamagedRecordError: one is not whole.
    """
    entries: Entries = {}
    definitions: list[Schema | Channel] = []
    for opcode, place, record in records_inside(content):
        if opcode == Opcode.MESSAGE:
            if len(record) < MESSAGE_HEAD.size:
                raise DamagedRecordError("a message is too short")
            channel_id, _, time_ns, _ = MESSAGE_HEAD.unpack_from(record)
            entries.setdefault(channel_id, []).append((time_ns, place))
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            definitions.append(parse_definition(opcode, record))
    return entries, tuple(definitions)
