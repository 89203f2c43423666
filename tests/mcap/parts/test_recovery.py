"""Damaged files, ours and others', made whole again."""

from __future__ import annotations

import fcntl
import os
import random
import re
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import lz4.frame as lz4
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from edgecrack.commands.recover import recover as recover_command
from edgecrack.errors import EdgecrackError, OutputError, SourceError
from edgecrack.mcap.format import RecordFile
from edgecrack.mcap.message_types import DISTANCE_TOPIC, EVENTS_TOPIC
from edgecrack.mcap.parts.part_names import PartNames
from edgecrack.mcap.parts.rebuild import Rebuild
from edgecrack.mcap.parts.recovery import finish_leftover, recover
from edgecrack.mcap.parts.writer import PartWriter
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.recording.messages import log
from edgecrack.runtime.recording.recorder import McapRecorder
from edgecrack.runtime.telemetry.events import Event
from tests.runtime.recording.reading import (
    Heard,
    frame_times,
    read_with_mcap,
    read_with_rosbags,
    result,
)
from tests.runtime.recording.recorders import recording
from tests.waiting import wait_until

Messages = list[tuple[str, int, bytes]]
MAGIC = b"\x89MCAP0\r\n"
NOISE = b"\x55" + random.Random(0).randbytes(5000)


def foreign(
    compression: CompressionType = CompressionType.ZSTD,
    messages: int = 12,
    chunk_size: int = 100,
    crcs: bool = True,
    use_chunking: bool = True,
) -> bytes:
    """A small file of another writer, some messages a chunk, schemas inside the first one."""
    buffer = BytesIO()
    writer: Any = Writer(  # only partly typed
        buffer,
        chunk_size=chunk_size,
        compression=compression,
        enable_crcs=crcs,
        use_chunking=use_chunking,
    )
    writer.start("ros2", "somebody")
    schema = writer.register_schema("std_msgs/msg/Float64", "ros2msg", b"float64 data\n")
    channels = [writer.register_channel(topic, "cdr", schema) for topic in ("/a", "/b")]
    writer.add_metadata("note", {"robot": "r2"})
    for number in range(messages):
        data = struct.pack("<Id", 256, number)
        writer.add_message(channels[number % 2], 1000 + number, data, 1000 + number, number)
    writer.flush()
    writer.add_attachment(1, 2, "photo.jpg", "image/jpeg", b"not quite a photo")
    writer.finish()
    return buffer.getvalue()


def ours(folder: Path, chunks: int = 4, finish: bool = True) -> Path:
    """A small recording of ours, with two messages in each chunk."""
    part = PartWriter(PartNames(folder / "run.mcap"), {"model": "bright"})
    for number in range(chunks):
        part.add(DISTANCE_TOPIC, 1000 + number, struct.pack("<Id", 256, number))
        said = Event(1000 + number, "info", "stream.x", random.Random(number).randbytes(150).hex())
        part.add(EVENTS_TOPIC, 1000 + number, log(said))
        part.write_out()
    if finish:
        return Path(part.finish())
    path = Path(part.path)
    part.abandon()
    return path


def chunk_spans(data: bytes) -> list[tuple[int, int]]:
    """Where the chunk records of a whole file begin and end."""
    spans, position = [], 8
    while position < len(data) - 8:
        opcode, length = struct.unpack_from("<BQ", data, position)
        if opcode == 6:
            spans.append((position, position + 9 + length))
        position += 9 + length
    return spans


def written(folder: Path, data: bytes, name: str = "run.mcap") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_whole_file_is_left_alone(tmp_path: Path) -> None:
    for path in (ours(tmp_path), written(tmp_path, foreign(), "theirs.mcap")):
        before = path.read_bytes()
        report = recover(path)
        assert (report.was_whole, report.out, report.bytes_lost) == (True, path, 0)
        assert report.messages == len(read_with_mcap(path))
        assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_a_whole_file_is_copied_where_asked(tmp_path: Path) -> None:
    path, out = ours(tmp_path), tmp_path / "copy.mcap"
    assert recover(path, out).out == out
    assert out.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("compression", [*CompressionType])
def test_a_missing_footer(tmp_path: Path, compression: CompressionType) -> None:
    data = foreign(compression)
    whole = read_with_mcap(written(tmp_path, data, "whole.mcap"))
    path = written(tmp_path, data[:-40])
    report = recover(path)
    assert report.out == tmp_path / "run_recovered.mcap"
    assert (report.messages, report.bytes_lost, report.was_whole) == (12, 0, False)
    assert report.time_span_ns == (1000, 1011)
    assert read_with_mcap(report.out) == whole
    with report.out.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert [one.name for one in reader.iter_attachments()] == ["photo.jpg"]
        assert [one.metadata for one in reader.iter_metadata()] == [{"robot": "r2"}]
        assert reader.get_header().library == "somebody"


@pytest.mark.parametrize("garbage", [b"\0" * 5000, b"\x06" * 5000, NOISE, MAGIC])
@pytest.mark.parametrize("unfinished", [False, True])
def test_garbage_at_the_end(tmp_path: Path, garbage: bytes, unfinished: bool) -> None:
    path = ours(tmp_path, finish=not unfinished)
    path.write_bytes(path.read_bytes() + garbage)
    report = recover(path, tmp_path / "out.mcap")
    assert (report.messages, report.was_whole) == (8, False)
    assert report.bytes_lost == (len(garbage) if unfinished else 0)
    assert len(read_with_rosbags(tmp_path / "out.mcap")) == 8


@pytest.mark.parametrize("place", [26, 34, 38, 42, 46, 60, 200])
def test_a_damaged_chunk_in_the_middle(tmp_path: Path, place: int) -> None:
    """In its length, its head or its content: all others are kept."""
    path = ours(tmp_path)
    data = bytearray(path.read_bytes())
    expected = read_with_mcap(path)
    start, end = chunk_spans(bytes(data))[1]
    data[start + min(place, end - start - 1)] ^= 0x55
    path.write_bytes(data)
    report = recover(path)
    assert report.out is not None
    assert not report.was_whole
    assert end - start <= report.bytes_lost <= end - start + 200
    assert read_with_mcap(report.out) == expected[:2] + expected[4:]
    with report.out.open("rb") as file:
        notes = {one.name: one.metadata for one in make_reader(file).iter_metadata()}
    assert notes["edgecrack_recovery"] == {"bytes_lost": str(report.bytes_lost)}


@pytest.mark.parametrize("place", [0, 1, 2, 5, 8])
def test_a_damaged_length_in_the_middle(tmp_path: Path, place: int) -> None:
    path = ours(tmp_path)
    data = bytearray(path.read_bytes())
    expected = read_with_mcap(path)
    data[chunk_spans(bytes(data))[1][0] + place] ^= 0x55
    path.write_bytes(data)
    report = recover(path)
    assert report.out is not None
    assert read_with_mcap(report.out) == expected[:2] + expected[4:]


def test_a_hole_of_zeros(tmp_path: Path) -> None:
    """As a power cut leaves where the system had given out blocks and not yet filled them."""
    path = ours(tmp_path, chunks=30)
    data = bytearray(path.read_bytes())
    spans = chunk_spans(bytes(data))
    first, last = spans[10][0] + 5, spans[20][0] + 5
    data[first:last] = bytes(last - first)
    expected = read_with_mcap(path)
    path.write_bytes(data)
    report = recover(path)
    assert report.out is not None
    assert read_with_mcap(report.out) == expected[:20] + expected[42:]


def test_the_index_replaces_definitions_that_were_in_a_damaged_chunk(tmp_path: Path) -> None:
    data = bytearray(foreign())
    _, end = chunk_spans(bytes(data))[0]
    expected = read_with_mcap(written(tmp_path, bytes(data), "whole.mcap"))
    data[end - 20] ^= 1
    report = recover(written(tmp_path, bytes(data)))
    assert report.out is not None
    kept = read_with_mcap(report.out)
    assert 0 < len(kept) < len(expected)
    assert kept == expected[-len(kept) :]
    assert len(read_with_rosbags(report.out)) == len(kept)


def test_messages_without_a_channel_are_not_kept(tmp_path: Path) -> None:
    """No index, and the chunk with the channels damaged: nobody could decode the others."""
    data = bytearray(foreign())
    spans = chunk_spans(bytes(data))
    data[spans[0][1] - 20] ^= 1
    path = written(tmp_path, bytes(data[: spans[-1][1]]))
    with pytest.raises(SourceError, match="is whole: no message"):
        recover(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["run.mcap", "run_0001.mcap.part"])
def test_a_recording_that_is_lost_is_no_success(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, MAGIC + b"\x55" * 10_000, name)
    for out in (None, tmp_path / "out.mcap"):
        with pytest.raises(SourceError, match=r"nothing in .* is whole: no message, 10000 bytes"):
            recover(path, out)
    assert list(tmp_path.iterdir()) == [path]


def test_a_lost_channel_costs_only_its_own_messages(tmp_path: Path) -> None:
    """A channel defined in a damaged chunk, and a later chunk with messages of it and others."""
    buffer = BytesIO()
    writer: Any = Writer(buffer)
    writer.start("ros2", "somebody")
    schema = writer.register_schema("std_msgs/msg/Float64", "ros2msg", b"float64 data\n")
    early = writer.register_channel("/early", "cdr", schema)
    for number, channel in enumerate([early, 0, 0, early, 0, early]):
        if number == 1:
            writer.flush()
            late = writer.register_channel("/late", "cdr", schema)
        if number == 2:
            writer.flush()
        writer.add_message(channel or late, number, struct.pack("<Id", 256, number), number)
    writer.finish()
    data = bytearray(buffer.getvalue())
    spans = chunk_spans(bytes(data))
    assert len(spans) == 3
    data[spans[1][1] - 3] ^= 1
    report = recover(written(tmp_path, bytes(data[: spans[2][1]])))
    assert report.out is not None
    kept = [(topic, time_ns) for topic, time_ns, _ in read_with_mcap(report.out)]
    assert kept == [("/early", 0), ("/early", 3), ("/early", 5)]
    assert [one.message.data for one in read_with_rosbags(report.out)] == [0, 3, 5]


@pytest.mark.parametrize("crcs", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_files_without_checksums_or_chunks(tmp_path: Path, crcs: bool, chunked: bool) -> None:
    data = foreign(crcs=crcs, use_chunking=chunked)
    whole = read_with_mcap(written(tmp_path, data, "whole.mcap"))
    cut = data[: data.index(b"photo.jpg") + 5]
    report = recover(written(tmp_path, cut))
    assert report.out is not None
    assert read_with_mcap(report.out) == whole
    assert report.bytes_lost > 0  # the attachment


def assert_only_what_was_written(whole: Messages, found: Messages) -> None:
    assert not Counter(found) - Counter(whole)


@pytest.mark.parametrize(
    "compression",
    [
        pytest.param(CompressionType.NONE, marks=pytest.mark.slow),
        CompressionType.LZ4,
        pytest.param(CompressionType.ZSTD, marks=pytest.mark.slow),
    ],
)
def test_cut_at_every_byte(tmp_path: Path, compression: CompressionType) -> None:
    """No cut makes it raise anything but its own errors or invent a message."""
    data = foreign(compression, messages=6)
    whole = read_with_mcap(written(tmp_path, data, "whole.mcap"))
    ends = [end for _, end in chunk_spans(data)]
    path, out = tmp_path / "run.mcap", tmp_path / "out.mcap"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        if length < 8:
            with pytest.raises(SourceError, match="is not an MCAP file"):
                recover(path, out)
            continue
        try:
            report = recover(path, out)
        except SourceError:
            assert length < ends[0]
            assert not out.exists()
            continue
        found = read_with_mcap(out)
        out.unlink()
        assert report.messages == len(found)
        assert found == whole[: len(found)]
        if length in ends:
            assert report.bytes_lost == 0
    assert found == whole


@pytest.mark.parametrize("of", ["ours", "theirs"])
def test_cut_anywhere_in_memory(tmp_path: Path, of: str) -> None:
    """A recording of ours, cut at every seventh byte: what is rebuilt reads well."""
    data = ours(tmp_path).read_bytes() if of == "ours" else foreign(CompressionType.LZ4)
    whole = read_with_mcap(written(tmp_path, data, "whole.mcap"))
    for length in range(8, len(data), 7):
        assert_only_what_was_written(whole, rebuilt(data[:length]))


@pytest.mark.parametrize("make", [lambda folder: ours(folder).read_bytes(), lambda _: foreign()])
def test_any_damage_anywhere(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    """Bytes overwritten, cut out or put in: never an error, never another message."""
    data = make(tmp_path)
    whole = read_with_mcap(written(tmp_path, data, "whole.mcap"))

    @given(
        at=st.integers(8, len(data) - 1),
        removed=st.integers(0, 300),
        inserted=st.binary(max_size=40) | st.sampled_from([data[8:400], data[-400:], MAGIC]),
    )
    def check(at: int, removed: int, inserted: bytes) -> None:
        damaged = data[:at] + inserted + data[at + removed :]
        found = rebuilt(damaged)
        topics = {topic for topic, _, _ in whole}
        # Topic names and unchunked definitions have no checksum.
        known = [one for one in found if one[0] in topics]
        assert not {one[1:] for one in known} - {one[1:] for one in whole}

    check()


def rebuilt(data: bytes) -> Messages:
    out = BytesIO()

    def append(piece: bytes) -> None:
        out.write(piece)

    Rebuild(append, RecordFile(BytesIO(data), Path("run.mcap")))
    out.seek(0)
    reader = make_reader(out, validate_crcs=True)
    return [
        (channel.topic, message.log_time, message.data)
        for _, channel, message in reader.iter_messages()
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is not an MCAP file"), (b"\x1aE\xdf\xa3 video", "is not an MCAP file")],
)
def test_what_is_not_mcap_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        recover(written(tmp_path, content))
    assert [path.name for path in tmp_path.iterdir()] == ["run.mcap"]


def test_missing_files_folders_and_names_that_are_taken(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        recover(tmp_path / "no.mcap")
    with pytest.raises(SourceError, match="is not a file"):
        recover(tmp_path)
    path = written(tmp_path, foreign()[:-40])
    taken = written(tmp_path, b"precious", "run_recovered.mcap")
    with pytest.raises(OutputError, match="exists already; give another name"):
        recover(path)
    with pytest.raises(OutputError, match="exists already"):
        recover(path, path)
    with pytest.raises(OutputError, match="its folder does not exist"):
        recover(path, tmp_path / "no" / "out.mcap")
    assert taken.read_bytes() == b"precious"


def test_a_part_takes_its_own_name(tmp_path: Path) -> None:
    path = ours(tmp_path, finish=False)
    assert path.name == "run_0001.mcap.part"
    report = recover(path)
    assert report.out == tmp_path / "run_0001.mcap"
    assert len(read_with_rosbags(report.out)) == 8
    assert path.exists()


def test_a_part_being_recorded_is_left_alone(tmp_path: Path) -> None:
    path = ours(tmp_path, finish=False)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SourceError, match="is being recorded"):
            recover(path)
        with pytest.raises(BlockingIOError):
            finish_leftover(path, tmp_path / "run_0001.mcap")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_leftover_is_finished_in_place(tmp_path: Path) -> None:
    """Only its end is written: the disk may have no room for a second copy."""
    path = ours(tmp_path, finish=False)
    data, inode = path.read_bytes(), path.stat().st_ino
    start, _ = chunk_spans(data + bytes(8))[-1]
    path.write_bytes(data + data[start : start + 150])  # a torn chunk
    target = tmp_path / "run_0001.mcap"
    report = finish_leftover(path, target)
    assert (report.messages, report.bytes_lost) == (8, 150)
    assert target.stat().st_ino == inode
    assert target.read_bytes().startswith(data)
    assert len(read_with_mcap(target)) == len(read_with_rosbags(target)) == 8
    assert not path.exists()


def test_a_leftover_with_a_hole_is_copied(tmp_path: Path) -> None:
    path = ours(tmp_path, finish=False)
    data = bytearray(path.read_bytes())
    data[chunk_spans(bytes(data))[1][1] - 9] ^= 1
    path.write_bytes(data)
    report = finish_leftover(path, tmp_path / "run_0001.mcap")
    assert report.bytes_lost > 0
    assert 0 < report.messages < 8
    assert len(read_with_mcap(tmp_path / "run_0001.mcap")) == report.messages
    assert not path.exists()
    assert report.kept == tmp_path / "run_0001.mcap.damaged"
    assert report.kept.read_bytes() == data


def test_what_cannot_be_read_of_a_leftover_is_kept(tmp_path: Path) -> None:
    """Nothing goes of which anything is lost, or that somebody else wrote."""
    header = ours(tmp_path, chunks=0, finish=False)
    contents = {
        1: MAGIC + os.urandom(1_000_000),
        2: b"",
        3: header.read_bytes()[:-20],
        4: foreign()[: foreign().index(b"photo.jpg")],
        5: foreign(messages=0)[:-40],
        6: header.read_bytes() + bytes(100),
        7: foreign() + os.urandom(2000),
    }
    header.unlink()
    for number, data in contents.items():
        written(tmp_path, data, f"run_{number:04d}.mcap.part")
    (tmp_path / "run_0001.mcap.damaged").write_bytes(b"precious")
    heard = Heard()
    with recording(tmp_path, heard):
        wait_until(lambda: len(heard.events) == len(contents), "the recovery")
    assert (tmp_path / "run_0001.mcap.damaged").read_bytes() == b"precious"
    for number, data in contents.items():
        tail = "2" if number == 1 else ""
        kept = tmp_path / f"run_{number:04d}.mcap.damaged{tail}"
        assert kept.read_bytes() == data, number
        assert sum(kept.name in event.message for event in heard.events) == 1
    assert not list(tmp_path.glob("*.part"))
    assert all(event.level == "warning" for event in heard.of("recording.unrecoverable"))
    assert len(heard.of("recording.unrecoverable")) == 5
    whole = sorted(tmp_path.glob("*.mcap"))
    assert [path.name for path in whole] == ["run_0004.mcap", "run_0007.mcap"]
    assert [len(read_with_mcap(path)) for path in whole] == [12, 12]


def test_an_end_that_is_too_long_to_be_torn_is_kept(tmp_path: Path) -> None:
    path = ours(tmp_path, finish=False)
    path.write_bytes(path.read_bytes() + b"\x55" * (17 * 2**20))
    size = path.stat().st_size
    report = finish_leftover(path, tmp_path / "run_0001.mcap")
    assert report.messages == len(read_with_mcap(tmp_path / "run_0001.mcap")) == 8
    assert report.kept is not None
    assert report.kept.stat().st_size == size


def test_a_leftover_of_ours_that_holds_nothing_is_removed(tmp_path: Path) -> None:
    path = ours(tmp_path, chunks=0, finish=False)
    report = finish_leftover(path, tmp_path / "run_0001.mcap")
    assert (report.out, report.kept, report.bytes_lost) == (None, None, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_cut_anywhere_is_finished(tmp_path: Path) -> None:
    path = ours(tmp_path, chunks=2, finish=False)
    data = path.read_bytes()
    path.unlink()
    target = tmp_path / "run_0001.mcap"
    start, _ = chunk_spans(data + bytes(8))[0]
    for length in [*range(8), *range(8, start, 97), *range(start, len(data))]:
        path.write_bytes(data[:length])
        try:
            report = finish_leftover(path, target)
        except EdgecrackError:
            pytest.fail(f"refused when cut to {length} bytes")
        assert not path.exists()
        if report.kept is not None:
            assert report.kept.read_bytes() == data[:length]
            report.kept.unlink()
        if report.out is None:
            assert not target.exists()
        else:
            assert len(read_with_mcap(target)) == report.messages > 0
            target.unlink()


def half_copy(folder: Path, digits: str, age_s: float) -> Path:
    path = folder / f".edgecrack-{digits}.mcap"
    path.write_bytes(MAGIC + bytes(100))
    moment_s = time.time() - age_s
    os.utime(path, (moment_s, moment_s))
    return path


def test_a_new_recording_removes_what_a_killed_recovery_left(tmp_path: Path) -> None:
    abandoned = [half_copy(tmp_path, digits, 7200) for digits in ("0123456789ab", "ffffffffffff")]
    kept = [
        half_copy(tmp_path, "111111111111", 10),  # may be in progress, where nothing can be locked
        half_copy(tmp_path, "222222222222", 7200),  # in progress: locked below
        half_copy(tmp_path, "robot", 7200),
        written(tmp_path, b"", ".edgecrack-0123456789ab.png"),
        tmp_path / ".edgecrack-333333333333.mcap",
    ]
    (tmp_path / "diary").write_text("precious")
    kept[-1].symlink_to(tmp_path / "diary")
    heard = Heard()
    with kept[1].open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with recording(tmp_path, heard):
            wait_until(lambda: len(heard.of("recording.cleaned")) == 2, "the removal")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "diary"])
    said = [event.data for event in heard.of("recording.cleaned")]
    assert said == [{"file": str(path), "bytes": 108} for path in abandoned]


def test_a_copy_in_progress_is_locked_until_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, foreign()[:-40])
    locked: list[bool] = []
    real = Path.replace

    def replace(partial: Path, target: Path) -> Path:
        with partial.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked.append(False)
            except BlockingIOError:
                locked.append(True)
        return real(partial, target)

    monkeypatch.setattr(Path, "replace", replace)
    recover(path)
    assert locked == [True]
    with (tmp_path / "run_recovered.mcap").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # and no longer


def test_a_recovery_that_fails_of_any_error_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = ours(tmp_path, finish=False)

    def fail(path: Path, target: Path) -> None:
        raise MemoryError

    monkeypatch.setattr("edgecrack.runtime.recording.disk.finish_leftover", fail)
    heard = Heard()
    with recording(tmp_path, heard):
        wait_until(lambda: "recording.unrecoverable" in heard.kinds(), "the failure")
    assert left.exists()


BOMB_BYTES = 400_000_000


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_chunk_that_unpacks_to_more_than_it_says_takes_no_memory(
    tmp_path: Path, compression: str
) -> None:
    """A few kB that would fill a robot's memory; the other chunks are kept."""
    data = foreign()
    stored = {"lz4": lz4.compress, "zstd": zstandard.compress}[compression](bytes(BOMB_BYTES))
    head = struct.pack("<QQQII", 1, 2, 1000, 7, len(compression)) + compression.encode()
    body = head + struct.pack("<Q", len(stored)) + stored
    _, end = chunk_spans(data)[0]
    bomb = struct.pack("<BQ", 6, len(body)) + body
    path = written(tmp_path, data[:end] + bomb + data[end:])
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from edgecrack.mcap.parts.recovery import recover\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = peak()\n"
        "report = recover(Path(sys.argv[1]))\n"
        "print(report.messages, report.bytes_lost, peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    messages, bytes_lost, taken = map(int, done.stdout.split())
    assert (messages, bytes_lost) == (12, len(bomb))
    assert taken < BOMB_BYTES / 4


def test_a_new_recording_recovers_the_leftovers_of_its_name(tmp_path: Path) -> None:
    ours(tmp_path)
    ours(tmp_path, finish=False)  # 2
    not_mcap = written(tmp_path, b"a diary", "run_0003.mcap.part")
    empty = written(tmp_path, MAGIC[:3], "run_0004.mcap.part")
    other = written(tmp_path, ours(tmp_path, finish=False).read_bytes(), "walk_0001.mcap.part")
    heard = Heard()
    recorder = McapRecorder(
        RecordingConfig(tmp_path / "run.mcap", reserve_bytes=0),
        events=heard.log,
        stats=None,
        about={},
    )
    for index in range(3):
        recorder.write(result(index))
    recorder.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "run_0001.mcap",
        "run_0002.mcap",
        "run_0003.mcap.part",
        "run_0004.mcap.damaged",
        "run_0005.mcap",
        "run_0006.mcap",
        "walk_0001.mcap.part",
    ]
    assert len(heard.of("recording.recovered")) == 2
    assert len(heard.of("recording.unrecoverable")) == 2
    assert not_mcap.read_bytes() == b"a diary"
    assert not empty.exists()
    assert other.exists()
    assert len(frame_times(tmp_path / "run_0006.mcap")) == 3


# --- every byte ---


def content_of(path: Path) -> tuple[Messages, dict[str, dict[str, str]], list[Any]]:
    """All that a reader can take from a recording: messages, metadata, definitions."""
    with path.open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        assert summary is not None
        notes = {one.name: one.metadata for one in reader.iter_metadata()}
        return read_with_mcap(path), notes, [summary.schemas, summary.channels]


def flips(data: bytes, every: int) -> Iterator[bytes]:
    """Copies with one bit flipped, in each record's first bytes and in every so many-th byte."""
    heads = {place + step for place in record_places(data) for step in range(0, 20, 3)}
    for place in sorted({*heads, *range(0, len(data), every)} & set(range(len(data)))):
        yield data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]


def record_places(data: bytes) -> list[int]:
    places, place = [], len(MAGIC)
    while place + 9 <= len(data) - len(MAGIC):
        places.append(place)
        place += 9 + int.from_bytes(data[place + 1 : place + 9], "little")
    return places


def test_no_flipped_bit_of_a_finished_recording_passes_in_silence(tmp_path: Path) -> None:
    path = ours(tmp_path)
    whole = path.read_bytes()
    told = recover(path)
    assert (told.was_whole, told.damage, told.unprotected) == (True, (), ())
    for number, data in enumerate(flips(whole, every=29)):
        damaged = written(tmp_path, data, "damaged.mcap")
        out = tmp_path / f"out{number}.mcap"
        try:
            report = recover(damaged, out)
        except SourceError:
            continue  # no MCAP file any more
        assert not report.was_whole
        out.unlink()


def test_a_threshold_that_was_changed_is_noticed_and_not_handed_on(tmp_path: Path) -> None:
    part = PartWriter(PartNames(tmp_path / "run.mcap"), {"threshold": "0.83"})
    part.add(DISTANCE_TOPIC, 1000, struct.pack("<Id", 256, 1))
    part.write_out()
    unfinished = Path(part.path).read_bytes()
    finished = Path(part.finish()).read_bytes()
    for name, data in (("a.mcap", finished), ("b.mcap.part", unfinished)):
        damaged = written(tmp_path, data.replace(b"0.83", b"0.13"), name)
        report = recover(damaged)
        assert report.out is not None
        assert not report.was_whole
        assert any("metadata edgecrack" in one for one in report.damage)
        with report.out.open("rb") as file:
            notes = {one.name: one.metadata for one in make_reader(file).iter_metadata()}
        assert "edgecrack" not in notes
        assert notes["edgecrack_damaged"]["threshold"] == "0.13"
        assert "metadata" in notes["edgecrack_recovery"]["damage"]


def test_no_flipped_bit_of_a_killed_recording_changes_what_is_read_in_silence(
    tmp_path: Path,
) -> None:
    """Without an end there is no checksum of it all, but of metadata, definitions and chunks."""
    path = ours(tmp_path, finish=False)
    data = path.read_bytes()
    finish_leftover(path, tmp_path / "whole.mcap")
    expected = content_of(tmp_path / "whole.mcap")
    for number, flipped in enumerate(flips(data, every=31)):
        part = written(tmp_path, flipped, f"run_{number}.mcap.part")
        out = tmp_path / f"run_{number}.mcap"
        try:
            report = recover(part, out)
        except SourceError:
            continue
        if not (report.damage or report.bytes_lost):
            assert content_of(out) == expected or "metadata record" in str(report.unprotected)
        if not report.bytes_lost and not re.search("metadata|kind", str(report.damage)):
            # Schemas, channels, times and indexes are known, and so made as they were.
            messages, _, definitions = content_of(out)
            assert (messages, definitions) == (expected[0], expected[2])
        part.unlink()
        out.unlink()


def test_what_others_leave_without_a_checksum_is_said(tmp_path: Path) -> None:
    with_checksums = written(tmp_path, foreign(), "with.mcap")
    assert recover(with_checksums).unprotected == ("1 metadata record",)
    without = recover(written(tmp_path, foreign(crcs=False), "without.mcap"))
    assert without.was_whole
    assert without.unprotected == ("the index", "1 metadata record", "5 chunks")


def test_a_foreign_definition_that_differs_from_the_index_is_noticed(tmp_path: Path) -> None:
    data = foreign(use_chunking=False)
    place = data.index(b"float64 data")
    damaged = data[:place] + b"float32" + data[place + 7 :]
    report = recover(written(tmp_path, damaged))
    assert not report.was_whole
    assert report.damage == ("the schema 'std_msgs/msg/Float64' differs from what is known of it",)
    assert report.out is not None
    assert content_of(report.out)[2] == content_of(written(tmp_path, data, "whole.mcap"))[2]


def test_the_command_says_what_is_damaged_and_what_nobody_can_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ours(tmp_path).read_bytes()
    damaged = written(tmp_path, whole.replace(b"bright", b"blight"), "damaged.mcap")
    bare = written(tmp_path, foreign(crcs=False), "bare.mcap")
    recover_command([damaged, bare])
    said = capsys.readouterr().out.splitlines()
    assert "damaged: header or metadata edgecrack differ from their checksum; repaired:" in said[0]
    assert "complete, 12 messages; no checksum would reveal damage in: the index" in said[1]
