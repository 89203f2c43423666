"""The MCAP file format, for writing: records in order, and the index that ends a file.

Written here and not by the library's `Writer`, since a recording must survive a write that
fails: a piece either is in the file and in the index, or in neither, so that a file on a full
disk can still be finished. And schemas and channels stand before the chunks, not inside the
first one, so that no damaged chunk makes the others unreadable. The records themselves are the
library's. Knows bytes only; where they go is the caller's.

Source: MCAP specification, https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Callable, Mapping

from edgecrack.mcap.format import MAGIC, RECORD_HEAD
from edgecrack.mcap.library import (
    Attachment,
    AttachmentIndex,
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Metadata,
    MetadataIndex,
    Opcode,
    Schema,
    Statistics,
    SummaryOffset,
    encoded,
)
from edgecrack.mcap.parts.chunk import Chunk


class Container:
    """One MCAP file, written from its first byte to its last.

    Args:
        append: puts bytes at the end of the file, all or none; what it raises passes through,
            and leaves this object as it was.
    """

    def __init__(self, append: Callable[[bytes], None]) -> None:
        self._append = append
        self.offset = 0
        self._checksum = 0
        self.messages = 0
        self.time_span_ns: tuple[int, int] | None = None
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._counts: Counter[int] = Counter()
        self._chunks: list[ChunkIndex] = []
        self._attachments: list[AttachmentIndex] = []
        self._metadata: list[MetadataIndex] = []

    def start(self, header: Header) -> None:
        """Write the magic bytes and the header."""
        self._put(MAGIC + encoded(header))

    def add_schema(self, schema: Schema, write: bool = True) -> None:
        """Write a schema; or only take note of one that a chunk holds."""
        if schema.id not in self._schemas:
            if write:
                self._put(encoded(schema))
            self._schemas[schema.id] = schema

    def add_channel(self, channel: Channel, write: bool = True) -> None:
        """Write a channel; or only take note of one that a chunk holds."""
        if channel.id not in self._channels:
            if write:
                self._put(encoded(channel))
            self._channels[channel.id] = channel

    def add_metadata(self, metadata: Metadata) -> None:
        """Write named keys and values."""
        offset, data = self.offset, encoded(metadata)
        self._put(data)
        self._metadata.append(MetadataIndex(offset, len(data), metadata.name))

    def add_attachment(self, attachment: Attachment, record: bytes) -> None:
        """Write an attachment's record as it is."""
        offset = self.offset
        self._put(record)
        self._attachments.append(
            AttachmentIndex(
                offset=offset,
                length=len(record),
                log_time=attachment.log_time,
                create_time=attachment.create_time,
                data_size=len(attachment.data),
                name=attachment.name,
                media_type=attachment.media_type,
            )
        )

    def add_message(self, channel_id: int, time_ns: int, record: bytes) -> None:
        """Write the record of a message that is in no chunk."""
        self._put(record)
        self._count(channel_id, time_ns, time_ns, 1)

    def add_chunk(self, chunk: Chunk) -> None:
        """Write a chunk and the index of its messages."""
        start = self.offset
        indexes = chunk.indexes()
        self._put(b"".join((chunk.record, *indexes)))
        if not chunk.entries:
            return
        offsets, position = {}, start + len(chunk.record)
        for channel_id, index in zip(chunk.entries, indexes, strict=True):
            offsets[channel_id] = position
            position += len(index)
        times_ns = [time_ns for messages in chunk.entries.values() for time_ns, _ in messages]
        self._chunks.append(
            ChunkIndex(
                chunk_length=len(chunk.record),
                chunk_start_offset=start,
                compression=chunk.compression,
                compressed_size=chunk.compressed_size,
                message_end_time=max(times_ns),
                message_index_length=position - start - len(chunk.record),
                message_index_offsets=offsets,
                message_start_time=min(times_ns),
                uncompressed_size=chunk.uncompressed_size,
            )
        )
        for channel_id, messages in chunk.entries.items():
            stamps_ns = [time_ns for time_ns, _ in messages]
            self._count(channel_id, min(stamps_ns), max(stamps_ns), len(messages))

    def finish(self) -> None:
        """Write the index; nothing may follow."""
        self._put(self._ending())

    def _put(self, data: bytes) -> None:
        self._append(data)
        self.offset += len(data)
        self._checksum = zlib.crc32(data, self._checksum)

    def _count(self, channel_id: int, first_ns: int, last_ns: int, messages: int) -> None:
        self._counts[channel_id] += messages
        self.messages += messages
        before = self.time_span_ns or (first_ns, last_ns)
        self.time_span_ns = min(before[0], first_ns), max(before[1], last_ns)

    def _ending(self) -> bytes:
        end = encoded(DataEnd(self._checksum))
        start = self.offset + len(end)
        groups: Mapping[Opcode, list[McapRecord]] = {
            Opcode.SCHEMA: [*self._schemas.values()],
            Opcode.CHANNEL: [*self._channels.values()],
            Opcode.STATISTICS: [self._statistics()],
            Opcode.CHUNK_INDEX: [*self._chunks],
            Opcode.ATTACHMENT_INDEX: [*self._attachments],
            Opcode.METADATA_INDEX: [*self._metadata],
        }
        summary, offsets = bytearray(), bytearray()
        for opcode, records in groups.items():
            if records:
                data = b"".join(map(encoded, records))
                offsets += encoded(SummaryOffset(opcode, start + len(summary), len(data)))
                summary += data
        offset_start = start + len(summary)
        summary += offsets
        # The checksum covers the footer up to itself.
        footer = RECORD_HEAD.pack(Opcode.FOOTER, 20) + struct.pack("<QQ", start, offset_start)
        checksum = zlib.crc32(footer, zlib.crc32(summary))
        return end + bytes(summary) + encoded(Footer(start, offset_start, checksum)) + MAGIC

    def _statistics(self) -> Statistics:
        first_ns, last_ns = self.time_span_ns or (0, 0)
        return Statistics(
            attachment_count=len(self._attachments),
            channel_count=len(self._channels),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._chunks),
            message_count=self.messages,
            message_end_time=last_ns,
            message_start_time=first_ns,
            metadata_count=len(self._metadata),
            schema_count=len(self._schemas),
        )
