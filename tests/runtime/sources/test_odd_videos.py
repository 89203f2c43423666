"""Videos that are sound though FFmpeg complains, and damaged ones of which it hardly tells."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from pathlib import Path

import av.logging
import cv2
import numpy as np
import pytest

from edgecrack.errors import SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.open import open_source
from tests.runtime.fakes import picture
from tests.runtime.ffmpeg_program import decoded_bgr, ffmpeg, make_video, probe, require_ffmpeg

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "12")


def read_all(source: Source) -> list[Frame]:
    frames = []
    while (taken := source.read()) is not None:
        frames.append(taken)
    return frames


def times_ms(frames: list[Frame]) -> list[float]:
    return [taken.media_time_ms for taken in frames if taken.media_time_ms is not None]


def assert_all_sound(path: Path, count: int) -> list[Frame]:
    with open_source(path) as source:
        frames = read_all(source)
        assert (len(frames), source.corrupt_frames) == (count, 0)
        assert not source.status.is_cut_short
    return frames


def worst_difference(frames: list[Frame], sound: dict[int, Frame]) -> float:
    """Largest share of pixels that differ clearly from the sound video at the same time."""
    worst = 0.0
    for taken in frames:
        other = sound[round(taken.media_time_ms or 0)]
        differs = np.abs(taken.image.astype(int) - other.image).max(axis=2) > 24
        worst = max(worst, float(differs.mean()))
    return worst


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_picture_that_never_came_is_missed_by_its_number(suffix: str, tmp_path: Path) -> None:
    """As when a camera drops one from its buffer: every byte that is there is right."""
    require_ffmpeg("libx264")
    whole = make_video(tmp_path / f"whole.{suffix}", *H264, "-bf", "0", seconds=2)
    path = tmp_path / f"lacks.{suffix}"
    ffmpeg("-i", whole, "-c", "copy", "-bsf:v", "noise=drop=eq(n\\,16)", path)
    with open_source(whole) as source:
        sound = {round(taken.media_time_ms or 0): taken for taken in read_all(source)}
    with open_source(path) as source:
        frames = read_all(source)
        assert source.corrupt_frames == 24 - 17  # all up to the next key frame
    assert worst_difference(frames, sound) < 0.001


def test_streams_of_layers_leave_pictures_out_by_design(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    whole = make_video(tmp_path / "whole.mkv", *H264, "-bf", "0", "-refs", "1", seconds=2)
    path = tmp_path / "layers.mkv"
    ffmpeg("-i", whole, "-c", "copy", "-bsf:v", "noise=drop=eq(mod(n\\,3)\\,2)", path)
    with open_source(path) as source:
        frames = read_all(source)
    assert len(frames) > 24  # of 34: only the first gaps count


HOSTS: list[Callable[[], None]] = [
    lambda: av.logging.set_level(None),
    lambda: av.logging.set_level(av.logging.FATAL),
    lambda: av.logging.set_skip_repeated(True),
    av.logging.restore_default_callback,
]


@pytest.mark.parametrize("host", HOSTS, ids=["none", "fatal", "repeated", "default"])
def test_damage_is_heard_whatever_the_host_program_does_with_messages(
    host: Callable[[], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    require_ffmpeg("mpeg4")
    path = make_video(tmp_path / "a.mp4", "-c:v", "mpeg4", "-q:v", "4", "-g", "10", seconds=3)
    listed = probe(path, "-show_entries", "packet=pos,size")["packets"]
    data = bytearray(path.read_bytes())
    packet = listed[len(listed) // 2 + 2]
    place, size = int(packet["pos"]), int(packet["size"])
    data[place + 8 : place + size] = random.Random(1).randbytes(size - 8)
    path.write_bytes(data)
    host()
    with open_source(path) as source:
        read_all(source)
        assert source.corrupt_frames > 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("frames_between", ["0", "2"])
@pytest.mark.parametrize("name", ["a.avi", "a.asf"])
def test_times_are_those_of_display_where_a_container_has_only_those_of_decoding(
    name: str, frames_between: str, tmp_path: Path
) -> None:
    require_ffmpeg("libx264")
    path = make_video(tmp_path / name, *H264, "-bf", frames_between, seconds=1)
    frames = assert_all_sound(path, 25)
    steps = np.diff(times_ms(frames))
    assert steps == pytest.approx(np.full(24, 40.0), abs=1.1)


def _with_odd_exif(jpeg: bytes) -> bytes:
    return (
        jpeg[:2] + b"\xff\xe1\x00\x10Exif\0\0II*\0\xff\xff" + b"\xff\xe2\x00\x06ab\0\0" + jpeg[2:]
    )


def test_what_is_wrong_beside_a_picture_is_no_damage_to_it(tmp_path: Path) -> None:
    jpegs = [cv2.imencode(".jpg", picture(index))[1].tobytes() for index in range(8)]
    path = tmp_path / "camera.mjpeg"
    path.write_bytes(b"".join(map(_with_odd_exif, jpegs)))
    frames = assert_all_sound(path, 8)
    assert np.abs(frames[3].image.astype(int) - picture(3)).mean() < 8


@pytest.mark.parametrize("matrix", ["8", "10", "14"])
def test_a_colour_matrix_that_cannot_be_converted_by_is_no_obstacle(
    matrix: str, tmp_path: Path
) -> None:
    require_ffmpeg("libx264")
    plain = make_video(tmp_path / "plain.mp4", *H264, seconds=0.4)
    path = tmp_path / "odd.mp4"
    ffmpeg("-i", plain, "-c", "copy", "-bsf:v", f"h264_metadata=matrix_coefficients={matrix}", path)
    frames = assert_all_sound(path, 10)
    expected = decoded_bgr(plain)
    gray = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (frames[5].image, expected[5])]
    # What the colours mean nobody knows; what is dark and what is bright stays.
    assert np.corrcoef(gray[0].ravel(), gray[1].ravel())[0, 1] > 0.9


def test_an_edit_list_that_ends_early_is_no_cut(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    path = make_video(tmp_path / "trimmed.mp4", *H264, "-bf", "0", seconds=2)
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 12
    (duration,) = struct.unpack(">I", data[place : place + 4])
    data[place : place + 4] = struct.pack(">I", duration // 2)
    path.write_bytes(data)
    with open_source(path) as source:
        frames = read_all(source)
        assert not source.status.is_cut_short
    assert 24 <= len(frames) <= 50


def test_a_transport_stream_that_ends_within_a_packet_is_cut(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    path = make_video(tmp_path / "a.ts", *H264, seconds=1)
    whole = path.read_bytes()
    for lacks in (0, 100):
        path.write_bytes(whole[: len(whole) // 188 * 188 - lacks])
        with open_source(path) as source:
            read_all(source)
            assert bool(source.status.is_cut_short) == (lacks > 0)


def test_a_video_without_key_frames_begins_at_its_beginning(tmp_path: Path) -> None:
    require_ffmpeg("roqvideo")
    source = ("-f", "lavfi", "-i", "testsrc2=size=128x128:rate=30")
    path = make_video(tmp_path / "a.roq", "-c:v", "roqvideo", seconds=0.5, source=source)
    assert len(assert_all_sound(path, 15)) == 15


def test_a_turn_that_only_key_frames_tell_holds_for_those_between(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    flat = make_video(tmp_path / "flat.h264", *H264, "-bf", "0", seconds=1)
    path = tmp_path / "turned.h264"
    turn = "h264_metadata=display_orientation=insert:rotate=90"
    ffmpeg("-i", flat, "-c", "copy", "-bsf:v", turn, "-f", "h264", path)
    with open_source(path) as source:
        frames = read_all(source)
        assert source.status.size_changes == 0
    assert {taken.hw for taken in frames} == {(192, 144)}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.txt", b"hello\n" * 100, "text"),
        ("page.mp4", b"\n<!DOCTYPE html><title>x</title>" * 20, "web page"),
        ("empty.mkv", b"", "is empty"),
        ("raw.yuv", bytes(100_000), "raw pixels"),
    ],
)
def test_what_is_no_video_is_named(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=words):
        open_source(tmp_path / name)


@pytest.mark.parametrize(
    ("moment", "expected_ns"),
    [
        ("2026-03-01T10:00:00.5+0200", 1_772_352_000_500_000_000),
        ("2026-03-01 10:00:00+02:00", 1_772_352_000_000_000_000),
        ("2024-02-29T08:00:00.123456Z", 1_709_193_600_123_456_000),
        ("2999-01-01T00:00:00Z", None),
        ("yesterday", None),
    ],
)
def test_when_a_recording_began(moment: str, expected_ns: int | None, tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    tag = (
        "-movflags",
        "use_metadata_tags",
        "-metadata",
        f"com.apple.quicktime.creationdate={moment}",
    )
    path = make_video(tmp_path / "a.mov", *H264, *tag, seconds=0.2)
    with open_source(path) as source:
        taken = source.read()
    assert taken is not None
    assert taken.capture_time_ns == expected_ns


def test_an_animated_picture_is_not_read_as_its_first(tmp_path: Path) -> None:
    from PIL import Image

    pages = [Image.fromarray(picture(index)) for index in range(3)]
    for name in ("a.png", "a.webp", "a.gif", "a.avif"):
        file = io.BytesIO()
        pages[0].save(file, name[2:].upper(), save_all=True, append_images=pages[1:])
        (tmp_path / name).write_bytes(file.getvalue())
        with open_source(tmp_path / name) as source, pytest.raises(SourceError, match="animation"):
            source.read()
