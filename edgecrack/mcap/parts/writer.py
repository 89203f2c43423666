"""Writes MCAP files: their structure (`Container`), and one part of a recording (`PartWriter`).

Written here rather than by the library's `Writer`, since a recording must survive a failed write: a
piece is either in the file and in the index, or in neither, so a file on a full disk can still be
finished. And schemas and channels precede the chunks instead of being inside the first one, so
no damaged chunk makes the others unreadable.

Source: MCAP specification, https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

from mcap.opcode import Opcode
from mcap.records import (
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
    Schema,
    Statistics,
    SummaryOffset,
)

import edgecrack
from edgecrack.errors import OutputError
from edgecrack.mcap.format import MAGIC, RECORD_HEAD
from edgecrack.mcap.parts.part_file import PartFile, sync_folder
from edgecrack.mcap.parts.part_names import LIBRARY, UNFINISHED, PartNames
from edgecrack.mcap.parts.records import (
    CHANNEL_IDS,
    Chunk,
    ChunkBuilder,
    Definition,
    encoded,
    own_definitions,
    sealed,
)

CHUNK_BYTES = 2**20

_ATTEMPTS = 5
_LATEST_NS = 2**63 - 1  # ROS counts in int64


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
        self._definitions: dict[tuple[type, int], Definition] = {}
        self._counts: Counter[int] = Counter()
        self._chunks: list[ChunkIndex] = []
        self._attachments: list[AttachmentIndex] = []
        self._metadata: list[MetadataIndex] = []

    def start(self, header: Header) -> None:
        """Write the magic bytes and the header."""
        self._put(MAGIC + encoded(header))

    def add_definition(self, definition: Definition, write: bool = True) -> None:
        """Write a schema or channel, or only list one that is in a chunk; known ones do nothing."""
        key = type(definition), definition.id
        if key not in self._definitions:
            if write:
                self._put(encoded(definition))
            self._definitions[key] = definition

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
        self._count(channel_id, [time_ns])

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
            self._count(channel_id, [time_ns for time_ns, _ in messages])

    def finish(self) -> None:
        """Write the index; nothing may follow."""
        self._put(self._ending())

    def _put(self, data: bytes) -> None:
        self._append(data)
        self.offset += len(data)
        self._checksum = zlib.crc32(data, self._checksum)

    def _count(self, channel_id: int, times_ns: list[int]) -> None:
        self._counts[channel_id] += len(times_ns)
        self.messages += len(times_ns)
        times_ns = [*times_ns, *(self.time_span_ns or ())]
        self.time_span_ns = min(times_ns), max(times_ns)

    def _ending(self) -> bytes:
        end = encoded(DataEnd(self._checksum))
        start = self.offset + len(end)
        definitions = self._definitions.values()
        groups: Mapping[Opcode, list[McapRecord]] = {
            Opcode.SCHEMA: [each for each in definitions if isinstance(each, Schema)],
            Opcode.CHANNEL: [each for each in definitions if isinstance(each, Channel)],
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
        kinds = Counter(kind for kind, _ in self._definitions)
        return Statistics(
            attachment_count=len(self._attachments),
            channel_count=kinds[Channel],
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._chunks),
            message_count=self.messages,
            message_end_time=last_ns,
            message_start_time=first_ns,
            metadata_count=len(self._metadata),
            schema_count=kinds[Schema],
        )


class PartWriter:
    """One part of a recording in progress, from its first byte to its final name.

    Messages are collected into chunks, which reach the file whole. Every method may raise OSError;
    the file then ends with its last whole chunk, and what was not written can be tried again. It
    may raise OutputError where another program removed or changed the file.

    Args:
        names: of the recording; the part takes the next number.
        about: of the recording, for its metadata.

    Attributes:
        file: grows by whole chunks.
        messages: number of messages in the file.
    """

    def __init__(self, names: PartNames, about: Mapping[str, str]) -> None:
        self._names = names
        self._number, self.file = _new_file(names)
        self._container = Container(self.file.append)
        self.messages = 0
        self._chunk = ChunkBuilder()
        self._sequences: Counter[int] = Counter()
        try:
            self._begin({**about, "part": str(self._number)})
            self.file.sync()
            sync_folder(names.folder)
        except (OSError, OutputError):
            with suppress(OSError):
                if self.file.is_in_place:
                    self.file.path.unlink()
            self.file.close()
            raise

    @property
    def path(self) -> str:
        """The file while it grows."""
        return str(self.file.path)

    @property
    def size(self) -> int:
        """Bytes written and about to be written."""
        return self.file.size + self._chunk.size

    @property
    def pending(self) -> int:
        """Bytes that are not in the file yet."""
        return self._chunk.size

    def add(self, topic: str, time_ns: int, data: bytes) -> None:
        """Take one message; it is in memory until `write_out`."""
        channel_id = CHANNEL_IDS[topic]
        self._sequences[channel_id] += 1
        held_ns = min(max(time_ns, 0), _LATEST_NS)
        self._chunk.add(channel_id, self._sequences[channel_id], held_ns, data)

    def write_out(self) -> None:
        """Write the messages taken to the file."""
        if self._chunk.size:
            self._container.add_chunk(self._chunk.build())
            self._chunk.clear()
            self.messages = self._container.messages

    def finish(self) -> str:
        """Write the index, give the file its final name, and return that.

        What `write_out` could not write is left out.
        """
        self._chunk.clear()
        self._container.finish()
        self.file.check_place()
        path = self._names.path_of(self._number)
        if path.exists():
            path = self._names.path_of(self._names.next_number())
        self.file.finish(path)
        return str(path)

    def abandon(self) -> None:
        """Close the file, which can be recovered."""
        self.file.close()

    def _begin(self, about: Mapping[str, str]) -> None:
        header = Header("ros2", f"{LIBRARY}/{edgecrack.__version__}")
        self._container.start(header)
        self._container.add_metadata(sealed(header, about))
        for definition in own_definitions():
            self._container.add_definition(definition)


def _new_file(names: PartNames) -> tuple[int, PartFile]:
    """The next part's number and file; another process may be quicker a few times."""
    attempt = 1
    while True:
        number = names.next_number()
        final = names.path_of(number)
        try:
            return number, PartFile(final.with_name(final.name + UNFINISHED))
        except FileExistsError:
            if attempt == _ATTEMPTS:
                raise
            attempt += 1
