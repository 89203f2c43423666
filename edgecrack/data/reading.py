"""Reads image and label files of a dataset.

A label with more than two values is refused, since a network would be trained on wrong labels.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import DataError
from edgecrack.images.decoding import UnreadableImageError, decode_image, decode_pixels

_CFD_CRACK_LABEL = 2  # 1 is background, 3 and 4 are enclosed or ambiguous background
_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
# Compression leaves waves on both sides of an edge: up to 23 levels at quality 85, 37 at 75.
_JPEG_SLACK = 32
_RARE_SHARE = 0.25  # if neither value of a label is rarer, it is unclear which is crack
_CONVERT = "convert it so that crack is 255 and the rest 0"


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a camera image and rotate it upright according to its EXIF data.

    Returns:
        uint8 [H, W, 3] in BGR order, from `decode_image`: 16 bits reduced to 8, masked where
        transparent.

    Raises:
        DataError: the file is missing or cannot be decoded.
    """
    return _decode(path, upright=True)


def read_labelled_image(path: Path) -> NDArray[np.uint8]:
    """Read an image that has a mask: its pixels as stored, not rotated by EXIF data.

    A mask has no EXIF data, so it corresponds to the stored pixels.

    Returns:
        As `read_image`.

    Raises:
        DataError: the file is missing or cannot be decoded.
    """
    return _decode(path, upright=False)


def read_mask_image(path: Path) -> NDArray[np.uint8]:
    """Read a mask image with two values; the bright one is crack.

    Returns:
        uint8 [H, W], 0 or 255.

    Raises:
        DataError: the file is missing, cannot be decoded, or contains other values.
    """
    return np.where(_read_two_values(path), 255, 0).astype(np.uint8)


def read_mask_rare(path: Path) -> NDArray[np.uint8]:
    """Read a label drawn on white or on black, with two values; the rare one is crack.

    A label with one value contains no crack.

    Returns:
        uint8 [H, W], 0 or 255.

    Raises:
        DataError: the file is missing, cannot be decoded, contains other values, or neither value
            is rare.
    """
    bright = _read_two_values(path)
    share = float(bright.mean())
    if _RARE_SHARE < share < 1 - _RARE_SHARE:
        raise DataError(
            f"label {path} is {100 * share:.0f} % bright, so neither value is rare enough to be "
            "crack",
            "check the file, or make folders images/ and masks/ with crack as 255",
        )
    if share in (0.0, 1.0):
        return np.zeros(bright.shape, dtype=np.uint8)
    return np.where(bright == (share < 0.5), 255, 0).astype(np.uint8)


def read_mask_cfd(path: Path) -> NDArray[np.uint8]:
    """Read a CFD ground-truth file; `Segmentation == 2` is crack.

    Returns:
        uint8 [H, W], 0 or 255.

    Raises:
        DataError: the file is missing, damaged, or has no `groundTruth.Segmentation`.
        MissingDependencyError: scipy, which reads MATLAB files, is not installed.
    """
    from edgecrack.extras import require

    loadmat = require("scipy.io", extra="train", purpose="reading CFD's .mat files").loadmat
    try:
        # Read here, because loadmat's message about a missing file is unclear.
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


def _read_two_values(path: Path) -> NDArray[np.bool_]:
    """Where a label file is bright; bool [H, W]. Transparency is ignored, colour is not."""
    data = _read_bytes(path)
    pixels = _read_pixels(path, data, _STORED | cv2.IMREAD_ANYDEPTH)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"mask {path} contains {pixels.dtype} numbers", _CONVERT)
    gray = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    full = int(np.iinfo(pixels.dtype).max)
    values = np.flatnonzero(np.bincount(gray.ravel(), minlength=full + 1))
    _check_values(path, values, full, is_jpeg=data.startswith(b"\xff\xd8"))
    return np.asarray(gray > full // 2, dtype=np.bool_)


def _check_values(path: Path, values: NDArray[np.intp], full: int, *, is_jpeg: bool) -> None:
    if is_jpeg:
        strays = values[(values > _JPEG_SLACK) & (values < full - _JPEG_SLACK)]
        if len(strays):
            raise DataError(
                f"mask {path} contains grays such as {_first(strays)}",
                "make it black and white (cut at 128), and save it as PNG",
            )
    elif len(values) > 2:
        raise DataError(f"mask {path} contains the values {_first(values)}", _CONVERT)
    darkest, brightest = int(values[0]), int(values[-1])
    if 0 < brightest <= full // 2:
        # Labelling tools write class numbers or palettes, which would be read as an empty mask.
        raise DataError(f"mask {path} contains no value above {brightest}", _CONVERT)
    if darkest < brightest and darkest > full // 2:
        raise DataError(f"mask {path} contains no value below {darkest}", _CONVERT)


def _first(values: NDArray[np.intp]) -> str:
    listed = ", ".join(str(value) for value in values[:4])
    return listed + (f" and {len(values) - 4} more" if len(values) > 4 else "")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read image {path}: {error.strerror}", "check the path and its permissions"
        ) from error


def _decode(path: Path, *, upright: bool) -> NDArray[np.uint8]:
    data = _read_bytes(path)
    try:
        return decode_image(data, upright=upright)
    except UnreadableImageError as error:
        raise _damaged(path, error) from error


def _read_pixels(path: Path, data: bytes, flags: int) -> NDArray[Any]:
    try:
        return decode_pixels(data, flags)
    except UnreadableImageError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: UnreadableImageError) -> DataError:
    return DataError(f"the image {path} {error}", error.remedy or "replace or remove the file")
