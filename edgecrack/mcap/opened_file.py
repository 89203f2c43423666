"""Reads the messages of chosen topics out of an MCAP file, also out of a damaged one.

They come in the order of the file, one chunk at a time in memory. A damaged chunk costs that
chunk alone. Must not know what messages mean.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from edgecrack.mcap.format import CHUNK, MESSAGE, MESSAGE_HEAD, DamagedRecordError
from edgecrack.mcap.message_index import Channel, FileRegion, Schema, read_index
from edgecrack.mcap.message_schemas import TOPICS
from edgecrack.mcap.parts.part_names import written_by_edgecrack
from edgecrack.mcap.records import RecordFile


class Message(NamedTuple):
    """One message; `data` is a view into its chunk, so copy what is kept."""

    channel_id: int
    log_time_ns: int
    data: memoryview


class McapFile:
    """An open MCAP file.

    Args:
        path: the file.

    Attributes:
        path: the file.
        channels: by number.
        is_cut_short: the file has no end: its recorder was killed, or it was not copied whole.
        lost_messages: messages of the topics read so far that were in damaged chunks.
        damage: what else was seen to be damaged, in a clause; None for nothing. Whether the whole
            file fits its checksum is known when all messages have been read.

    Raises:
        SourceError: it cannot be read, or is no MCAP file.
        MissingDependencyError: the extra "record" is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost_messages = 0
        self._has_loose_messages = False
        self._file = RecordFile(path)
        try:
            self._index = read_index(self._file)
        except BaseException:
            self.close()
            raise
        self.channels = self._index.channels
        self.is_cut_short = self._index.is_cut_short
        self.damage = self._wrong_definition() if written_by_edgecrack(path) else None

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def schema_of(self, channel: Channel) -> Schema:
        """The type of a channel's messages; empty names where it has none."""
        return self._index.schemas.get(channel.schema_id, Schema("", ""))

    def count(self, channel_ids: Collection[int]) -> int:
        """Messages of these channels in the whole part of the file."""
        return sum(self._index.counts[number] for number in channel_ids)

    def rate_hz(self, channel_ids: Collection[int]) -> float | None:
        """Messages per second of these channels together; None if it cannot be told."""
        regions = [item for item in self._index.regions if _may_hold(item, channel_ids)]
        ends = (regions[0], regions[-1]) if regions else ()
        times = [time_ns for item in ends for time_ns in self._times(item, channel_ids)]
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
            if _may_hold(region, wanted):
                yield from self._messages_in(region, wanted)
        if self.damage is None and self._file.data_differs(self._index.data_end):
            self.damage = "its data differs from its checksum"

    @property
    def unprotected(self) -> list[str]:
        """What has been read so far that no checksum confirms."""
        bare = {
            "its index": self._index.is_summary_bare,
            "its chunks": self._file.has_bare_chunks,
            "its messages outside of chunks": self._has_loose_messages,
        }
        return [what for what, is_bare in bare.items() if is_bare]

    def _messages_in(self, region: FileRegion, wanted: frozenset[int]) -> Iterator[Message]:
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

    def _records_in(self, region: FileRegion) -> Iterator[memoryview]:
        """The content of every message record in a region."""
        for record in self._file.walk(region.start, region.end):
            if record.opcode == CHUNK:
                for opcode, content in self._file.inside(record):
                    if opcode == MESSAGE and len(content) >= MESSAGE_HEAD.size:
                        yield content
            elif record.opcode == MESSAGE and record.length >= MESSAGE_HEAD.size:
                self._has_loose_messages = True
                yield memoryview(self._file.content(record))

    def _wrong_definition(self) -> str | None:
        """Which channel of a recording of edgecrack is not what its name says; None if all are."""
        for channel in self.channels.values():
            if TOPICS.get(channel.topic) != self.schema_of(channel).name:
                return f"its channel {channel.topic!r} is none that edgecrack records"
        return None

    def _times(self, region: FileRegion, channel_ids: Collection[int]) -> list[int]:
        """Log times of these channels' messages in a region, by its indexes; none without."""
        places = (region.indexes or {}).items()
        return [
            time_ns
            for number, place in places
            if number in channel_ids
            for time_ns in self._file.index_times(place)
        ]


def _may_hold(region: FileRegion, channel_ids: Collection[int]) -> bool:
    return region.indexes is None or any(number in region.indexes for number in channel_ids)
