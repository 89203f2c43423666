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
    """A whole chunk and the schemas and channels in it.

    Attributes:
        chunk: with the times in its head that its messages have.
        content: its records.
        definitions: the schemas and channels among them.
        has_checksum: the content has been compared with one.
        had_wrong_times: those in its head, which has none, were others.
    """

    chunk: Chunk
    content: memoryview = field(repr=False)
    definitions: tuple[Schema | Channel, ...]
    has_checksum: bool
    had_wrong_times: bool


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
    right = _with_times(record, entries)
    chunk = Chunk(right, found.compression, found.stored_bytes, size, entries)
    return FoundChunk(chunk, found.content, definitions, found.has_checksum, right != record)


def _with_times(record: bytes, entries: Entries) -> bytes:
    """A chunk with the first and last time of its messages in its head; 0 without any."""
    times_ns = [time_ns for messages in entries.values() for time_ns, _ in messages] or [0]
    place = RECORD_HEAD.size
    told = CHUNK_HEAD.unpack_from(record, place)
    if told[:2] == (min(times_ns), max(times_ns)):
        return record
    head = CHUNK_HEAD.pack(min(times_ns), max(times_ns), *told[2:])
    return record[:place] + head + record[place + len(head) :]


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
