from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import DataError, SourceError
from edgecrack.export.graph import MAX_TILES, tiles_of_images
from edgecrack.files import write_png
from edgecrack.preprocess import PreprocessConfig, preprocess


def make_images(folder: Path, count: int, hw: tuple[int, int]) -> list[NDArray[np.uint8]]:
    folder.mkdir()
    generator = np.random.default_rng(1)
    images = [generator.integers(0, 256, (*hw, 3), dtype=np.uint8) for _ in range(count)]
    for index, image in enumerate(images):
        write_png(folder / f"{index:02d}.png", image)
    return images


def test_each_tile_is_a_part_of_its_prepared_image(tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", 3, (70, 100))
    tiles = tiles_of_images(tmp_path / "images", PreprocessConfig(), (32, 48))
    assert len(tiles) == 3
    for image, tile in zip(images, tiles, strict=True):
        frame = preprocess(image)
        windows = np.lib.stride_tricks.sliding_window_view(frame, (32, 48))
        assert (windows == tile).all(axis=(2, 3)).any()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 20])
def test_many_images_give_a_few_tiles_from_first_to_later_ones(tmp_path: Path, count: int) -> None:
    make_images(tmp_path / "images", count, (32, 32))
    tiles = tiles_of_images(tmp_path / "images", PreprocessConfig(), (32, 32))
    assert min(count, MAX_TILES // 2) <= len(tiles) <= MAX_TILES


def test_an_image_smaller_than_a_tile_is_mirrored_outwards(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 1, (20, 24))
    (tile,) = tiles_of_images(tmp_path / "images", PreprocessConfig(), (32, 32))
    assert tile.shape == (32, 32)


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        tiles_of_images(tmp_path / "none", PreprocessConfig(), (32, 32))
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png"):
        tiles_of_images(tmp_path / "broken.png", PreprocessConfig(), (32, 32))
