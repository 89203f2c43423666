"""Splits: what `splits.json` may say, and that drawn splits follow from the names alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.data.datasets import open_dataset
from edgecrack.data.splits import SPLIT_SEED, draw_split, held_out, read_splits
from edgecrack.errors import ConfigError, DataError
from tests.data.folders import make_folder, write_splits

some_names = st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=60, unique=True)


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
        ({"train": ["a", "b", "a"]}, None, DataError, "'a' 2 times in 'train'; list it once"),
        (
            {"train": ["a", "b"], "test": ["c", "b", "a"]},
            None,
            DataError,
            r"'a' in both 'train' and 'test' \(and 1 more\); list it in one",
        ),
        ({"val": ["b"], "test": ["b"]}, None, DataError, "'b' in both 'val' and 'test'; list"),
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


def test_other_splits_may_share_images(tmp_path: Path) -> None:
    write_splits(tmp_path, {"train": ["a", "b"], "small": ["a"], "test": ["c"]})
    assert read_splits(tmp_path / "splits.json", None)["small"] == ["a"]


@given(some_names, st.integers(1, 9), st.randoms())
def test_drawn_split_is_a_partition_that_ignores_the_order(
    names: list[str], train: int, random: Any
) -> None:
    split = draw_split([names], train, 10)
    if split:
        assert sorted(split["train"] + split["test"]) == sorted(names)
        assert len(split["train"]) == round(len(names) * train / 10)
    else:
        assert round(len(names) * train / 10) in (0, len(names))
    random.shuffle(names)
    assert draw_split([names], train, 10) == split


def test_drawn_split_is_the_documented_one() -> None:
    """Scores are compared across machines and years: the rule is part of the interface."""
    names = [f"{index:04d}" for index in range(206)]
    order = sorted(
        names, key=lambda name: hashlib.sha256(f"{SPLIT_SEED}:{name}".encode()).hexdigest()
    )
    assert SPLIT_SEED == 2020
    assert draw_split([names], 130, 206) == {
        "train": sorted(order[:130]),
        "test": sorted(order[130:]),
    }


def test_each_group_is_split_alike() -> None:
    groups = [[f"{size}{index}" for index in range(19)] for size in ("large", "small")]
    split = draw_split(groups, 24, 38)
    assert (len(split["train"]), len(split["test"])) == (24, 14)
    for group in groups:
        assert len(set(group) & set(split["train"])) == 12


@given(some_names, st.integers(0, 5))
def test_who_is_held_out_does_not_depend_on_who_trains(names: list[str], seed: int) -> None:
    chosen = held_out(names, seed, 0.1)
    assert len(chosen) == max(1, round(len(names) * 0.1))
    rest = [name for name in names if name not in chosen]
    if len(rest) > 1 and round((len(names) - 1) * 0.1) == round(len(names) * 0.1):
        assert held_out([*rest[1:], *chosen], seed, 0.1) == chosen
    assert held_out(names, seed, 0.0) == set()
