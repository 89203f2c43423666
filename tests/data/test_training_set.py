"""What a run trains on: splits respected, hold-outs that repeat, walls on demand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecrack.data.datasets import open_dataset
from edgecrack.data.synthetic import write_dataset
from edgecrack.data.training_set import load_training_set, split_samples
from edgecrack.errors import ConfigError, DataError
from edgecrack.preprocess import PreprocessConfig, preprocess

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
    with pytest.raises(DataError, match=r"copy leave no image to train on"):
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


@pytest.mark.parametrize("text", ["synthetic:x", "synthetic:9", "synthetic:-5", "synthetic:100001"])
def test_malformed_wall_counts(text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        load_training_set([text], PREPARED, seed=0)


def test_a_mistake_in_the_last_set_shows_before_anything_is_read(walls: Path) -> None:
    messages: list[str] = []
    with pytest.raises(DataError, match="nowhere does not exist"):
        load_training_set([str(walls), "nowhere"], PREPARED, 0, messages.append)
    assert messages == []
