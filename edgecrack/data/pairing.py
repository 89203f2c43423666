"""Which label file belongs to which image: folders are found and files are matched by name.

Knows names only; reads no file's content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecrack.data.splits import Splits
from edgecrack.errors import DataError
from edgecrack.images.decoding import DATASET_SUFFIXES

_ANY_SET = r"(?:cracktree\d*[_-]?)?"
_IMAGE_FOLDER = re.compile(rf"{_ANY_SET}(?:images?|imgs?|rgb)|cracktree\d*", re.IGNORECASE)
_LABEL_FOLDER = re.compile(
    rf"{_ANY_SET}(?:gts?|labels?|labs?|masks?|ground_?truths?|bmp)", re.IGNORECASE
)
_MARK = r"(?:gt|label|lab|mask|ground_?truth)"
_LABEL_PREFIX = re.compile(rf"^{_MARK}[ _-]", re.IGNORECASE)
# What lies beside images without being one. Any other file is refused, for it may be meant as one.
_NO_IMAGES = frozenset(
    {
        ".txt", ".md", ".json", ".csv", ".tsv", ".xml", ".xmp", ".yaml", ".yml",
        ".html", ".pdf", ".log", ".ini", ".db",
    }
)  # fmt: skip
_LABEL_SUFFIX = re.compile(rf"[ _-]{_MARK}$", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """The files of a dataset, before they have been checked against each other.

    Attributes:
        images: image files by sample name.
        masks: label files by sample name.
        read_mask: reads one of them to uint8 [H, W], 0 or 255.
        masks_folder: where a missing label should be.
        own_split_set: name of the split that the layout brings; "" for none.
        own_splits: makes that split.
        distractors: whether images without label belong to the set.
    """

    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    read_mask: Callable[[Path], NDArray[np.uint8]]
    masks_folder: Path
    own_split_set: str = ""
    own_splits: Callable[[], Splits] = dict
    distractors: bool = False


def list_images(folder: Path) -> dict[str, Path]:
    """The image files of a folder by their stems, in the order of their names.

    Raises:
        DataError: the folder is missing or has no images, two of them share a name, or a file is
            of a kind that is not read.
    """
    if not folder.is_dir():
        raise DataError(
            f"folder {folder} is missing",
            "a dataset needs images/ and masks/, or another layout of docs/datasets.md",
        )
    found = by_key(only_images(folder), stem_of)
    if not found:
        raise DataError(f"folder {folder} holds no images", "add images or check the path")
    return found


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name; hidden files are none."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in DATASET_SUFFIXES and not path.name.startswith(".")
    ]


def only_images(folder: Path) -> list[Path]:
    """The image files of a folder that is there for images, in which none may be overlooked.

    Raises:
        DataError: it has a file that is of no kind that is read, nor surely something else.
    """
    known = {*DATASET_SUFFIXES, *_NO_IMAGES}
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".")
        if path.suffix.lower() not in known and not hidden and path.is_file():
            raise DataError(
                f"{path} is no image of a kind that is read ({', '.join(DATASET_SUFFIXES)})",
                "convert it to png, or move it out of the folder",
            )
    return image_files(folder)


def stem_of(path: Path) -> str:
    """The file's name without folder and suffix."""
    return path.stem


def by_key(paths: Iterable[Path], key: Callable[[Path], str]) -> dict[str, Path]:
    """Files under their keys.

    Raises:
        DataError: two have the same.
    """
    found: dict[str, Path] = {}
    for path in paths:
        name = key(path)
        if name in found:
            raise DataError(
                f"{path} and {found[name]} share one name", "rename or remove one of them"
            )
        found[name] = path
    return found


def find_folders(folder: Path) -> tuple[Path, Path] | None:
    """The folder of images and that of labels in a dataset's folder, known by their names.

    Without a folder of images, the dataset's own is meant; without either, it is both.

    Returns:
        Images and labels; None where there are none, or several that could be.
    """
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    images = [path for path in inside if _IMAGE_FOLDER.fullmatch(path.name)]
    labels = [path for path in inside if _LABEL_FOLDER.fullmatch(path.name)]
    if len(images) > 1 or len(labels) > 1 or (images and not labels):
        return None
    if not images and not image_files(folder):
        return None
    return (
        _unpacked(images[0]) if images else folder,
        _unpacked(labels[0]) if labels else folder,
    )


def match_labels(
    images_folder: Path, labels_folder: Path
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and labels by the images' stems.

    A label has its image's stem, or that with `gt`, `label`, `lab`, `mask` or `groundtruth`
    before or behind it and `_`, `-` or a space between. In one folder for both, the labels are
    the marked files. A label whose image is missing keeps its own stem.

    Raises:
        DataError: two images, or two labels, belong to one name, or a file in one of two folders
            is of a kind that is not read.
    """
    if images_folder == labels_folder:
        files = image_files(images_folder)
        marked = {path for path in files if _unmarked(path.stem) != path.stem}
        labels = [path for path in files if path in marked]
        files = [path for path in files if path not in marked]
    else:
        files, labels = only_images(images_folder), only_images(labels_folder)
    images = by_key(files, stem_of)
    stems = {stem.lower(): stem for stem in images}

    def image_of(label: Path) -> str:
        for name in (label.stem.lower(), _unmarked(label.stem).lower()):
            if name in stems:
                return stems[name]
        return label.stem

    return images, by_key(labels, image_of)


def _unmarked(stem: str) -> str:
    return _LABEL_PREFIX.sub("", _LABEL_SUFFIX.sub("", stem)) or stem


def _unpacked(folder: Path) -> Path:
    """The folder, or the only one in it, as archives unpacked into their own name leave it."""
    inside = [path for path in folder.iterdir() if path.is_dir()]
    return inside[0] if len(inside) == 1 and not image_files(folder) else folder
