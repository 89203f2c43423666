"""Image and label files: two values and nothing else, and every refusal names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.data.datasets import open_dataset
from edgecrack.data.reading import read_image, read_mask_image, read_mask_rare
from edgecrack.errors import DataError
from tests.data.folders import CFD_LABELS, HW, crack_mask, make_cfd, make_folder, write_image


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"GIF89a nonsense", "is damaged or not an image"),
        (b"\x89PNG\r\n\x1a\n cut", "is cut short"),
        (cv2.imencode(".jpg", np.full((64, 64), 90, np.uint8))[1].tobytes()[:-40], "is cut short"),
    ],
)
def test_unreadable_image_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    folder = make_folder(tmp_path)
    for kind in ("images", "masks"):
        (folder / kind / "b.png").write_bytes(content)
    sample = open_dataset(folder).all_samples["b"]
    for read in (sample.image, sample.mask, lambda: read_image(sample.image_path)):
        with pytest.raises(DataError, match=rf"b\.png {problem}"):
            read()


def test_image_that_vanished_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read image .*gone\.png: No such file"):
        read_image(tmp_path / "gone.png")


# ---- masks of two values


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize(("dark", "bright"), [(0, 255), (10, 250), (127, 128)])
def test_the_bright_one_of_two_values_is_crack(
    tmp_path: Path, suffix: str, dark: int, bright: int
) -> None:
    path = tmp_path / f"mask{suffix}"
    write_image(path, np.where(crack_mask() > 0, bright, dark))
    mask = read_mask_image(path)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, crack_mask())


@pytest.mark.parametrize("value", [0, 255])
def test_mask_of_one_value(tmp_path: Path, value: int) -> None:
    write_image(tmp_path / "mask.png", np.full(HW, value))
    assert (read_mask_image(tmp_path / "mask.png") == value).all()


def test_mask_of_16_bits(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), crack_mask().astype(np.uint16) * 257)
    assert np.array_equal(read_mask_image(path), crack_mask())
    # As 8 bits that would be black.
    cv2.imwrite(str(path), crack_mask().astype(np.uint16))
    with pytest.raises(DataError, match=r"mask\.png contains no value above 255; convert"):
        read_mask_image(path)


@pytest.mark.parametrize("value", [1, 2, 38])
def test_mask_of_class_numbers_is_refused_instead_of_read_as_empty(
    tmp_path: Path, value: int
) -> None:
    write_image(tmp_path / "mask.png", crack_mask() // 255 * value)
    with pytest.raises(DataError, match=rf"mask\.png contains no value above {value}; convert it"):
        read_mask_image(tmp_path / "mask.png")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([0, 1, 2], "contains the values 0, 1, 2; convert it so that crack is 255"),
        ([0, 1, 127, 128, 254, 255], "contains the values 0, 1, 127, 128 and 2 more; convert"),
        ([0, 0, 254, 255], "contains the values 0, 254, 255; convert"),
        ([200, 255], "contains no value below 200; convert"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_other_values_are_refused(tmp_path: Path, row: list[int], words: str, suffix: str) -> None:
    write_image(tmp_path / f"mask{suffix}", [row])
    for read in (read_mask_image, read_mask_rare):
        with pytest.raises(DataError, match=rf"mask\{suffix} {words}"):
            read(tmp_path / f"mask{suffix}")


def test_mask_of_floating_point_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "mask.tif"), crack_mask().astype(np.float32) / 255)
    # Some versions of OpenCV decode these, others do not.
    with pytest.raises(
        DataError, match=r"mask\.tif (contains float32 numbers|holds floating-point)"
    ):
        read_mask_image(tmp_path / "mask.tif")


# ---- masks stored as JPEG


def write_jpeg(path: Path, array: Any, quality: int) -> None:
    cv2.imwrite(str(path), array, [cv2.IMWRITE_JPEG_QUALITY, quality])


@pytest.mark.parametrize("name", ["mask.jpg", "mask.png"])
def test_waves_around_the_edges_of_a_jpeg_are_no_grays(tmp_path: Path, name: str) -> None:
    """It is the content that makes it a JPEG, whatever the suffix."""
    write_jpeg(tmp_path / "mask.jpg", crack_mask(), 90)
    (tmp_path / "mask.jpg").rename(tmp_path / name)
    decoded = cv2.imread(str(tmp_path / name), cv2.IMREAD_GRAYSCALE)
    assert len(np.unique(np.asarray(decoded))) > 2
    assert np.array_equal(read_mask_image(tmp_path / name), crack_mask())


def test_grays_in_a_jpeg_are_refused(tmp_path: Path) -> None:
    blurred = cv2.GaussianBlur(crack_mask(), (0, 0), 1.5)
    write_jpeg(tmp_path / "mask.jpg", blurred, 95)
    with pytest.raises(
        DataError, match=r"mask\.jpg contains grays such as \d+, .*more; .*128.*PNG"
    ):
        read_mask_image(tmp_path / "mask.jpg")


def test_class_numbers_in_a_jpeg_are_refused(tmp_path: Path) -> None:
    write_jpeg(tmp_path / "mask.jpg", crack_mask() // 255 * 12, 100)
    with pytest.raises(DataError, match=r"mask\.jpg contains no value above \d+; convert"):
        read_mask_image(tmp_path / "mask.jpg")


# ---- labels drawn on white or on black


@pytest.mark.parametrize("drawn_on", [0, 255])
def test_the_rare_one_of_two_values_is_crack(tmp_path: Path, drawn_on: int) -> None:
    write_image(tmp_path / "label.bmp", crack_mask() ^ drawn_on)
    assert np.array_equal(read_mask_rare(tmp_path / "label.bmp"), crack_mask())


@pytest.mark.parametrize("value", [0, 255])
def test_label_of_one_value_holds_no_crack(tmp_path: Path, value: int) -> None:
    write_image(tmp_path / "label.png", np.full(HW, value))
    assert not read_mask_rare(tmp_path / "label.png").any()


@pytest.mark.parametrize(("share", "fits"), [(24, True), (26, False), (74, False), (76, True)])
def test_label_without_a_rare_value_is_refused(tmp_path: Path, share: int, fits: bool) -> None:
    label = np.zeros((10, 100), np.uint8)
    label[:, :share] = 255
    write_image(tmp_path / "label.png", label)
    if fits:
        crack = np.count_nonzero(read_mask_rare(tmp_path / "label.png"))
        assert crack == 10 * min(share, 100 - share)
    else:
        with pytest.raises(DataError, match=rf"label\.png is {share} % bright, so neither"):
            read_mask_rare(tmp_path / "label.png")


# ---- CFD's labels


@pytest.mark.parametrize("kind", ["noise", "other variable"])
def test_damaged_mat_file_is_named(tmp_path: Path, kind: str) -> None:
    folder = make_cfd(tmp_path)
    path = folder / "ground_truth" / "002.mat"
    if kind == "noise":
        path.write_bytes(b"MATLAB" * 40)
    else:
        pytest.importorskip("scipy.io").savemat(path, {"other": CFD_LABELS})
    with pytest.raises(DataError, match=r"002\.mat is not a CFD label file"):
        open_dataset(folder).all_samples["002"].mask()


def test_mat_file_that_vanished_is_named(tmp_path: Path) -> None:
    folder = make_cfd(tmp_path)
    sample = open_dataset(folder).all_samples["002"]
    sample.mask_path.unlink()
    with pytest.raises(DataError, match=r"002\.mat: No such file"):
        sample.mask()
