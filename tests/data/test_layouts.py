"""Layouts of published datasets: stand-ins of their names, counts, sizes and formats."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.data.datasets import CrackDataset, open_dataset
from edgecrack.data.layouts import LAYOUT_NAMES
from edgecrack.errors import ConfigError, DataError
from tests.data.folders import (
    HW,
    crack_mask,
    make_cfd,
    make_folder,
    photo,
    write_image,
    write_splits,
)

AIGLE_KEYS = ("AIGLE_RN_C18a", "AIGLE_RN_C18b", "AIGLE_RN_F09a", "AIGLE_RN_F16b")


def counts(dataset: CrackDataset) -> dict[str, int]:
    return {name: len(names) for name, names in dataset.splits.items()}


def check_crack(dataset: CrackDataset) -> None:
    for sample in dataset.samples():
        image, mask = sample.load()
        assert image.shape[:2] == mask.shape
        assert np.array_equal(mask, crack_mask(mask.shape)), sample.name


def curve(hw: tuple[int, int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A label one pixel wide, black on white, and its crack, white on black."""
    rng = np.random.default_rng(seed)
    crack = np.zeros(hw, np.uint8)
    x = np.linspace(0, hw[1] - 1, 12)
    y = hw[0] / 2 + rng.normal(0, hw[0] / 12, 12)
    points = np.stack([x, y], axis=1).astype(np.int32)
    cv2.polylines(crack, [points], isClosed=False, color=255, thickness=1)
    return 255 - crack, crack


# ---- CFD


def test_cfd_without_splits_json_is_split_as_in_the_paper(tmp_path: Path) -> None:
    names = tuple(f"{number:03d}" for number in (1, 41, 42, 43, 72, 73, 118))
    dataset = open_dataset(make_cfd(tmp_path, names))
    assert (dataset.layout, dataset.split_origin) == ("cfd", "paper")
    assert dataset.splits == {"train": ["001", "041", "043", "072"], "test": ["073", "118"]}
    assert "042" in dataset.all_samples
    assert open_dataset(tmp_path, "paper").splits == dataset.splits
    with pytest.raises(ConfigError, match=r"no .*splits\.json .* 'hitachi'; .*choose 'paper'"):
        open_dataset(tmp_path, "hitachi")


def test_cfd_as_its_authors_publish_it(tmp_path: Path) -> None:
    dataset = open_dataset(make_cfd(tmp_path, folders=("image", "groundTruth")))
    assert dataset.layout == "cfd"
    assert list(dataset.all_samples) == ["001", "002", "003"]
    assert [path.name for path in dataset.unlabelled] == ["201.jpg"]
    # Too few for the paper's split: no test image is there.
    assert (dataset.splits, dataset.split_origin) == ({}, "")


def test_real_cfd_has_the_paper_s_split_without_its_file(data_folder: Path, tmp_path: Path) -> None:
    if not (data_folder / "cfd").is_dir():
        pytest.skip(f"no cfd in {data_folder}")
    for name in ("images", "ground_truth"):
        (tmp_path / name).symlink_to(data_folder / "cfd" / name)
    own, listed = open_dataset(tmp_path), open_dataset(data_folder / "cfd")
    assert (own.splits, listed.split_origin) == (listed.splits, "splits.json")


# ---- CrackTree


def cracktree_separate(folder: Path, image: str, label: str, name: str, kind: str) -> None:
    for index in range(4):
        stem = str(6192 + index)
        write_image(folder / image / f"{stem}.jpg", photo())
        label_file = folder / label / (name.format(stem) + kind)
        write_image(label_file, 255 - crack_mask() if kind == ".bmp" else crack_mask())


@pytest.mark.parametrize("name", ["{}", "{}_gt", "{}_label", "{}-mask", "GT_{}", "label_{}"])
@pytest.mark.parametrize("kind", [".bmp", ".png"])
@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("cracktree200rgb", "cracktree200_gt"),
        ("CrackTree260_img", "CrackTree260_gt/gt"),
        ("CrackTree260/CrackTree260", "gt"),
    ],
)
def test_cracktree_in_two_folders(
    tmp_path: Path, image: str, label: str, name: str, kind: str
) -> None:
    cracktree_separate(tmp_path, image, label, name, kind)
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.split_origin) == ("cracktree", "seeded")
    assert list(dataset.all_samples) == ["6192", "6193", "6194", "6195"]
    check_crack(dataset)


@pytest.mark.parametrize(
    ("image", "label"), [("image", "gt"), ("img", "lab"), ("images", "masks"), (".", "gt")]
)
def test_cracktree_on_demand(tmp_path: Path, image: str, label: str) -> None:
    """Folder names that could be anything's are CrackTree only by count or when it is said."""
    folder = tmp_path / "set"  # this test's own folder has a telling name
    cracktree_separate(folder, image, label, "{}", ".bmp")
    dataset = open_dataset(folder, layout="cracktree")
    assert counts(dataset) == {"train": 3, "test": 1}
    check_crack(dataset)
    if (image, label) == ("images", "masks"):
        assert open_dataset(folder).layout == "generic"
    else:
        with pytest.raises(DataError, match=r"has no known layout; make folders images/.*cracktr"):
            open_dataset(folder)


@pytest.mark.parametrize("mark", ["_label.bmp", "_gt.png", "_GT.PNG", "_mask.bmp"])
def test_cracktree_in_one_folder(tmp_path: Path, mark: str) -> None:
    for stem in ("6192", "6193"):
        write_image(tmp_path / f"{stem}.jpg", photo())
        write_image(tmp_path / f"{stem}{mark}", 255 - crack_mask())
    dataset = open_dataset(tmp_path, layout="cracktree")
    assert list(dataset.all_samples) == ["6192", "6193"]
    check_crack(dataset)


def test_gray_copies_of_cracktree_are_not_a_second_set(tmp_path: Path) -> None:
    cracktree_separate(tmp_path, "cracktree200rgb", "cracktree200_gt", "{}", ".png")
    write_image(tmp_path / "cracktree200gray" / "6192.jpg", photo(level=10))
    sample = open_dataset(tmp_path).all_samples["6192"]
    assert sample.image_path.parent.name == "cracktree200rgb"


@pytest.mark.parametrize(("count", "train", "test"), [(206, 130, 76), (260, 164, 96)])
def test_cracktree_of_the_published_size(tmp_path: Path, count: int, train: int, test: int) -> None:
    """800x600 with curves one pixel wide; links keep it cheap."""
    label, crack = curve((600, 800), seed=1)
    write_image(tmp_path / "image.jpg", photo((600, 800)))
    write_image(tmp_path / "label.bmp", label)
    for kind, source in (("image", "image.jpg"), ("gt", "label.bmp")):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for index in range(count):
            path = tmp_path / "set" / kind / f"{6000 + index}{Path(source).suffix}"
            path.symlink_to(tmp_path / source)
    dataset = open_dataset(tmp_path / "set")
    assert dataset.layout == "cracktree"
    assert counts(dataset) == {"train": train, "test": test}
    assert sorted([*dataset.splits["train"], *dataset.splits["test"]]) == list(dataset.all_samples)
    image, mask = dataset.samples("test")[0].load()
    assert image.shape == (600, 800, 3)
    assert np.array_equal(mask, crack)


def test_splits_json_goes_before_a_drawn_split(tmp_path: Path) -> None:
    cracktree_separate(tmp_path, "cracktree200rgb", "cracktree200_gt", "{}", ".png")
    write_splits(tmp_path, {"train": ["6192"], "test": ["6195"]})
    dataset = open_dataset(tmp_path)
    assert (dataset.split_origin, counts(dataset)) == ("splits.json", {"train": 1, "test": 1})


# ---- AigleRN


def aigle_published(folder: Path, key: str, hw: tuple[int, int] = HW) -> tuple[Path, Path]:
    trees = folder / "TITS"
    return (
        trees / "IMAGES" / "AIGLE_RN" / f"Im_GT_{key}or.png",
        trees / "GROUND_TRUTH" / "AIGLE_RN" / f"GT_{key}.png",
    )


def aigle_bare(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / f"Im_{key}.jpg", folder / f"Im_GT_{key}.png"


def aigle_mixed(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / f"Im_GT_{key}or.jpg", folder / f"GT_{key}.png"


def aigle_folders(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / "images" / f"{key}.jpg", folder / "gt" / f"GT_{key}.png"


AigleNames = Callable[[Path, str], tuple[Path, Path]]


@pytest.mark.parametrize("names", [aigle_published, aigle_bare, aigle_mixed, aigle_folders])
def test_aiglern_is_known_by_its_file_names(tmp_path: Path, names: AigleNames) -> None:
    for key in AIGLE_KEYS:
        image, label = names(tmp_path, key)
        write_image(image, photo())
        write_image(label, 255 - crack_mask())
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "aiglern"
    assert tuple(dataset.all_samples) == AIGLE_KEYS
    assert counts(dataset) == {"train": 3, "test": 1}
    check_crack(dataset)


def test_aiglern_of_the_published_size(tmp_path: Path) -> None:
    """38 images of two widths; the split takes as many of each."""
    for index in range(38):
        hw = (462, 991) if index < 19 else (462, 311)
        image, label = aigle_published(tmp_path, f"AIGLE_RN_{index:02d}a")
        write_image(image, photo(hw))
        write_image(label, curve(hw, seed=index)[0])
    # Other parts of the archive, and images that it has no label for, are not AigleRN's.
    write_image(tmp_path / "TITS" / "IMAGES" / "ESAR" / "Im_GT_ESAR_30a.jpg", photo())
    write_image(tmp_path / "TITS" / "IMAGES" / "AIGLE_RN" / "Im_noGT_AIGLE_RN_D01.png", photo())
    dataset = open_dataset(tmp_path)
    assert (len(dataset.all_samples), counts(dataset)) == (38, {"train": 24, "test": 14})
    widths = [sample.image().shape[1] for sample in dataset.samples("test")]
    assert sorted(widths) == [311] * 7 + [991] * 7
    _, mask = dataset.all_samples["AIGLE_RN_05a"].load()
    assert np.array_equal(mask, curve((462, 991), seed=5)[1])


def test_a_mixture_with_some_of_aiglern_is_not_aiglern(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, ("AIGLE_RN_C18a", "CFD_001"))
    assert open_dataset(folder).layout == "generic"
    with pytest.raises(DataError, match=r"not have the layout aiglern, which needs files named"):
        open_dataset(folder, layout="aiglern")


# ---- CrackTree's two folders


def test_a_label_of_a_kind_that_is_not_read_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "image" / "1.jpg", photo())
    write_image(tmp_path / "gt" / "1.png", crack_mask())
    (tmp_path / "gt" / "2.gif").write_bytes(b"x")
    with pytest.raises(DataError, match=r"gt/2\.gif is not a supported image file"):
        open_dataset(tmp_path, layout="cracktree")


# ---- DeepCrack


def make_deepcrack(folder: Path) -> Path:
    for part, names in (("train", ("11111", "7Q3A9060-14", "IMG16")), ("test", ("11112", "IMG17"))):
        for name in names:
            write_image(folder / f"{part}_img" / f"{name}.jpg", photo())
            write_image(folder / f"{part}_lab" / f"{name}.png", crack_mask())
    return folder


def test_deepcrack_is_split_by_its_folders(tmp_path: Path) -> None:
    dataset = open_dataset(make_deepcrack(tmp_path))
    assert (dataset.layout, dataset.split_origin) == ("deepcrack", "published")
    assert dataset.splits == {
        "train": ["11111", "7Q3A9060-14", "IMG16"],
        "test": ["11112", "IMG17"],
    }
    check_crack(dataset)


def test_deepcrack_with_one_name_in_train_and_test_is_refused(tmp_path: Path) -> None:
    make_deepcrack(tmp_path)
    for kind, suffix, array in (("img", "jpg", photo()), ("lab", "png", crack_mask())):
        write_image(tmp_path / f"test_{kind}" / f"IMG16.{suffix}", array)
    with pytest.raises(DataError, match=r"test_img/IMG16.jpg and .*train_img/IMG16.jpg share"):
        open_dataset(tmp_path)


# ---- every layout


def test_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"layout is 'crackforest'; choose one of: cfd, deepcrack, .*, generic",
    ):
        open_dataset(make_folder(tmp_path), layout="crackforest")


@pytest.mark.parametrize("layout", ["cfd", "deepcrack", "aiglern"])
def test_demanded_layout_must_be_there(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DataError, match=rf"does not have the layout {layout}, which .*; check"):
        open_dataset(make_folder(tmp_path), layout=layout)


def test_folder_of_images_alone_is_of_no_layout(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", photo())
    with pytest.raises(DataError, match=r"has no known layout; .*clean:DIR"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("layout", ["aiglern", "cracktree", "deepcrack"])
def test_image_and_label_must_come_in_pairs(tmp_path: Path, layout: str) -> None:
    if layout == "aiglern":
        files = [path for key in AIGLE_KEYS for path in aigle_published(tmp_path, key)]
    elif layout == "cracktree":
        files = [
            tmp_path / kind for kind in ("gt/1_gt.bmp", "image/1.jpg", "gt/2.bmp", "image/2.jpg")
        ]
    else:
        files = [tmp_path / kind for kind in ("train_img/1.jpg", "train_lab/1.png")]
        files += [tmp_path / kind for kind in ("test_img/2.jpg", "test_lab/2.png")]
    for path in files:
        write_image(path, crack_mask())
    assert open_dataset(tmp_path, layout=layout).samples()
    for path in (files[-1], files[-2]):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(DataError, match=r"has no (image|mask)|contains no images"):
            open_dataset(tmp_path, layout=layout)
        path.write_bytes(content)


@pytest.mark.parametrize("layout", ["aiglern", "cracktree"])
def test_drawn_splits_follow_from_the_names(tmp_path: Path, layout: str) -> None:
    """The rule of docs/datasets.md, worked out once more."""
    keys = [f"AIGLE_RN_{index:02d}a" for index in range(10)]
    for key in reversed(keys):
        name = key if layout == "aiglern" else f"x{key}"
        write_image(tmp_path / "image" / f"{name}.png", photo())
        write_image(tmp_path / "gt" / f"{name}.png", crack_mask())
    dataset = open_dataset(tmp_path, layout=layout)
    names = sorted(dataset.all_samples)
    order = sorted(names, key=lambda name: hashlib.sha256(f"2020:{name}".encode()).hexdigest())
    train = round(10 * 24 / 38) if layout == "aiglern" else round(10 * 130 / 206)
    assert dataset.splits == {"train": sorted(order[:train]), "test": sorted(order[train:])}


def test_every_layout_is_documented() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in guide for name in LAYOUT_NAMES)
