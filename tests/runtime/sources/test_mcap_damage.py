"""Recordings cut at any byte, and with any byte changed: frames or a sentence, nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType

from edgecrack.errors import SourceError
from edgecrack.mcap.message_types import IMAGE_TOPIC
from edgecrack.mcap.parts.part_names import PartNames
from edgecrack.mcap.parts.writer import PartWriter
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.position.replay import recorded_positions
from edgecrack.runtime.recording.messages import compressed_image
from edgecrack.runtime.sources.mcap_recording import open_recording
from edgecrack.runtime.sources.options import SourceOptions
from tests.runtime.sources import bags
from tests.runtime.sources.bags import PERIOD_NS, START_NS, images, jpeg_of, picture

FRAMES = 3
HW = (8, 8)


def small(compression: CompressionType, **more: Any) -> bytes:
    """Three tiny images and poses, an image and a pose to a chunk."""
    kind = "sensor_msgs/msg/CompressedImage"
    entries = []
    for index in range(FRAMES):
        time_ns = START_NS + index * PERIOD_NS
        message = bags.compressed(jpeg_of(picture(index, HW)), time_ns)
        entries.append(("/a", time_ns, kind, bags.cdr_of(message)))
        pose = bags.odometry((index, 0, 0), time_ns=time_ns)
        entries.append(("/odom", time_ns, "nav_msgs/msg/Odometry", bags.cdr_of(pose)))
    return bags.mcap_of(entries, compression=compression, chunk_size=1_200, **more)


CASES = {
    "chunks": small(CompressionType.NONE),
    "lz4": small(CompressionType.LZ4),
    "zstd": small(CompressionType.ZSTD),
    "no chunks": small(CompressionType.NONE, use_chunking=False),
    "no checksums": small(CompressionType.NONE, enable_crcs=False),
}
EXPECTED = [jpeg_of(picture(index, HW)) for index in range(FRAMES)]


def replay(path: Path) -> tuple[list[Frame], int, bool]:
    """Frames, count of damaged ones, and whether the file is cut; none for a refusal."""
    try:
        with open_recording(path, SourceOptions(topic="/a")) as source:
            frames = []
            while (frame := source.read()) is not None:
                frames.append(frame)
            return frames, source.corrupt_frames, source.is_cut_short
    except SourceError:
        return [], 0, True


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage") / "run.mcap"


@pytest.mark.parametrize("case", CASES)
def test_cut_at_any_byte_the_whole_part_is_replayed(case: str, file: Path) -> None:
    whole = CASES[case]
    counts = []
    every = 1 if case in ("chunks", "no chunks") else 7
    file.write_bytes(whole)
    for missing in range(0, len(whole) + 1, every):
        os.truncate(file, len(whole) - missing)
        frames, damaged, is_cut = replay(file)
        assert [frame.jpeg for frame in frames] == EXPECTED[: len(frames)]
        assert damaged == 0
        assert is_cut or len(frames) == FRAMES
        counts.append(len(frames))
    assert counts == sorted(counts, reverse=True)  # a longer part never gives fewer
    assert set(counts) == set(range(FRAMES + 1))


@pytest.mark.parametrize("case", CASES)
def test_positions_of_a_cut_recording_are_read_or_refused(case: str, file: Path) -> None:
    whole = CASES[case]
    for length in range(0, len(whole), 41):
        file.write_bytes(whole[:length])
        try:
            positions = recorded_positions(file)
        except SourceError:
            continue
        found = positions.locate(START_NS)
        assert found is not None
        assert found.xyz_m == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("case", ["chunks", "lz4", "zstd"])
@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
@settings(max_examples=150)
def test_one_changed_byte_never_changes_a_picture_in_silence(
    case: str, place: int, flip: int, file: Path
) -> None:
    data = bytearray(CASES[case])
    data[place % len(data)] ^= flip
    file.write_bytes(data)
    frames, _, _ = replay(file)
    for frame in frames:
        assert frame.jpeg in EXPECTED


@pytest.mark.parametrize("case", CASES)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=12)), max_size=6),
    st.integers(0, 200),
)
@settings(max_examples=100)
def test_noise_anywhere_gives_frames_or_a_sentence(
    case: str, file: Path, noise: list[tuple[int, bytes]], cut: int
) -> None:
    data = bytearray(CASES[case])
    for place, content in noise:
        start = place % len(data)
        data[start : start + len(content)] = content
    file.write_bytes(data[: len(data) - cut])
    for frame in replay(file)[0]:
        assert frame.image.dtype == np.uint8


@pytest.mark.parametrize("case", ["chunks", "lz4", "zstd"])
def test_a_damaged_chunk_costs_that_chunk_and_is_counted(case: str, file: Path) -> None:
    data = bytearray(CASES[case])
    second = [place for place in range(len(data)) if is_chunk(data, place)][1]
    data[second + 120] ^= 0xFF
    file.write_bytes(data)
    frames, damaged, is_cut = replay(file)
    assert [frame.jpeg for frame in frames] == [EXPECTED[0], *EXPECTED[2:]]
    assert damaged == 1
    assert not is_cut


def is_chunk(data: bytes | bytearray, place: int) -> bool:
    """Whether a chunk with times of these tests begins at a place."""
    first_ns = int.from_bytes(data[place + 9 : place + 17], "little")
    return data[place] == 0x06 and first_ns // 10**12 == START_NS // 10**12


def test_what_a_power_cut_leaves_is_read_up_to_the_zeros(file: Path) -> None:
    whole = CASES["chunks"]
    second = [place for place in range(len(whole)) if is_chunk(whole, place)][1]
    for length, damaged in ((second, 0), (second + 200, 1)):  # 1: that which was being written
        file.write_bytes(whole[:length] + bytes(5_000))
        frames, counted, is_cut = replay(file)
        assert [frame.jpeg for frame in frames] == EXPECTED[:1]
        assert (counted, is_cut) == (damaged, True)


def test_a_length_beyond_all_memory_is_not_believed(file: Path) -> None:
    whole = bytearray(CASES["zstd"])
    place = next(p for p in range(len(whole)) if is_chunk(whole, p))
    whole[place + 25 : place + 33] = (2**62).to_bytes(8, "little")  # the unpacked size
    file.write_bytes(whole)
    frames, damaged, _ = replay(file)
    assert [frame.jpeg for frame in frames] == EXPECTED[1:]
    assert damaged == 1


def test_a_killed_recorder_s_last_whole_chunk_counts_though_its_index_is_cut(file: Path) -> None:
    entries = images(2)
    packed = [(topic, time, kind, bags.cdr_of(message)) for topic, time, kind, message in entries]
    whole = bags.mcap_of(packed, chunk_size=10**9)
    place = next(p for p in range(len(whole)) if is_chunk(whole, p))
    end = place + 9 + int.from_bytes(whole[place + 1 : place + 9], "little")
    file.write_bytes(whole[: end + 5])
    with open_recording(file, SourceOptions()) as source:
        assert (source.frame_count, source.is_cut_short) == (2, True)
        assert source.read() is not None


def ours(folder: Path) -> Path:
    part = PartWriter(PartNames(folder / "run.mcap"), {"threshold": "0.83"})
    for index in range(FRAMES):
        image = jpeg_of(picture(index, HW))
        part.add(IMAGE_TOPIC, START_NS + index, compressed_image(START_NS + index, "jpeg", image))
        part.write_out()
    return Path(part.finish())


def replayed(path: Path, caplog: pytest.LogCaptureFixture) -> tuple[bool, str]:
    """Whether a replay knows of damage at its end, and what it has said."""
    caplog.clear()
    with open_recording(path, SourceOptions()) as source:
        while source.read() is not None:
            pass
        return source.status.is_cut_short, caplog.text


def test_damage_that_costs_no_frame_is_said_by_the_end_of_a_replay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = ours(tmp_path)
    assert replayed(path, caplog) == (False, "")
    path.write_bytes(path.read_bytes().replace(b"0.83", b"0.13"))
    is_damaged, said = replayed(path, caplog)
    assert is_damaged
    assert "its data differs from its checksum" in said
    assert f"edgecrack recover {path}" in said


def test_a_killed_recording_with_a_wrong_channel_is_said_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = ours(tmp_path)
    data = path.read_bytes()
    data = data[: data.rindex(b"\x0f\x04" + bytes(7))]  # up to the end of its data
    path.write_bytes(data.replace(b"/edgecrack/pose", b"/edgecrack/nose"))
    is_damaged, said = replayed(path, caplog)
    assert is_damaged
    assert "its channel '/edgecrack/nose' is none that edgecrack records" in said


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("chunks", ""),
        ("no checksums", "its index and its chunks"),
        ("no chunks", "its messages outside of chunks"),
    ],
)
def test_what_no_checksum_confirms_is_said(
    case: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.mcap"
    path.write_bytes(CASES[case])
    with open_recording(path, SourceOptions(topic="/a")):
        assert (f"has no checksum for {said}:" in caplog.text) == bool(said)
        assert ("checksum" in caplog.text) == bool(said)
