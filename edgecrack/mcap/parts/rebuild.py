"""Makes a whole MCAP file of what is left of a damaged one.

Chunks are copied as they are, and only the index is made anew; so what one of our own
recordings lacks after a kill is its end alone, and that can be put on in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import BinaryIO

from edgecrack.mcap.format import RECORD_HEAD
from edgecrack.mcap.library import (
    Attachment,
    Channel,
    Header,
    Metadata,
    Schema,
)
from edgecrack.mcap.parts.checks import Checks
from edgecrack.mcap.parts.chunk import Chunk, Entries, build_chunk
from edgecrack.mcap.parts.container import Container
from edgecrack.mcap.parts.parsing import FoundChunk
from edgecrack.mcap.parts.scan import (
    Found,
    FoundMessage,
    FoundRecord,
    Lost,
    scan,
)
from edgecrack.mcap.parts.summary_section import read_definitions

RECOVERY_METADATA = "edgecrack_recovery"
# Of a file whose own header is damaged.
_HEADER = Header("ros2", "recovered")


class Rebuild:
    """A file made of what `scan` finds in another; made when constructed.

    Args:
        append: as in `Container`.
        file: the damaged file; begins with the magic bytes.

    Attributes:
        was_whole: nothing is damaged, and its own index is.
        bytes_lost: bytes of data that are not in the new file.
        damage: what else differs from a checksum, or from what is known of it, each in a few words.
        unprotected: what has no checksum, so that damage in it would not be noticed.
        data_end: where in the new file its data ends; what follows can be made again.
    """

    def __init__(self, append: Callable[[bytes], None], file: BinaryIO) -> None:
        self._container = Container(append)
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._started = False
        self._checks = Checks()
        self.bytes_lost = 0
        self.data_end = 0
        summary = read_definitions(file)
        for definition in summary.definitions if summary else []:
            self._learn(definition)
        self._checks.take_summary(summary)
        for found in scan(file):
            self._take(found)
        self._start(_HEADER)
        self._checks.finish(file)
        self.damage, self.unprotected = self._checks.damage, self._checks.unprotected()
        self.was_whole = summary is not None and self._checks.data_ends is not None
        self.was_whole &= not self.bytes_lost and not self.damage
        if self.bytes_lost or self.damage:
            note = {"bytes_lost": str(self.bytes_lost)}
            if self.damage:
                note["damage"] = "; ".join(self.damage)
            self._container.add_metadata(Metadata(RECOVERY_METADATA, note))
        self._container.finish()

    @property
    def messages(self) -> int:
        """Messages in the new file."""
        return self._container.messages

    @property
    def time_span_ns(self) -> tuple[int, int] | None:
        """First and last log time, None without messages."""
        return self._container.time_span_ns

    def _take(self, found: Found) -> None:
        self._checks.take(found)
        if isinstance(found, Lost):
            self.bytes_lost += 0 if found.index_only else found.length
            return
        if isinstance(found, FoundRecord) and isinstance(found.content, Header):
            self._start(found.content)
            return
        self._start(_HEADER)
        if isinstance(found, FoundRecord):
            self._take_record(found)
        elif isinstance(found, FoundChunk):
            self._take_chunk(found)
        elif isinstance(found, FoundMessage):
            self._take_message(found)

    def _take_record(self, found: FoundRecord) -> None:
        content = found.content
        if isinstance(content, Schema | Channel) and self._checks.is_stray(content):
            return
        if isinstance(content, Schema):
            self._learn(content)
            self._container.add_schema(self._schemas[content.id])
        elif isinstance(content, Channel):
            self._learn(content)
            self._introduce(content.id)
        elif isinstance(content, Metadata):
            self._container.add_metadata(self._checks.honest(content))
            for definition in self._checks.trusted(content):  # which follow there, damaged or not
                self._learn(definition)
                if isinstance(definition, Schema):
                    self._container.add_schema(self._schemas[definition.id])
                else:
                    self._introduce(definition.id)
        elif isinstance(content, Attachment):
            self._container.add_attachment(content, found.record)
        self.data_end = self._container.offset

    def _take_message(self, found: FoundMessage) -> None:
        # Of ours each message is in a chunk: this is another record, damaged.
        if not self._checks.is_ours and self._introduce(found.channel_id):
            self._container.add_message(found.channel_id, found.time_ns, found.record)
            self.data_end = self._container.offset
        else:
            self.bytes_lost += len(found.record)

    def _take_chunk(self, found: FoundChunk) -> None:
        for definition in found.definitions:
            self._learn(definition)
        unknown = {channel for channel in found.chunk.entries if not self._is_known(channel)}
        chunk: Chunk | None = found.chunk
        if unknown:
            chunk = self._without(found, unknown)
        else:
            self._note(found.definitions)
        for channel_id in chunk.entries if chunk else ():
            self._introduce(channel_id)
        if chunk is not None:
            begin = self._container.offset
            self._container.add_chunk(chunk)
            self.data_end = begin + len(chunk.record)

    def _without(self, found: FoundChunk, unknown: set[int]) -> Chunk | None:
        """A chunk without the messages that nobody can decode, since their channel is lost."""
        pieces: list[memoryview] = []
        entries: Entries = {}
        size = 0
        for channel_id, messages in found.chunk.entries.items():
            for time_ns, position in messages:
                length = RECORD_HEAD.size + RECORD_HEAD.unpack_from(found.content, position)[1]
                if channel_id in unknown:
                    self.bytes_lost += length
                    continue
                pieces.append(found.content[position : position + length])
                entries.setdefault(channel_id, []).append((time_ns, size))
                size += length
        return build_chunk(b"".join(pieces), entries, "lz4") if pieces else None

    def _start(self, header: Header) -> None:
        if not self._started:
            self._started = True
            self._container.start(header)

    def _learn(self, definition: Schema | Channel) -> None:
        """Remember a definition; the index's own counts first, for it has a checksum."""
        if isinstance(definition, Schema):
            self._schemas.setdefault(definition.id, definition)
        else:
            self._channels.setdefault(definition.id, definition)

    def _note(self, definitions: Sequence[Schema | Channel]) -> None:
        """Take note of what a chunk defines, which is not written a second time."""
        for definition in definitions:
            if isinstance(definition, Schema):
                self._container.add_schema(definition, write=False)
            elif self._is_known(definition.id):
                self._container.add_channel(definition, write=False)

    def _is_known(self, channel_id: int) -> bool:
        channel = self._channels.get(channel_id)
        return channel is not None and (channel.schema_id in self._schemas or not channel.schema_id)

    def _introduce(self, channel_id: int) -> bool:
        """Write a channel and its schema where that is still to do; False if unknown."""
        if not self._is_known(channel_id):
            return False
        channel = self._channels[channel_id]
        if channel.schema_id:
            self._container.add_schema(self._schemas[channel.schema_id])
        self._container.add_channel(channel)
        return True
