"""CameraCalibration from rendered photos of a board whose camera is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.chessboard import Board, calibrate, find_board, parse_board

Image = NDArray[np.uint8]
BOARD = Board(9, 6, 25.0)
CAMERA = CameraFile(
    np.array([[800.0, 0, 330], [0, 800.0, 235], [0, 0, 1]]),
    np.array([-0.2, 0.05, 0.001, -0.0005, 0.0]),
    (640, 480),
)
CELLS_PER_MM = 4


def board_picture(board: Board = BOARD) -> Image:
    cell = round(board.square_mm * CELLS_PER_MM)
    rows, columns = board.rows + 1, board.columns + 1
    black = (np.indices((rows, columns)).sum(axis=0) % 2 == 0).repeat(cell, 0).repeat(cell, 1)
    return np.pad(np.where(black, 20, 235).astype(np.uint8), cell, constant_values=235)


def photo(rng: np.random.Generator, rays: NDArray[np.float64], picture: Image) -> Image:
    turn = np.concatenate([rng.uniform(-0.6, 0.6, 2), rng.uniform(-0.3, 0.3, 1)])
    rotation = cv2.Rodrigues(turn)[0]
    shift = np.array([*rng.uniform(-70, 70, 2), rng.uniform(430, 600)])
    to_board = np.linalg.inv(np.stack([rotation[:, 0], rotation[:, 1], shift], axis=1))
    lifted = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=2) @ to_board.T
    xy = lifted[..., :2] / lifted[..., 2:] * CELLS_PER_MM
    x, y = (
        (xy[..., axis] + picture.shape[1 - axis] / 2 - 0.5).astype(np.float32) for axis in (0, 1)
    )
    seen = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderValue=120)
    fine = cv2.resize(seen, CAMERA.image_size, interpolation=cv2.INTER_AREA)
    noisy = cv2.GaussianBlur(fine.astype(np.float64), (0, 0), 0.7) + rng.normal(0, 2, fine.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photos() -> list[tuple[str, Image]]:
    rng = np.random.default_rng(5)
    at = [(np.arange(side * 2) + 0.5) / 2 for side in CAMERA.image_size]
    points = np.stack(np.meshgrid(*at), axis=-1)
    rays = CAMERA.rays(points.reshape(-1, 2)).reshape(points.shape)
    picture = board_picture()
    return [(f"photo {number}", photo(rng, rays, picture)) for number in range(12)]


def test_the_camera_is_found_within_what_is_stated(photos: list[tuple[str, Image]]) -> None:
    found = calibrate([*photos, ("wall", np.full((480, 640), 90, np.uint8))], BOARD, focal_mm=8.0)
    camera = found.camera
    assert "wall" in found.passed_over
    assert len(found.used) >= 10
    assert found.rms_px < 0.3
    deviation = camera.focal_deviation
    assert deviation is not None
    assert abs(camera.matrix[0, 0] / 800 - 1) < 3 * deviation < 0.03
    corners = np.array([[20.0, 20.0], [620.0, 30.0], [30.0, 460.0], [610.0, 450.0]])
    np.testing.assert_allclose(camera.rays(corners), CAMERA.rays(corners), atol=0.006)
    assert camera.focal_mm == 8.0


def test_too_few_photos(photos: list[tuple[str, Image]]) -> None:
    few = [photos[0], photos[1], ("wall", np.full((480, 640), 90, np.uint8))]
    with pytest.raises(ConfigError, match="found in 2 of 3 photos; give 5 or more"):
        calibrate(few, BOARD)


def test_squares_counted_in_place_of_corners(photos: list[tuple[str, Image]]) -> None:
    with pytest.raises(ConfigError, match="seems to have 9x6 inner corners"):
        calibrate(photos[:5], Board(10, 7, 25.0))


def test_photos_of_two_sizes(photos: list[tuple[str, Image]]) -> None:
    other = ("other", np.zeros((100, 200), np.uint8))
    with pytest.raises(ConfigError, match="640x480 pixels and other 200x100"):
        calibrate([photos[0], other], BOARD)


def test_a_board_seen_straight_on_tells_no_focal_length() -> None:
    flat = np.asarray(cv2.resize(board_picture(), (640, 480)), np.uint8)
    with pytest.raises(ConfigError, match="tilted in too few"):
        calibrate([(str(number), flat) for number in range(6)], BOARD)


def test_a_board_is_found_in_colour(photos: list[tuple[str, Image]]) -> None:
    image = np.asarray(cv2.cvtColor(photos[0][1], cv2.COLOR_GRAY2BGR), np.uint8)
    corners = find_board(image, BOARD)
    assert corners is not None
    assert corners.shape == (54, 1, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9x6", "the board is '9x6'"),
        ("2x6:25mm", "2x6 inner corners"),
        ("9x6:0mm", "the side of a square is 0"),
        ("9x6:25", "without a unit"),
        ("ninexsix:25mm", "the board is"),
    ],
)
def test_what_is_no_board(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_board(text)
    assert said in str(caught.value)
