"""Small datasets on disk, in the layouts that tests need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

HW = (24, 32)
CFD_LABELS = np.array([[1, 2, 3], [4, 2, 1]], np.uint8)


def write_image(path: Path, array: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.asarray(array, np.uint8))


def photo(hw: tuple[int, int] = HW, level: int = 90) -> Any:
    return np.full((*hw, 3), level, np.uint8)


def crack_mask(hw: tuple[int, int] = HW) -> Any:
    """White on black: a crack two pixels wide."""
    mask = np.zeros(hw, np.uint8)
    mask[10:12, 4:-4] = 255
    return mask


def make_folder(folder: Path, names: tuple[str, ...] = ("a", "b", "c")) -> Path:
    for index, name in enumerate(names):
        write_image(folder / "images" / f"{name}.png", photo(level=90 + index))
        write_image(folder / "masks" / f"{name}.png", crack_mask())
    return folder


def make_cfd(
    folder: Path,
    names: tuple[str, ...] = ("001", "002", "003"),
    folders: tuple[str, str] = ("images", "ground_truth"),
) -> Path:
    """CFD's layout: labelled images and one distractor without a label."""
    savemat = pytest.importorskip("scipy.io", reason="reading .mat files needs scipy").savemat
    for name in (*names, "201"):
        write_image(folder / folders[0] / f"{name}.jpg", photo((2, 3), 120))
    (folder / folders[1]).mkdir()
    for name in names:
        truth = {"Segmentation": CFD_LABELS, "Boundaries": CFD_LABELS > 1}
        savemat(folder / folders[1] / f"{name}.mat", {"groundTruth": truth})
    return folder


def write_splits(folder: Path, document: Any) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    (folder / "splits.json").write_text(text)


def turn_by_exif(path: Path, orientation: int) -> None:
    """Give a JPEG file an EXIF orientation: 1 upright, 6 a quarter turn, and so on."""
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00" + orientation.to_bytes(2, "little") + b"\x00\x00"
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00" + entry + b"\x00\x00\x00\x00"
    segment = b"Exif\x00\x00" + tiff
    data = path.read_bytes()
    header = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
    path.write_bytes(data[:2] + header + data[2:])
