"""Which checksums a file has, and what in it differs from them.

Besides those of the format there is what is known: schemas and channels stand in the index, too; a
chunk's messages tell its times and its index; of a recording of edgecrack it is known how it
begins. Takes what a scan finds, changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import BinaryIO

from edgecrack.mcap.format import data_checksum
from edgecrack.mcap.library import Attachment, Channel, Header, Metadata, Schema
from edgecrack.mcap.parts.chunk import Entries
from edgecrack.mcap.parts.own_records import (
    DAMAGED_METADATA,
    METADATA,
    definitions,
    definitions_checksum,
    fits_seal,
    is_ours,
    sealed_definitions,
)
from edgecrack.mcap.parts.parsing import FoundChunk
from edgecrack.mcap.parts.scan import (
    DataEnds,
    Found,
    FoundIndex,
    FoundMessage,
    FoundRecord,
    Lost,
    Private,
)
from edgecrack.mcap.parts.summary_section import SummarySection
from edgecrack.terminal.wording import counted

_NO_CHECKSUM = bytes(4)
_PLURALS = {
    "message index": "message indexes",
    "message outside of chunks": "messages outside of chunks",
    "record of an unknown kind, left out": "records of an unknown kind, left out",
}


class Checks:
    """What a file says and what it holds, compared.

    Attributes:
        damage: what differs, each in a few words, in the order of the file.
        data_ends: the end of the data, if the file has one.
    """

    def __init__(self) -> None:
        self.damage: list[str] = []
        self.data_ends: DataEnds | None = None
        self._header: Header | None = None
        self._summary: SummarySection | None = None
        self._expected: dict[tuple[type, int], Schema | Channel] = {}
        self._found: list[Schema | Channel] = []
        self._sealed: str | None = None
        self._has_own_metadata = self._is_confirmed = False
        self._is_trusted = self._has_lost = False
        self._entries: Entries | None = None
        self._bare: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()

    def take_summary(self, summary: SummarySection | None) -> None:
        """Take the index; None where there is no whole one."""
        self._summary = summary
        self._expect(summary.definitions if summary else [])

    def trusted(self, metadata: Metadata) -> list[Schema | Channel]:
        """The definitions that are in the file for certain, by the metadata of a recording."""
        told = sealed_definitions(metadata) if self._is_own(metadata) else None
        known = definitions()
        self._is_trusted |= told == definitions_checksum(known)
        return known if self._is_trusted else []

    def is_stray(self, definition: Schema | Channel) -> bool:
        """Whether a definition is certainly none of this recording's: its number is damaged."""
        return self._is_trusted and (type(definition), definition.id) not in self._expected

    def honest(self, metadata: Metadata) -> Metadata:
        """The metadata, under another name where it is not as it was written."""
        if self._is_own(metadata) and self._header and fits_seal(self._header, metadata) is False:
            return replace(metadata, name=DAMAGED_METADATA)
        return metadata

    def take(self, found: Found) -> None:
        """Take what a scan found."""
        if isinstance(found, DataEnds):
            self.data_ends = found
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
            self._take_record(found)

    def finish(self, file: BinaryIO) -> None:
        """Compare what only the end tells."""
        self.damage += [
            f"{counted(count, what, _PLURALS.get(what))} differing from the messages"
            for what, count in self._wrong.items()
            if count
        ]
        is_clean = not (self.damage or self._has_lost)
        if is_clean and self._sealed not in (None, definitions_checksum(self._found)):
            self.damage.append("the schemas and channels differ from their checksum")
        if self._header and is_ours(self._header) and not self._has_own_metadata:
            self.damage.append(f"the metadata {METADATA} is missing")
        if self.data_ends is None or not self.data_ends.checksum:
            return

        def read(place: int, length: int) -> bytes:
            file.seek(place)
            return file.read(length)

        self._is_confirmed = data_checksum(self.data_ends.offset, read) == self.data_ends.checksum
        if not (self._is_confirmed or self.damage or self._has_lost):
            self.damage.append("the data differs from its checksum")

    def unprotected(self) -> tuple[str, ...]:
        """What has no checksum of any kind."""
        bare = [] if self._summary is None or self._summary.has_checksum else ["the index"]
        if self._is_confirmed:
            return tuple(bare)
        has_definitions = self._sealed or (self._summary and self._summary.has_checksum)
        if self._found and not has_definitions:
            bare.append("schemas and channels")
        counts = [counted(n, what, _PLURALS.get(what)) for what, n in self._bare.items() if n]
        return (*bare, *counts)

    def _take_private(self) -> None:
        """A record that is left out, for only some application knows it; edgecrack writes none."""
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

    def _take_record(self, found: FoundRecord) -> None:
        content = found.content
        if isinstance(content, Header):
            self._header = content
            if is_ours(content):
                self._expect(definitions())
        elif isinstance(content, Schema | Channel):
            self._found.append(content)
            expected = self._expected.get((type(content), content.id), None)
            if expected not in (None, content) or (expected is None and self.is_ours):
                self.damage.append(f"{_named(content)} differs from what is known of it")
        elif isinstance(content, Attachment):
            self._bare["attachment"] += found.record[-len(_NO_CHECKSUM) :] == _NO_CHECKSUM
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
        own = self._header is not None and is_ours(self._header)
        return own and metadata.name == METADATA

    @property
    def is_ours(self) -> bool:
        """Whether edgecrack wrote the file: then it is known which records it has."""
        return self._header is not None and is_ours(self._header)

    def _expect(self, known: Sequence[Schema | Channel]) -> None:
        """Remember definitions; those of the index first."""
        for one in known:
            self._expected.setdefault((type(one), one.id), one)


def _named(definition: Schema | Channel) -> str:
    if isinstance(definition, Schema):
        return f"the schema {definition.name!r}"
    return f"the channel {definition.topic!r}"
