"""Reads the index at the end of an MCAP file, where that is whole."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

from edgecrack.runtime.recording.chunk import RECORD
from edgecrack.runtime.recording.library import MAGIC, Channel, Opcode, Schema
from edgecrack.runtime.recording.parsing import parse_small

_FOOTER_SIZE = RECORD.size + 20


def read_summary(file: BinaryIO) -> list[Schema | Channel] | None:
    """Schemas and channels of a file's index; None if the file does not end with a whole one."""
    size = file.seek(0, 2)
    footer_at = size - len(MAGIC) - _FOOTER_SIZE
    if footer_at < len(MAGIC):
        return None
    file.seek(footer_at)
    footer = file.read()
    start, _, checksum = struct.unpack_from("<QQI", footer, RECORD.size)
    if (
        not footer.endswith(MAGIC)
        or RECORD.unpack_from(footer) != (Opcode.FOOTER, 20)
        or not len(MAGIC) <= start < footer_at
    ):
        return None
    file.seek(start)
    summary = file.read(footer_at - start)
    if checksum and zlib.crc32(footer[: RECORD.size + 16], zlib.crc32(summary)) != checksum:
        return None
    return _definitions(summary)


def _definitions(summary: bytes) -> list[Schema | Channel] | None:
    definitions: list[Schema | Channel] = []
    position = 0
    while position + RECORD.size <= len(summary):
        opcode, length = RECORD.unpack_from(summary, position)
        begin, position = position + RECORD.size, position + RECORD.size + length
        if opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            definition = parse_small(opcode, summary[begin:position])
            if not isinstance(definition, Schema | Channel):
                return None
            definitions.append(definition)
    return definitions
