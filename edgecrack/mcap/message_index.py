"""What an MCAP file holds, and where: out of its summary, or by walking through it.

A recorder that was killed leaves no summary and often half a record. Then the file is walked
from record to record, past the contents of chunks wherever an index tells what is in them, up
to where it is not whole any more. Must not know what messages mean.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from edgecrack.extras import require
from edgecrack.mcap.format import (
    CHANNEL,
    CHUNK,
    DATA_END,
    FOOTER,
    INDEX_HEAD,
    LARGEST_BYTES,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    MESSAGE_INDEX,
    RECORD_HEAD,
    SCHEMA,
    DamagedRecordError,
    read_summary,
)
from edgecrack.mcap.records import Record, RecordFile

DATA_END_BYTES = RECORD_HEAD.size + 4


class Channel(NamedTuple):
    """One stream of messages.

    Attributes:
        id: its number in the file.
        topic: as ROS names it.
        message_encoding: "cdr" for ROS 2.
        schema_id: number of its schema; 0 for none.
    """

    id: int
    topic: str
    message_encoding: str
    schema_id: int


class Schema(NamedTuple):
    """The type of a channel's messages: its name, and the language it is described in."""

    name: str
    encoding: str


class FileRegion(NamedTuple):
    """A stretch of the file with messages.

    Attributes:
        start: where its first record begins.
        end: where the next region may begin.
        indexes: the place of the index of each channel that it holds; None if not known.
    """

    start: int
    end: int
    indexes: dict[int, int] | None


@dataclass
class McapIndex:
    """What a file holds.

    Attributes:
        channels: by number.
        schemas: by number.
        counts: messages of each channel in the whole part of the file.
        regions: where they are, in the order of the file.
        span_ns: first and last log time of all messages; None if not known.
        is_cut_short: the file has no end.
        is_summary_bare: it was told by a summary without a checksum.
        data_end: where the record that ends the data begins; None where that is not known.
    """

    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    regions: list[FileRegion] = field(default_factory=list)
    span_ns: tuple[int, int] | None = None
    is_cut_short: bool = False
    is_summary_bare: bool = False
    data_end: int | None = None


def read_index(file: RecordFile) -> McapIndex:
    """What a file holds, also where its summary is damaged or missing.

    Raises:
        SourceError: the disk fails.
        MissingDependencyError: the extra "record" is not installed.
    """
    return _of_summary(file) or _Scan(file).index


def _of_summary(file: RecordFile) -> McapIndex | None:
    """By the summary; None where that is not whole."""
    summary = read_summary(file.size, file.at)
    records = None if summary is None else _parsed(summary.data)
    if summary is None or records is None:
        return None
    index = _of_records(records, summary.start)
    if index is not None:
        index.is_summary_bare = not summary.has_checksum
        index.data_end = max(0, summary.start - DATA_END_BYTES)
    return index


def _of_records(records: list[Any], summary_start: int) -> McapIndex | None:
    """By a summary's records; None where it leaves out what is needed."""
    kinds = _library()[0]
    statistics = next((item for item in records if isinstance(item, kinds.Statistics)), None)
    chunks = [item for item in records if isinstance(item, kinds.ChunkIndex)]
    if statistics is None or len(chunks) < statistics.chunk_count:
        return None
    index = McapIndex()
    for item in records:
        _note(index, item)
    if not index.channels.keys() >= statistics.channel_message_counts.keys():
        return None
    index.counts.update(statistics.channel_message_counts)
    index.span_ns = (statistics.message_start_time, statistics.message_end_time)
    for chunk in sorted(chunks, key=lambda item: int(item.chunk_start_offset)):
        end = chunk.chunk_start_offset + chunk.chunk_length
        index.regions.append(
            FileRegion(chunk.chunk_start_offset, end, chunk.message_index_offsets or None)
        )
    if not chunks:
        index.regions.append(FileRegion(len(MAGIC), summary_start, None))
    return index


class _Scan:
    """Walks through a file when made."""

    def __init__(self, file: RecordFile) -> None:
        self._file = file
        self.index = McapIndex(is_cut_short=True)
        chunk: Record | None = None
        indexes: dict[int, int] = {}
        for record in file.walk(len(MAGIC), file.size):
            if record.opcode == MESSAGE_INDEX and chunk is not None:
                if record.length >= INDEX_HEAD.size:
                    number = INDEX_HEAD.unpack(file.at(record.place, INDEX_HEAD.size))[0]
                    indexes[number] = record.start
                continue
            if chunk is not None:
                self._add_chunk(chunk, indexes)
                chunk = None
            if record.opcode in (DATA_END, FOOTER):
                self.index.is_cut_short = False
                self.index.data_end = record.start if record.opcode == DATA_END else None
                return
            if record.opcode == CHUNK:
                chunk, indexes = record, {}
            elif record.opcode == MESSAGE and record.length >= MESSAGE_HEAD.size:
                self._add_message(record)
            elif record.opcode in (SCHEMA, CHANNEL) and record.length <= LARGEST_BYTES:
                self._add_definition(record.opcode, file.content(record))
        if chunk is not None:
            self._add_chunk(chunk, {})  # its indexes may be cut: its content tells

    def _add_chunk(self, chunk: Record, indexes: dict[int, int]) -> None:
        known = bool(indexes) and self.index.channels.keys() >= indexes.keys()
        self.index.regions.append(FileRegion(chunk.start, chunk.end, indexes or None))
        if known:
            for number, place in indexes.items():
                self.index.counts[number] += len(self._file.index_times(place))
            return
        try:
            for opcode, content in self._file.inside(chunk):
                if opcode == MESSAGE and len(content) >= MESSAGE_HEAD.size:
                    self.index.counts[MESSAGE_HEAD.unpack_from(content)[0]] += 1
                elif opcode in (SCHEMA, CHANNEL):
                    self._add_definition(opcode, content)
        except DamagedRecordError:
            return  # whoever reads the messages comes here again, and counts what is lost

    def _add_message(self, record: Record) -> None:
        """One outside of chunks; it makes the region before it longer, where it can."""
        head = self._file.at(record.place, MESSAGE_HEAD.size)
        self.index.counts[MESSAGE_HEAD.unpack(head)[0]] += 1
        regions, start = self.index.regions, record.start
        if regions and regions[-1].indexes is None and regions[-1].end == start:
            start = regions.pop().start
        regions.append(FileRegion(start, record.end, None))

    def _add_definition(self, opcode: int, content: bytes | memoryview) -> None:
        for item in _parsed(RECORD_HEAD.pack(opcode, len(content)) + content, most=1) or []:
            _note(self.index, item)


def _note(index: McapIndex, item: Any) -> None:
    kinds = _library()[0]
    if isinstance(item, kinds.Schema):
        index.schemas[item.id] = Schema(item.name, item.encoding)
    elif isinstance(item, kinds.Channel):
        index.channels[item.id] = Channel(
            item.id, item.topic, item.message_encoding, item.schema_id
        )


def _parsed(data: bytes, most: int | None = None) -> list[Any] | None:
    """Records by the library; None where they are damaged."""
    reader = _library()[1].StreamReader(io.BytesIO(data), skip_magic=True).records
    try:
        return [next(reader)] if most == 1 else list(reader)
    except Exception:  # whatever the library makes of damaged bytes
        return None


def _library() -> tuple[Any, Any]:
    purpose = "replaying an MCAP recording"
    return (
        require("mcap.records", extra="record", purpose=purpose),
        require("mcap.stream_reader", extra="record", purpose=purpose),
    )
