"""The training data sources: parsing `data` entries, and listing the images of each source.

A source is a dataset, a folder of crack-free images, or generated walls. Images are listed once
and read on demand.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.data.datasets import CrackDataset, Sample, open_dataset, read_image
from edgecrack.data.layouts import LAYOUT_NAMES, only_images
from edgecrack.data.splits import held_out
from edgecrack.errors import ConfigError, DataError
from edgecrack.preprocess import PreprocessConfig, preprocess
from edgecrack.synthetic import WallConfig, generate_wall

SYNTHETIC = "synthetic"
CLEAN = "clean"
Kind = Literal["labelled", "clean", "synthetic"]
_CLEAN = f"{CLEAN}:"
DEFAULT_WALLS = 600
_NAME = re.compile(r"[\w.-]+")
_WALLS = re.compile(rf"{SYNTHETIC}(?::(?P<count>[^@]*))?")
_GRAMMAR = "[NAME=]DIR[@WEIGHT], [NAME=]clean:DIR[@WEIGHT] or synthetic[:COUNT][@WEIGHT]"


@dataclass(frozen=True)
class DataSource:
    """One source of training images.

    Attributes:
        name: name of the source in messages and reports.
        kind: "labelled" images with masks, "clean" images without cracks, or "synthetic".
        folder: folder of the images; None for synthetic.
        layout: the required layout of the folder; None detects it.
        count: number of training walls, 10 to 100,000; 0 unless synthetic.
        weight: share of the patches relative to the other sources' weights, above 0; None uses
            the number of training images.
    """

    name: str
    kind: Kind
    folder: Path | None = None
    layout: str | None = None
    count: int = 0
    weight: float | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("a data source has no name", "give one: `data` NAME=DIR")
        if (self.folder is None) != (self.kind == "synthetic"):
            raise ConfigError(
                f"data source {self.name!r} is {self.kind} with folder {self.folder}",
                "give a folder to all sources but synthetic ones",
            )
        if self.kind == "synthetic" and not 10 <= self.count <= 100_000:
            raise ConfigError(
                f"data source {self.name!r} asks for {self.count} walls",
                "give synthetic:COUNT, 10 to 100000",
            )
        if self.weight is not None and not (self.weight > 0 and math.isfinite(self.weight)):
            raise ConfigError(
                f"the weight of data source {self.name!r} is {self.weight}",
                "give a number above 0 after the @",
            )

    @property
    def label(self) -> str:
        """The source for a report: only the name of its folder."""
        weight = "" if self.weight is None else f"@{self.weight:g}"
        if self.kind == "clean":
            return f"{CLEAN}:{self.name}{weight}"
        if self.kind == "synthetic":
            return f"{SYNTHETIC}:{self.count}{weight}"
        return f"{self.name}{weight}"


def parse_source(text: str) -> DataSource:
    """Read one data source.

    It is `[NAME=]DIR[@WEIGHT]`, `[NAME=]clean:DIR[@WEIGHT]` or `synthetic[:COUNT][@WEIGHT]`.
    The default name is the folder's. A given name that is a layout's requires that layout. The
    longest path that is an existing folder is used, since a path may contain "=" and "@". The
    word "synthetic" is never a folder; "./synthetic" is.

    Raises:
        ConfigError: the text has another form, or a count or weight is out of range.
    """
    readings = list(_readings(text))
    for name, body, weight in readings:
        if _is_there(name, body):
            return _make_source(text, name, body, weight)
    # No such folder exists: use the shortest path.
    return _make_source(text, *readings[-1])


def parse_sources(texts: Sequence[str]) -> tuple[DataSource, ...]:
    """Read all sources of a run and check that they fit together.

    Raises:
        ConfigError: as for `parse_source`; or two sources share a name, only some have a weight,
            or none has cracks.
    """
    sources = tuple(parse_source(text) for text in texts)
    seen: dict[str, str] = {}
    for source, text in zip(sources, texts, strict=True):
        if source.name in seen:
            raise ConfigError(
                f"{seen[source.name]!r} and {text!r} are both named {source.name!r}",
                "ask for all walls in one source"
                if source.kind == "synthetic"
                else "give them different names: `data` NAME=DIR",
            )
        seen[source.name] = text
    weightless = [text for source, text in zip(sources, texts, strict=True) if not source.weight]
    if weightless and len(weightless) < len(texts):
        raise ConfigError(
            f"{weightless[0]!r} has no weight, but other data sources have",
            "give every `data` a weight (@NUMBER), or none",
        )
    if sources and all(source.kind == "clean" for source in sources):
        raise ConfigError(
            "no training image has a crack", "add a labelled dataset or synthetic:600"
        )
    return sources


def _readings(text: str) -> Iterator[tuple[str, str, str | None]]:
    """Name ("" for none), body and weight (None for none) for each way to parse a text."""
    head, equals, rest = text.partition("=")
    named = bool(equals) and _NAME.fullmatch(head) is not None
    bodies = [("", text), *([(head, rest)] if named else [])]
    for name, body in bodies:
        yield name, body, None
    for name, body in bodies:
        place, at, weight = body.rpartition("@")
        if at and "/" not in weight:
            yield name, place, weight


def _is_there(name: str, body: str) -> bool:
    if not name and _WALLS.fullmatch(body):
        return True
    return any(place and _is_folder(place) for place in (body, body.removeprefix(_CLEAN)))


def _is_folder(text: str) -> bool:
    try:
        return _folder(text).is_dir()
    except OSError:  # too long for a name, or in an unreadable folder
        return False


def _make_source(text: str, name: str, body: str, weight_text: str | None) -> DataSource:
    if name in (SYNTHETIC, CLEAN):
        raise ConfigError(
            f"{text!r} gives the reserved name {name!r}",
            "give clean:DIR for images without crack, synthetic:COUNT for walls, or another name",
        )
    weight = None if weight_text is None else _number(text, weight_text)
    walls = None if name else _WALLS.fullmatch(body)
    if walls:
        count = _wall_count(text, walls["count"])
        return DataSource(SYNTHETIC, "synthetic", count=count, weight=weight)
    clean = body.startswith(_CLEAN) and not _is_folder(body)
    place = body.removeprefix(_CLEAN) if clean else body
    if not place:
        raise ConfigError(f"data source {text!r} names no folder", f"give {_GRAMMAR}")
    folder = _folder(place)
    layout = name if name in LAYOUT_NAMES and not clean else None
    kind: Kind = "clean" if clean else "labelled"
    return DataSource(name or folder.resolve().name, kind, folder, layout, weight=weight)


def _folder(text: str) -> Path:
    # The shell leaves "NAME=~/DIR" as it is.
    return Path(text).expanduser() if text.startswith("~/") else Path(text)


def _number(text: str, weight: str) -> float:
    try:
        return float(weight)
    except ValueError:
        raise ConfigError(
            f"the weight of data source {text!r} is {weight!r}",
            "give a number above 0 after the @",
        ) from None


def _wall_count(text: str, count: str | None) -> int:
    if count is None:
        return DEFAULT_WALLS
    if not count.isdecimal() or len(count) > 9:
        raise ConfigError(
            f"{text!r} asks for {count!r} walls", "give synthetic:COUNT, 10 to 100000"
        )
    return int(count)


HOLD_OUT_SHARE = 0.1
_WALL_SIZE_HW = (320, 320)
_VALIDATION_SEED = 2**40  # beyond the seeds of training walls
# People mark cracks about a pixel wider on each side than they are: median width 3 px in CFD and
# uav315, 1 px in the exact masks of walls (benchmarks/label_widths.py). A network that learns from
# both needs consistent masks.
_LABEL_WIDENING = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=np.uint8)
_MOST_READERS = 8

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class ImageList:
    """Images with their truth, read one by one.

    Attributes:
        names: unique in the source.
        load: returns the preprocessed image and truth of an index, uint8 [H, W] each; thread-safe.
        paths: the image files; none if images are generated.
    """

    names: Sequence[str]
    load: Callable[[int], Pair]
    paths: Sequence[Path] = ()

    def read(self) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
        """Name, image and truth in the order of the names.

        Images are prepared in several threads; the result does not depend on their number.

        Raises:
            DataError: a file cannot be read, or does not fit its partner.
        """
        with ThreadPoolExecutor(min(_MOST_READERS, os.cpu_count() or 1)) as pool:
            pairs = pool.map(self.load, range(len(self.names)))
            for name, (image, mask) in zip(self.names, pairs, strict=True):
                yield name, image, mask


@dataclass(frozen=True)
class SourceImages:
    """The images of a source.

    Attributes:
        train: training images.
        validation: validation images.
        message: text to show while they are being read.
        drawn: whether validation images were drawn from the training images; else they are the
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
    """Training and validation samples of a dataset, never from its test split.

    Raises:
        DataError: the splits leave nothing to train on.
    """
    reserved = {name for split in ("val", "test") for name in dataset.splits.get(split, ())}
    listed = dataset.splits.get("train")
    names = [name for name in dataset.all_samples if name not in reserved]
    train = [dataset.all_samples[name] for name in (names if listed is None else listed)]
    if not train:
        raise DataError(
            f"the splits of {dataset.folder} leave no training image", "fix splits.json"
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
    """All images of a folder, as background."""
    if not folder.is_dir():
        raise DataError(
            f"folder {folder} of images without crack does not exist",
            "check the path given to `data`",
        )
    files = only_images(folder)
    if not files:
        raise DataError(
            f"folder {folder} contains no images", "give the folder with the image files"
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
