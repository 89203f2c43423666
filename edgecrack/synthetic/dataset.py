"""Writes generated walls to a folder in the layout of the project's data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.files import make_folder, write_atomic, write_png
from edgecrack.synthetic.wall import WallConfig, check_size_hw, generate_wall

SPLIT_NAMES = ("train", "val", "test")
_DEFAULT_FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}


def write_dataset(
    folder: Path,
    count: int,
    size_hw: tuple[int, int] = (480, 640),
    seed: int = 0,
    split_fractions: Mapping[str, float] | None = None,
) -> None:
    """Write images/NNNN.png, masks/NNNN.png and splits.json.

    Wall N is `generate_wall` of seed `seed + N`. Every file is written beside its place
    and then moved there, so a reader never sees half a file; splits.json comes last.

    Args:
        folder: made if absent; files of the same names are replaced.
        count: number of walls, 1 or more.
        size_hw: height and width of each, in pixels.
        seed: seed of the first wall, 0 or more.
        split_fractions: shares of train, val and test, which sum to 1; None is 0.8,
            0.1, 0.1.

    Raises:
        ConfigError: an argument is out of range.
        OutputError: the folder cannot be written.
    """
    if count < 1:
        raise ConfigError(f"count is {count}", "give 1 or more")
    check_size_hw("size_hw", size_hw)
    first = WallConfig(seed=seed, size_hw=size_hw).seed
    names = [f"{index:04d}" for index in range(count)]
    splits = _split(names, split_fractions or _DEFAULT_FRACTIONS, seed)
    for kind in ("images", "masks"):
        make_folder(folder / kind)
    for index, name in enumerate(names):
        wall = generate_wall(WallConfig(seed=first + index, size_hw=size_hw))
        write_png(folder / "images" / f"{name}.png", wall.image, durable=False)
        write_png(folder / "masks" / f"{name}.png", wall.mask, durable=False)
    write_atomic(folder / "splits.json", json.dumps(splits, indent=2) + "\n")


def _split(names: list[str], fractions: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Deal the names out at random; every name lands in exactly one split."""
    shares = [fractions.get(name, 0.0) for name in SPLIT_NAMES]
    unknown = sorted(set(fractions) - set(SPLIT_NAMES))
    if unknown or min(shares) < 0.0 or abs(sum(shares) - 1.0) > 1e-6:
        raise ConfigError(
            f"split_fractions is {dict(fractions)}",
            f"give shares of {', '.join(SPLIT_NAMES)}, none negative, that sum to 1",
        )
    order = np.random.default_rng((seed, 1)).permutation(len(names))
    ends = np.rint(np.cumsum([0.0, *shares]) * len(names)).astype(int).tolist()
    return {
        split: sorted(names[index] for index in order[begin:end])
        for split, begin, end in zip(SPLIT_NAMES, ends[:-1], ends[1:], strict=True)
    }
