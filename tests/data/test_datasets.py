"""Datasets on disk: what the real ones hold, and that every mistake names its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.data.datasets import CrackDataset, open_dataset
from edgecrack.errors import ConfigError, DataError
from tests.data.folders import (
    HW,
    crack_mask,
    make_cfd,
    make_folder,
    turn_by_exif,
    write_image,
    write_splits,
)

# ---- the real sets


def real(data_folder: Path, name: str, split_set: str | None = None) -> CrackDataset:
    if not (data_folder / name).is_dir():
        pytest.skip(f"no {name} in {data_folder}")
    return open_dataset(data_folder / name, split_set)


def test_cfd_holds_the_paper_s_images_and_crack_ratio(data_folder: Path) -> None:
    pytest.importorskip("scipy.io", reason="reading .mat files needs scipy")
    cfd = real(data_folder, "cfd")
    assert (len(cfd.all_samples), len(cfd.unlabelled)) == (118, 37)
    assert {name: len(names) for name, names in cfd.splits.items()} == {"train": 71, "test": 46}
    used = cfd.samples("train") + cfd.samples("test")
    names = {sample.name for sample in used}
    assert len(names) == 117
    assert "042" not in names
    masks = [sample.mask() for sample in used]
    assert {mask.shape for mask in masks} == {(320, 480)}
    crack = sum(int((mask > 0).sum()) for mask in masks)
    background = sum(mask.size for mask in masks) - crack
    assert background / crack == pytest.approx(60.8, abs=0.05)


def test_cfd_has_a_second_split_set(data_folder: Path) -> None:
    hitachi = real(data_folder, "cfd", "hitachi")
    assert {name: len(names) for name, names in hitachi.splits.items()} == {"train": 70, "test": 47}


def test_uav315_splits_cover_every_image_once(data_folder: Path) -> None:
    uav = real(data_folder, "uav315")
    counts = {name: len(names) for name, names in uav.splits.items()}
    assert counts == {"train": 189, "val": 63, "test": 63}
    assert sorted(name for names in uav.splits.values() for name in names) == sorted(
        uav.all_samples
    )
    assert len(uav.samples("all")) == len(uav.samples()) == 315


def test_uav315_has_one_mask_with_transparency_whose_colour_counts(data_folder: Path) -> None:
    sample = real(data_folder, "uav315").all_samples["DJI0690"]
    raw = cv2.imread(str(sample.mask_path), cv2.IMREAD_UNCHANGED)
    assert raw is not None
    assert raw.shape == (448, 448, 4)
    image, mask = sample.load()
    assert image.shape == (448, 448, 3)
    assert np.array_equal(mask, raw[..., 0])
    assert np.unique(mask).tolist() == [0, 255]


def test_every_mask_of_uav315_reads_as_bright_is_crack(data_folder: Path) -> None:
    for sample in real(data_folder, "uav315").samples():
        raw = cv2.imread(str(sample.mask_path), cv2.IMREAD_COLOR)
        assert raw is not None
        assert np.array_equal(sample.mask() > 0, raw[..., 0] >= 128), sample.name


# ---- made-up sets


def test_generic_folder(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "set")
    write_splits(folder, {"train": ["c", "a"], "test": ["b"]})
    dataset = open_dataset(folder)
    assert dataset.name == "set"
    assert list(dataset.all_samples) == ["a", "b", "c"]
    assert [sample.name for sample in dataset.samples("train")] == ["c", "a"]
    image, mask = dataset.samples("test")[0].load()
    assert image.dtype == mask.dtype == np.uint8
    assert (image == 91).all()
    assert np.array_equal(mask, crack_mask())


def test_folder_without_splits_has_only_all(tmp_path: Path) -> None:
    dataset = open_dataset(make_folder(tmp_path))
    assert dataset.splits == {}
    assert len(dataset.samples()) == 3
    with pytest.raises(ConfigError, match=r"no split 'train'.*choose one of: all"):
        dataset.samples("train")


def test_other_files_beside_the_images_are_left_alone(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    for name in ("Thumbs.db", "notes.TXT", "labels.json"):
        (folder / "images" / name).write_bytes(b"x")
    (folder / "masks" / "old").mkdir()
    (folder / "images" / ".hidden.png").write_bytes(b"x")
    assert list(open_dataset(folder).all_samples) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["d.heic", "d.GIF", "d.dng", "d.raw", "d.npy", "d"])
@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_file_that_may_be_meant_as_an_image_is_not_passed_over(
    tmp_path: Path, part: str, name: str
) -> None:
    folder = make_folder(tmp_path)
    (folder / part / name).write_bytes(b"x")
    with pytest.raises(
        DataError, match=rf"{part}/{name} is not a supported image file .*; convert it"
    ):
        open_dataset(folder)


def test_cfd_label_2_alone_is_crack(tmp_path: Path) -> None:
    dataset = open_dataset(make_cfd(tmp_path))
    _, mask = dataset.all_samples["002"].load()
    assert mask.tolist() == [[0, 255, 0], [0, 255, 0]]
    assert [path.name for path in dataset.unlabelled] == ["201.jpg"]


def test_names_need_not_be_ascii(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "Brücke", ("Riß 1",))
    assert open_dataset(folder).all_samples["Riß 1"].load()[0].shape == (*HW, 3)


def test_exif_turns_neither_image_nor_mask(tmp_path: Path) -> None:
    """What is stored counts: a camera writes the turn beside the pixels, a mask has none."""
    folder = make_folder(tmp_path, ("a",))
    (folder / "images" / "a.png").unlink()
    picture = np.zeros((*HW, 3), np.uint8)
    picture[:8, :8] = 255
    write_image(folder / "images" / "a.jpg", picture)
    turn_by_exif(folder / "images" / "a.jpg", 6)
    turned = cv2.imread(str(folder / "images" / "a.jpg"))
    assert turned is not None
    assert turned.shape[:2] == HW[::-1]
    image, mask = open_dataset(folder).all_samples["a"].load()
    assert image.shape[:2] == mask.shape == HW
    assert image[:7, :7].min() > 200
    assert image[10:, 10:].max() < 50


# ---- every mistake, on opening


def remove_image(folder: Path) -> None:
    (folder / "images" / "b.png").unlink()


def remove_mask(folder: Path) -> None:
    (folder / "masks" / "b.png").unlink()


def two_of_one_name(folder: Path) -> None:
    write_image(folder / "images" / "b.jpg", np.zeros((*HW, 3)))


def empty_images(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.unlink()


def no_masks_folder(folder: Path) -> None:
    for path in (folder / "masks").iterdir():
        path.unlink()
    (folder / "masks").rmdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove_image, ["masks", "b.png", "has no image"]),
        (remove_mask, ["images", "b.png", "has no mask"]),
        (two_of_one_name, ["b.jpg", "b.png", "share one name"]),
        (empty_images, ["images", "contains no images"]),
        (no_masks_folder, ["masks", "is missing"]),
    ],
)
def test_mistakes_in_the_file_list(
    tmp_path: Path, spoil: Callable[[Path], None], words: list[str]
) -> None:
    folder = make_folder(tmp_path)
    spoil(folder)
    with pytest.raises(DataError) as caught:
        open_dataset(folder)
    assert all(word in str(caught.value) for word in words), caught.value


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        open_dataset(tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is a file, not a folder"):
        open_dataset(tmp_path / "file")


def test_cfd_distractors_have_no_label_to_be_listed(tmp_path: Path) -> None:
    folder = make_cfd(tmp_path)
    write_splits(folder, {"test": ["001", "201"]})
    with pytest.raises(DataError, match=r"'201'.*no such labelled image"):
        open_dataset(folder)


# ---- every mistake, on reading


def test_mask_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    write_image(folder / "masks" / "b.png", np.zeros((10, 20)))
    with pytest.raises(DataError, match=r"b\.png is 20x10 px but b\.png is 32x24"):
        open_dataset(folder).all_samples["b"].load()


def test_mask_of_the_turned_image_is_explained(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ("a",))
    (folder / "images" / "a.png").unlink()
    write_image(folder / "images" / "a.jpg", np.zeros((*HW, 3)))
    turn_by_exif(folder / "images" / "a.jpg", 6)
    write_image(folder / "masks" / "a.png", crack_mask().T)
    with pytest.raises(DataError, match=r"24x32 px but a\.jpg is 32x24; .*EXIF.*save the image"):
        open_dataset(folder).all_samples["a"].load()


@pytest.mark.parametrize("split", ["train", "test"])
def test_empty_split_is_refused_when_it_is_asked_for(tmp_path: Path, split: str) -> None:
    folder = make_folder(tmp_path)
    write_splits(folder, {"train": ["a"], "test": ["b"], split: []})
    dataset = open_dataset(folder)
    with pytest.raises(DataError, match=rf"split '{split}' of .* is empty; list images in"):
        dataset.samples(split)
