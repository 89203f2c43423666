"""Reads the index at the end of an MCAP file, where that is whole."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from edgecrack.mcap.format import (
    MAGIC,
    DamagedRecordError,
    read_summary,
    records_inside,
)
from edgecrack.mcap.library import Channel, Opcode, Schema
from edgecrack.mcap.parts.parsing import parse_definition


class SummarySection(NamedTuple):
    """What is needed of the index.

    Attributes:
        definitions: its schemas and channels.
        has_checksum: it has been compared with one.
    """

    definitions: list[Schema | Channel]
    has_checksum: bool


def read_definitions(file: BinaryIO) -> SummarySection | None:
    """Schemas and channels of a file's index; None if the file does not end with a whole one."""

    def read(place: int, length: int) -> bytes:
        file.seek(place)
        return file.read(length)

    summary = read_summary(file.seek(0, 2), read)
    if summary is None:
        return None
    try:
        found = [
            parse_definition(opcode, content)
            for opcode, _, content in records_inside(memoryview(summary.data)[: -len(MAGIC)])
            if opcode in (Opcode.SCHEMA, Opcode.CHANNEL)
        ]
    except DamagedRecordError:
        return None
    return SummarySection(found, summary.has_checksum)
