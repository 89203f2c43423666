"""Datasets on disk: what the real ones hold, and that every mistake names its file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.data.datasets import CrackDataset, open_dataset, read_image, read_mask_image
from edgecrack.errors import ConfigError, DataError

HW = (24, 32)
CFD_LABELS = np.array([[1, 2, 3], [4, 2, 1]], np.uint8)


def write_png(path: Path, array: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.asarray(array, np.uint8))


def crack_mask() -> Any:
    mask = np.zeros(HW, np.uint8)
    mask[10:12, 4:28] = 255
    return mask


def make_folder(folder: Path, names: tuple[str, ...] = ("a", "b", "c")) -> Path:
    for index, name in enumerate(names):
        write_png(folder / "images" / f"{name}.png", np.full((*HW, 3), 90 + index))
        write_png(folder / "masks" / f"{name}.png", crack_mask())
    return folder


def make_cfd(folder: Path) -> Path:
    """CFD's layout: three labelled images and one distractor without a label."""
    savemat = pytest.importorskip("scipy.io", reason="reading .mat files needs scipy").savemat
    for name in ("001", "002", "003", "201"):
        write_png(folder / "images" / f"{name}.jpg", np.full((2, 3, 3), 120))
    (folder / "ground_truth").mkdir()
    for name in ("001", "002", "003"):
        truth = {"Segmentation": CFD_LABELS, "Boundaries": CFD_LABELS > 1}
        savemat(folder / "ground_truth" / f"{name}.mat", {"groundTruth": truth})
    return folder


def write_splits(folder: Path, document: Any) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    (folder / "splits.json").write_text(text)


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
    (folder / "images" / "Thumbs.db").write_bytes(b"x")
    (folder / "images" / ".hidden.png").write_bytes(b"x")
    assert list(open_dataset(folder).all_samples) == ["a", "b", "c"]


def test_cfd_label_2_alone_is_crack(tmp_path: Path) -> None:
    dataset = open_dataset(make_cfd(tmp_path))
    _, mask = dataset.all_samples["002"].load()
    assert mask.tolist() == [[0, 255, 0], [0, 255, 0]]
    assert [path.name for path in dataset.unlabelled] == ["201.jpg"]


def test_mask_brightness_is_cut_in_the_middle(tmp_path: Path) -> None:
    write_png(tmp_path / "mask.png", [[0, 1, 127, 128, 254, 255]])
    assert read_mask_image(tmp_path / "mask.png").tolist() == [[0, 0, 0, 255, 255, 255]]


def test_names_need_not_be_ascii(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "Brücke", ("Riß 1",))
    assert open_dataset(folder).all_samples["Riß 1"].load()[0].shape == (*HW, 3)


# ---- every mistake, on opening


def remove_image(folder: Path) -> None:
    (folder / "images" / "b.png").unlink()


def remove_mask(folder: Path) -> None:
    (folder / "masks" / "b.png").unlink()


def two_of_one_name(folder: Path) -> None:
    write_png(folder / "images" / "b.jpg", np.zeros((*HW, 3)))


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
        (empty_images, ["images", "holds no images"]),
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


@pytest.mark.parametrize(
    ("document", "split_set", "kind", "words"),
    [
        ("{not json", None, DataError, "cannot read"),
        (["a", "b"], None, DataError, "is not a split file"),
        ({"train": "a"}, None, DataError, "is not a split file"),
        ({"train": [1, 2]}, None, DataError, "is not a split file"),
        ({"train": ["a", "zebra"]}, None, DataError, "lists 'zebra' in 'train'"),
        ({"mine": {"train": ["a"]}}, None, ConfigError, "no split set 'paper'.*choose.*mine"),
        ({"mine": {"train": ["a"]}}, "yours", ConfigError, "no split set 'yours'"),
        ({"mine": {"train": ["a"]}, "other": 3}, "other", DataError, "is not a split file"),
        ({"train": ["a"]}, "paper", ConfigError, "no split set 'paper'"),
        (None, "paper", ConfigError, "there is no .*splits.json"),
    ],
)
def test_mistakes_in_splits_json(
    tmp_path: Path, document: Any, split_set: str | None, kind: type[Exception], words: str
) -> None:
    folder = make_folder(tmp_path)
    if document is not None:
        write_splits(folder, document)
    with pytest.raises(kind, match=words) as caught:
        open_dataset(folder, split_set)
    assert "splits.json" in str(caught.value)


def test_cfd_distractors_have_no_label_to_be_listed(tmp_path: Path) -> None:
    folder = make_cfd(tmp_path)
    write_splits(folder, {"test": ["001", "201"]})
    with pytest.raises(DataError, match=r"'201'.*no such labelled image"):
        open_dataset(folder)


# ---- every mistake, on reading


def test_mask_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    write_png(folder / "masks" / "b.png", np.zeros((10, 20)))
    with pytest.raises(DataError, match=r"b\.png is 20x10 px but b\.png is 32x24"):
        open_dataset(folder).all_samples["b"].load()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"GIF89a nonsense", "is damaged or not an image"),
        (b"\x89PNG\r\n\x1a\n cut", "is cut short"),
        (cv2.imencode(".jpg", np.full((64, 64), 90, np.uint8))[1].tobytes()[:-40], "is cut short"),
    ],
)
def test_unreadable_image_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    folder = make_folder(tmp_path)
    (folder / "images" / "b.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"b\.png {problem}"):
        open_dataset(folder).all_samples["b"].image()


def test_image_that_vanished_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read image .*gone\.png: No such file"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize("value", [1, 2, 38])
def test_mask_of_class_numbers_is_refused_instead_of_read_as_empty(
    tmp_path: Path, value: int
) -> None:
    write_png(tmp_path / "mask.png", crack_mask() // 255 * value)
    with pytest.raises(DataError, match=rf"mask\.png holds no value above {value}; convert it"):
        read_mask_image(tmp_path / "mask.png")


@pytest.mark.parametrize("kind", ["noise", "other variable"])
def test_damaged_mat_file_is_named(tmp_path: Path, kind: str) -> None:
    folder = make_cfd(tmp_path)
    path = folder / "ground_truth" / "002.mat"
    if kind == "noise":
        path.write_bytes(b"MATLAB" * 40)
    else:
        pytest.importorskip("scipy.io").savemat(path, {"other": CFD_LABELS})
    with pytest.raises(DataError, match=r"002\.mat is not a CFD label file"):
        open_dataset(folder).all_samples["002"].mask()


def test_mat_file_that_vanished_is_named(tmp_path: Path) -> None:
    folder = make_cfd(tmp_path)
    sample = open_dataset(folder).all_samples["002"]
    sample.mask_path.unlink()
    with pytest.raises(DataError, match=r"002\.mat: No such file"):
        sample.mask()
