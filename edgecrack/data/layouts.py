"""How published datasets and folders of one's own lie on disk: one function for each layout.

A layout says which files are images, which are their labels, how a label is read, and which
split is the set's own. It opens no file but to learn its size. docs/datasets.md shows the trees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from edgecrack.data.aiglern import find_aiglern
from edgecrack.data.pairing import (
    Listing,
    by_key,
    find_folders,
    list_images,
    match_labels,
    stem_of,
)
from edgecrack.data.reading import read_mask_cfd, read_mask_image, read_mask_rare
from edgecrack.data.splits import DEFAULT_SPLIT_SET, Splits, draw_split
from edgecrack.errors import ConfigError, DataError

_CFD_LAST_TRAIN, _CFD_LAST = 72, 118
_CFD_WRONG_LABEL = "042"  # a copy of 065's, which matches nothing in the image
_CRACKTREE_COUNTS = (206, 260)
_CRACKTREE_SPLIT = (130, 206)  # training images of all, in the paper


class UnknownLayoutError(DataError):
    """A folder holds no dataset; another error says that a dataset in it is damaged."""


def list_dataset(folder: Path, layout: str | None) -> tuple[str, Listing]:
    """List a dataset's files.

    Args:
        folder: the dataset, which is there.
        layout: one of `LAYOUT_NAMES`; None finds it out.

    Returns:
        The layout's name and the files.

    Raises:
        ConfigError: there is no such layout.
        DataError: the folder is not of the layout, or two files share a name.
        UnknownLayoutError: the folder is of no layout.
    """
    if layout is not None:
        if layout not in _LAYOUTS:
            raise ConfigError(f"layout is {layout!r}", f"choose one of: {', '.join(_LAYOUTS)}")
        needs, find = _LAYOUTS[layout]
        listing = find(folder, True)
        if listing is None:
            raise DataError(
                f"{folder} is not of the layout {layout}, which needs {needs}",
                "check the path, or give the data another name to have the layout found out",
            )
        return layout, listing
    for name, (_, find) in _LAYOUTS.items():
        listing = find(folder, False)
        if listing is not None:
            return name, listing
    raise UnknownLayoutError(
        f"{folder} is of no known layout",
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


# In the order in which they are tried: the most telling first.
_LAYOUTS: dict[str, tuple[str, Callable[[Path, bool], Listing | None]]] = {
    "cfd": ("images/NNN.jpg and ground_truth/NNN.mat", _find_cfd),
    "deepcrack": ("train_img/, train_lab/, test_img/ and test_lab/", _find_deepcrack),
    "aiglern": ("files named like Im_AIGLE_RN_C18a and GT_AIGLE_RN_C18a", find_aiglern),
    "cracktree": ("image/ and gt/, or NAME.jpg and NAME_gt.png in one folder", _find_cracktree),
    "generic": ("images/ and masks/", _find_generic),
}
LAYOUT_NAMES = tuple(_LAYOUTS)
