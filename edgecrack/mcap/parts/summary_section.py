"""Reads the index at the end of an MCAP file, where that is whole."""

from __future__ import annotations

from typing import BinaryIO

from edgecrack.mcap.format import (
    MAGIC,
    DamagedRecordError,
    read_summary,
    records_inside,
)
from edgecrack.mcap.library import Channel, Opcode, Schema
from edgecrack.mcap.parts.parsing import parse_definition


def read_definitions(file: BinaryIO) -> list[Schema | Channel] | None:
    """Schemas and channels of a file's index; None if the file does not end with a whole one."""

    def read(place: int, length: int) -> bytes:
        file.seek(place)
        return file.read(length)

    summary = read_summary(file.seek(0, 2), read)
    if summary is None:
        return None
    try:
        return [
            parse_definition(opcode, content)
            for opcode, _, content in records_inside(memoryview(summary.data)[: -len(MAGIC)])
            if opcode in (Opcode.SCHEMA, Opcode.CHANNEL)
        ]
    except DamagedRecordError:
        return None
