"""Reads an MCAP file that may be damaged, and tells what of it is whole.

A killed process leaves a torn end; a bad disk leaves damage anywhere. Records are followed by
their lengths; where that fails, the next chunk that its own checksum confirms is searched for.
Nothing is handed out that its length, and its checksum if it has one, does not confirm. Must
not know what is done with it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from edgecrack.mcap.format import INDEX_HEAD, LARGEST_BYTES, MAGIC, MESSAGE_HEAD, RECORD_HEAD
from edgecrack.mcap.library import McapRecord, Opcode
from edgecrack.mcap.parts.parsing import (
    SMALL,
    SMALLEST_CHUNK,
    FoundChunk,
    parse_chunk,
    parse_small,
)

_WINDOW = 4 * 2**20
# Opcode, a length below 4 GiB, times, size and checksum, and a known compression.
_CHUNK_BEGINS = re.compile(
    rb"\x06(?=.{4}\x00{4}.{28}(?:\x00{4}|\x03\x00{3}lz4|\x04\x00{3}zstd))", re.DOTALL
)
_PRIVATE = 0x80
_ENTRY = struct.Struct("<QQ")
_AFTER_DATA = {
    Opcode.SCHEMA,
    Opcode.CHANNEL,
    Opcode.CHUNK_INDEX,
    Opcode.ATTACHMENT_INDEX,
    Opcode.STATISTICS,
    Opcode.METADATA_INDEX,
    Opcode.SUMMARY_OFFSET,
    Opcode.FOOTER,
}


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A whole header, schema, channel, metadata or attachment."""

    content: McapRecord
    record: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A whole message that is in no chunk; it has no checksum."""

    channel_id: int
    time_ns: int
    record: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lost:
    """Bytes that are not whole; `index_only` where they held no data."""

    offset: int
    length: int
    index_only: bool


@dataclass(frozen=True, slots=True)
class FoundIndex:
    """The index of one channel's messages in the chunk before it: (log time, place) each."""

    channel_id: int
    entries: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class DataEnds:
    """The file says that its data ends here.

    Attributes:
        offset: of the record that says so.
        checksum: CRC-32 of all before it; 0 for none.
    """

    offset: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Private:
    """A record of a kind that only some application knows; it is left out."""


Found = FoundRecord | FoundMessage | FoundChunk | FoundIndex | Private | Lost | DataEnds


def is_mcap(file: BinaryIO) -> bool:
    """Whether a file begins as MCAP files do."""
    return _read(file, 0, len(MAGIC)) == MAGIC


def scan(file: BinaryIO) -> Iterator[Found]:
    """What a file holds, in its order, up to the end of its data.

    Args:
        file: begins with the magic bytes.
    """
    size = file.seek(0, 2)
    position = len(MAGIC)
    while position < size:
        opcode, end = _outline(file, position, size)
        if opcode == Opcode.DATA_END and _is_data_end(file, position, end, size):
            yield DataEnds(position, _checksum_at(file, position))
            return
        found: Found | None = None
        if end <= size and end - position <= LARGEST_BYTES:
            found = _parse(opcode, _read(file, position, end - position))
        if found is None:
            torn_index = opcode == Opcode.MESSAGE_INDEX and end > size
            end = _next_record(file, position, end, size)
            yield Lost(position, end - position, torn_index and end == size)
        else:
            yield found
        position = end


def _parse(opcode: int, record: bytes) -> Found | None:
    """One record of the data section.

    Returns:
        None if it is damaged.
    """
    if opcode == Opcode.CHUNK:
        return parse_chunk(record)
    if opcode == Opcode.MESSAGE_INDEX:
        return _parse_index(record)
    content = record[RECORD_HEAD.size :]
    if opcode == Opcode.MESSAGE:
        if len(content) < MESSAGE_HEAD.size:
            return None
        channel_id, _, time_ns, _ = MESSAGE_HEAD.unpack_from(content)
        return FoundMessage(channel_id, time_ns, record)
    if opcode in SMALL:
        small = parse_small(opcode, content)
        return None if small is None else FoundRecord(small, record)
    return Private() if opcode >= _PRIVATE else None


def _parse_index(record: bytes) -> FoundIndex:
    """A message index; one that is damaged has no channel that exists, and no entries."""
    place = RECORD_HEAD.size + INDEX_HEAD.size
    if len(record) < place or (len(record) - place) % _ENTRY.size:
        return FoundIndex(-1, [])
    channel_id, length = INDEX_HEAD.unpack_from(record, RECORD_HEAD.size)
    if length != len(record) - place:
        return FoundIndex(-1, [])
    return FoundIndex(channel_id, [*_ENTRY.iter_unpack(record[place:])])


def _checksum_at(file: BinaryIO, data_end: int) -> int:
    return int.from_bytes(_read(file, data_end + RECORD_HEAD.size, 4), "little")


def _outline(file: BinaryIO, position: int, size: int) -> tuple[int, int]:
    """Opcode and end of the record at a place; opcode 0 and an end behind the file if cut."""
    head = _read(file, position, RECORD_HEAD.size)
    if len(head) < RECORD_HEAD.size:
        return 0, size + 1
    opcode, length = RECORD_HEAD.unpack(head)
    return opcode, position + RECORD_HEAD.size + length


def _is_data_end(file: BinaryIO, position: int, end: int, size: int) -> bool:
    if end - position != RECORD_HEAD.size + 4:
        return False
    return end >= size or _outline(file, end, size)[0] in (*_AFTER_DATA, 0)


def _next_record(file: BinaryIO, position: int, end: int, size: int) -> int:
    """Where to go on after a damaged record."""
    if end == size:
        return end
    if end < size:
        opcode, next_end = _outline(file, end, size)
        known = opcode in Opcode._value2member_map_ or opcode >= _PRIVATE
        if known and next_end <= size:
            return end
    return _find_chunk(file, position + 1, size)


def _find_chunk(file: BinaryIO, start: int, size: int) -> int:
    """The first whole chunk with a checksum at or behind a place; the file's size if none."""
    for base in range(start, size, _WINDOW):
        window = _read(file, base, _WINDOW + SMALLEST_CHUNK)
        for match in _CHUNK_BEGINS.finditer(window, 0):
            position = base + match.start()
            _, end = _outline(file, position, size)
            if end > size or end - position > LARGEST_BYTES:
                continue
            chunk = parse_chunk(_read(file, position, end - position), need_checksum=True)
            if chunk is not None:
                return position
    return size


def _read(file: BinaryIO, position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length)
