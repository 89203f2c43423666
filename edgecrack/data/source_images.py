"""The images that each data source brings to a run, listed at once and read on demand.

Datasets are split or have a share held out, folders without crack are all background, walls are
generated. Knows single sources; what they make together is `training_set`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.data.datasets import CrackDataset, Sample, open_dataset, read_image
from edgecrack.data.pairing import only_images
from edgecrack.data.sources import DataSource
from edgecrack.data.splits import held_out
from edgecrack.errors import DataError
from edgecrack.preprocess import PreprocessConfig, preprocess
from edgecrack.synthetic import WallConfig, generate_wall

HOLD_OUT_SHARE = 0.1
_WALL_SIZE_HW = (320, 320)
_VALIDATION_SEED = 2**40  # beyond the seeds of training walls
# People mark cracks about a pixel wider on each side than they are: median width 3 px in CFD and
# uav315, 1 px in the exact masks of walls (benchmarks/label_widths.py). A network that learns from
# both needs one habit.
_LABEL_WIDENING = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.uint8)
_MOST_READERS = 8

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class ImageList:
    """Images with their truth, read one by one.

    Attributes:
        names: unique in the source.
        load: preprocessed image and truth of an index, uint8 [H, W] each; from any thread.
        paths: the image files; none where images are generated.
    """

    names: Sequence[str]
    load: Callable[[int], Pair]
    paths: Sequence[Path] = ()

    def read(self) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
        """Name, image and truth in the order of the names.

        OpenCV and numpy work side by side in threads; what comes out does not depend on it.

        Raises:
            DataError: a file cannot be read, or does not fit its partner.
        """
        with ThreadPoolExecutor(min(_MOST_READERS, os.cpu_count() or 1)) as pool:
            pairs = pool.map(self.load, range(len(self.names)))
            for name, (image, mask) in zip(self.names, pairs, strict=True):
                yield name, image, mask


@dataclass(frozen=True)
class SourceImages:
    """What a source brings.

    Attributes:
        train: to train on.
        validation: to validate on.
        message: how to say that it is being read.
        drawn: whether validation images were drawn from those to train on; else they are the
            dataset's own, or generated.
    """

    train: ImageList
    validation: ImageList
    message: str
    drawn: bool = True


def list_source(
    source: DataSource, config: PreprocessConfig, seed: int, hold_out: float
) -> SourceImages:
    """List a source's images; the arguments are those of `load_training_set`.

    Raises:
        DataError: the folder or a file is missing, or the splits leave nothing to train on.
    """
    if source.folder is None:
        train, validation = _list_walls(source.count, config, seed)
        return SourceImages(train, validation, f"generating {source.count} walls")
    if source.kind == "clean":
        train, validation = _list_clean(source.folder, config, seed, hold_out)
        about, drawn = "images without crack, ", True
    else:
        dataset = open_dataset(source.folder, layout=source.layout)
        train, validation = (
            _list_samples(samples, config) for samples in split_samples(dataset, seed, hold_out)
        )
        drawn = not dataset.splits.get("val")
        about = "" if dataset.layout == "generic" else f"{dataset.layout} layout, "
        about += "seeded split, " if dataset.split_origin == "seeded" else ""
    counts = f"{len(train.names)} train, {len(validation.names)} validation"
    return SourceImages(train, validation, f"reading {source.name}: {about}{counts}", drawn)


def split_samples(
    dataset: CrackDataset, seed: int, hold_out: float = HOLD_OUT_SHARE
) -> tuple[list[Sample], list[Sample]]:
    """Training and validation samples of a dataset; never any of its test split.

    Raises:
        DataError: the splits leave nothing to train on.
    """
    reserved = {name for split in ("val", "test") for name in dataset.splits.get(split, ())}
    listed = dataset.splits.get("train")
    names = [name for name in dataset.all_samples if name not in reserved]
    train = [dataset.all_samples[name] for name in (names if listed is None else listed)]
    if not train:
        raise DataError(
            f"the splits of {dataset.folder} leave no image to train on", "mend splits.json"
        )
    if dataset.splits.get("val"):
        return train, dataset.samples("val")
    chosen = held_out((sample.name for sample in train), seed, hold_out)
    validation = [sample for sample in train if sample.name in chosen]
    return [sample for sample in train if sample.name not in chosen], validation or train


def _list_samples(samples: Sequence[Sample], config: PreprocessConfig) -> ImageList:
    def load(index: int) -> Pair:
        image, mask = samples[index].load()
        return preprocess(image, config), mask

    paths = [sample.image_path for sample in samples]
    return ImageList([sample.name for sample in samples], load, paths)


def _list_clean(
    folder: Path, config: PreprocessConfig, seed: int, hold_out: float
) -> tuple[ImageList, ImageList]:
    """All images of a folder, all background."""
    if not folder.is_dir():
        raise DataError(
            f"folder {folder} of images without crack does not exist",
            "check the path given to `data`",
        )
    files = only_images(folder)
    if not files:
        raise DataError(
            f"folder {folder} holds no images", "give the folder in which the image files lie"
        )
    # With suffix: a camera's folder may hold one stem as .jpg and as .png.
    chosen = held_out((path.name for path in files), seed, hold_out)
    validation = [path for path in files if path.name in chosen]
    train = [path for path in files if path.name not in chosen]

    def listed(paths: Sequence[Path]) -> ImageList:
        def load(index: int) -> Pair:
            image = preprocess(read_image(paths[index]), config)
            return image, np.zeros_like(image)

        return ImageList([path.name for path in paths], load, paths)

    return listed(train), listed(validation or train)


def _list_walls(count: int, config: PreprocessConfig, seed: int) -> tuple[ImageList, ImageList]:
    first = seed * 100_000

    def listed(seeds: range) -> ImageList:
        def load(index: int) -> Pair:
            wall = generate_wall(WallConfig(seed=seeds[index], size_hw=_WALL_SIZE_HW))
            widened = cv2.dilate(wall.mask, _LABEL_WIDENING)
            return preprocess(wall.image, config), np.asarray(widened, dtype=np.uint8)

        return ImageList([str(wall_seed) for wall_seed in seeds], load)

    held = range(_VALIDATION_SEED, _VALIDATION_SEED + max(1, count // 50))
    return listed(range(first, first + count)), listed(held)
