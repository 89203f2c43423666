"""Everything a run trains and validates on, read, preprocessed and held in memory.

A few hundred camera images fit into memory many times over; what would cost time is reading
and equalising them again for every patch. numpy only; knows nothing of tensors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.data.datasets import CrackDataset, Sample, open_dataset
from edgecrack.data.synthetic import WallConfig, generate_wall
from edgecrack.errors import ConfigError, DataError
from edgecrack.preprocess import PreprocessConfig, preprocess

SYNTHETIC = "synthetic"
_DEFAULT_WALLS = 600
_WALL_SIZE_HW = (320, 320)
HOLD_OUT_SHARE = 0.1
_VALIDATION_SEED = 2**40  # beyond the seeds of training walls
# People mark cracks about a pixel wider on each side than they are: median width 3 px in CFD and
# uav315, 1 px in the exact masks of walls (benchmarks/label_widths.py). A network that learns from
# both needs one habit.
_LABEL_WIDENING = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.uint8)


@dataclass
class ImageSet:
    """Preprocessed images and their truth, in the same order.

    Attributes:
        images: uint8 [H, W] each.
        masks: uint8 [H, W] each, 255 where there is crack.
    """

    images: list[NDArray[np.uint8]] = field(default_factory=list)
    masks: list[NDArray[np.uint8]] = field(default_factory=list)

    def add(self, image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
        """Add one preprocessed image with its truth."""
        self.images.append(image)
        self.masks.append(mask)


@dataclass
class TrainingSet:
    """What a run trains on and what it validates on."""

    train: ImageSet
    validation: ImageSet


def load_training_set(
    specifications: Sequence[str],
    config: PreprocessConfig,
    seed: int,
    on_message: Callable[[str], None] = lambda message: None,
    hold_out: float = HOLD_OUT_SHARE,
) -> TrainingSet:
    """Read every dataset of a run.

    A folder's `train` and `val` splits are used where it has them; without a `val` split, or
    with an empty one, a seeded share of the training images is held out. `synthetic:COUNT`
    generates walls.

    Args:
        specifications: dataset folders and "synthetic[:COUNT]".
        config: how frames are prepared.
        seed: decides hold-outs and generated walls.
        on_message: told what is being read.
        hold_out: the share that is held out for validation where there is no `val` split, 0 to
            0.5. With 0, all images are trained on, and validation uses the same images.

    Raises:
        ConfigError: a specification is malformed.
        DataError: a file is missing, unreadable, or does not fit its partner, or a dataset
            leaves nothing to train on.
    """
    # Every folder is checked before the first is read, so that a mistake shows at once.
    datasets = {text: _open(text) for text in specifications}
    result = TrainingSet(ImageSet(), ImageSet())
    for text, dataset in datasets.items():
        if dataset is None:
            count = _wall_count(text)
            on_message(f"generating {count} walls")
            _add_walls(result, count, config, seed)
            continue
        train, validation = split_samples(dataset, seed, hold_out)
        on_message(f"reading {dataset.name}: {len(train)} train, {len(validation)} validation")
        for samples, target in ((train, result.train), (validation, result.validation)):
            for sample in samples:
                image, mask = sample.load()
                target.add(preprocess(image, config), mask)
    return result


def split_samples(
    dataset: CrackDataset, seed: int, hold_out: float = HOLD_OUT_SHARE
) -> tuple[list[Sample], list[Sample]]:
    """Training and validation samples of a dataset; never any of its test split.

    Raises:
        DataError: the splits leave nothing to train on.
    """
    reserved = {name for split in ("val", "test") for name in dataset.splits.get(split, ())}
    if "train" in dataset.splits:
        train = dataset.samples("train")
    else:
        train = [sample for sample in dataset.samples() if sample.name not in reserved]
    if not train:
        raise DataError(
            f"the splits of {dataset.folder} leave no image to train on", "mend splits.json"
        )
    if dataset.splits.get("val"):
        return train, dataset.samples("val")
    held_out = max(1, round(len(train) * hold_out)) if len(train) > 1 and hold_out > 0 else 0
    # Ordered by a hash of the name, so that adding an image does not reshuffle the rest.
    ranked = sorted(train, key=lambda item: hashlib.sha256(f"{seed}:{item.name}".encode()).digest())
    names = {sample.name for sample in ranked[:held_out]}
    validation = [sample for sample in train if sample.name in names]
    return [sample for sample in train if sample.name not in names], validation or train


def _open(text: str) -> CrackDataset | None:
    if text == SYNTHETIC or text.startswith(f"{SYNTHETIC}:"):
        _wall_count(text)
        return None
    return open_dataset(Path(text))


def _wall_count(text: str) -> int:
    _, _, count = text.partition(":")
    if not count:
        return _DEFAULT_WALLS
    if not count.isdecimal() or not 10 <= int(count) <= 100_000:
        raise ConfigError(
            f"{text!r} asks for {count!r} walls", "give synthetic:COUNT, 10 to 100000"
        )
    return int(count)


def _add_walls(result: TrainingSet, count: int, config: PreprocessConfig, seed: int) -> None:
    first = seed * 100_000
    for target, seeds in (
        (result.train, range(first, first + count)),
        (result.validation, range(_VALIDATION_SEED, _VALIDATION_SEED + max(1, count // 50))),
    ):
        for wall_seed in seeds:
            wall = generate_wall(WallConfig(seed=wall_seed, size_hw=_WALL_SIZE_HW))
            widened = cv2.dilate(wall.mask, _LABEL_WIDENING)
            target.add(preprocess(wall.image, config), np.asarray(widened, dtype=np.uint8))
