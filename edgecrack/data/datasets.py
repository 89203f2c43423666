"""Labelled image sets on disk: CFD, and folders of images and masks.

A dataset is opened, checked and listed here, and its files are read on demand. A file that
does not fit is named in a `DataError`; nothing is skipped. Knows nothing of patches,
tensors or training.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError, DataError
from edgecrack.images import IMAGE_SUFFIXES, DamagedImageError, decode_image

DEFAULT_SPLIT_SET = "paper"
_CFD_CRACK_LABEL = 2  # 1 is background, 3 and 4 are enclosed or ambiguous background


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file.

    Returns:
        uint8 [H, W, 3] in BGR order.

    Raises:
        DataError: the file is missing or cannot be decoded.
    """
    try:
        return decode_image(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"cannot read image {path}: {error.strerror}", "check the path and its permissions"
        ) from error
    except DamagedImageError as error:
        raise DataError(f"the image {path} {error}", "replace or remove the file") from error


def read_mask_image(path: Path) -> NDArray[np.uint8]:
    """Read a mask image; pixels of at least half brightness are crack.

    Returns:
        uint8 [H, W], 0 or 255.

    Raises:
        DataError: the file is missing or cannot be decoded, or it has marks but none of them
            is bright enough to count.
    """
    gray = cv2.cvtColor(read_image(path), cv2.COLOR_BGR2GRAY)
    brightest = int(gray.max())
    if 0 < brightest < 128:
        # Labelling tools write class numbers or palettes; that would be read as an empty mask.
        raise DataError(
            f"mask {path} holds no value above {brightest}",
            "convert it, so that crack is 255 and the rest 0",
        )
    return np.where(gray >= 128, 255, 0).astype(np.uint8)


def read_mask_cfd(path: Path) -> NDArray[np.uint8]:
    """Read a CFD ground-truth file; `Segmentation == 2` is crack.

    Returns:
        uint8 [H, W], 0 or 255.

    Raises:
        DataError: the file is missing, damaged, or holds no `groundTruth.Segmentation`.
        MissingDependencyError: scipy, which reads MATLAB files, is not installed.
    """
    from edgecrack.extras import require

    loadmat = require("scipy.io", extra="train", purpose="reading CFD's .mat files").loadmat
    try:
        # Read here, because the reader's own message on a missing file does not say so.
        content = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"cannot read label file {path}: {error.strerror}", "restore it from the dataset"
        ) from error
    try:
        segmentation = np.asarray(loadmat(content)["groundTruth"][0, 0]["Segmentation"])
    except Exception as error:  # the reader raises a dozen types on damaged files
        raise DataError(
            f"{path} is not a CFD label file ({error})", "restore it from the dataset"
        ) from error
    return np.where(segmentation == _CFD_CRACK_LABEL, 255, 0).astype(np.uint8)


@dataclass(frozen=True)
class Sample:
    """One labelled image; files are read when asked for.

    Attributes:
        name: the file's stem, unique in its dataset.
    """

    name: str
    image_path: Path
    mask_path: Path
    _read_mask: Callable[[Path], NDArray[np.uint8]] = field(repr=False)

    def image(self) -> NDArray[np.uint8]:
        """The image, uint8 [H, W, 3] in BGR order.

        Raises:
            DataError: the file cannot be read.
        """
        return read_image(self.image_path)

    def mask(self) -> NDArray[np.uint8]:
        """The truth, uint8 [H, W], 255 where there is crack, else 0.

        Raises:
            DataError: the file cannot be read.
        """
        return self._read_mask(self.mask_path)

    def load(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Image and truth, checked to be of the same size.

        Raises:
            DataError: a file cannot be read, or the sizes differ.
        """
        image, mask = self.image(), self.mask()
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{self.mask_path} is {mask.shape[1]}x{mask.shape[0]} px but {self.image_path.name}"
                f" is {image.shape[1]}x{image.shape[0]}",
                "give a mask of the image's size",
            )
        return image, mask


@dataclass(frozen=True)
class CrackDataset:
    """A dataset that has been opened and whose file list has been checked.

    Attributes:
        name: the folder's name.
        all_samples: every labelled image, by name.
        splits: split name -> sample names; empty where the folder has no `splits.json`.
        unlabelled: images that belong to no split and have no label (CFD's distractors).
    """

    name: str
    folder: Path
    all_samples: Mapping[str, Sample]
    splits: Mapping[str, Sequence[str]]
    unlabelled: Sequence[Path]

    def samples(self, split: str | None = None) -> list[Sample]:
        """The samples of a split, or all of them.

        Raises:
            ConfigError: the dataset has no such split.
        """
        if split is None or split == "all":
            return list(self.all_samples.values())
        if split not in self.splits:
            known = ", ".join([*self.splits, "all"])
            raise ConfigError(f"{self.folder} has no split {split!r}", f"choose one of: {known}")
        return [self.all_samples[name] for name in self.splits[split]]


def open_dataset(folder: Path, split_set: str | None = None) -> CrackDataset:
    """Open a labelled dataset.

    Two layouts are read: CFD (`images/NNN.jpg`, `ground_truth/NNN.mat`) and generic folders
    (`images/NAME.*`, `masks/NAME.*`). `splits.json` is optional: `{"train": [names], ...}`,
    or several named sets of those, of which `split_set` picks one (default "paper").

    Raises:
        DataError: a folder or file is missing, or an image has no mask.
        ConfigError: `split_set` does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"dataset folder {folder} does not exist", "check the path given to --data")
    images = _list_images(folder / "images")
    if (folder / "ground_truth").is_dir():
        masks = {path.stem: path for path in sorted((folder / "ground_truth").glob("*.mat"))}
        reader: Callable[[Path], NDArray[np.uint8]] = read_mask_cfd
    else:
        masks = _list_images(folder / "masks")
        reader = read_mask_image
    splits = _read_splits(folder / "splits.json", split_set)
    samples = {
        name: Sample(name, path, masks[name], reader)
        for name, path in images.items()
        if name in masks
    }
    unlabelled = [path for name, path in images.items() if name not in masks]
    # CFD ships its distractors without labels on purpose; elsewhere a missing mask is a mistake.
    if unlabelled and reader is read_mask_image:
        raise DataError(
            f"image {unlabelled[0]} has no mask in {folder / 'masks'}"
            + (f" (and {len(unlabelled) - 1} more)" if len(unlabelled) > 1 else ""),
            "add the mask or remove the image",
        )
    orphans = sorted(set(masks) - set(images))
    if orphans:
        raise DataError(
            f"mask {masks[orphans[0]]} has no image", "add the image or remove the mask"
        )
    for split, names in splits.items():
        missing = [name for name in names if name not in samples]
        if missing:
            raise DataError(
                f"{folder / 'splits.json'} lists {missing[0]!r} in {split!r}, but there is no such "
                "labelled image",
                "mend the list or add the files",
            )
    return CrackDataset(folder.resolve().name, folder, samples, splits, unlabelled)


def _list_images(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"folder {folder} is missing", "a dataset needs images/ and masks/")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DataError(
                f"{path} and {found[path.stem].name} share one name", "rename or remove one of them"
            )
        found[path.stem] = path
    if not found:
        raise DataError(f"folder {folder} holds no images", "add images or check the path")
    return found


def _read_splits(path: Path, split_set: str | None) -> dict[str, list[str]]:
    if not path.exists():
        if split_set is not None:
            raise ConfigError(
                f"there is no {path} to take split set {split_set!r} from",
                "leave out the split set",
            )
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", "mend or remove the file") from error
    if isinstance(document, dict) and any(isinstance(value, dict) for value in document.values()):
        chosen = split_set or DEFAULT_SPLIT_SET
        if chosen not in document:
            raise ConfigError(
                f"{path} has no split set {chosen!r}", f"choose one of: {', '.join(document)}"
            )
        document = document[chosen]
    elif split_set is not None:
        raise ConfigError(
            f"{path} has no split set {split_set!r}, only one plain list of splits",
            "leave out the split set",
        )
    if not isinstance(document, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in document.values()
    ):
        raise DataError(
            f"{path} is not a split file", 'give {"train": [names], "val": [...], "test": [...]}'
        )
    return document
