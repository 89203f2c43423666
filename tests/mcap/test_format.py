"""Chunks and summaries of MCAP files, whole, damaged and hostile."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import lz4.frame as lz4
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer

from edgecrack.mcap.format import (
    LARGEST_BYTES,
    DamagedRecordError,
    RecordFile,
    records_inside,
    unpack_chunk,
)

CONTENT = b"".join(struct.pack("<BQ", 3, size) + bytes([size]) * size for size in (0, 5, 40))
UNSIZED = zstandard.ZstdCompressor(write_content_size=False)
PACKED = {
    "": bytes,
    "lz4": lz4.compress,
    "zstd": zstandard.compress,
    "zstd ": UNSIZED.compress,  # the size of its content is not in the frame
}


def chunk(
    name: str, stored: bytes, size: int, checksum: int = 0, length: int | None = None
) -> bytes:
    """The content of a chunk record."""
    code = name.strip().encode()
    head = struct.pack("<QQQII", 1, 2, size, checksum, len(code)) + code
    return head + struct.pack("<Q", len(stored) if length is None else length) + stored


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("content", [CONTENT, CONTENT[:9]])
@pytest.mark.parametrize("checked", [True, False])
def test_what_was_packed_comes_out(name: str, content: bytes, checked: bool) -> None:
    stored = PACKED[name](content)
    checksum = zlib.crc32(content) if checked else 0
    found = unpack_chunk(chunk(name, stored, len(content), checksum))
    assert bytes(found.content) == content
    assert (found.compression, found.stored_bytes) == (name.strip(), len(stored))
    assert (found.has_checksum, found.is_exact) == (checked, True)


@pytest.mark.parametrize("name", ["", "lz4", "zstd"])
def test_an_empty_chunk_is_whole(name: str) -> None:
    assert bytes(unpack_chunk(chunk(name, PACKED[name](b""), 0)).content) == b""


def test_bytes_behind_the_content_are_told() -> None:
    found = unpack_chunk(chunk("lz4", lz4.compress(CONTENT), len(CONTENT)) + b"more")
    assert bytes(found.content) == CONTENT
    assert not found.is_exact


@pytest.mark.parametrize("name", PACKED)
def test_more_or_less_than_it_says_is_damage(name: str) -> None:
    stored = PACKED[name](CONTENT)
    for size in (0, 1, len(CONTENT) - 1, len(CONTENT) + 1, LARGEST_BYTES + 1, 2**63):
        with pytest.raises(DamagedRecordError):
            unpack_chunk(chunk(name, stored, size))
    with pytest.raises(DamagedRecordError):
        unpack_chunk(chunk(name, stored, len(CONTENT), checksum=zlib.crc32(CONTENT) ^ 1))
    with pytest.raises(DamagedRecordError):
        unpack_chunk(chunk(name, stored, len(CONTENT), length=len(stored) + 1))


@pytest.mark.parametrize("name", ["lz4", "zstd", "zstd "])
def test_content_cut_anywhere_is_damage(name: str) -> None:
    stored = PACKED[name](CONTENT)
    for length in range(len(stored)):
        with pytest.raises(DamagedRecordError):
            unpack_chunk(chunk(name, stored[:length], len(CONTENT)))


def test_an_unknown_compression_is_named() -> None:
    with pytest.raises(DamagedRecordError, match="'brotli'"):
        unpack_chunk(chunk("brotli", CONTENT, len(CONTENT)))


@given(st.binary(max_size=200), st.sampled_from(sorted(PACKED)), st.integers(0, 200))
def test_any_bytes_are_a_chunk_or_damage(data: bytes, name: str, size: int) -> None:
    for record in (data, chunk(name, data, size), chunk(name, PACKED[name](data), size)):
        try:
            found = unpack_chunk(record)
        except DamagedRecordError:
            continue
        assert len(found.content) <= len(data)


@given(st.integers(0, len(CONTENT)))
def test_records_cut_anywhere(length: int) -> None:
    ends = {0: 0, 9: 1, 23: 2, len(CONTENT): 3}
    found: list[Any] = []
    try:
        for opcode, place, content in records_inside(memoryview(CONTENT)[:length]):
            found.append((opcode, place, bytes(content)))
        is_whole = True
    except DamagedRecordError:
        is_whole = False
    assert is_whole == (length in ends)
    assert found == [(3, 0, b""), (3, 9, b"\5" * 5), (3, 23, b"\50" * 40)][: len(found)]
    assert len(found) == max(count for end, count in ends.items() if end <= length)


def whole_file(crcs: bool) -> bytes:
    file = io.BytesIO()
    writer: Any = Writer(file, compression=CompressionType.NONE, enable_crcs=crcs)
    writer.start("ros2", "somebody")
    schema = writer.register_schema("std_msgs/msg/Float64", "ros2msg", b"float64 data\n")
    writer.add_message(writer.register_channel("/a", "cdr", schema), 1, bytes(12), 1)
    writer.finish()
    return file.getvalue()


def summary_of(data: bytes) -> Any:
    return RecordFile(io.BytesIO(data), Path("run.mcap")).summary()


@pytest.mark.parametrize("crcs", [True, False])
def test_the_summary_is_found(crcs: bool) -> None:
    data = whole_file(crcs)
    found = summary_of(data)
    assert found.data == data[found.start : -8]
    opcodes = [opcode for opcode, _, _ in records_inside(memoryview(found.data))]
    assert {3, 4, 8, 11} <= set(opcodes)  # schema, channel, chunk index, statistics
    assert opcodes[-1] == 2


def test_a_damaged_or_missing_summary_is_none() -> None:
    data = whole_file(crcs=True)
    start = summary_of(data).start
    assert all(summary_of(data[:length]) is None for length in range(len(data)))
    for place in range(start, len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        assert summary_of(bytes(damaged)) is None
