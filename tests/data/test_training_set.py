"""What a run trains on: splits respected, hold-outs that repeat, walls on demand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecrack.data.datasets import open_dataset
from edgecrack.data.training_set import load_training_set, split_samples
from edgecrack.errors import ConfigError, DataError
from edgecrack.preprocess import PreprocessConfig, preprocess
from edgecrack.synthetic import write_dataset
from tests.data.folders import HW, crack_mask, make_cfd, make_folder, photo, write_image

PREPARED = PreprocessConfig()


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "walls"
    write_dataset(folder, 20, (48, 64), seed=1)
    return folder


def with_splits(folder: Path, tmp_path: Path, splits: Any) -> Path:
    copy = tmp_path / "copy"
    copy.mkdir()
    for kind in ("images", "masks"):
        (copy / kind).symlink_to(folder / kind)
    if splits is not None:
        (copy / "splits.json").write_text(json.dumps(splits))
    return copy


def names(samples: Any) -> list[str]:
    return [sample.name for sample in samples]


def numbered(first: int, end: int) -> list[str]:
    return [f"{index:04d}" for index in range(first, end)]


@pytest.mark.parametrize(
    ("splits", "train", "validation"),
    [
        (
            {"train": numbered(0, 4), "val": numbered(4, 6), "test": numbered(6, 20)},
            numbered(0, 4),
            numbered(4, 6),
        ),
        ({"val": numbered(0, 2), "test": numbered(2, 9)}, numbered(9, 20), numbered(0, 2)),
        ({"train": ["0003"], "test": numbered(4, 20)}, ["0003"], ["0003"]),
    ],
    ids=["train and val", "no train", "one image"],
)
def test_splits_are_used(
    walls: Path, tmp_path: Path, splits: Any, train: list[str], validation: list[str]
) -> None:
    found = split_samples(open_dataset(with_splits(walls, tmp_path, splits)), seed=0)
    assert [names(part) for part in found] == [train, validation]


@pytest.mark.parametrize(
    "splits",
    [
        {"train": numbered(0, 12), "test": numbered(12, 20)},
        {"train": numbered(0, 12), "val": [], "test": numbered(12, 20)},
        {"test": numbered(12, 20)},
        None,
    ],
)
def test_a_tenth_is_held_out_and_never_any_test_image(
    walls: Path, tmp_path: Path, splits: Any
) -> None:
    dataset = open_dataset(with_splits(walls, tmp_path, splits))
    train, validation = (set(names(part)) for part in split_samples(dataset, seed=0))
    usable = set(numbered(0, 12 if splits else 20))
    assert train | validation == usable
    assert not train & validation
    assert len(validation) == round(len(usable) / 10)


def test_hold_out_follows_the_seed_and_nothing_else(walls: Path, tmp_path: Path) -> None:
    whole = open_dataset(with_splits(walls, tmp_path, None))
    drawn = [set(names(split_samples(whole, seed)[1])) for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len({frozenset(item) for item in drawn}) > 1
    # Leaving out a training image does not reshuffle the rest.
    left_out = next(iter(set(numbered(0, 20)) - drawn[0]))
    kept = [name for name in numbered(0, 20) if name != left_out]
    (tmp_path / "copy" / "splits.json").write_text(json.dumps({"train": kept}))
    assert set(names(split_samples(open_dataset(tmp_path / "copy"), 0)[1])) == drawn[0]


@pytest.mark.parametrize("splits", [{"train": []}, {"test": numbered(0, 20)}])
def test_splits_that_leave_nothing_to_train_on(walls: Path, tmp_path: Path, splits: Any) -> None:
    folder = with_splits(walls, tmp_path, splits)
    with pytest.raises(DataError, match=r"copy leave no training image"):
        load_training_set([str(folder)], PREPARED, seed=0)


def test_images_are_preprocessed_once_as_whole_frames(walls: Path) -> None:
    messages: list[str] = []
    data = load_training_set([str(walls)], PREPARED, 0, messages.append)
    assert messages == ["reading walls: 16 train, 2 validation"]
    first = open_dataset(walls).samples("train")[0]
    assert np.array_equal(data.train.images[0], preprocess(first.image(), PREPARED))
    assert np.array_equal(data.train.masks[0], first.mask())
    assert (len(data.train.images), len(data.validation.images)) == (16, 2)


def test_real_sets_can_be_mixed_with_generated_walls(data_folder: Path, walls: Path) -> None:
    if not (data_folder / "uav315").is_dir():
        pytest.skip(f"no uav315 in {data_folder}")
    train, validation = split_samples(open_dataset(data_folder / "uav315"), seed=0)
    assert (len(train), len(validation)) == (189, 63)
    data = load_training_set([str(walls), "synthetic:10"], PREPARED, seed=0)
    assert (len(data.train.images), len(data.validation.images)) == (26, 3)


def test_walls_repeat_and_follow_the_seed_except_those_of_validation() -> None:
    first, again, other = (
        load_training_set(["synthetic:10"], PREPARED, seed) for seed in (4, 4, 5)
    )
    assert all(map(np.array_equal, first.train.images, again.train.images))
    assert not np.array_equal(first.train.images[0], other.train.images[0])
    assert np.array_equal(first.validation.images[0], other.validation.images[0])
    assert all(set(np.unique(mask)) <= {0, 255} for mask in first.train.masks)
    assert any(mask.any() for mask in first.train.masks)


def test_a_mistake_in_the_last_set_shows_before_anything_is_read(walls: Path) -> None:
    messages: list[str] = []
    with pytest.raises(DataError, match="nowhere does not exist"):
        load_training_set([str(walls), "nowhere"], PREPARED, 0, messages.append)
    assert messages == []


# ---- several sources


def test_every_image_is_named_with_its_source(walls: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "uav")
    data = load_training_set([f"real={walls}", str(folder), "synthetic:10"], PREPARED, seed=2)
    assert data.sources == (("real", 16.0), ("uav", 2.0), ("synthetic", 10.0))
    for part in (data.train, data.validation):
        assert len(part.images) == len(part.masks) == len(part.names) == len(part.sources)
        assert len(set(part.names)) == len(part.names)
        assert part.sources == sorted(part.sources)
        origins = [data.sources[index][0] for index in part.sources]
        assert [name.partition("/")[0] for name in part.names] == origins
    samples = open_dataset(walls).all_samples
    for name, image in zip(data.train.names[:16], data.train.images[:16], strict=True):
        expected = preprocess(samples[name.partition("/")[2]].image(), PREPARED)
        assert np.array_equal(image, expected)
    uav = [name for name in data.train.names + data.validation.names if name.startswith("uav/")]
    assert sorted(uav) == ["uav/a", "uav/b", "uav/c"]
    assert data.train.names[-1] == "synthetic/200009"


def test_given_weights_are_kept(walls: Path, tmp_path: Path) -> None:
    make_folder(tmp_path / "uav")
    data = load_training_set([f"{walls}@3", f"{tmp_path / 'uav'}@0.5"], PREPARED, seed=0)
    assert data.sources == (("walls", 3.0), ("uav", 0.5))


def test_name_of_a_layout_demands_it(walls: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"walls does not have the layout cfd, which needs .*ground_tr"
    ):
        load_training_set([f"cfd={walls}"], PREPARED, seed=0)
    make_cfd(tmp_path / "roads")
    messages: list[str] = []
    load_training_set([f"cfd={tmp_path / 'roads'}"], PREPARED, 0, messages.append)
    assert messages == ["reading cfd: cfd layout, 2 train, 1 validation"]


def test_drawn_split_is_told(tmp_path: Path) -> None:
    for index in range(10):
        write_image(tmp_path / "image" / f"{index}.png", photo())
        write_image(tmp_path / "gt" / f"{index}.png", 255 - crack_mask())
    messages: list[str] = []
    data = load_training_set([f"cracktree={tmp_path}"], PREPARED, 0, messages.append)
    assert messages == ["reading cracktree: cracktree layout, seeded split, 5 train, 1 validation"]
    trained = {name.partition("/")[2] for name in data.train.names + data.validation.names}
    assert trained == set(open_dataset(tmp_path, layout="cracktree").splits["train"])
    assert all(np.array_equal(mask, crack_mask()) for mask in data.train.masks)


# ---- images without crack


def make_clean(folder: Path, count: int) -> Path:
    for index in range(count):
        write_image(folder / f"{index:03d}.jpg", photo(level=index))
    return folder


def test_images_without_crack_are_all_background(walls: Path, tmp_path: Path) -> None:
    folder = make_clean(tmp_path / "road", 30)
    write_image(folder / "000.png", photo())  # one stem twice is no mistake: nothing pairs up
    messages: list[str] = []
    data = load_training_set([str(walls), f"clean:{folder}"], PREPARED, 0, messages.append)
    assert messages[1] == "reading road: images without crack, 28 train, 3 validation"
    assert data.sources[1] == ("road", 28.0)
    clean = [
        mask for mask, source in zip(data.train.masks, data.train.sources, strict=True) if source
    ]
    assert len(clean) == 28
    assert all(mask.shape == HW and mask.dtype == np.uint8 and not mask.any() for mask in clean)
    names = [name for name in data.train.names + data.validation.names if name.startswith("road/")]
    assert sorted(names) == sorted(f"road/{path.name}" for path in folder.iterdir())


def test_tenth_of_the_clean_images_follows_from_names_and_seed(walls: Path, tmp_path: Path) -> None:
    folder = make_clean(tmp_path / "road", 40)

    def validated(seed: int) -> list[str]:
        data = load_training_set([str(walls), f"clean:{folder}"], PREPARED, seed)
        return [name for name in data.validation.names if name.startswith("road/")]

    first = validated(0)
    assert len(first) == 4
    assert validated(0) == first
    assert validated(1) != first
    (folder / "new.png").write_bytes((folder / "001.jpg").read_bytes())
    assert len(set(first) - set(validated(0))) <= 1


def test_clean_folder_must_hold_images(walls: Path, tmp_path: Path) -> None:
    for folder, words in (
        (tmp_path / "nowhere", "nowhere of images without crack does not exist; check"),
        (walls, "walls contains no images; give the folder with the image files"),
    ):
        with pytest.raises(DataError, match=words):
            load_training_set(["synthetic:10", f"clean:{folder}"], PREPARED, seed=0)


def test_only_clean_images_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no training image has a crack; add"):
        load_training_set([f"clean:{make_clean(tmp_path, 3)}"], PREPARED, seed=0)


# ---- masks that cannot be meant


def test_masks_without_any_crack_are_refused(walls: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "blank", tuple("abcdefgh"))
    for path in (folder / "masks").iterdir():
        write_image(path, np.zeros(HW))
    words = r"no training image has any crack: all 7 masks of 'blank' are black; .*clean:DIR"
    with pytest.raises(DataError, match=words):
        load_training_set([str(walls), str(folder)], PREPARED, seed=0)


def test_inverted_masks_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "negative")
    for path in (folder / "masks").iterdir():
        write_image(path, 255 - crack_mask())
    with pytest.raises(DataError, match=r"94 % of the pixels in the 2 .*'negative' are crack; inv"):
        load_training_set([str(folder)], PREPARED, seed=0)


def test_broken_file_ends_the_reading(tmp_path: Path) -> None:
    """The first broken one in the order of the names, whichever thread met one first."""
    folder = make_folder(tmp_path, tuple(f"{index:02d}" for index in range(40)))
    for name in ("30", "07", "08"):
        (folder / "images" / f"{name}.png").write_bytes(b"")
    for _ in range(5):
        with pytest.raises(DataError, match=r"07\.png is empty"):
            load_training_set([str(folder)], PREPARED, seed=1)


def test_reading_in_threads_changes_nothing(walls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = []
    for cores in (1, 8):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        sets.append(load_training_set([str(walls), "synthetic:12"], PREPARED, seed=3))
    for kind in ("train", "validation"):
        one, many = (getattr(item, kind) for item in sets)
        assert one.names == many.names
        for name in ("images", "masks"):
            assert all(map(np.array_equal, getattr(one, name), getattr(many, name)))
