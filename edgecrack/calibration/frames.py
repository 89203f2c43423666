"""Frames for calibration: from a labelled dataset, a folder of images, or a video.

Says which frames may set the ranges and which are held out to judge the result; the two never
share an image. Knows sources; must not know models, tiles or INT8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecrack.data.datasets import CrackDataset, Sample, open_dataset
from edgecrack.data.layouts import UnknownLayoutError
from edgecrack.errors import DataError, EdgecrackError
from edgecrack.runtime.sources.folder import images_in
from edgecrack.runtime.sources.open import open_source

_Item = TypeVar("_Item")
MAX_FRAMES = 400
_HELD_OUT_SHARE = 1 / 3
_MEMORY_BYTES = 512 << 20  # frames of a video are kept: seeking is inexact in many files


@dataclass(frozen=True, eq=False)
class CalibrationFrame:
    """One frame.

    Attributes:
        name: file or frame number.
        load: gives the image, uint8 [H, W, 3] BGR, and its truth, uint8 [H, W] with 255 on crack,
            or None where nobody has labelled it.
    """

    name: str
    load: Callable[[], tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]


@dataclass(frozen=True, eq=False)
class CalibrationFrames:
    """Frames in two parts.

    Attributes:
        name: the folder's or file's name.
        labelled: whether each frame has a truth.
        calibration: frames that may set the ranges.
        held_out: frames that judge the result.
        parts: how the two parts came about, in words.
    """

    name: str
    labelled: bool
    calibration: Sequence[CalibrationFrame]
    held_out: Sequence[CalibrationFrame]
    parts: str


def open_frames(data: Path, seed: int = 0) -> CalibrationFrames:
    """Open the data of a calibration.

    A labelled dataset with train and val splits gives each its part, and its test split to
    neither. Any other labelled dataset gives every third of its images, drawn by seed, to the
    held-out part; of a video, or of a folder of images without labels, it is the last third, for
    neighbouring frames are nearly the same image. At most
    400 frames are used, drawn by seed or, of a video, at even steps.

    Args:
        data: a dataset's folder, a folder of images, or a video.
        seed: draws the frames.

    Raises:
        DataError: it does not exist, is of no known kind, or has fewer than three frames.
        SourceError: a video cannot be read.
    """
    data = Path(data)
    if data.is_file():
        return _of_video(data)
    if not data.is_dir():
        raise DataError(f"calibration data {data} does not exist", "check the path")
    try:
        dataset = open_dataset(data)
    except UnknownLayoutError as error:
        if not _has_images(data):
            raise DataError(
                f"{data} is no dataset and holds no images",
                "give a folder of images, a labelled dataset (docs/datasets.md) or a video",
            ) from error
        return _of_images(data, seed)
    return _of_dataset(dataset, seed)


def _has_images(folder: Path) -> bool:
    try:
        return bool(images_in(folder))
    except EdgecrackError:
        return False


def _of_dataset(dataset: CrackDataset, seed: int) -> CalibrationFrames:
    splits = dataset.splits
    if splits.get("train") and splits.get("val"):
        parts = [dataset.samples("train"), dataset.samples("val")]
        words = "train split for the ranges, val split held out"
    else:
        tested = set(splits.get("test", ()))
        pool = dataset.samples("train" if splits.get("train") else None)
        pool = [item for item in pool if item.name not in tested]
        where = "train split" if splits.get("train") else "images"
        if tested and where == "images":
            where = "images outside the test split"
        parts = [list(part) for part in _divide(pool, seed, f"{dataset.name} ({where})")]
        words = f"every third of the {where} held out"
    chosen = [
        [CalibrationFrame(item.name, _labelled(item)) for item in _draw(part, seed)]
        for part in parts
    ]
    return CalibrationFrames(dataset.name, True, chosen[0], chosen[1], words)


def _labelled(
    sample: Sample,
) -> Callable[[], tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
    return sample.load


def _of_images(folder: Path, seed: int) -> CalibrationFrames:
    from edgecrack.data.reading import read_image

    def frame(path: Path) -> CalibrationFrame:
        return CalibrationFrame(path.name, lambda: (read_image(path), None))

    # A folder without labels is mostly a robot's recording, whose neighbours are nearly one image.
    first, second = _last_third([frame(path) for path in images_in(folder)], folder.name)
    return CalibrationFrames(
        folder.resolve().name,
        False,
        _draw(first, seed),
        _draw(second, seed),
        "last third of the images, by name, held out",
    )


def _of_video(path: Path) -> CalibrationFrames:
    frames: list[CalibrationFrame] = []
    with open_source(path) as source:
        index, step, most = 0, 1, MAX_FRAMES
        while (frame := source.read()) is not None:
            if index == 0:
                most = max(3, min(MAX_FRAMES, _MEMORY_BYTES // frame.image.nbytes))
                step = max(1, -(-(source.frame_count or 1) // most))
            if index % step == 0:
                if len(frames) == most:  # longer than its header says, or of unknown length
                    frames, step = frames[::2], 2 * step
                if index % step == 0:
                    frames.append(_held_in_memory(f"frame {index}", frame.image))
            index += 1
    if len(frames) < 3:
        raise DataError(
            f"{path} has too few frames ({len(frames)})",
            "give a longer video, or a folder of images",
        )
    first, second = _last_third(frames, path.name)
    return CalibrationFrames(path.name, False, first, second, "last third of the video held out")


def _last_third(items: Sequence[_Item], name: str) -> tuple[list[_Item], list[_Item]]:
    if len(items) < 3:
        raise _too_few(items, name)
    border = len(items) - max(1, round(len(items) * _HELD_OUT_SHARE))
    return list(items[:border]), list(items[border:])


def _too_few(items: Sequence[_Item], name: str) -> DataError:
    return DataError(
        f"{name} has too few images ({len(items)})",
        "give at least 3, 24 or more for INT8, better 100",
    )


def _held_in_memory(name: str, image: NDArray[np.uint8]) -> CalibrationFrame:
    return CalibrationFrame(name, lambda: (image, None))


def _divide(items: Sequence[_Item], seed: int, name: str) -> tuple[list[_Item], list[_Item]]:
    if len(items) < 3:
        raise _too_few(items, name)
    order = np.random.default_rng(seed).permutation(len(items))
    held_out = set(order[: max(1, round(len(items) * _HELD_OUT_SHARE))].tolist())
    return (
        [item for index, item in enumerate(items) if index not in held_out],
        [item for index, item in enumerate(items) if index in held_out],
    )


def _draw(items: Sequence[_Item], seed: int) -> list[_Item]:
    if len(items) <= MAX_FRAMES:
        return list(items)
    chosen = np.random.default_rng(seed + 1).choice(len(items), MAX_FRAMES, replace=False)
    return [items[index] for index in sorted(chosen.tolist())]
