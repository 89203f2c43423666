"""Makes a whole MCAP file of what is left of a damaged one, and reports the damage.

Chunks are copied as they are, and only the index is made again; so all that one of our own
recordings lacks after a kill is its end, which can be appended in place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from mcap.records import Attachment, Channel, Header, McapRecord, Metadata, Schema

from edgecrack.mcap.format import RECORD_HEAD, RecordFile
from edgecrack.mcap.parts.records import (
    DAMAGED_METADATA,
    METADATA,
    Chunk,
    Definition,
    Entries,
    FoundChunk,
    ParsedSummary,
    build_chunk,
    definitions_checksum,
    fits_seal,
    is_ours,
    own_definitions,
    read_summary,
    sealed_definitions,
)
from edgecrack.mcap.parts.scan import (
    DataEnds,
    Found,
    FoundIndex,
    FoundMessage,
    FoundRecord,
    Lost,
    Private,
    scan,
)
from edgecrack.mcap.parts.writer import Container
from edgecrack.terminal.wording import counted

RECOVERY_METADATA = "edgecrack_recovery"
# Of a file whose own header is damaged.
_HEADER = Header("ros2", "recovered")
_NO_CHECKSUM = bytes(4)
_PLURALS = {
    "message index": "message indexes",
    "message outside of chunks": "messages outside of chunks",
    "record of an unknown kind, left out": "records of an unknown kind, left out",
}


class Rebuild:
    """A file made of what `scan` finds in another; made when constructed.

    Args:
        append: as in `Container`.
        file: the damaged file; begins with the magic bytes.

    Attributes:
        messages: number of messages in the new file.
        time_span_ns: their first and last log time, None without messages.
        was_whole: nothing is damaged, the file's own index included.
        bytes_lost: bytes of data that are not in the new file.
        damage: what else differs from a checksum or from known content, each in a few words.
        unprotected: what has no checksum, so that damage in it would not be noticed.
        data_end: offset in the new file at which its data ends; what follows can be made again.
    """

    def __init__(self, append: Callable[[bytes], None], file: RecordFile) -> None:
        self._container = Container(append)
        self._definitions: dict[tuple[type, int], Definition] = {}
        self._started = False
        self.bytes_lost = 0
        self.data_end = 0
        summary = read_summary(file)
        self._checks = _Checks(summary)
        for definition in summary.definitions if summary else []:
            self._learn(definition)
        for found in scan(file):
            self._take(found)
        self._start(_HEADER)
        self._checks.finish(file)
        self.damage, self.unprotected = self._checks.damage, self._checks.unprotected()
        self.was_whole = summary is not None and self._checks.data_end is not None
        self.was_whole &= not self.bytes_lost and not self.damage
        if self.bytes_lost or self.damage:
            note = {"bytes_lost": str(self.bytes_lost)}
            if self.damage:
                note["damage"] = "; ".join(self.damage)
            self._container.add_metadata(Metadata(RECOVERY_METADATA, note))
        self._container.finish()
        self.messages, self.time_span_ns = self._container.messages, self._container.time_span_ns

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
            self._take_record(found.content, found.record)
        elif isinstance(found, FoundChunk):
            self._take_chunk(found)
        elif isinstance(found, FoundMessage):
            self._take_message(found)

    def _take_record(self, content: McapRecord, record: bytes) -> None:
        if isinstance(content, Schema | Channel):
            if self._checks.is_stray(content):
                return
            self._add(content)
        elif isinstance(content, Metadata):
            self._container.add_metadata(self._checks.honest(content))
            # These follow in the file, damaged or not.
            for definition in self._checks.trusted(content):
                self._add(definition)
        elif isinstance(content, Attachment):
            self._container.add_attachment(content, record)
        self.data_end = self._container.offset

    def _take_message(self, found: FoundMessage) -> None:
        # All messages of ours are in chunks: this is another record, damaged.
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
            for definition in found.definitions:  # which are not written a second time
                if isinstance(definition, Schema) or self._is_known(definition.id):
                    self._container.add_definition(definition, write=False)
        if chunk is not None:
            for channel_id in chunk.entries:
                self._introduce(channel_id)
            begin = self._container.offset
            self._container.add_chunk(chunk)
            self.data_end = begin + len(chunk.record)

    def _without(self, found: FoundChunk, unknown: set[int]) -> Chunk | None:
        """A chunk without the messages that cannot be decoded, since their channel is lost."""
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
        return build_chunk(b"".join(pieces), entries) if pieces else None

    def _start(self, header: Header) -> None:
        if not self._started:
            self._started = True
            self._container.start(header)

    def _learn(self, definition: Definition) -> None:
        """Remember a definition; the first counts, which is the index's, as it has a checksum."""
        self._definitions.setdefault((type(definition), definition.id), definition)

    def _add(self, definition: Definition) -> None:
        """Write what is known of a definition; a channel only together with its schema."""
        self._learn(definition)
        if isinstance(definition, Schema):
            self._container.add_definition(self._definitions[Schema, definition.id])
        else:
            self._introduce(definition.id)

    def _is_known(self, channel_id: int) -> bool:
        channel = self._definitions.get((Channel, channel_id))
        if not isinstance(channel, Channel):
            return False
        return not channel.schema_id or (Schema, channel.schema_id) in self._definitions

    def _introduce(self, channel_id: int) -> bool:
        """Write a channel and its schema unless they are written; False if unknown."""
        channel = self._definitions.get((Channel, channel_id))
        if not isinstance(channel, Channel) or not self._is_known(channel_id):
            return False
        if channel.schema_id:
            self._container.add_definition(self._definitions[Schema, channel.schema_id])
        self._container.add_definition(channel)
        return True


class _Checks:
    """Compares a file with its checksums and with what else is known of its content.

    Schemas and channels are in the index, too; a chunk's messages have its times and its index; a
    recording of edgecrack begins with known records.

    Args:
        summary: None where the file has no whole index.

    Attributes:
        damage: what differs, each in a few words, in the order of the file.
        data_end: offset of the record that ends the data, if the file has one.
        is_ours: edgecrack wrote the file, so its kinds of records are known.
    """

    def __init__(self, summary: ParsedSummary | None) -> None:
        self.damage: list[str] = []
        self.data_end: int | None = None
        self.is_ours = False
        self._summary = summary
        self._header: Header | None = None
        self._expected: dict[tuple[type, int], Definition] = {}
        self._found: list[Definition] = []
        self._sealed: str | None = None
        self._has_own_metadata = self._is_confirmed = False
        self._is_trusted = self._has_lost = False
        self._entries: Entries | None = None
        self._bare: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()
        self._expect(summary.definitions if summary else [])

    def trusted(self, metadata: Metadata) -> list[Definition]:
        """The definitions that are certainly in the file, by the metadata of a recording."""
        stored = sealed_definitions(metadata) if self._is_own(metadata) else None
        known = own_definitions()
        self._is_trusted |= stored == definitions_checksum(known)
        return known if self._is_trusted else []

    def is_stray(self, definition: Definition) -> bool:
        """Whether a definition is certainly not of this recording: its number is damaged."""
        return self._is_trusted and (type(definition), definition.id) not in self._expected

    def honest(self, metadata: Metadata) -> Metadata:
        """The metadata, under another name where it differs from its checksum."""
        if self._is_own(metadata) and self._header and fits_seal(self._header, metadata) is False:
            return replace(metadata, name=DAMAGED_METADATA)
        return metadata

    def take(self, found: Found) -> None:
        """Take what a scan found."""
        if isinstance(found, DataEnds):
            self.data_end = found.offset
        elif isinstance(found, FoundMessage):
            self._bare["message outside of chunks"] += 1
        elif isinstance(found, FoundChunk):
            self._entries = found.chunk.entries
            self._bare["chunk"] += not found.has_checksum
            self._wrong["chunk head"] += found.had_wrong_times
        elif isinstance(found, FoundIndex):
            self._wrong["message index"] += not self._fits_chunk(found)
        elif isinstance(found, Lost):
            self._entries, self._has_lost = None, True
        elif isinstance(found, Private):
            self._take_private()
        elif isinstance(found, FoundRecord):
            self._take_record(found.content, found.record)

    def finish(self, file: RecordFile) -> None:
        """Compare what can be compared only at the end."""
        self.damage += [
            f"{_counted(what, count)} differing from the messages"
            for what, count in self._wrong.items()
            if count
        ]
        is_clean = not (self.damage or self._has_lost)
        if is_clean and self._sealed not in (None, definitions_checksum(self._found)):
            self.damage.append("the schemas and channels differ from their checksum")
        if self.is_ours and not self._has_own_metadata:
            self.damage.append(f"the metadata {METADATA} is missing")
        fits = None if self.data_end is None else file.data_fits(self.data_end)
        self._is_confirmed = fits is True
        if fits is False and not (self.damage or self._has_lost):
            self.damage.append("the data differs from its checksum")

    def unprotected(self) -> tuple[str, ...]:
        """What has no checksum of any kind."""
        bare = [] if self._summary is None or self._summary.has_checksum else ["the index"]
        if self._is_confirmed:
            return tuple(bare)
        has_definitions = self._sealed or (self._summary and self._summary.has_checksum)
        if self._found and not has_definitions:
            bare.append("schemas and channels")
        return (*bare, *(_counted(what, count) for what, count in self._bare.items() if count))

    def _take_private(self) -> None:
        """A record that is left out, as only some application can read it."""
        what = "a record of a kind that edgecrack does not write"
        if self.is_ours and what not in self.damage:
            self.damage.append(what)
        self._bare["record of an unknown kind, left out"] += not self.is_ours
        self._entries = None

    def _fits_chunk(self, index: FoundIndex) -> bool:
        if self._entries is None:  # of a chunk that is lost
            return True
        of_chunk = self._entries.get(index.channel_id, [])
        return index.channel_id >= 0 and sorted(index.entries) == sorted(of_chunk)

    def _take_record(self, content: McapRecord, record: bytes) -> None:
        if isinstance(content, Header):
            self._header, self.is_ours = content, is_ours(content)
            if self.is_ours:
                self._expect(own_definitions())
        elif isinstance(content, Schema | Channel):
            self._found.append(content)
            expected = self._expected.get((type(content), content.id))
            if expected not in (None, content) or (expected is None and self.is_ours):
                self.damage.append(f"{_named(content)} differs from what is known of it")
        elif isinstance(content, Attachment):
            self._bare["attachment"] += record[-len(_NO_CHECKSUM) :] == _NO_CHECKSUM
        elif isinstance(content, Metadata):
            self._take_metadata(content)

    def _take_metadata(self, metadata: Metadata) -> None:
        fits = None
        if self._is_own(metadata) and self._header is not None:
            self._has_own_metadata = True
            self._sealed = sealed_definitions(metadata)
            fits = fits_seal(self._header, metadata)
            if fits is False:
                self.damage.append(f"header or metadata {METADATA} differ from their checksum")
        self._bare["metadata record"] += fits is None

    def _is_own(self, metadata: Metadata) -> bool:
        return self.is_ours and metadata.name == METADATA

    def _expect(self, known: Sequence[Definition]) -> None:
        """Remember definitions; those of the index first."""
        for each in known:
            self._expected.setdefault((type(each), each.id), each)


def _counted(what: str, count: int) -> str:
    return counted(count, what, _PLURALS.get(what))


def _named(definition: Definition) -> str:
    if isinstance(definition, Schema):
        return f"the schema {definition.name!r}"
    return f"the channel {definition.topic!r}"
