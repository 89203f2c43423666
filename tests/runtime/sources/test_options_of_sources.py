"""Flip and loop on every source that can, and a reason on those that cannot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.errors import ConfigError, SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import Source, SourceStatus
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import Flip, SourceOptions
from edgecrack.runtime.sources.wrapped import LoopedSource
from tests.runtime.fakes import ScriptedSource, picture, write_video


def take(source: Source, count: int) -> list[Frame]:
    frames = [source.read() for _ in range(count)]
    assert all(frames)
    return [one for one in frames if one is not None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"wall{index}.png"), picture(3 * index))
    return tmp_path


@pytest.mark.parametrize(
    ("flip", "rows", "columns"),
    [("none", 1, 1), ("horizontal", 1, -1), ("vertical", -1, 1), ("both", -1, -1)],
)
def test_every_picture_is_flipped(folder: Path, flip: Flip, rows: int, columns: int) -> None:
    with open_source(folder, SourceOptions(flip=flip)) as source:
        assert (source.live, source.name, source.frame_count) == (False, str(folder), 3)
        assert (source.frame_rate_hz, source.corrupt_frames) == (None, 0)
        frames = take(source, 3)
        assert source.read() is None
    for index, one in enumerate(frames):
        assert np.array_equal(one.image, picture(3 * index)[::rows, ::columns])
        assert (one.index, one.name) == (index, f"wall{index}")


def test_a_jpeg_file_is_passed_on_as_it_is_unless_it_is_turned(tmp_path: Path) -> None:
    path = tmp_path / "one.jpg"
    cv2.imwrite(str(path), picture())
    with open_source(path) as source:
        assert take(source, 1)[0].jpeg == path.read_bytes()
    with open_source(path, SourceOptions(flip="both")) as source:
        assert take(source, 1)[0].jpeg is None
    path.write_bytes(path.read_bytes() + b"a film")
    with open_source(path) as source:
        assert take(source, 1)[0].jpeg is None


def test_a_video_begins_again_and_its_times_go_on(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", [picture(index) for index in range(4)], "MJPG", 20)
    with open_source(path, SourceOptions(loop=True, flip="vertical")) as source:
        assert (source.live, source.frame_count, source.frame_rate_hz) == (False, None, 20)
        frames = take(source, 10)
        source.close()
        assert source.read() is None
    assert [one.index for one in frames] == list(range(10))
    assert [one.name for one in frames] == [f"{index:06d}" for index in range(10)]
    assert [one.media_time_ms for one in frames] == pytest.approx([50.0 * n for n in range(10)])
    assert np.array_equal(frames[1].image, frames[5].image)
    assert not np.array_equal(frames[0].image, frames[3].image)


def test_a_folder_begins_again_and_its_names_stay_unique(folder: Path) -> None:
    with open_source(folder, SourceOptions(loop=True)) as source:
        frames = take(source, 8)
    assert [one.name for one in frames[:4]] == ["wall0", "wall1", "wall2", "000003_wall0"]
    assert len({one.name for one in frames}) == 8
    assert [one.index for one in frames] == list(range(8))
    assert all(one.media_time_ms is None for one in frames)


def test_a_folder_that_is_emptied_ends_the_loop(folder: Path) -> None:
    with open_source(folder, SourceOptions(loop=True)) as source:
        take(source, 3)
        for path in folder.iterdir():
            path.unlink()
        with pytest.raises(SourceError, match="holds no images"):
            source.read()


def test_a_folder_of_damage_does_not_loop_for_ever(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(b"no picture")
    with open_source(folder, SourceOptions(loop=True)) as source:
        with pytest.raises(SourceError, match=r"wall0\.png is damaged.*nor can the 2 others"):
            source.read()
        with pytest.raises(SourceError):
            source.read()


@pytest.mark.parametrize("is_cut_short", [True, False])
def test_a_loop_tells_that_its_recording_is_cut_short(is_cut_short: bool) -> None:
    class Recording(ScriptedSource):
        @property
        def status(self) -> SourceStatus:
            return SourceStatus(is_cut_short=is_cut_short)

    with LoopedSource(lambda: Recording(3)) as source:
        assert source.status.is_cut_short == is_cut_short
    with LoopedSource(lambda: ScriptedSource(3)) as source:
        assert not source.status.is_cut_short


@pytest.mark.usefixtures("one_demo_wall")
def test_what_is_live_cannot_begin_again() -> None:
    with pytest.raises(ConfigError, match="never ends"):
        open_source("demo?live=1", SourceOptions(loop=True))
    with open_source("demo?frames=2", SourceOptions(loop=True)) as source:
        assert [one.index for one in take(source, 5)] == list(range(5))


@pytest.mark.parametrize("address", ["demo", "rtsp://x/y", "http://x/y?token=hunter2", "."])
@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (SourceOptions(width=640, height=480), "size"),
        (SourceOptions(frame_rate_hz=10), "frame rate"),
        (SourceOptions(pixel_format="MJPG"), "pixel format"),
        (SourceOptions(topic="/camera"), "topics"),
    ],
)
def test_what_a_source_cannot_follow_is_refused(
    address: str, options: SourceOptions, asked: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_source(address, options)
    assert asked in caught.value.problem
    assert "leave" in caught.value.remedy
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("options", [SourceOptions(), SourceOptions(flip="both")])
def test_a_flipped_source_tells_all_that_it_tells_unflipped(
    tmp_path: Path, options: SourceOptions
) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    with open_source(tmp_path, options) as source:
        while source.read() is not None:
            pass
        assert [one.path.name for one in source.status.unreadable] == ["b.png"]
        assert not hasattr(source, "health")


def test_a_looped_folder_tells_of_a_picture_once(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    with open_source(tmp_path, SourceOptions(loop=True)) as source:
        told = []
        for _ in range(4):
            source.read()
            told.append(len(source.status.unreadable))
    assert told == [0, 1, 1, 1]
