"""Reads the data section of an MCAP file that may be damaged, and reports what of it is whole.

A killed process leaves a torn end; a bad disk leaves damage anywhere. Records are followed by their
lengths; where that fails, the scan goes on at the next chunk whose checksum fits. A record counts
as whole only if its length, and its checksum if it has one, fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from mcap.opcode import Opcode
from mcap.records import McapRecord

from edgecrack.mcap.format import (
    CHUNK_HEAD,
    DATA_END_BYTES,
    LARGEST_BYTES,
    LENGTH,
    MAGIC,
    MESSAGE_HEAD,
    RECORD_HEAD,
    Record,
    RecordFile,
    parse_message_index,
)
from edgecrack.mcap.parts.records import FoundChunk, parse_chunk, parse_record

_WINDOW = 4 * 2**20
_SMALLEST_CHUNK = RECORD_HEAD.size + CHUNK_HEAD.size + LENGTH.size
# Opcode, a length below 4 GiB, times, size and checksum, and a known compression.
_CHUNK_BEGINS = re.compile(
    rb"\x06(?=.{4}\x00{4}.{28}(?:\x00{4}|\x03\x00{3}lz4|\x04\x00{3}zstd))", re.DOTALL
)
_PRIVATE = 0x80
_IN_DATA = (Opcode.HEADER, Opcode.SCHEMA, Opcode.CHANNEL, Opcode.METADATA, Opcode.ATTACHMENT)
# Where a file is cut right behind the end of its data, opcode 0 follows.
_AFTER_DATA = (
    0,
    Opcode.SCHEMA,
    Opcode.CHANNEL,
    Opcode.CHUNK_INDEX,
    Opcode.ATTACHMENT_INDEX,
    Opcode.STATISTICS,
    Opcode.METADATA_INDEX,
    Opcode.SUMMARY_OFFSET,
    Opcode.FOOTER,
)


class FoundRecord(NamedTuple):
    """A whole header, schema, channel, metadata or attachment; `record` is all of its bytes."""

    content: McapRecord
    record: bytes


class FoundMessage(NamedTuple):
    """A whole message outside of chunks, which has no checksum; `record` is all of its bytes."""

    channel_id: int
    time_ns: int
    record: bytes


class FoundIndex(NamedTuple):
    """The index of one channel's messages in the chunk before it: (log time, place) each.

    A damaged one has the channel -1 and no entries.
    """

    channel_id: int
    entries: list[tuple[int, int]]


class Private(NamedTuple):
    """A record of a kind that some application defines; it is left out."""


class Lost(NamedTuple):
    """Damaged bytes; `index_only` where they held no data."""

    length: int
    index_only: bool


class DataEnds(NamedTuple):
    """The end of the data; `offset` is that of the record that marks it."""

    offset: int


Found = FoundRecord | FoundMessage | FoundChunk | FoundIndex | Private | Lost | DataEnds


def scan(file: RecordFile) -> Iterator[Found]:
    """The content of a file that begins with the magic bytes, up to the end of its data."""
    position = len(MAGIC)
    while position < file.size:
        record = file.record_at(position)
        if _ends_data(file, record):
            yield DataEnds(position)
            return
        found: Found | None = None
        end = record.end
        if end <= file.size and record.length <= LARGEST_BYTES:
            found = _parse(record.opcode, file.at(position, end - position))
        if found is None:
            torn_index = record.opcode == Opcode.MESSAGE_INDEX and end > file.size
            end = _next_record(file, record)
            found = Lost(end - position, torn_index and end == file.size)
        yield found
        position = end


def _parse(opcode: int, record: bytes) -> Found | None:
    """One record of the data section; None if it is damaged."""
    if opcode == Opcode.CHUNK:
        return parse_chunk(record)
    content = record[RECORD_HEAD.size :]
    if opcode == Opcode.MESSAGE_INDEX:
        return FoundIndex(*(parse_message_index(content) or (-1, [])))
    if opcode == Opcode.MESSAGE:
        if len(content) < MESSAGE_HEAD.size:
            return None
        channel_id, _, time_ns, _ = MESSAGE_HEAD.unpack_from(content)
        return FoundMessage(channel_id, time_ns, record)
    if opcode in _IN_DATA:
        parsed = parse_record(opcode, content)
        return None if parsed is None else FoundRecord(parsed, record)
    return Private() if opcode >= _PRIVATE else None


def _ends_data(file: RecordFile, record: Record) -> bool:
    if record.opcode != Opcode.DATA_END or record.end - record.start != DATA_END_BYTES:
        return False
    return record.end >= file.size or file.record_at(record.end).opcode in _AFTER_DATA


def _next_record(file: RecordFile, damaged: Record) -> int:
    """Offset at which to go on after a damaged record."""
    if damaged.end == file.size:
        return damaged.end
    if damaged.end < file.size:
        after = file.record_at(damaged.end)
        known = after.opcode in Opcode._value2member_map_ or after.opcode >= _PRIVATE
        if known and after.end <= file.size:
            return damaged.end
    return _find_chunk(file, damaged.start + 1)


def _find_chunk(file: RecordFile, start: int) -> int:
    """The first whole chunk with a checksum from an offset on; the file's size if none."""
    for base in range(start, file.size, _WINDOW):
        window = file.at(base, _WINDOW + _SMALLEST_CHUNK)
        for match in _CHUNK_BEGINS.finditer(window):
            record = file.record_at(base + match.start())
            if record.end > file.size or record.length > LARGEST_BYTES:
                continue
            data = file.at(record.start, record.end - record.start)
            if parse_chunk(data, need_checksum=True) is not None:
                return record.start
    return file.size
