"""Bags whose messages, or the whole of which, `ros2 bag record` compressed: as the plain ones."""

from __future__ import annotations

import errno
import io
import logging
import os
import tempfile
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lz4.frame as lz4
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType
from numpy.typing import NDArray
from rosbags.rosbag2.enums import CompressionMode

from edgecrack.errors import SourceError
from edgecrack.mcap import bag_compression
from edgecrack.mcap.bag_compression import open_unpacked, unpack_message
from edgecrack.mcap.format import DamagedRecordError
from edgecrack.mcap.parts.recovery import recover
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.mcap_recording import open_recording
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from tests.runtime.sources import bags
from tests.runtime.sources.bags import PERIOD_NS, START_NS, images, jpeg_of, picture

JPEG = "sensor_msgs/msg/CompressedImage"
RAW = "sensor_msgs/msg/Image"
BLOCK_BYTES = 128 * 2**10
MIB = 2**20

zstd = zstandard.ZstdCompressor().compress


def zstd_stream(data: bytes) -> bytes:
    """As rosbag2 writes a file, piece by piece, so that its size is not told; in small blocks."""
    stream = zstandard.ZstdCompressor().compressobj()
    packed = b""
    for start in range(0, len(data), 500):
        packed += stream.compress(data[start : start + 500])
        packed += stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return packed + stream.flush()


def zstd_frames(data: bytes) -> bytes:
    """As programs that use several threads write it."""
    return zstd(data[:2000]) + zstd(data[2000:])


def lz4_stream(data: bytes) -> bytes:
    """In small blocks."""
    stream = lz4.LZ4FrameCompressor(auto_flush=True)
    packed = stream.begin()
    for start in range(0, len(data), 500):
        packed += stream.compress(data[start : start + 500])
    return bytes(packed + stream.flush())


def zstd_claiming(size: int) -> bytes:
    """A frame of a few bytes that says it holds so many."""
    return zstd_blocks(size, [b"\0" * 10])


def zstd_bomb(start: bytes, size: int) -> bytes:
    """A frame of `size` bytes: some bytes, and zeros behind them."""
    zeros = -(-(size - len(start)) // BLOCK_BYTES)
    return zstd_blocks(len(start) + zeros * BLOCK_BYTES, [start], zeros)


def zstd_blocks(claimed: int, plain: list[bytes], zeros: int = 0) -> bytes:
    """A frame out of blocks that are stored as they are, and blocks of nothing but zeros."""
    blocks = [(len(data) << 3, data) for data in plain]
    blocks += [(BLOCK_BYTES << 3 | 1 << 1, b"\0")] * zeros
    last = len(blocks) - 1
    # Eight bytes for the size, and a window of 128 KiB.
    head = bag_compression._ZSTD_MAGIC + b"\xc0\x38" + claimed.to_bytes(8, "little")
    return head + b"".join(
        (code | (index == last)).to_bytes(3, "little") + data
        for index, (code, data) in enumerate(blocks)
    )


def read_all(path: Path, topic: str | None = None) -> tuple[list[Frame], int, bool]:
    """Frames, count of damaged ones, and whether the file is cut."""
    with open_recording(path, SourceOptions(topic=topic)) as source:
        frames = []
        while (frame := source.read()) is not None:
            frames.append(frame)
        return frames, source.corrupt_frames, source.is_cut_short


def assert_same(found: list[Frame], expected: list[Frame]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.image, other.image)
        assert one.jpeg == other.jpeg
        assert (one.index, one.name, one.capture_time_ns, one.media_time_ms) == (
            other.index,
            other.name,
            other.capture_time_ns,
            other.media_time_ms,
        )


def packed_messages(*content: bytes) -> list[tuple[str, int, str, bytes]]:
    """Messages on /camera, 40 ms apart."""
    return [
        ("/camera", START_NS + index * PERIOD_NS, JPEG, data) for index, data in enumerate(content)
    ]


def image_message(index: int) -> bytes:
    time_ns = START_NS + index * PERIOD_NS
    return bags.cdr_of(bags.compressed(jpeg_of(picture(index)), time_ns))


@pytest.fixture(autouse=True)
def no_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)


# --- both ways of compression ---


@pytest.mark.parametrize("mode", [CompressionMode.MESSAGE, CompressionMode.FILE])
def test_the_frames_are_those_of_the_plain_bag(tmp_path: Path, mode: CompressionMode) -> None:
    pixels = (picture(2)[..., 0].astype(np.uint16) << 2).tobytes()
    raw = ("/raw", START_NS, RAW, bags.raw(pixels, (48, 64), "mono16", 128, time_ns=7))
    entries = [*images(6), raw]
    plain = bags.write_bag(tmp_path / "plain", entries)
    packed = bags.write_bag(tmp_path / "packed", entries, mode)
    for topic in ("/camera/image/compressed", "/raw"):
        frames, damaged, is_cut = read_all(packed, topic)
        assert (damaged, is_cut) == (0, False)
        assert_same(frames, read_all(plain, topic)[0])


@pytest.mark.parametrize("mode", list(CompressionMode))
def test_the_folder_of_a_bag_is_its_recording(tmp_path: Path, mode: CompressionMode) -> None:
    path = bags.write_bag(tmp_path, images(3), mode)
    with open_source(path.parent) as source:
        assert source.name == str(path)
        assert source.frame_count == 3


def test_a_message_that_is_not_packed_is_not_copied() -> None:
    data = memoryview(image_message(0))
    assert unpack_message(data) is data


# --- messages ---


@pytest.mark.parametrize(
    "damaged",
    [
        zstd(image_message(1))[:-5],
        zstd(image_message(1))[:3],
        zstd(image_message(1))[:4],
        zstd(image_message(1)) + b"more",
        zstd(image_message(1))[:8] + b"\xff" * 200,
        zstd(b""),
        zstd(b"garbage" * 50),
        zstd(zstd(image_message(1))),
        zstd_claiming(2**40),
        zstd_claiming(2**63),
        zstd_bomb(image_message(1), 2**30),
    ],
    ids=[
        "cut", "cut in its mark", "cut behind its mark", "longer", "overwritten", "empty",
        "garbage", "packed twice", "a tebibyte claimed", "8 exbibytes claimed", "a gibibyte",
    ],
)  # fmt: skip
def test_a_damaged_message_costs_one_frame(tmp_path: Path, damaged: bytes) -> None:
    content = [zstd(image_message(0)), damaged, zstd(image_message(2)), image_message(3)]
    path = tmp_path / "run.mcap"
    path.write_bytes(bags.mcap_of(packed_messages(*content)))
    tracemalloc.start()
    try:
        frames, counted, is_cut = read_all(path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [frame.jpeg for frame in frames] == [jpeg_of(picture(index)) for index in (0, 2, 3)]
    assert (counted, is_cut) == (1, False)
    assert peak_bytes < 8 * MIB


def test_a_recording_of_nothing_but_damaged_messages_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    path.write_bytes(bags.mcap_of(packed_messages(*[zstd(image_message(0))[:-5]] * 3)))
    with pytest.raises(SourceError, match=r"no whole image on /camera; 3 are damaged; give"):
        open_recording(path, SourceOptions())


def test_a_message_whose_size_is_not_told_is_unpacked_within_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = image_message(0)
    monkeypatch.setattr(bag_compression, "_LARGEST_MESSAGE_BYTES", len(message))
    assert unpack_message(memoryview(zstd_stream(message))) == message
    for pack in (zstd, zstd_stream):
        with pytest.raises(DamagedRecordError):
            unpack_message(memoryview(pack(message + b"\0")))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_damage(data: bytes) -> None:
    with suppress(DamagedRecordError):
        found = unpack_message(memoryview(bag_compression._ZSTD_MAGIC + data))
        assert isinstance(found, memoryview)


# --- whole files ---

WHOLE = bags.mcap_of(
    packed_messages(*map(image_message, range(6))), compression=CompressionType.NONE, chunk_size=1
)
INNER_ZSTD = bags.mcap_of(
    packed_messages(*map(image_message, range(6))), compression=CompressionType.ZSTD
)
EXPECTED = [jpeg_of(picture(index)) for index in range(6)]


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("run.mcap.zstd", zstd),
        ("run.mcap.zstd", zstd_stream),
        ("run.mcap.zst", zstd_frames),
        ("RUN.MCAP.ZSTD", zstd),
        ("run.mcap.lz4", lz4.compress),
        ("run.mcap", zstd),
    ],
)
@pytest.mark.parametrize("content", [WHOLE, INNER_ZSTD], ids=["plain", "zstd inside"])
def test_a_packed_file_is_read(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes], content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(pack(content))
    with open_source(path, SourceOptions(topic="/camera")) as source:
        assert (source.name, source.frame_count) == (str(path), 6)
        assert source.frame_rate_hz == pytest.approx(25.0)
        assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing beside it
        frames = [source.read() for _ in range(7)]
        assert source.corrupt_frames == 0
    assert [frame and frame.jpeg for frame in frames] == [*EXPECTED, None]


def test_a_packed_file_begins_again_with_loop(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap.zstd"
    path.write_bytes(zstd(WHOLE))
    with open_source(path, SourceOptions(loop=True)) as source:
        frames = [source.read() for _ in range(8)]
    assert [frame and frame.jpeg for frame in frames] == [*EXPECTED, *EXPECTED[:2]]


@pytest.mark.parametrize("pack", [zstd_stream, lz4_stream])
def test_cut_anywhere_the_whole_part_is_read(
    tmp_path: Path, pack: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    packed = pack(WHOLE)
    path = tmp_path / "run.mcap.zstd"
    counts = []
    for length in range(0, len(packed), 41):
        path.write_bytes(packed[:length])
        caplog.clear()
        try:
            with caplog.at_level(logging.WARNING, "edgecrack"):
                frames, damaged, is_cut = read_all(path)
        except SourceError:
            counts.append(0)
            continue
        assert [frame.jpeg for frame in frames] == EXPECTED[: len(frames)]
        assert damaged == 0
        # At the very end only the end of the index or of the compression is missing.
        assert is_cut or len(frames) == len(EXPECTED)
        assert [f"edgecrack recover {path}" in text for text in caplog.messages] == [True] * is_cut
        counts.append(len(frames))
    assert counts == sorted(counts)
    assert set(counts) == set(range(len(EXPECTED) + 1))


@pytest.mark.parametrize("pack", [zstd_stream, lz4_stream])
def test_behind_damage_nothing_is_read_and_that_is_said(
    tmp_path: Path, pack: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    content = bags.mcap_of(packed_messages(*map(image_message, range(40))), chunk_size=1)
    packed = bytearray(pack(content))
    middle = len(packed) // 2
    packed[middle : middle + 3000] = b"\xff" * 3000
    path = tmp_path / "run.mcap.zstd"
    path.write_bytes(packed)
    with caplog.at_level(logging.WARNING, "edgecrack"):
        frames, _, is_cut = read_all(path)
    assert is_cut
    # The library loses up to 8 KiB before the damage.
    assert 15 <= len(frames) <= 20
    assert [frame.jpeg for frame in frames] == [
        jpeg_of(picture(index)) for index in range(len(frames))
    ]
    assert [text.startswith(f"{path} is damaged") for text in caplog.messages] == [True, False]


@pytest.mark.parametrize("more", [b"\0" * 100, b"noise" * 50])
def test_what_stands_behind_a_packed_file_costs_no_frame(
    tmp_path: Path, more: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.mcap.zstd"
    path.write_bytes(zstd(WHOLE) + more)
    with caplog.at_level(logging.WARNING, "edgecrack"):
        frames, damaged, is_cut = read_all(path)
    assert [frame.jpeg for frame in frames] == EXPECTED
    assert (damaged, is_cut) == (0, False)
    assert [text.startswith(f"{path} is damaged") for text in caplog.messages] == [True]


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=12)), max_size=6),
    st.integers(0, 200),
    st.sampled_from([zstd, zstd_stream, lz4_stream]),
)
@settings(max_examples=150)
def test_noise_anywhere_gives_frames_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    noise: list[tuple[int, bytes]],
    cut: int,
    pack: Callable[[bytes], bytes],
) -> None:
    data = bytearray(pack(WHOLE))
    for place, content in noise:
        start = place % len(data)
        data[start : start + len(content)] = content
    path = tmp_path_factory.getbasetemp() / "noise.mcap.zstd"
    path.write_bytes(data[: len(data) - cut])
    try:
        frames = read_all(path)[0]
    except SourceError:
        return
    # Each chunk has a checksum.
    assert all(frame.jpeg in EXPECTED for frame in frames)


NO_RECORDINGS = {
    "zeros": (zstd(b"\0" * 1000), "is packed, but its content is not an MCAP recording"),
    "other magic": (zstd(b"\x89MCAP1" + b"\0" * 99), "its content is not an MCAP recording"),
    "zeros in lz4": (lz4.compress(b"\0" * 1000), "its content is not an MCAP recording"),
    "16 GiB of zeros": (zstd_bomb(b"", 2**34), "grows from 524305 bytes to more than 1024 MiB"),
    "nothing": (zstd(b""), "nothing of .* can be unpacked: it is cut short"),
    "cut behind its mark": (zstd(WHOLE)[:4], "nothing of .* can be unpacked: .*frame"),
    "cut in its first block": (zstd(WHOLE)[:20], "nothing of .* can be unpacked: it is cut short"),
    "damaged": (zstd(WHOLE)[:12] + b"\xff" * 99, "nothing of .* can be unpacked: .*; copy or"),
    "damaged lz4": (b"\x04\x22\x4d\x18" + b"\xff" * 99, "nothing of .* can be unpacked: LZ4"),
    "empty": (b"", "is empty"),
    "not packed": (b"\0" * 99, "is not an MCAP recording"),
}


@pytest.mark.parametrize(("content", "said"), NO_RECORDINGS.values(), ids=NO_RECORDINGS)
def test_what_is_no_packed_recording_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "run.mcap.zstd"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=said):
        open_source(path)
    with pytest.raises(SourceError):
        recover(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_takes_gigabytes_of_memory_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path = tmp_path / "run.mcap.zstd"
    path.write_bytes(stream.compress(WHOLE) + stream.flush())
    with pytest.raises(SourceError, match=r"1024 MiB of memory .* zstd -d --long=31"):
        open_source(path)


@pytest.mark.parametrize("tells", [True, False])
def test_a_file_that_grows_beyond_all_measure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    path = tmp_path / "run.mcap.zstd"
    frame = zstd_bomb(WHOLE, 64 * MIB)
    # Behind a first frame that is small, no size of the others is known.
    path.write_bytes(frame if tells else zstd(WHOLE[:100]) + zstd_bomb(WHOLE[100:], 64 * MIB))
    monkeypatch.setattr(bag_compression, "_LARGEST_RATIO", 1000)
    monkeypatch.setattr(bag_compression, "_ALWAYS_BYTES", 8 * MIB)
    with pytest.raises(SourceError, match=r"grows from \d+ bytes to more than \d+ MiB when it is"):
        open_source(path)
    monkeypatch.undo()
    with open_source(path) as source:  # as long as that is little
        assert source.frame_count == 6


# --- room ---


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The folder of a packed file, the system's for temporary files, and another."""
    found = {name: tmp_path / name for name in ("beside", "system", "named")}
    for folder in found.values():
        folder.mkdir()
    (found["beside"] / "run.mcap.zstd").write_bytes(zstd(WHOLE))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(found["system"]))
    return found


@pytest.fixture
def unpacked_in(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Hears of the folders in which temporary files are made."""
    made: list[Path] = []
    make = tempfile.TemporaryFile

    def heard(*, dir: Path) -> Any:
        made.append(dir)
        return make(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", heard)
    return made


@pytest.mark.parametrize(
    ("full", "named", "expected"),
    [
        ([], False, "beside"),
        (["beside"], False, "system"),
        ([], True, "named"),
        (["beside", "system"], True, "named"),
        (["beside", "system"], False, None),
        (["named"], True, None),
    ],
)
def test_it_is_unpacked_where_there_is_room(
    places: dict[str, Path],
    unpacked_in: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    full: list[str],
    named: bool,
    expected: str | None,
) -> None:
    if named:
        monkeypatch.setenv("TMPDIR", str(places["named"]))
    too_little = len(WHOLE) + bag_compression._RESERVE_BYTES - 1
    monkeypatch.setattr(
        bag_compression,
        "_free_bytes",
        lambda folder: too_little if folder.name in full else 2**40,
    )
    path = places["beside"] / "run.mcap.zstd"
    if expected is None:
        with pytest.raises(SourceError, match=r"has no room for it.*name a folder .* in TMPDIR"):
            open_source(path)
        assert unpacked_in == []
        return
    with open_source(path):
        assert unpacked_in == [places[expected]]
        assert list(places[expected].glob("[!r]*")) == []  # it has no name


def test_a_folder_that_may_not_be_written_to_is_passed_over(
    places: dict[str, Path], unpacked_in: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda folder, _: folder != places["beside"])
    open_unpacked(places["beside"] / "run.mcap.zstd").close()
    assert unpacked_in == [places["system"]]


def test_a_folder_in_tmpdir_that_does_not_exist_is_named(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(places["named"] / "gone"))
    with pytest.raises(SourceError, match=r"named/gone has no room for it or is not writable"):
        open_source(places["beside"] / "run.mcap.zstd")


def test_room_that_runs_out_while_it_is_unpacked_ends_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.mcap.zstd"
    path.write_bytes(zstd(WHOLE[:100]) + zstd_bomb(WHOLE[100:], 64 * MIB))
    reserve = bag_compression._RESERVE_BYTES
    free = iter([reserve + MIB, reserve + 1, reserve - 1])  # asked for anew every 16 MiB
    monkeypatch.setattr(bag_compression, "_free_bytes", lambda _: next(free))
    with pytest.raises(SourceError, match="has no room for it"):
        open_source(path)
    assert list(free) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG])
def test_a_disk_that_is_full_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    class FullFile(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(code, os.strerror(code))

    file = FullFile()
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *, dir: file)
    path = tmp_path / "run.mcap.zstd"
    path.write_bytes(zstd(WHOLE))
    with pytest.raises(SourceError, match="has no room for it"):
        open_source(path)
    assert file.closed


# --- recover ---


def test_a_packed_recording_that_is_whole_needs_no_recovery(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap.zstd"
    path.write_bytes(zstd(WHOLE))
    report = recover(path)
    assert (report.was_whole, report.messages, report.out) == (True, 6, path)
    assert list(tmp_path.iterdir()) == [path]


def test_of_a_packed_recording_that_is_cut_a_whole_one_is_made(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap.zstd"
    packed = zstd_stream(WHOLE)
    path.write_bytes(packed[: len(packed) * 2 // 3])
    frames, _, is_cut = read_all(path)
    assert is_cut
    report = recover(path)
    assert report.out == tmp_path / "run_recovered.mcap"
    assert 0 < report.messages == len(frames) < 6
    again, damaged, is_cut = read_all(report.out)
    assert_same(again, frames)
    assert (damaged, is_cut) == (0, False)


# --- recordings of others ---


@pytest.fixture
def field_case(data_folder: Path) -> Path:
    folder = data_folder / "field_cases" / "12-mcap"
    if not folder.is_dir():
        pytest.skip(f"{data_folder} holds no field_cases/12-mcap")
    return folder


@pytest.fixture
def wall(field_case: Path) -> NDArray[np.uint8]:
    (frame,), _, _ = read_all(field_case / "mono8.mcap")
    assert np.ptp(frame.image) > 100  # it shows something
    return frame.image


@pytest.mark.parametrize(
    ("name", "count"), [("msgzstd_jpg.mcap", 3), ("run.mcap.zstd", 3), ("mono16_10bit.mcap", 1)]
)
def test_each_shows_the_wall_of_the_plain_recording(
    field_case: Path, wall: NDArray[np.uint8], name: str, count: int
) -> None:
    frames, damaged, is_cut = read_all(field_case / name)
    assert (len(frames), damaged, is_cut) == (count, 0, False)
    for frame in frames:
        assert np.array_equal(frame.image, wall)
