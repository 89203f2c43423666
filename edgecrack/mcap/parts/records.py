"""Records of an MCAP file as objects of the `mcap` library: encoded, and parsed if whole.

Also the records with which every recording of edgecrack begins. The format has checksums for
chunks, the summary, and at its end for the whole file; a part whose recorder was killed has no end.
So the metadata of a recording has two more: one of the header and the metadata itself, one of the
schemas and channels.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

import lz4.frame as lz4
from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    Channel,
    ChunkIndex,
    Header,
    McapRecord,
    MessageIndex,
    Metadata,
    Schema,
    Statistics,
)

from edgecrack.mcap.format import (
    CHUNK_HEAD,
    LENGTH,
    MESSAGE_HEAD,
    RECORD_HEAD,
    DamagedRecordError,
    RecordFile,
    records_inside,
    unpack_chunk,
)
from edgecrack.mcap.message_types import TOPICS, definition
from edgecrack.mcap.parts.part_names import LIBRARY

METADATA = "edgecrack"
# The name of metadata that differs from its checksum, so that no threshold is taken from it.
DAMAGED_METADATA = "edgecrack_damaged"
_OF_METADATA, _OF_DEFINITIONS = "crc32", "definitions_crc32"

CHANNEL_IDS = {topic: number for number, topic in enumerate(TOPICS, start=1)}
_SCHEMA_IDS = {name: number for number, name in enumerate(dict.fromkeys(TOPICS.values()), start=1)}

Definition = Schema | Channel
# Where each message of a channel is in its chunk: (log time, offset).
Entries = dict[int, list[tuple[int, int]]]

_READERS: dict[int, Callable[[ReadDataStream], McapRecord]] = {
    Opcode.HEADER: Header.read,
    Opcode.SCHEMA: Schema.read,
    Opcode.CHANNEL: Channel.read,
    Opcode.METADATA: Metadata.read,
    Opcode.ATTACHMENT: Attachment.read,
    Opcode.STATISTICS: Statistics.read,
    Opcode.CHUNK_INDEX: ChunkIndex.read,
}
_IN_SUMMARY = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.STATISTICS, Opcode.CHUNK_INDEX)


def encoded(record: McapRecord) -> bytes:
    """A record as it is in a file: opcode, length, content."""
    builder = RecordBuilder()
    record.write(builder)
    data: bytes = builder.end()  # type: ignore[no-untyped-call]
    return data


def parse_record(opcode: int, content: bytes | memoryview) -> McapRecord | None:
    """A record of one of the kinds that the library parses; None if damaged or of another kind."""
    if opcode not in _READERS:
        return None
    content = bytes(content)
    try:
        record: McapRecord = _READERS[opcode](ReadDataStream(BytesIO(content)))
    except (struct.error, ValueError, OverflowError, McapError):
        return None
    # The library accepts fields that are shorter than their length; so compare with the whole.
    expected = encoded(record)[RECORD_HEAD.size :]
    if isinstance(record, Attachment) and content[-4:] == bytes(4):  # without a checksum
        expected, content = expected[:-4], content[:-4]
    return record if content[: len(expected)] == expected else None


class ParsedSummary(NamedTuple):
    """A file's summary.

    Attributes:
        start: its offset in the file.
        has_checksum: it was compared with a checksum.
        definitions: its schemas and channels.
        chunks: its chunk indexes.
        statistics: None if it has none.
    """

    start: int
    has_checksum: bool
    definitions: list[Definition]
    chunks: list[ChunkIndex]
    statistics: Statistics | None


def read_summary(file: RecordFile) -> ParsedSummary | None:
    """The summary at a file's end; None where there is no whole one."""
    summary = file.summary()
    if summary is None:
        return None
    try:
        records = [
            parse_record(opcode, content)
            for opcode, _, content in records_inside(memoryview(summary.data))
            if opcode in _IN_SUMMARY
        ]
    except DamagedRecordError:
        return None
    if None in records:
        return None
    return ParsedSummary(
        summary.start,
        summary.has_checksum,
        [each for each in records if isinstance(each, Schema | Channel)],
        [each for each in records if isinstance(each, ChunkIndex)],
        next((each for each in records if isinstance(each, Statistics)), None),
    )


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk as it is in a file.

    Attributes:
        record: the whole record, opcode and length included.
        compression: "", "lz4" or "zstd".
        compressed_size: bytes of its content as stored.
        uncompressed_size: bytes of its content.
        entries: its messages.
    """

    record: bytes = field(repr=False)
    compression: str
    compressed_size: int
    uncompressed_size: int
    entries: Entries

    def indexes(self) -> list[bytes]:
        """The message index records that follow it, one per channel."""
        return [encoded(MessageIndex(*entry)) for entry in self.entries.items()]


class ChunkBuilder:
    """Collects messages until they are written as one chunk."""

    def __init__(self) -> None:
        self.clear()

    def add(self, channel_id: int, sequence: int, time_ns: int, data: bytes) -> None:
        """Add one message."""
        head = RECORD_HEAD.pack(Opcode.MESSAGE, MESSAGE_HEAD.size + len(data))
        head += MESSAGE_HEAD.pack(channel_id, sequence, time_ns, time_ns)
        self._entries.setdefault(channel_id, []).append((time_ns, self.size))
        self._pieces += (head, data)
        self.size += len(head) + len(data)

    def build(self) -> Chunk:
        """The chunk; the messages stay until `clear`."""
        return build_chunk(b"".join(self._pieces), self._entries)

    def clear(self) -> None:
        """Forget the messages."""
        self.size = 0
        self._pieces: list[bytes] = []
        self._entries: Entries = {}


def build_chunk(content: bytes, entries: Entries) -> Chunk:
    """A chunk with this content, which must have messages.

    Compressed with lz4: JPEG and PNG hardly shrink, so speed decides, and the zeros of poses and
    boxes go.
    """
    stored: bytes = lz4.compress(content)
    name = b"lz4"
    head = CHUNK_HEAD.pack(*_span(entries), len(content), zlib.crc32(content), len(name))
    body = b"".join((head, name, LENGTH.pack(len(stored)), stored))
    record = RECORD_HEAD.pack(Opcode.CHUNK, len(body)) + body
    return Chunk(record, "lz4", len(stored), len(content), entries)


@dataclass(frozen=True, slots=True)
class FoundChunk:
    """A whole chunk with its schemas and channels.

    Attributes:
        chunk: its head has the times of its messages.
        content: its records.
        definitions: the schemas and channels among them.
        has_checksum: the content was compared with a checksum.
        had_wrong_times: the times in its head, which has no checksum, were others.
    """

    chunk: Chunk
    content: memoryview = field(repr=False)
    definitions: tuple[Definition, ...]
    has_checksum: bool
    had_wrong_times: bool


def parse_chunk(record: bytes, need_checksum: bool = False) -> FoundChunk | None:
    """A chunk; None if it is damaged.

    Args:
        record: opcode and length included.
        need_checksum: refuse a chunk without a checksum.
    """
    try:
        found = unpack_chunk(memoryview(record)[RECORD_HEAD.size :])
        if not found.is_exact or (need_checksum and not found.has_checksum):
            return None
        entries, definitions = _walk(found.content)
    except DamagedRecordError:
        return None
    right = _with_times(record, entries)
    size = len(found.content)
    chunk = Chunk(right, found.compression, found.stored_bytes, size, entries)
    return FoundChunk(chunk, found.content, definitions, found.has_checksum, right != record)


def _span(entries: Entries) -> tuple[int, int]:
    """First and last log time; 0 without messages."""
    times_ns = [time_ns for messages in entries.values() for time_ns, _ in messages] or [0]
    return min(times_ns), max(times_ns)


def _with_times(record: bytes, entries: Entries) -> bytes:
    """A chunk with the first and last time of its messages in its head."""
    place = RECORD_HEAD.size
    stored = CHUNK_HEAD.unpack_from(record, place)
    if stored[:2] == _span(entries):
        return record
    head = CHUNK_HEAD.pack(*_span(entries), *stored[2:])
    return record[:place] + head + record[place + len(head) :]


def _walk(content: memoryview) -> tuple[Entries, tuple[Definition, ...]]:
    """A chunk's messages and definitions."""
    entries: Entries = {}
    definitions: list[Definition] = []
    for opcode, place, record in records_inside(content):
        if opcode == Opcode.MESSAGE:
            if len(record) < MESSAGE_HEAD.size:
                raise DamagedRecordError("a message is too short")
            channel_id, _, time_ns, _ = MESSAGE_HEAD.unpack_from(record)
            entries.setdefault(channel_id, []).append((time_ns, place))
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            parsed = parse_record(opcode, record)
            if not isinstance(parsed, Schema | Channel):
                raise DamagedRecordError("a definition is damaged")
            definitions.append(parsed)
    return entries, tuple(definitions)


def own_definitions() -> list[Definition]:
    """The schemas and channels of a recording of edgecrack, in their order in the file."""
    schemas = [
        Schema(id=number, name=name, encoding="ros2msg", data=definition(name).encode())
        for name, number in _SCHEMA_IDS.items()
    ]
    channels = [
        Channel(
            id=number,
            topic=topic,
            message_encoding="cdr",
            metadata={},
            schema_id=_SCHEMA_IDS[TOPICS[topic]],
        )
        for topic, number in CHANNEL_IDS.items()
    ]
    return [*schemas, *channels]


def definitions_checksum(records: Sequence[Definition]) -> str:
    """The checksum of schemas and channels, in this order."""
    return f"{zlib.crc32(b''.join(map(encoded, records))):08x}"


def sealed(header: Header, about: Mapping[str, str]) -> Metadata:
    """The metadata of a recording, with its checksums."""
    content = {**about, _OF_DEFINITIONS: definitions_checksum(own_definitions())}
    return Metadata(METADATA, {**content, _OF_METADATA: _checksum(header, content)})


def sealed_definitions(metadata: Metadata) -> str | None:
    """The checksum that the file's definitions should have; None in older recordings."""
    return metadata.metadata.get(_OF_DEFINITIONS)


def fits_seal(header: Header, metadata: Metadata) -> bool | None:
    """Whether header and metadata have their checksum; None if they have none."""
    content = dict(metadata.metadata)
    stored = content.pop(_OF_METADATA, None)
    return None if stored is None else stored == _checksum(header, content)


def is_ours(header: Header) -> bool:
    """Whether edgecrack wrote the file, or the file that it was recovered from."""
    return header.library.startswith(f"{LIBRARY}/")


def _checksum(header: Header, content: Mapping[str, str]) -> str:
    return f"{zlib.crc32(encoded(header) + encoded(Metadata(METADATA, dict(content)))):08x}"
