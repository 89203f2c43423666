"""One chunk of an MCAP file: messages, compressed together, with a checksum.

lz4: of JPEG and PNG little can be saved, so that speed decides; the zeros of poses and boxes go.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from edgecrack.mcap.format import CHUNK_HEAD, LENGTH, MESSAGE_HEAD, RECORD_HEAD
from edgecrack.mcap.library import MessageIndex, Opcode, encoded, lz4

# Where each message of a channel lies in its chunk: (log time, offset).
Entries = dict[int, list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk as it stands in a file.

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
        """The message index records that follow it, one a channel."""
        return [encoded(MessageIndex(*entry)) for entry in self.entries.items()]


class ChunkBuilder:
    """Collects messages until they are written as one chunk."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []
        self._entries: Entries = {}

    def add(self, channel_id: int, sequence: int, time_ns: int, data: bytes) -> None:
        """Add one message."""
        head = RECORD_HEAD.pack(Opcode.MESSAGE, MESSAGE_HEAD.size + len(data))
        head += MESSAGE_HEAD.pack(channel_id, sequence, time_ns, time_ns)
        self._entries.setdefault(channel_id, []).append((time_ns, self.size))
        self._pieces += (head, data)
        self.size += len(head) + len(data)

    def build(self, compression: str = "lz4") -> Chunk:
        """The chunk; the messages stay until `clear`."""
        return build_chunk(b"".join(self._pieces), self._entries, compression)

    def clear(self) -> None:
        """Forget the messages."""
        self.size = 0
        self._pieces = []
        self._entries = {}


def build_chunk(content: bytes, entries: Entries, compression: str) -> Chunk:
    """A chunk with this content, which must hold messages."""
    stored: bytes = lz4.compress(content) if compression == "lz4" else content
    name = compression.encode()
    times_ns = [time_ns for messages in entries.values() for time_ns, _ in messages]
    head = CHUNK_HEAD.pack(
        min(times_ns), max(times_ns), len(content), zlib.crc32(content), len(name)
    )
    body = b"".join((head, name, LENGTH.pack(len(stored)), stored))
    record = RECORD_HEAD.pack(Opcode.CHUNK, len(body)) + body
    return Chunk(record, compression, len(stored), len(content), entries)
