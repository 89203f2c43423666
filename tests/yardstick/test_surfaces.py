"""Clean surfaces: where they come from, how they are enlarged, and what is said when they lack."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.data.reading import read_image, read_mask_image
from edgecrack.errors import ConfigError, DataError
from edgecrack.yardstick.clean_surfaces import (
    SURFACE_NAMES,
    Crop,
    SurfaceName,
    clean_crops,
    clean_surfaces,
    held_out_files,
)

REAL = tuple(name for name in SURFACE_NAMES if name != "masonry")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def all_crops() -> list[Crop]:
    return [crop for crops in clean_crops().values() for crop in crops]


@pytest.fixture(scope="module")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which every listed photo is a ramp with its own tone; only read."""
    folder = tmp_path_factory.mktemp("data")
    for number, crop in enumerate(all_crops()):
        path = folder / crop.file
        path.parent.mkdir(parents=True, exist_ok=True)
        x, y, width, height = crop.box
        ramp = np.linspace(0, 100, x + width, dtype=np.uint8)[None, :, None] + number
        cv2.imwrite(str(path), np.broadcast_to(ramp, (y + height, x + width, 3)))
    return folder


class TestList:
    def test_every_real_surface_has_some_twenty_photos_and_no_photo_comes_twice(self) -> None:
        assert set(clean_crops()) == set(REAL)
        assert all(len(crops) >= 20 for crops in clean_crops().values())
        assert len(held_out_files()) == len(all_crops())

    def test_names_nothing_but_paths_within_the_data_folder(self) -> None:
        for crop in all_crops():
            path = Path(crop.file)
            assert not path.is_absolute()
            assert ".." not in path.parts
            assert path.suffix in (".jpg", ".png")

    @pytest.mark.parametrize("surface", REAL)
    def test_crops_lie_inside_their_photos_and_off_every_marked_crack(
        self, surface: str, data_folder: Path
    ) -> None:
        for crop in clean_crops()[surface]:
            photo = read_image(data_folder / crop.file)
            x, y, width, height = crop.box
            assert x >= 0
            assert y >= 0
            assert x + width <= photo.shape[1]
            assert y + height <= photo.shape[0]
            assert min(width, height) >= 192
            folder = {"uav315": "masks", "road_frames": "crack_weak"}.get(Path(crop.file).parts[0])
            if folder:
                root = data_folder / Path(crop.file).parts[0] / folder
                mask = read_mask_image(next(root.glob(f"{Path(crop.file).stem}.*")))
                assert not mask[y : y + height, x : x + width].any()

    def test_drone_crops_are_of_the_validation_split(self, data_folder: Path) -> None:
        split = json.loads((data_folder / "uav315" / "splits.json").read_text())["val"]
        assert {Path(crop.file).stem for crop in clean_crops()["drone"]} <= set(split)

    def test_vehicle_and_asphalt_crops_lie_on_the_own_lane(self, data_folder: Path) -> None:
        for crop in (*clean_crops()["vehicle"], *clean_crops()["asphalt"]):
            path = data_folder / "road_frames" / "lane" / f"{Path(crop.file).stem}.png"
            x, y, width, height = crop.box
            assert (read_mask_image(path)[y : y + height, x : x + width] > 0).all()


class TestCleanSurfaces:
    @pytest.mark.parametrize("surface", SURFACE_NAMES)
    @pytest.mark.parametrize("size_px", [128, 227, 448])
    def test_pictures_have_the_size_asked_and_say_where_they_come_from(
        self, surface: SurfaceName, size_px: int, small_data: Path
    ) -> None:
        pictures = clean_surfaces(small_data, surface, size_px, 3, rng())
        assert [picture.image.shape for picture in pictures] == [(size_px, size_px, 3)] * 3
        assert len({picture.name for picture in pictures}) == 3
        for picture in pictures:
            assert picture.image.dtype == np.uint8
            assert set(picture.sources) <= held_out_files()
            assert (len(picture.sources) == 0) == (surface == "masonry")

    def test_photos_take_turns(self, small_data: Path) -> None:
        count = 2 * len(clean_crops()["drone"]) + 3
        pictures = clean_surfaces(small_data, "drone", 96, count, rng())
        turns = Counter(picture.photo for picture in pictures)
        assert set(turns.values()) == {2, 3}
        assert len({picture.name for picture in pictures}) == count

    @pytest.mark.parametrize("surface", ["concrete", "masonry"])
    def test_the_same_seed_gives_the_same_pictures(
        self, surface: SurfaceName, small_data: Path
    ) -> None:
        first, second, other = (
            clean_surfaces(small_data, surface, 100, 4, rng(seed)) for seed in (1, 1, 2)
        )
        for one, same in zip(first, second, strict=True):
            assert (one.name, one.photo) == (same.name, same.photo)
            np.testing.assert_array_equal(one.image, same.image)
        assert [one.photo for one in first] != [one.photo for one in other]

    def test_real_pictures_are_parts_of_their_photos(self, data_folder: Path) -> None:
        (picture,) = clean_surfaces(data_folder, "vehicle", 160, 1, rng())
        photo = read_image(data_folder / picture.sources[0])
        found = []
        for turned in (picture.image, np.ascontiguousarray(picture.image[:, ::-1])):
            x, y = cv2.minMaxLoc(cv2.matchTemplate(photo, turned, cv2.TM_SQDIFF))[2]
            found.append(np.array_equal(photo[y : y + 160, x : x + 160], turned))
        assert any(found)


class TestErrors:
    @pytest.mark.parametrize(
        ("surface", "size_px", "count", "message"),
        [
            ("wood", 128, 1, "surface is 'wood'"),
            ("concrete", 32, 1, "size_px is 32"),
            ("concrete", 5000, 1, "size_px is 5000"),
            ("concrete", 128, -1, "count is -1"),
        ],
    )
    def test_a_value_out_of_range_is_named(
        self, surface: SurfaceName, size_px: int, count: int, message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            clean_surfaces(tmp_path, surface, size_px, count, rng())

    def test_a_missing_photo_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="concrete_tiles"):
            clean_surfaces(tmp_path, "concrete", 128, 1, rng())

    def test_a_photo_smaller_than_its_crop_is_refused(self, tmp_path: Path) -> None:
        for crop in clean_crops()["concrete"]:
            path = tmp_path / crop.file
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.zeros((100, 100, 3), np.uint8))
        with pytest.raises(DataError, match="100x100 pixels, too small for the crop"):
            clean_surfaces(tmp_path, "concrete", 128, 1, rng())
