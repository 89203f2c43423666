"""Opens labelled image datasets and checks their files against each other.

Files are read on demand. A `DataError` names a file that does not fit; `layouts` defines which
files are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecrack.data.layouts import Listing, list_dataset
from edgecrack.data.reading import read_image, read_labelled_image
from edgecrack.data.splits import Splits, check_listed, read_splits
from edgecrack.errors import ConfigError, DataError

__all__ = ["CrackDataset", "Sample", "open_dataset", "read_image"]


@dataclass(frozen=True)
class Sample:
    """One labelled image; files are read on demand.

    Attributes:
        name: the file's stem, unique in its dataset.
        read_mask: reads the label's file as uint8 [H, W], 0 or 255.
    """

    name: str
    image_path: Path
    mask_path: Path
    read_mask: Callable[[Path], NDArray[np.uint8]] = field(repr=False)

    def image(self) -> NDArray[np.uint8]:
        """The image as stored, uint8 [H, W, 3] in BGR order.

        It is not rotated by its EXIF data, since masks have none.

        Raises:
            DataError: the file cannot be read.
        """
        return read_labelled_image(self.image_path)

    def mask(self) -> NDArray[np.uint8]:
        """The truth, uint8 [H, W], 255 where there is crack, else 0.

        Raises:
            DataError: the file cannot be read.
        """
        return self.read_mask(self.mask_path)

    def load(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Image and truth, checked to have the same size.

        Raises:
            DataError: a file cannot be read, or the sizes differ.
        """
        image, mask = self.image(), self.mask()
        if image.shape[:2] != mask.shape:
            remedy = "give a mask of the image's size"
            if read_image(self.image_path).shape[:2] == mask.shape:
                remedy = (
                    "the mask fits the image as rotated by its EXIF data: save the image rotated "
                    "and without EXIF orientation"
                )
            raise DataError(
                f"{self.mask_path} is {mask.shape[1]}x{mask.shape[0]} px but {self.image_path.name}"
                f" is {image.shape[1]}x{image.shape[0]}",
                remedy,
            )
        return image, mask


@dataclass(frozen=True)
class CrackDataset:
    """An open dataset whose file list has been checked.

    Attributes:
        name: the folder's name.
        all_samples: every labelled image, by name.
        splits: split name -> sample names; empty if there is neither a `splits.json` nor a split of
            the layout.
        unlabelled: images that belong to no split and have no label (CFD's distractors).
        layout: one of `layouts.LAYOUT_NAMES`.
        split_origin: origin of the splits: "splits.json", "paper", "published", "seeded", or "" if
            there are none.
    """

    name: str
    folder: Path
    all_samples: Mapping[str, Sample]
    splits: Mapping[str, Sequence[str]]
    unlabelled: Sequence[Path]
    layout: str = "generic"
    split_origin: str = ""

    def samples(self, split: str | None = None) -> list[Sample]:
        """The samples of a split, or all of them.

        Raises:
            ConfigError: the dataset has no such split.
            DataError: the split is empty.
        """
        if split is None or split == "all":
            return list(self.all_samples.values())
        if split not in self.splits:
            known = ", ".join([*self.splits, "all"])
            raise ConfigError(f"{self.folder} has no split {split!r}", f"choose one of: {known}")
        if not self.splits[split]:
            raise DataError(
                f"split {split!r} of {self.folder} is empty",
                f"list images in {self.folder / 'splits.json'}, or choose another split",
            )
        return [self.all_samples[name] for name in self.splits[split]]


def open_dataset(
    folder: Path, split_set: str | None = None, layout: str | None = None
) -> CrackDataset:
    """Open a labelled dataset.

    Args:
        folder: a folder in one of the layouts of docs/datasets.md.
        split_set: set of splits; None uses "paper" if `splits.json` has several sets, else the
            only one. `splits.json` takes precedence over the layout's own split.
        layout: the required layout; None detects it.

    Raises:
        DataError: a folder or file is missing, an image has no mask, the folder does not have the
            layout, or `splits.json` is unusable.
        ConfigError: there is no such split set or layout.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.is_file() else "does not exist"
        raise DataError(f"dataset folder {folder} {problem}", "check the path given to `data`")
    found, listing = list_dataset(folder, layout)
    samples = {
        name: Sample(name, path, listing.masks[name], listing.read_mask)
        for name, path in listing.images.items()
        if name in listing.masks
    }
    _check_partners(listing)
    splits, origin = _find_splits(folder, listing, split_set)
    check_listed(folder / "splits.json", splits, samples)
    unlabelled = [path for name, path in listing.images.items() if name not in samples]
    return CrackDataset(
        folder.resolve().name, folder, samples, splits, unlabelled, found, origin if splits else ""
    )


def _check_partners(listing: Listing) -> None:
    alone = [path for name, path in listing.images.items() if name not in listing.masks]
    # CFD ships its distractors without labels on purpose; elsewhere a missing mask is a mistake.
    if alone and not listing.distractors:
        raise DataError(
            f"image {alone[0]} has no mask in {listing.masks_folder}"
            + (f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""),
            "add the mask or remove the image",
        )
    orphans = sorted(set(listing.masks) - set(listing.images))
    if orphans:
        raise DataError(
            f"mask {listing.masks[orphans[0]]} has no image", "add the image or remove the mask"
        )


def _find_splits(folder: Path, listing: Listing, split_set: str | None) -> tuple[Splits, str]:
    path = folder / "splits.json"
    if path.exists():
        return read_splits(path, split_set), path.name
    own = listing.own_split_set
    if split_set not in (None, own):
        raise ConfigError(
            f"there is no {path} with the split set {split_set!r}",
            f"omit the split set, or choose {own!r}" if own else "omit the split set",
        )
    return listing.own_splits(), own
