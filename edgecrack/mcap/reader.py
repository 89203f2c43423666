"""Reads the messages of chosen topics from an MCAP file, whole or damaged.

They come in the order of the file, one chunk at a time in memory. A damaged chunk costs only that
chunk. A recorder that was killed leaves no summary and often half a record: then the file is walked
from record to record, past the contents of chunks wherever an index lists them, up to where it is
no longer whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgecrack.errors import SourceError
from edgecrack.extras import require
from edgecrack.mcap.bag_compression import open_unpacked
from edgecrack.mcap.format import (
    CHANNEL,
    CHUNK,
    DATA_END,
    DATA_END_BYTES,
    FOOTER,
    LARGEST_BYTES,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    MESSAGE_INDEX,
    SCHEMA,
    DamagedRecordError,
    Record,
    RecordFile,
    parse_message_index,
    records_inside,
    unpack_chunk,
)
from edgecrack.mcap.locating import foreign_recording
from edgecrack.mcap.message_types import TOPICS

if TYPE_CHECKING:
    from mcap.records import Channel, Schema

    from edgecrack.mcap.parts.records import ParsedSummary

_FOREIGN_HEAD_BYTES = 16


class Message(NamedTuple):
    """One message; `data` is a view of its chunk, so copy what is kept."""

    channel_id: int
    log_time_ns: int
    data: memoryview


class _Region(NamedTuple):
    """A range of the file with messages.

    Attributes:
        start: offset of its first record.
        end: offset at which the next region may begin.
        indexes: the offset of each channel's message index; None if not known.
    """

    start: int
    end: int
    indexes: dict[int, int] | None

    def may_hold(self, channel_ids: Collection[int]) -> bool:
        return self.indexes is None or any(number in self.indexes for number in channel_ids)


@dataclass
class _Index:
    """The content of a file.

    Attributes:
        channels: by number.
        schemas: by number.
        counts: messages of each channel in the whole part of the file.
        regions: in the order of the file.
        span_ns: first and last log time of all messages; None if not known.
        is_cut_short: the file has no end.
        is_bare: it comes from a summary without a checksum.
        data_end: offset of the record that ends the data; None if not known.
    """

    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    regions: list[_Region] = field(default_factory=list)
    span_ns: tuple[int, int] | None = None
    is_cut_short: bool = False
    is_bare: bool = False
    data_end: int | None = None

    def note(self, definition: Channel | Schema) -> None:
        from mcap.records import Channel

        if isinstance(definition, Channel):
            self.channels[definition.id] = definition
        else:
            self.schemas[definition.id] = definition


class McapFile:
    """An open MCAP file; one that is packed as a whole is unpacked first.

    Args:
        path: the file.

    Attributes:
        path: the file.
        channels: by number.
        is_cut_short: the file has no end: its recorder was killed, or it was not copied whole.
        lost_messages: messages of the topics read so far that were in damaged chunks.
        damage: other damage found, as a clause; None for none. Whether the whole file fits its
            checksum is known when all messages have been read.

    Raises:
        SourceError: it cannot be read, or is not an MCAP file.
        MissingDependencyError: the extra "record" is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost_messages = 0
        self._has_bare_chunks = self._has_loose_messages = False
        self._file = _opened(path)
        try:
            require("mcap.records", extra="record", purpose="replaying an MCAP recording")
            from edgecrack.mcap.parts.part_names import written_by_edgecrack
            from edgecrack.mcap.parts.records import read_summary

            self._index = _of_summary(read_summary(self._file)) or _Scan(self._file).index
            self.channels = self._index.channels
            self.is_cut_short = self._index.is_cut_short
            self.damage = self._wrong_definition() if written_by_edgecrack(path) else None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def type_of(self, channel: Channel) -> tuple[str, str]:
        """Type of a channel's messages and the language that describes it; "" if not known."""
        schema = self._index.schemas.get(channel.schema_id)
        return (schema.name, schema.encoding) if schema else ("", "")

    def count(self, channel_ids: Collection[int]) -> int:
        """Messages of these channels in the whole part of the file."""
        return sum(self._index.counts[number] for number in channel_ids)

    def rate_hz(self, channel_ids: Collection[int]) -> float | None:
        """Messages per second of these channels together; None if not known."""
        regions = [each for each in self._index.regions if each.may_hold(channel_ids)]
        ends = (regions[0], regions[-1]) if regions else ()
        times = [time_ns for each in ends for time_ns in self._times(each, channel_ids)]
        span_ns = (min(times), max(times)) if times else self._index.span_ns
        count = self.count(channel_ids)
        if span_ns is None or count < 2 or span_ns[1] <= span_ns[0]:
            return None
        return (count - 1) * 1e9 / (span_ns[1] - span_ns[0])

    def messages(self, channel_ids: Collection[int]) -> Iterator[Message]:
        """The messages of these channels, in the order of the file.

        Raises:
            SourceError: the disk fails.
        """
        wanted = frozenset(channel_ids)
        for region in self._index.regions:
            if region.may_hold(wanted):
                yield from self._messages_in(region, wanted)
        data_end = self._index.data_end
        if self.damage is None and data_end is not None and self._file.data_fits(data_end) is False:
            self.damage = "its data differs from its checksum"

    @property
    def unprotected(self) -> list[str]:
        """What of the file read so far has no checksum."""
        bare = {
            "its index": self._index.is_bare,
            "its chunks": self._has_bare_chunks,
            "its messages outside of chunks": self._has_loose_messages,
        }
        return [what for what, is_bare in bare.items() if is_bare]

    def _messages_in(self, region: _Region, wanted: frozenset[int]) -> Iterator[Message]:
        found, fewest_lost = 0, 0
        try:
            for record in self._records_in(region):
                number, _, log_time_ns, _ = MESSAGE_HEAD.unpack_from(record)
                if number in wanted:
                    found += 1
                    yield Message(number, log_time_ns, record[MESSAGE_HEAD.size :])
        except DamagedRecordError:
            fewest_lost = 1
        if fewest_lost or found == 0:
            expected = len(self._times(region, wanted))
            self.lost_messages += max(expected - found, fewest_lost)

    def _records_in(self, region: _Region) -> Iterator[memoryview]:
        """The content of every message record in a region."""
        for record in self._file.walk(region.start, region.end):
            if record.opcode == CHUNK:
                chunk = unpack_chunk(self._file.content(record))
                self._has_bare_chunks |= not chunk.has_checksum
                for opcode, _, content in records_inside(chunk.content):
                    if opcode == MESSAGE and len(content) >= MESSAGE_HEAD.size:
                        yield content
            elif record.opcode == MESSAGE and record.length >= MESSAGE_HEAD.size:
                self._has_loose_messages = True
                yield memoryview(self._file.content(record))

    def _wrong_definition(self) -> str | None:
        """Which channel of a recording of edgecrack has another type than it should."""
        for channel in self.channels.values():
            if TOPICS.get(channel.topic) != self.type_of(channel)[0]:
                return f"its channel {channel.topic!r} is none that edgecrack records"
        return None

    def _times(self, region: _Region, channel_ids: Collection[int]) -> list[int]:
        """Log times of these channels' messages in a region, by its indexes; none without."""
        return [
            time_ns
            for number, place in (region.indexes or {}).items()
            if number in channel_ids
            for time_ns in _index_times(self._file, place)
        ]


def _opened(path: Path) -> RecordFile:
    try:
        file = RecordFile(open_unpacked(path), path)
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror}", "check the file and its permissions"
        ) from error
    head = file.at(0, _FOREIGN_HEAD_BYTES)
    if head.startswith(MAGIC):
        return file
    file.close()
    if not head:
        raise SourceError(f"{path} is empty", "give a recording that holds images")
    raise foreign_recording(path, head) or SourceError(
        f"{path} is not an MCAP recording",
        "give one that ros2 bag (storage mcap), Foxglove or edgecrack wrote",
    )


def _of_summary(summary: ParsedSummary | None) -> _Index | None:
    """The content by the summary; None where that is incomplete."""
    if summary is None or summary.statistics is None:
        return None
    statistics = summary.statistics
    index = _Index(is_bare=not summary.has_checksum)
    for definition in summary.definitions:
        index.note(definition)
    is_complete = index.channels.keys() >= statistics.channel_message_counts.keys()
    if len(summary.chunks) < statistics.chunk_count or not is_complete:
        return None
    index.counts.update(statistics.channel_message_counts)
    index.span_ns = (statistics.message_start_time, statistics.message_end_time)
    index.data_end = max(0, summary.start - DATA_END_BYTES)
    for chunk in sorted(summary.chunks, key=lambda each: each.chunk_start_offset):
        end = chunk.chunk_start_offset + chunk.chunk_length
        indexes = chunk.message_index_offsets or None
        index.regions.append(_Region(chunk.chunk_start_offset, end, indexes))
    if not summary.chunks:
        index.regions.append(_Region(len(MAGIC), summary.start, None))
    return index


class _Scan:
    """Walks through a file when constructed."""

    def __init__(self, file: RecordFile) -> None:
        self._file = file
        self.index = _Index(is_cut_short=True)
        chunk: Record | None = None
        indexes: dict[int, int] = {}
        for record in file.walk(len(MAGIC), file.size):
            if record.opcode == MESSAGE_INDEX and chunk is not None:
                if parsed := _message_index(file, record):
                    indexes[parsed[0]] = record.start
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
            self._add_chunk(chunk, {})  # its indexes may be cut, so its content is read

    def _add_chunk(self, chunk: Record, indexes: dict[int, int]) -> None:
        known = bool(indexes) and self.index.channels.keys() >= indexes.keys()
        self.index.regions.append(_Region(chunk.start, chunk.end, indexes or None))
        if known:
            for number, place in indexes.items():
                self.index.counts[number] += len(_index_times(self._file, place))
            return
        try:
            for opcode, _, content in records_inside(
                unpack_chunk(self._file.content(chunk)).content
            ):
                if opcode == MESSAGE and len(content) >= MESSAGE_HEAD.size:
                    self.index.counts[MESSAGE_HEAD.unpack_from(content)[0]] += 1
                elif opcode in (SCHEMA, CHANNEL):
                    self._add_definition(opcode, content)
        except DamagedRecordError:
            return  # the loss is counted when the messages are read

    def _add_message(self, record: Record) -> None:
        """A message outside of chunks; it extends the region before it, where it can."""
        head = self._file.at(record.place, MESSAGE_HEAD.size)
        self.index.counts[MESSAGE_HEAD.unpack(head)[0]] += 1
        regions, start = self.index.regions, record.start
        if regions and regions[-1].indexes is None and regions[-1].end == start:
            start = regions.pop().start
        regions.append(_Region(start, record.end, None))

    def _add_definition(self, opcode: int, content: bytes | memoryview) -> None:
        from edgecrack.mcap.parts.records import Definition, parse_record

        parsed = parse_record(opcode, content)
        if isinstance(parsed, Definition):
            self.index.note(parsed)


def _message_index(file: RecordFile, record: Record) -> tuple[int, list[tuple[int, int]]] | None:
    if record.opcode != MESSAGE_INDEX or record.length > LARGEST_BYTES:
        return None
    return parse_message_index(file.content(record))


def _index_times(file: RecordFile, place: int) -> list[int]:
    """Log times in the message index at an offset; none where there is no whole index."""
    record = file.record_at(place)
    parsed = _message_index(file, record) if record.end <= file.size else None
    return [time_ns for time_ns, _ in parsed[1]] if parsed else []
