"""Dataset layouts on disk: one function per layout, and matching of labels by name.

A layout defines which files are images, which are their labels, how a label is read, and which
split the dataset has. No file is opened here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecrack.data.reading import (
    read_labelled_image,
    read_mask_cfd,
    read_mask_image,
    read_mask_rare,
)
from edgecrack.data.splits import DEFAULT_SPLIT_SET, Splits, draw_split
from edgecrack.errors import ConfigError, DataError
from edgecrack.images.decoding import DATASET_SUFFIXES

_ANY_SET = r"(?:cracktree\d*[_-]?)?"
_IMAGE_FOLDER = re.compile(rf"{_ANY_SET}(?:images?|imgs?|rgb)|cracktree\d*", re.IGNORECASE)
_LABEL_FOLDER = re.compile(
    rf"{_ANY_SET}(?:gts?|labels?|labs?|masks?|ground_?truths?|bmp)", re.IGNORECASE
)
_MARK = r"(?:gt|label|lab|mask|ground_?truth)"
_LABEL_PREFIX = re.compile(rf"^{_MARK}[ _-]", re.IGNORECASE)
# Other files that may be beside images. Any other suffix is refused, since it may be an image.
_NO_IMAGES = frozenset(
    {
        ".txt", ".md", ".json", ".csv", ".tsv", ".xml", ".xmp", ".yaml", ".yml",
        ".html", ".pdf", ".log", ".ini", ".db",
    }
)  # fmt: skip
_LABEL_SUFFIX = re.compile(rf"[ _-]{_MARK}$", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """The files of a dataset, not yet checked against each other.

    Attributes:
        images: image files by sample name.
        masks: label files by sample name.
        read_mask: reads one of them to uint8 [H, W], 0 or 255.
        masks_folder: where a missing label should be.
        own_split_set: name of the layout's own split; "" for none.
        own_splits: creates that split.
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
    """The image files of a folder by stem, in the order of their names.

    Raises:
        DataError: the folder is missing or has no images, two of them share a name, or a file is
            of an unsupported kind.
    """
    if not folder.is_dir():
        raise DataError(
            f"folder {folder} is missing",
            "a dataset needs images/ and masks/, or another layout of docs/datasets.md",
        )
    found = by_key(only_images(folder), stem_of)
    if not found:
        raise DataError(f"folder {folder} contains no images", "add images or check the path")
    return found


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name, without hidden files."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in DATASET_SUFFIXES and not path.name.startswith(".")
    ]


def only_images(folder: Path) -> list[Path]:
    """The image files of an image folder, in which none may be overlooked.

    Raises:
        DataError: a file may be an image of an unsupported kind.
    """
    known = {*DATASET_SUFFIXES, *_NO_IMAGES}
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".")
        if path.suffix.lower() not in known and not hidden and path.is_file():
            raise DataError(
                f"{path} is not a supported image file ({', '.join(DATASET_SUFFIXES)})",
                "convert it to png, or move it out of the folder",
            )
    return image_files(folder)


def stem_of(path: Path) -> str:
    """The file's name without folder and suffix."""
    return path.stem


def by_key(paths: Iterable[Path], key: Callable[[Path], str]) -> dict[str, Path]:
    """Files by key.

    Raises:
        DataError: two have the same key.
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
    """The image folder and the label folder of a dataset, recognized by their names.

    Without an image folder, the dataset's own folder is used; without either, it is both.

    Returns:
        Images and labels; None if there are none, or if several folders fit.
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

    A label has its image's stem, or the stem with the prefix or suffix `gt`, `label`, `lab`, `mask`
    or `groundtruth`, separated by `_`, `-` or a space. In a shared folder, the labels are the files
    with such a mark. A label without an image keeps its own stem.

    Raises:
        DataError: two images, or two labels, have the same name, or a file in one of two folders
            is of an unsupported kind.
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
    """The folder, or its only subfolder, as in an archive unpacked into a folder of its name."""
    inside = [path for path in folder.iterdir() if path.is_dir()]
    return inside[0] if len(inside) == 1 and not image_files(folder) else folder


_PAPER_SPLIT = (24, 38)  # training images of all
_FILE = re.compile(r"(?P<image>im_)?(?P<label>gt_)?(?P<key>aigle_rn_.+?)(?:or)?", re.IGNORECASE)


def find_aiglern(folder: Path, _: bool) -> Listing | None:
    """The files of AigleRN, in the published tree, in two folders or in one.

    Returns:
        None if the folder contains anything but AigleRN.
    """
    for base in (folder, folder / "TITS"):
        folders = find_folders(base) if base.is_dir() else None
        if folders is None:
            continue
        images_folder, labels_folder = (
            path / "AIGLE_RN" if (path / "AIGLE_RN").is_dir() else path for path in folders
        )
        files = [
            path
            for place in dict.fromkeys((images_folder, labels_folder))
            for path in image_files(place)
            if "nogt" not in path.stem.lower()
        ]
        matches = {path: match for path in files if (match := _FILE.fullmatch(path.stem))}
        if not matches or len(matches) < len(files):
            continue
        if images_folder == labels_folder:
            labels = _labels_among(matches)
        else:
            labels = {path for path in matches if path.parent == labels_folder}
        images = by_key([path for path in matches if path not in labels], _key)
        masks = by_key([path for path in matches if path in labels], _key)
        return Listing(
            images, masks, read_mask_rare, labels_folder, "seeded", partial(_split, images)
        )
    return None


def _key(path: Path) -> str:
    match = _FILE.fullmatch(path.stem)
    return match["key"] if match else path.stem


def _labels_among(matches: Mapping[Path, re.Match[str]]) -> set[Path]:
    """The labels in a shared folder: GT_X beside Im_GT_X, or Im_GT_X beside Im_X."""
    plain = {match["key"] for match in matches.values() if not match["label"]}
    return {
        path
        for path, match in matches.items()
        if match["label"] and (not match["image"] or match["key"] in plain)
    }


def _split(images: Mapping[str, Path]) -> Splits:
    """A split of the paper's sizes, with the same share of each image size."""
    sizes: dict[tuple[int, ...], list[str]] = {}
    for name, path in images.items():
        sizes.setdefault(read_labelled_image(path).shape, []).append(name)
    return draw_split((sizes[size] for size in sorted(sizes)), *_PAPER_SPLIT)


_CFD_LAST_TRAIN, _CFD_LAST = 72, 118
_CFD_WRONG_LABEL = "042"  # a copy of 065's, which matches nothing in the image
_CRACKTREE_COUNTS = (206, 260)
_CRACKTREE_SPLIT = (130, 206)  # training images of all, in the paper


class UnknownLayoutError(DataError):
    """A folder contains no dataset; a damaged dataset is another error."""


def list_dataset(folder: Path, layout: str | None) -> tuple[str, Listing]:
    """List a dataset's files.

    Args:
        folder: an existing dataset folder.
        layout: one of `LAYOUT_NAMES`; None detects it.

    Returns:
        The layout's name and the files.

    Raises:
        ConfigError: there is no such layout.
        DataError: the folder does not have the layout, or two files share a name.
        UnknownLayoutError: the folder has no known layout.
    """
    if layout is not None:
        if layout not in _LAYOUTS:
            raise ConfigError(f"layout is {layout!r}", f"choose one of: {', '.join(_LAYOUTS)}")
        needs, find = _LAYOUTS[layout]
        listing = find(folder, True)
        if listing is None:
            raise DataError(
                f"{folder} does not have the layout {layout}, which needs {needs}",
                "check the path, or give the data another name so that the layout is detected",
            )
        return layout, listing
    for name, (_, find) in _LAYOUTS.items():
        listing = find(folder, False)
        if listing is not None:
            return name, listing
    raise UnknownLayoutError(
        f"{folder} has no known layout",
        "make folders images/ and masks/, name its layout (e.g. `data` cracktree=DIR), or give "
        "images without crack as clean:DIR",
    )


def _find_cfd(folder: Path, _: bool) -> Listing | None:
    for images_name, labels_name in (("images", "ground_truth"), ("image", "groundTruth")):
        labels = sorted((folder / labels_name).glob("*.mat"))
        if labels:
            images = list_images(folder / images_name)
            masks = {path.stem: path for path in labels}
            return Listing(
                images,
                masks,
                read_mask_cfd,
                folder / labels_name,
                DEFAULT_SPLIT_SET,
                partial(_split_cfd, masks),
                distractors=True,
            )
    return None


def _split_cfd(names: Mapping[str, Path]) -> Splits:
    """The paper's 71 and 46 images, by number."""
    splits: Splits = {"train": [], "test": []}
    for name in sorted(names):
        if name.isdecimal() and name != _CFD_WRONG_LABEL and int(name) <= _CFD_LAST:
            splits["train" if int(name) <= _CFD_LAST_TRAIN else "test"].append(name)
    return splits if all(splits.values()) else {}


def _find_deepcrack(folder: Path, _: bool) -> Listing | None:
    parts = ("train", "test")
    if not all((folder / f"{part}_{kind}").is_dir() for part in parts for kind in ("img", "lab")):
        return None
    images = {part: list_images(folder / f"{part}_img") for part in parts}
    labels = {part: list_images(folder / f"{part}_lab") for part in parts}
    return Listing(
        by_key([path for part in parts for path in images[part].values()], stem_of),
        by_key([path for part in parts for path in labels[part].values()], stem_of),
        read_mask_image,
        folder / "train_lab or test_lab",
        "published",
        lambda: {part: list(images[part]) for part in parts},
    )


def _find_cracktree(folder: Path, demanded: bool) -> Listing | None:
    folders = find_folders(folder)
    if folders is None or (not demanded and folders == (folder / "images", folder / "masks")):
        return None
    images, masks = match_labels(*folders)
    named = any("cracktree" in path.name.lower() for path in (folder.resolve(), *folders))
    known = masks and (named or len(images) in _CRACKTREE_COUNTS)
    if not images or not (demanded or known):
        return None
    return Listing(
        images,
        masks,
        read_mask_rare,
        folders[1],
        "seeded",
        lambda: draw_split([images], *_CRACKTREE_SPLIT),
    )


def _find_generic(folder: Path, demanded: bool) -> Listing | None:
    if not demanded and not (folder / "images").is_dir() and not (folder / "masks").is_dir():
        return None
    images, masks = list_images(folder / "images"), list_images(folder / "masks")
    return Listing(images, masks, read_mask_image, folder / "masks")


# In the order in which they are tried: the most specific first.
_LAYOUTS: dict[str, tuple[str, Callable[[Path, bool], Listing | None]]] = {
    "cfd": ("images/NNN.jpg and ground_truth/NNN.mat", _find_cfd),
    "deepcrack": ("train_img/, train_lab/, test_img/ and test_lab/", _find_deepcrack),
    "aiglern": ("files named like Im_AIGLE_RN_C18a and GT_AIGLE_RN_C18a", find_aiglern),
    "cracktree": ("image/ and gt/, or NAME.jpg and NAME_gt.png in one folder", _find_cracktree),
    "generic": ("images/ and masks/", _find_generic),
}
LAYOUT_NAMES = tuple(_LAYOUTS)
