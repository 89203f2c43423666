"""Which frames may set ranges and which judge them, from every kind of data."""

from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.calibration import sampler as module
from edgecrack.calibration.sampler import CalibrationFrames, open_frames
from edgecrack.errors import DataError, EdgecrackError, SourceError
from edgecrack.runtime.sources.open import open_source
from tests.data.folders import crack_mask, make_folder, photo, write_image, write_splits

TEN = tuple(f"{index:02d}" for index in range(10))


def names_of(frames: CalibrationFrames) -> tuple[list[str], list[str]]:
    return [item.name for item in frames.calibration], [item.name for item in frames.held_out]


def make_images(folder: Path, count: int = 10) -> Path:
    for index in range(count):
        write_image(folder / f"{index:02d}.png", photo(level=10 * index))
    return folder


def make_video(path: Path, count: int, hw: tuple[int, int] = (32, 48)) -> Path:
    """Frame N is evenly 4 N bright."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, hw[::-1])
    assert writer.isOpened()
    for index in range(count):
        writer.write(np.full((*hw, 3), 4 * index % 256, np.uint8))
    writer.release()
    return path


def levels_of(frames: CalibrationFrames) -> tuple[list[int], list[int]]:
    """Which frame of `make_video` each frame is, by its brightness."""
    first, second = (
        [round(float(item.load()[0].mean()) / 4) for item in part]
        for part in (frames.calibration, frames.held_out)
    )
    return first, second


def test_of_a_dataset_train_sets_the_ranges_and_val_judges(tmp_path: Path) -> None:
    make_folder(tmp_path, TEN)
    write_splits(tmp_path, {"train": TEN[:5], "val": TEN[5:8], "test": TEN[8:]})
    frames = open_frames(tmp_path)
    assert names_of(frames) == (list(TEN[:5]), list(TEN[5:8]))
    assert frames.labelled
    assert frames.name == tmp_path.name
    assert frames.parts == "train split for the ranges, val split held out"
    image, mask = frames.calibration[0].load()
    np.testing.assert_array_equal(image, photo(level=90))
    assert mask is not None
    np.testing.assert_array_equal(mask, crack_mask())


@pytest.mark.parametrize(
    ("splits", "pool", "words"),
    [
        ({"train": TEN[:7], "test": TEN[7:]}, TEN[:7], "every third of the train split held out"),
        ({"train": TEN[:7], "val": [], "test": []}, TEN[:7], "train split"),
        ({"test": TEN[4:]}, TEN[:4], "every third of the images outside the test split held out"),
        ({"val": TEN[:6], "test": TEN[6:]}, TEN[:6], "images outside the test split"),
        (None, TEN, "every third of the images held out"),
    ],
)
def test_without_a_val_split_every_third_image_judges_and_no_test_image_is_touched(
    tmp_path: Path, splits: dict[str, list[str]] | None, pool: tuple[str, ...], words: str
) -> None:
    make_folder(tmp_path, TEN)
    if splits is not None:
        write_splits(tmp_path, {key: list(names) for key, names in splits.items()})
    frames = open_frames(tmp_path)
    first, second = names_of(frames)
    assert sorted(first + second) == list(pool)
    assert len(second) == max(1, round(len(pool) / 3))
    assert words in frames.parts


def test_a_dataset_that_is_for_testing_alone_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, TEN)
    write_splits(tmp_path, {"test": list(TEN)})
    with pytest.raises(DataError, match=r"outside the test split\) has too few images \(0\); give"):
        open_frames(tmp_path)


def test_of_a_folder_of_images_the_last_third_judges(tmp_path: Path) -> None:
    frames = open_frames(make_images(tmp_path))
    first, second = names_of(frames)
    assert first + second == [f"{name}.png" for name in TEN]
    assert len(second) == 3
    assert not frames.labelled
    assert frames.parts == "last third of the images, by name, held out"
    image, mask = frames.held_out[0].load()
    np.testing.assert_array_equal(image, photo(level=10 * int(second[0][:2])))
    assert mask is None


def test_files_that_are_no_images_do_not_disturb_a_folder_of_images(tmp_path: Path) -> None:
    make_images(tmp_path, 4)
    (tmp_path / "flight.mp4").write_bytes(b"video")
    (tmp_path / "notes.txt").write_text("a wall")
    assert sum(map(len, names_of(open_frames(tmp_path)))) == 4


def test_the_seed_alone_decides_which_images_of_a_dataset_judge(tmp_path: Path) -> None:
    make_folder(tmp_path, TEN)
    parts = [names_of(open_frames(tmp_path, seed)) for seed in range(8)]
    assert parts == [names_of(open_frames(tmp_path, seed)) for seed in range(8)]
    assert len({tuple(second) for _, second in parts}) > 4
    for first, second in parts:
        assert not set(first) & set(second)


def test_of_many_images_some_are_drawn_from_each_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FRAMES", 4)
    make_images(tmp_path, 25)
    first, second = names_of(open_frames(tmp_path, 3))
    assert (len(first), len(second)) == (4, 4)
    assert not set(first) & set(second)
    assert (first, second) == names_of(open_frames(tmp_path, 3))
    assert (first, second) != names_of(open_frames(tmp_path, 4))


def test_the_last_third_of_a_video_judges(tmp_path: Path) -> None:
    frames = open_frames(make_video(tmp_path / "flight.avi", 12))
    assert levels_of(frames) == (list(range(8)), list(range(8, 12)))
    assert names_of(frames)[0][:2] == ["frame 0", "frame 1"]
    assert frames.name == "flight.avi"
    assert not frames.labelled
    assert frames.calibration[0].load()[1] is None


def test_of_a_long_video_frames_at_even_steps_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_FRAMES", 10)
    first, second = levels_of(open_frames(make_video(tmp_path / "a.avi", 60)))
    assert first + second == list(range(0, 60, 6))


@pytest.mark.parametrize("told", [None, 20], ids=["unknown length", "wrong length"])
def test_a_video_longer_than_its_header_says_is_covered_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: int | None
) -> None:
    monkeypatch.setattr(module, "MAX_FRAMES", 10)

    def opened(path: Path) -> object:
        source = open_source(path)
        source.frame_count = told  # type: ignore[misc]
        return source

    monkeypatch.setattr(module, "open_source", opened)
    first, second = levels_of(open_frames(make_video(tmp_path / "a.avi", 63)))
    kept = first + second
    assert 5 <= len(kept) <= 10
    assert {later - before for before, later in itertools.pairwise(kept)} == {8}
    assert kept[0] == 0
    assert kept[-1] == 56


def test_the_frames_of_a_video_that_are_held_in_memory_are_limited_by_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame_bytes = 32 * 48 * 3
    monkeypatch.setattr(module, "_MEMORY_BYTES", 6 * frame_bytes)
    path = make_video(tmp_path / "a.avi", 60)
    assert sum(map(len, levels_of(open_frames(path)))) == 6
    monkeypatch.setattr(module, "_MEMORY_BYTES", 1)
    assert list(map(len, levels_of(open_frames(path)))) == [2, 1]


def test_a_video_of_three_frames_is_enough(tmp_path: Path) -> None:
    assert levels_of(open_frames(make_video(tmp_path / "a.avi", 3))) == ([0, 1], [2])


def few_frames(folder: Path) -> Path:
    return make_video(folder / "a.avi", 2)


def no_video(folder: Path) -> Path:
    (folder / "a.avi").write_bytes(b"RIFF" + bytes(5000))
    return folder / "a.avi"


def one_image(folder: Path) -> Path:
    write_image(folder / "wall.png", photo())
    return folder / "wall.png"


def two_images(folder: Path) -> Path:
    return make_images(folder, 2)


def lacks_a_mask(folder: Path) -> Path:
    make_folder(folder)
    (folder / "masks" / "b.png").unlink()
    return folder


def lacks_a_mask_and_has_images_beside(folder: Path) -> Path:
    lacks_a_mask(folder)
    make_images(folder, 5)
    return folder


def lacks_a_label_in_one_folder(folder: Path) -> Path:
    for letter in "abc":
        write_image(folder / f"Im_AIGLE_RN_C18{letter}.png", photo())
    write_image(folder / "GT_AIGLE_RN_C18a.png", crack_mask())
    return folder


def bad_splits(folder: Path) -> Path:
    write_splits(make_folder(folder), {"train": ["a", "nowhere"]})
    return folder


@pytest.mark.parametrize(
    ("make", "error", "problem", "remedy"),
    [
        (few_frames, DataError, r"a\.avi has too few frames \(2\)", "longer video"),
        (no_video, SourceError, "a.avi", "check that it plays"),
        (one_image, DataError, r"wall\.png has too few frames \(1\)", "a folder of images"),
        (
            two_images,
            DataError,
            r"has too few images \(2\)",
            "give at least 3, 24 or more for INT8, better 100",
        ),
        (lambda folder: folder, DataError, "contains no images", "give a folder of images"),
        (lambda folder: folder / "no", DataError, "no does not exist", "check the path"),
        (lacks_a_mask, DataError, r"b\.png has no mask", "add the mask"),
        (lacks_a_mask_and_has_images_beside, DataError, r"b\.png has no mask", "add the mask"),
        (lacks_a_label_in_one_folder, DataError, r"C18b\.png has no mask", "add the mask"),
        (bad_splits, DataError, "'nowhere'", ""),
    ],
)
def test_data_that_cannot_serve_are_refused_with_a_remedy(
    tmp_path: Path, make: object, error: type[EdgecrackError], problem: str, remedy: str
) -> None:
    assert callable(make)
    path = make(tmp_path)
    with pytest.raises(error, match=problem) as caught:
        open_frames(path)
    assert remedy in caught.value.remedy


def test_a_damaged_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    make_images(tmp_path, 3)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:60])
    frames = open_frames(tmp_path)
    with pytest.raises(DataError, match=r"0\d\.png"):
        frames.calibration[0].load()


def test_a_video_that_breaks_off_gives_what_can_be_read(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", 30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    kept: list[int] = []
    with suppress(SourceError):  # some builds of FFmpeg want the index at the end
        first, second = levels_of(open_frames(path))
        kept = first + second
    assert kept == list(range(len(kept)))
    assert len(kept) < 30
