"""Real files on disk through `open_source`."""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.errors import ConfigError, SourceError
from edgecrack.files import natural_key
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.folder import unique_names
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from tests.runtime.fakes import HW, Image, picture, write_video


def read_all(source: Source) -> list[Frame]:
    frames = []
    while (taken := source.read()) is not None:
        frames.append(taken)
    return frames


def noise(count: int, hw: tuple[int, int] = HW) -> list[Image]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (*hw, 3), dtype=np.uint8) for _ in range(count)]


def test_a_video_gives_all_frames_with_their_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wall.mp4", [picture(index) for index in range(12)], rate=20)
    started_ns = time.time_ns()
    with open_source(path) as source:
        assert (source.live, source.name) == (False, str(path))
        assert source.frame_count == 12
        assert source.frame_rate_hz == pytest.approx(20)
        frames = read_all(source)
        assert source.read() is None
    assert [taken.index for taken in frames] == list(range(12))
    assert [taken.name for taken in frames] == [f"{index:06d}" for index in range(12)]
    assert [taken.media_time_ms for taken in frames] == pytest.approx(
        [50.0 * index for index in range(12)]
    )
    assert all(taken.image.shape == (*HW, 3) for taken in frames)
    assert np.abs(frames[7].image.astype(int) - picture(7)).mean() < 8
    assert {taken.capture_time_ns for taken in frames} == {None}  # nobody knows when it was filmed
    times = [taken.read_time_ns for taken in frames]
    assert started_ns <= times[0]
    assert times == sorted(times)


def test_a_source_opens_again_after_close_and_close_is_idempotent(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wall.avi", noise(3), "MJPG")
    for _ in range(2):
        source = open_source(str(path))
        assert len(read_all(source)) == 3
        source.close()
        source.close()
        assert source.read() is None


def test_rotation_stored_in_a_video_is_applied(tmp_path: Path) -> None:
    path = write_video(tmp_path / "phone.mp4", [picture(5)] * 3)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    turn = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, HW[0] << 16, 0, 1 << 30)
    data[matrix : matrix + 36] = turn
    path.write_bytes(data)
    with open_source(path) as source:
        image = read_all(source)[0].image
    assert image.shape == (HW[1], HW[0], 3)
    assert np.abs(image.astype(int) - np.rot90(picture(5), -1)).mean() < 8


def test_damage_in_the_middle_loses_only_the_damaged_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wall.avi", noise(60), "MJPG")
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 3000] = random.Random(1).randbytes(3000)
    path.write_bytes(data)
    with open_source(path) as source:
        frames = read_all(source)
    assert source.frame_count == 60
    assert 40 < len(frames) < 60
    assert frames[-1].media_time_ms is not None
    assert [taken.index for taken in frames] == list(range(len(frames)))


def test_a_video_cut_short_ends_early_and_knows_how_many_it_should_have(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wall.avi", noise(40), "MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_source(path) as source:
        assert source.frame_count == 40
        assert 10 < len(read_all(source)) < 25


def open_file_count() -> int:
    """Files this process holds open; 0 where the system does not tell."""
    listing = Path("/proc/self/fd")
    return len(list(listing.iterdir())) if listing.exists() else 0


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _header_only(path: Path) -> None:
    """An AVI whose pictures are all noise: it opens, and nothing in it decodes."""
    data = bytearray(path.read_bytes())
    start = data.index(b"movi")
    data[start + 12 :] = random.Random(1).randbytes(len(data) - start - 12)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("cut.mp4", _cut),
        ("noise.avi", _header_only),
        ("text.mp4", lambda path: path.write_text("not a video\n" * 50)),
        ("empty.mp4", lambda path: path.write_bytes(b"")),
        ("no_suffix", lambda path: path.write_text("hello")),
    ],
)
def test_what_is_no_video_is_refused_by_name_and_in_silence(
    name: str,
    spoil: Callable[[Path], object],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    suffix = ".mp4" if name.endswith("mp4") else ".avi"
    path = write_video(
        tmp_path / f"good{suffix}", noise(20), "mp4v" if suffix == ".mp4" else "MJPG"
    )
    path = path.rename(tmp_path / name)
    spoil(path)
    open_handles = open_file_count()
    with pytest.raises(SourceError) as caught:
        open_source(path)
    assert name in caught.value.problem
    assert caught.value.remedy
    assert capfd.readouterr().err == ""
    assert open_file_count() <= open_handles


def test_a_folder_is_read_in_natural_order_by_stem(tmp_path: Path) -> None:
    for name in ("wall10.png", "wall2.jpg", "Wall1.BMP", "wall3.webp", "wall4.tiff"):
        cv2.imwrite(str(tmp_path / name.lower()), picture())
        (tmp_path / name.lower()).rename(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "._wall2.jpg").write_bytes(b"\0")
    (tmp_path / "sub.png").mkdir()
    with open_source(tmp_path) as source:
        assert (source.live, source.frame_count, source.frame_rate_hz) == (False, 5, None)
        frames = read_all(source)
    assert [taken.name for taken in frames] == ["Wall1", "wall2", "wall3", "wall4", "wall10"]
    assert [taken.index for taken in frames] == [0, 1, 2, 3, 4]
    assert all(taken.media_time_ms is None and taken.image.shape == (*HW, 3) for taken in frames)
    assert np.array_equal(frames[-1].image, picture())


def test_one_image_is_one_frame_gray_or_not(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), picture()[:, :, 0])
    with open_source(path) as source:
        (taken,) = read_all(source)
    assert taken.image.shape == (*HW, 3)
    assert taken.name == "one"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_an_image_cut_short_is_named_and_the_others_come(suffix: str, tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}{suffix}"), noise(1)[0])
    _cut(tmp_path / f"1{suffix}")
    with open_source(tmp_path) as source:
        frames = read_all(source)
        assert source.corrupt_frames == 1
        (spoiled,) = list(source.status.unreadable)
    assert [taken.name for taken in frames] == ["0", "2"]
    assert [taken.index for taken in frames] == [0, 1]
    assert spoiled.path == tmp_path / f"1{suffix}"
    assert spoiled.problem.startswith("is ")
    assert spoiled.remedy


def test_a_folder_of_nothing_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_bytes(b"\xff\xd8 no picture")
    with open_source(tmp_path) as source, pytest.raises(SourceError) as caught:
        source.read()
    assert f"{tmp_path / '0.jpg'} is damaged" in caught.value.problem
    assert "2 others" in caught.value.problem


def test_pictures_that_are_not_read_are_named_and_counted(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    for place in (folder / "good.png", elsewhere / "far.png"):
        cv2.imwrite(str(place), picture())
    (folder / "scan.pdf").write_bytes(b"%PDF-1.7")
    (folder / "raw.dng").write_bytes(b"II*\0")
    (folder / "far.png").symlink_to(elsewhere / "far.png")
    (folder / "near.png").symlink_to("good.png")
    (folder / "nothing.png").symlink_to("gone.png")
    (folder / "itself.png").symlink_to("itself.png")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "notes.txt").write_text("no picture")
    with open_source(folder) as source:
        names = [taken.name for taken in read_all(source)]
        refused = {one.path.name: one.problem for one in source.status.unreadable}
    assert names == ["good", "near"]
    assert set(refused) == {
        "far.png", "itself.png", "nothing.png", "pipe.jpg", "raw.dng", "scan.pdf",
    }  # fmt: skip
    assert "out of the folder" in refused["far.png"]
    assert "pipe" in refused["pipe.jpg"]


@pytest.mark.parametrize("tail", [b"\xff\xda and more", b"\xff\xd9\xff\xda", b"\0" * 9])
@pytest.mark.parametrize("head", [b"", b"\xff\xe1\0\x0a\xff\xd8\xff\xda\xff\xd9\0\0", b"\xff"])
def test_a_photo_with_a_thumbnail_and_a_film_behind_it_is_whole(
    head: bytes, tail: bytes, tmp_path: Path
) -> None:
    data = cv2.imencode(".jpg", noise(1)[0])[1].tobytes()
    (tmp_path / "whole.jpg").write_bytes(data[:2] + head + data[2:] + tail)
    (tmp_path / "cut.jpg").write_bytes(data[:2] + head + data[2 : len(data) // 2])
    with open_source(tmp_path / "whole.jpg") as source:
        (taken,) = read_all(source)
    assert taken.image.shape == (*HW, 3)
    with open_source(tmp_path / "cut.jpg") as source, pytest.raises(SourceError, match="cut short"):
        source.read()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_only_looks_like_an_image_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with open_source(tmp_path) as source, pytest.raises(SourceError, match=r"bad\.png"):
        source.read()


def test_an_image_that_vanishes_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    with open_source(tmp_path) as source:
        (tmp_path / "a.png").unlink()
        with pytest.raises(SourceError, match=r"a\.png"):
            source.read()


def test_a_pattern_means_the_images_that_fit_it(tmp_path: Path) -> None:
    for name in ("wall10.png", "wall2.png", "floor1.png", "deep/wall3.png", "wall4.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith(".png"):
            cv2.imwrite(str(tmp_path / name), picture())
        else:
            (tmp_path / name).write_text("x")
    (tmp_path / "wall5.pdf").write_bytes(b"%PDF-1.4")
    with open_source(tmp_path / "wall*") as source:
        assert [taken.name for taken in read_all(source)] == ["wall2", "wall10"]
        assert [one.path.name for one in source.status.unreadable] == ["wall5.pdf"]
    with open_source(tmp_path / "**" / "wall[0-9].png") as source:
        assert {taken.path for taken in read_all(source)} == {
            tmp_path / "wall2.png",
            tmp_path / "deep" / "wall3.png",
        }
    with pytest.raises(SourceError, match=r"no image fits the pattern .*bridge\*"):
        open_source(tmp_path / "bridge*")
    with pytest.raises(ConfigError, match="has no topics"):
        open_source(tmp_path / "wall*", SourceOptions(topic="/image"))


def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wall[1].png"), picture(3))
    with open_source(tmp_path / "wall[1].png") as source:
        assert [taken.name for taken in read_all(source)] == ["wall[1]"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(SourceError, match="holds no images"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("address", "problem", "remedy"),
    [
        ("", "empty", "give a video"),
        ("missing.mp4", "missing.mp4 does not exist", "give a video"),
        ("7", "7 does not exist", "camera:7"),
        ("x" * 5000, "x", "give a video"),
        (f"/tmp/{'x' * 256}/a.mp4", "File name too long", "give a video"),
        ("/dev/v4l/by-id/" + "x" * 256, "there is no camera", "plug it in"),
        ("~nouser-of-this-name/x", "~nouser-of-this-name has no home folder", "give a video"),
        ("a\0b", "holds a NUL byte", "give a video"),
        ("rtsp://bob:hunter2@host/\0", "holds a NUL byte", "give a video"),
        ("ftp://bob:hunter2@host/x", "ftp", "rtsp://"),
        ("camera:x", "camera:x is not a camera", "camera:0"),
        ("camera:-1", "camera:-1 is not a camera", "camera:0"),
        ("camera:99", "camera:99", "plug it in"),
        ("/dev/video99", "/dev/video99", "plug it in"),
        ("/dev/null", "neither a file nor a folder", "give a video"),
        ("demo?speed=2", "unknown setting speed", "demo?frames"),
        ("demo?frames=0", "frames=0", "from 1"),
        ("demo?seed=x", "seed=x", "whole number"),
    ],
)
def test_a_wrong_address_is_refused_with_the_remedy(
    address: str, problem: str, remedy: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(address)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert "hunter2" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "secret.avi", noise(2), "MJPG")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(SourceError, match="may not be read"):
        open_source(path)


def test_the_demo_is_the_same_every_time() -> None:
    with (
        open_source("demo?frames=3&seed=1") as first,
        open_source("demo?frames=3&seed=1") as second,
    ):
        assert (first.live, first.frame_count) == (False, 3)
        ones, twos = read_all(first), read_all(second)
    assert len(ones) == 3
    assert all(np.array_equal(a.image, b.image) for a, b in zip(ones, twos, strict=True))
    assert not np.array_equal(ones[0].image, ones[2].image)


@pytest.mark.usefixtures("one_demo_wall")
def test_the_live_demo_starts_over_at_the_end_in_real_time() -> None:
    with open_source("demo?frames=2&live=1") as source:
        assert (source.live, source.frame_count) == (True, None)
        started_s = time.monotonic()
        frames = [source.read() for _ in range(6)]
        assert time.monotonic() - started_s > 0.15
    assert [taken.index for taken in frames if taken] == list(range(6))
    with pytest.raises(SourceError):
        source.read()


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=20))
def test_natural_order_is_the_order_of_the_numbers(numbers: list[int]) -> None:
    names = sorted((f"wall_{number}.jpg" for number in numbers), key=natural_key)
    assert names == [f"wall_{number}.jpg" for number in sorted(numbers)]


@given(st.lists(st.from_regex(r"\A[aAb1_]{1,3}\.(jpg|png|JPG)\Z"), unique=True, max_size=12))
def test_names_are_unique_even_where_case_is_ignored(files: list[str]) -> None:
    names = unique_names([Path(file) for file in files])
    assert len({name.lower() for name in names}) == len(files)
    for file, name in zip(files, names, strict=True):
        assert name.startswith(Path(file).stem)


def test_the_real_recording_is_read_whole(data_folder: Path) -> None:
    with open_source(data_folder / "video" / "wall_robot.mp4") as source:
        assert source.frame_count == 728
        assert len(read_all(source)) == 728


def test_a_damaged_recording_goes_on_after_the_damage(data_folder: Path, tmp_path: Path) -> None:
    data = bytearray((data_folder / "video" / "wall_robot.mp4").read_bytes())
    data[600_000:800_000] = random.Random(1).randbytes(200_000)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with open_source(path) as source:
        frames = 0
        last_ms = 0.0
        while (taken := source.read()) is not None:
            frames += 1
            last_ms = taken.media_time_ms or 0.0
    assert 500 < frames < 728
    assert last_ms > 24_000
