"""Which way the user gave the scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecrack.errors import ConfigError
from edgecrack.images.photo_facts import PhotoFacts
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.choice import ScaleConfig
from edgecrack.scale.markers import parse_marker
from edgecrack.scale.quantity import Quantity

IMAGE = np.full((480, 640), 128, np.uint8)
CAMERA = CameraFile(np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]), np.zeros(0), (640, 480))
LASER = PhotoFacts(range_m=5.0, calibrated_focal_px=3600.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mm_per_pixel": Quantity(1), "marker": parse_marker("aruco:5mm")}, "give one of them"),
        ({"mm_per_pixel": Quantity(1), "camera": CAMERA}, "give one of them"),
        ({"distance_m": Quantity(1)}, "the camera is not known"),
        ({"camera": CAMERA}, "a camera alone gives no scale"),
        ({"mm_per_pixel": Quantity(1), "tilt_deg": Quantity(5)}, "a tilt needs"),
        ({"camera": CAMERA, "distance_m": Quantity(1), "towards_deg": 90.0}, "is not given"),
    ],
)
def test_what_contradicts_itself_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ScaleConfig(**given)
    assert said in str(caught.value)


def test_without_anything_there_are_no_millimetres() -> None:
    assert ScaleConfig().of_image(IMAGE) is None
    assert ScaleConfig().of_image(IMAGE, PhotoFacts(focal_mm=24.0, distance_m=3.0)) is None


def test_a_drones_laser_is_taken_where_nothing_else_is_given() -> None:
    found = ScaleConfig().of_image(IMAGE, LASER)
    assert found is not None
    local = found.local([[320.0, 240.0]], [[1.0, 0.0]])
    assert local.mm_per_px == pytest.approx([5000 / 3600], rel=0.01)
    assert local.relative[0] == pytest.approx(0.2075 / 2 / 5, rel=0.1)
    given = ScaleConfig(mm_per_pixel=Quantity(0.3)).of_image(IMAGE, LASER)
    assert given is not None
    assert given.source == "given"


def test_a_laser_too_near_to_say_anything_is_passed_over() -> None:
    near = PhotoFacts(range_m=0.15, calibrated_focal_px=3600.0)
    assert ScaleConfig().of_image(IMAGE, near) is None


def test_a_photo_at_another_zoom_is_refused() -> None:
    camera = CameraFile(CAMERA.matrix, np.zeros(0), (640, 480), focal_mm=24.0)
    config = ScaleConfig(camera=camera, distance_m=Quantity(1.0, 0.01))
    assert config.of_image(IMAGE) is not None
    with pytest.raises(ConfigError, match="35 mm"):
        config.of_image(IMAGE, PhotoFacts(focal_mm=35.0))


@pytest.mark.parametrize(
    "photo",
    [
        PhotoFacts(range_m=1e7, calibrated_focal_px=3600.0),
        PhotoFacts(range_m=5.0, calibrated_focal_px=1e9),
        PhotoFacts(range_m=5.0, calibrated_focal_px=3600.0, taken_size_px=(1280, 960)),
        PhotoFacts(range_m=5.0, calibrated_focal_px=3600.0, digital_zoom=2.0),
    ],
)
def test_a_drones_words_that_cannot_be_are_passed_over(photo: PhotoFacts) -> None:
    assert ScaleConfig().of_image(IMAGE, photo) is None
