"""Cameras in files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from edgecrack.errors import ConfigError
from edgecrack.images.photo_facts import PhotoFacts
from edgecrack.scale.camera_file import CameraFile, read_camera, write_camera

MATRIX = np.array([[1100.0, 0, 660.2], [0, 1101.0, 470.8], [0, 0, 1]])
LENS = np.array([-0.22, 0.08, 0.001, -0.0005, 0.01])
# As ROS 2's camera_calibration writes it.
ROS = """\
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [520.9, 0., 325.1, 0., 521., 249.7, 0., 0., 1.]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.23, -0.78, -0.0015, -0.0013, 0.91]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1., 0., 0., 0., 1., 0., 0., 0., 1.]
projection_matrix:
  rows: 3
  cols: 4
  data: [520.9, 0., 325.1, 0., 0., 521., 249.7, 0., 0., 0., 1., 0.]
"""


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    camera = CameraFile(MATRIX, LENS, (1280, 960), "left", 0.002, 16.0, True, {"photos": 14})
    write_camera(path, camera)
    found = read_camera(path)
    np.testing.assert_array_equal(found.matrix, MATRIX)
    np.testing.assert_array_equal(found.distortion, LENS)
    assert (found.image_size, found.name) == ((1280, 960), "left")
    assert (found.focal_deviation, found.focal_mm, found.fixed_focus) == (0.002, 16.0, True)
    assert found.facts == {"photos": 14}


def test_a_file_of_ros_is_read_and_says_nothing_of_its_uncertainty(tmp_path: Path) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(ROS)
    found = read_camera(path)
    assert found.matrix[0].tolist() == [520.9, 0, 325.1]
    assert found.focal_deviation is None
    assert found.fixed_focus is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_width": None}, "image_width is None"),
        ({"image_width": -5}, "image_width is -5"),
        ({"camera_matrix": None}, "is not a camera file"),
        ({"camera_matrix": {"data": [1, 2, 3]}}, "3 numbers instead of 9"),
        ({"camera_matrix": {"data": [0, 0, 1, 0, 0, 1, 0, 0, 1]}}, "focal lengths are 0"),
        ({"camera_matrix": {"data": [600, 0, 9e9, 0, 600, 1, 0, 0, 1]}}, "principal point"),
        ({"camera_matrix": {"data": [9, 0, 9, 0, 9, 1, 0, 0, 1]}}, "a focal length of 9 px"),
        ({"camera_matrix": {"data": [600, 0, 9, 0, 60, 1, 0, 0, 1]}}, "are 600 and 60 px"),
        ({"distortion_coefficients": {"data": [1e300, 0, 0, 0, 0]}}, "is implausible"),
        ({"distortion_coefficients": {"data": [-5, 80, 0, 0, 100]}}, "no lens has"),
        ({"camera_matrix": {"data": ["a"] * 9}}, "is not a camera file"),
        ({"camera_matrix": {"data": [float("nan")] * 9}}, "the number nan"),
        ({"distortion_model": "equidistant"}, "distortion_model is 'equidistant'"),
        ({"distortion_coefficients": {"data": [1, 2, 3]}}, "has 3 numbers"),
        ({"edgecrack": {"schema_version": 9}}, "schema version is 9"),
        ({"edgecrack": {"focal_deviation": -1}}, "focal_deviation is -1"),
        ({"edgecrack": {"fixed_focus": "yes"}}, "fixed_focus is 'yes'"),
        ({"edgecrack": [1]}, "contains no fields"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(ROS), **change}))
    with pytest.raises(ConfigError) as caught:
        read_camera(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"[1, 2", b"\xff\xfe", b"hello", b"a: b: c", b"- 1\n- 2", b"[" * 100_000]
)
def test_what_is_no_camera_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "camera.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not a camera file"):
        read_camera(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the camera file"):
        read_camera(tmp_path / "none.yaml")


def test_another_resolution_of_the_same_view_is_scaled() -> None:
    camera = CameraFile(MATRIX, LENS, (1280, 960))
    half = camera.of_size(640, 480)
    places = np.array([[100.0, 200.0], [900.0, 50.0], [640.0, 480.0]])
    np.testing.assert_allclose(half.rays(places / 2), camera.rays(places), atol=1e-9)
    with pytest.raises(ConfigError, match="another shape"):
        camera.of_size(1280, 720)


def test_rays_undo_the_projection_at_the_corners_of_a_wide_lens() -> None:
    camera = CameraFile(MATRIX, np.array([-0.3, 0.1, 0.002, -0.001, -0.01]), (1280, 960))
    rays = np.stack(np.meshgrid(np.linspace(-0.6, 0.6, 9), np.linspace(-0.45, 0.45, 9)), -1)
    rays = rays.reshape(-1, 2)
    lifted = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
    pixels, _ = cv2.projectPoints(
        lifted, np.zeros(3), np.zeros(3), camera.matrix, camera.distortion
    )
    places = np.asarray(pixels, np.float64).reshape(-1, 2) + 0.5
    assert np.abs(camera.rays(places) - rays).max() < 1e-6


def test_a_zoom_that_was_moved_is_noticed() -> None:
    camera = CameraFile(MATRIX, LENS, (1280, 960), focal_mm=24.0)
    camera.check_photo(None)
    camera.check_photo(PhotoFacts(focal_mm=24.05))
    with pytest.raises(ConfigError, match="35 mm and the camera was calibrated at 24 mm"):
        camera.check_photo(PhotoFacts(focal_mm=35.0))


def test_a_focus_that_moves_is_refused() -> None:
    CameraFile(MATRIX, LENS, (1280, 960)).check_focus()
    with pytest.raises(ConfigError, match="focuses or zooms by itself"):
        CameraFile(MATRIX, LENS, (1280, 960), fixed_focus=False).check_focus()


def test_a_digital_zoom_is_noticed() -> None:
    camera = CameraFile(MATRIX, LENS, (1280, 960))
    camera.check_photo(PhotoFacts(digital_zoom=1.0))
    with pytest.raises(ConfigError, match="enlarged in the camera by 3"):
        camera.check_photo(PhotoFacts(digital_zoom=3.0))


def test_a_photo_held_upright_is_told_so() -> None:
    with pytest.raises(ConfigError, match="as it was held for the board photos"):
        CameraFile(MATRIX, LENS, (1280, 960)).of_size(960, 1280)
