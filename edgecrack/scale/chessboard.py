"""Camera calibration from photos of a chessboard, with OpenCV (Z. Zhang, 2000)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.quantity import parse_length_mm

FEWEST_PHOTOS = 5
WANTED_PHOTOS = 10
# Root mean square reprojection error.
_MOST_RMS_PX = 3.0
_GOOD_RMS_PX = 1.0
_LEAST_DEVIATION = 0.001
# A board seen straight on does not determine the focal length.
_TILT_DEG, _LEAST_TILTED = 10.0, 3
_WANTED_COVERAGE = 0.5
# Largest relative standard uncertainty of the focal length that is accepted.
_MOST_DEVIATION = 0.05
_EXAMPLE = "give the inner corners and the side of a square, such as 9x6:25mm"
# Typical miscounts of the inner corners, as differences in columns and rows.
_MISCOUNTS = ((-1, -1), (1, 1), (-1, 0), (0, -1), (1, 0), (0, 1))
Image = NDArray[np.uint8]
Points = NDArray[np.float32]


@dataclass(frozen=True)
class Board:
    """A chessboard.

    Attributes:
        columns: inner corners per row, where four squares meet; 3 or more.
        rows: inner corners per column.
        square_mm: side of a square.
    """

    columns: int
    rows: int
    square_mm: float

    @property
    def corners_mm(self) -> Points:
        """Positions of all inner corners, float32 [rows * columns, 3]."""
        grid = np.zeros((self.rows * self.columns, 3), np.float32)
        grid[:, :2] = np.mgrid[: self.columns, : self.rows].T.reshape(-1, 2) * self.square_mm
        return grid


def parse_board(text: str) -> Board:
    """Parse the value of `--board`.

        >>> parse_board("9x6:25mm")
        Board(columns=9, rows=6, square_mm=25.0)

    Raises:
        ConfigError: the value is not a board, or out of range.
    """
    match = re.fullmatch(r"\s*(\d{1,3})\s*[xX]\s*(\d{1,3})\s*:(.+)", text)
    if match is None:
        raise ConfigError(f"the board is {text!r}", _EXAMPLE)
    columns, rows = int(match[1]), int(match[2])
    if min(columns, rows) < 3 or max(columns, rows) > 60:
        raise ConfigError(f"the board has {columns}x{rows} inner corners", "give 3x3 to 60x60")
    square = parse_length_mm(match[3], "the side of a square", most=10_000)
    return Board(columns, rows, square.value)


def find_board(image: Image, board: Board) -> Points | None:
    """Find the inner corners of a board, float32 [rows * columns, 1, 2]; None if not found.

    Args:
        image: uint8 [H, W] or [H, W, 3] in BGR order.
        board: the board, which must be entirely in view.
    """
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    size = (board.columns, board.rows)
    found, corners = cv2.findChessboardCornersSB(
        gray, size, flags=cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_ACCURACY
    )
    return np.asarray(corners, np.float32).reshape(-1, 1, 2) if found else None


@dataclass(frozen=True)
class CameraCalibration:
    """A calibrated camera and the quality of its calibration.

    Attributes:
        camera: the result.
        used: names of the photos that show the board.
        passed_over: names of the others.
        rms_px: root mean square reprojection error.
        coverage: share of the image in which corners were seen, 0 to 1.
        warnings: clauses that say how to improve the calibration.
    """

    camera: CameraFile
    used: tuple[str, ...]
    passed_over: tuple[str, ...]
    rms_px: float
    coverage: float
    warnings: tuple[str, ...]


def calibrate(
    photos: Sequence[tuple[str, Image]],
    board: Board,
    *,
    name: str = "camera",
    focal_mm: float | None = None,
    fixed_focus: bool | None = None,
    on_photo: Callable[[str, bool], None] = lambda name, found: None,
) -> CameraCalibration:
    """Calibrate a camera.

    Args:
        photos: names and images from one camera at one focus, zoom and image size.
        board: in view in at least five photos, close and tilted, also near the edges.
        name: camera name.
        focal_mm: focal length of the lens from the EXIF data of the photos.
        fixed_focus: whether focus and zoom stay fixed; None if not known.
        on_photo: called for each photo with its name and whether the board was found.

    Raises:
        ConfigError: the board is in too few photos, the photos differ in size, or the result is
            implausible.
    """
    _check_sizes(photos)
    seen: list[tuple[str, Points]] = []
    missing: list[str] = []
    for title, image in photos:
        board_seen = find_board(image, board)
        on_photo(title, board_seen is not None)
        if board_seen is None:
            missing.append(title)
        else:
            seen.append((title, board_seen))
    if len(seen) < FEWEST_PHOTOS:
        raise ConfigError(
            f"the board of {board.columns}x{board.rows} inner corners was found in {len(seen)} of "
            f"{len(photos)} photos",
            _advice(photos, missing, board),
        )
    height, width = photos[0][1].shape[:2]
    corners = [points for _, points in seen]
    rms, matrix, lens, deviation, normals = _solved(corners, board, (width, height))
    focal = float(matrix[0, 0])
    if _tilted(normals) < _LEAST_TILTED or not _is_plausible(focal, max(width, height)):
        raise ConfigError(
            "these photos do not determine the focal length: the board is tilted in too few",
            "take some with the board tilted by 20 to 45 degrees in all directions",
        )
    if not rms <= _MOST_RMS_PX:
        raise ConfigError(
            f"the reprojection error of the corners is {rms:.1f} px",
            "use a flat, stiff board and sharp photos at one zoom, and check the numbers of inner "
            "corners",
        )
    relative = max(deviation / focal, _halves(corners, board, (width, height)), _LEAST_DEVIATION)
    if not relative <= _MOST_DEVIATION:
        raise ConfigError(
            f"the focal length is only accurate to {2 * relative:.0%}",
            "take more photos with the board tilted by 20 to 45 degrees in all directions",
        )
    coverage = _coverage(corners, (width, height))
    facts: dict[str, Any] = {
        "photos": len(seen),
        "board": f"{board.columns}x{board.rows}:{board.square_mm:g}mm",
        "rms_px": round(rms, 4),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }
    camera = CameraFile(
        matrix, lens.ravel(), (width, height), name, relative, focal_mm, fixed_focus, facts
    )
    warnings = tuple(_warnings(len(seen), rms, coverage, relative))
    return CameraCalibration(
        camera, tuple(title for title, _ in seen), tuple(missing), rms, coverage, warnings
    )


def _check_sizes(photos: Sequence[tuple[str, Image]]) -> None:
    sizes: dict[tuple[int, ...], str] = {}
    for title, image in photos:
        sizes.setdefault(image.shape[:2], title)
    if len(sizes) > 1:
        (first, one), (second, other) = list(sizes.items())[:2]
        raise ConfigError(
            f"{one} has {first[1]}x{first[0]} pixels and {other} {second[1]}x{second[0]}",
            "give photos from one camera at one resolution, all portrait or all landscape",
        )


def _advice(photos: Sequence[tuple[str, Image]], missing: list[str], board: Board) -> str:
    """The remedy for a board that is not found; tries other corner counts."""
    image = next((image for title, image in photos if title in missing), None)
    if image is not None:
        for columns, rows in _MISCOUNTS:
            other = Board(board.columns + columns, board.rows + rows, board.square_mm)
            if min(other.columns, other.rows) >= 3 and find_board(image, other) is not None:
                return (
                    f"the board seems to have {other.columns}x{other.rows} inner corners; count "
                    "where four squares meet, not the squares"
                )
    return (
        f"give {FEWEST_PHOTOS} or more sharp photos that show the whole board and its white border"
    )


def _tilted(normals: NDArray[np.float64]) -> int:
    """Number of photos with a tilted board."""
    angles = np.degrees(np.arccos(np.clip(np.abs(normals[:, 2]), 0, 1)))
    return int(np.count_nonzero(angles > _TILT_DEG))


def _is_plausible(focal_px: float, side_px: int) -> bool:
    """Whether the field of view is between 3 and 127 degrees."""
    return 0.25 * side_px < focal_px < 20 * side_px


def _solved(
    corners: Sequence[Points], board: Board, size: tuple[int, int]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64], float, NDArray[np.float64]]:
    """Solve for the camera.

    Returns:
        Root mean square error, matrix, distortion, the focal length's standard deviation in pixels,
        and the board normals, float [N, 3].
    """
    try:
        rms, matrix, lens, turns, _, deviations, _, _ = cv2.calibrateCameraExtended(
            [board.corners_mm] * len(corners), list(corners), size,
            np.eye(3), np.zeros(5), flags=cv2.CALIB_FIX_K3,
        )  # fmt: skip
    except cv2.error as error:
        raise ConfigError(
            "these photos do not determine the lens",
            "take some with the board tilted in all directions",
        ) from error
    return (
        float(rms),
        np.asarray(matrix, np.float64),
        np.asarray(lens, np.float64),
        float(np.ravel(deviations)[0]),
        np.array([np.asarray(cv2.Rodrigues(turn)[0])[:, 2] for turn in turns], np.float64),
    )


def _halves(corners: Sequence[Points], board: Board, size: tuple[int, int]) -> float:
    """Relative uncertainty from the focal lengths of odd and even photos.

    The uncertainty from the fit does not account for boards that are not flat.
    """
    if len(corners) < 2 * FEWEST_PHOTOS:
        return 0.0
    focal = [_solved(corners[first::2], board, size)[1][0, 0] for first in (0, 1)]
    return float(abs(math.log(focal[0] / focal[1])) / 2)


def _coverage(corners: Sequence[Points], size: tuple[int, int]) -> float:
    """Share of an 8 by 6 grid in which corners were seen."""
    cells = np.zeros((6, 8), bool)
    for points in corners:
        x, y = (points.reshape(-1, 2) / np.array(size)).T
        cells[np.clip(y * 6, 0, 5).astype(int), np.clip(x * 8, 0, 7).astype(int)] = True
    return float(cells.mean())


def _warnings(count: int, rms_px: float, coverage: float, deviation: float) -> list[str]:
    found = []
    if count < WANTED_PHOTOS:
        found.append(f"only {count} photos show the board; {WANTED_PHOTOS} or more are better")
    if rms_px > _GOOD_RMS_PX:
        found.append(
            f"the reprojection error is {rms_px:.1f} px; use a stiffer board or sharper photos"
        )
    if coverage < _WANTED_COVERAGE:
        found.append(
            f"corners were seen in only {coverage:.0%} of the image; also hold the board near the "
            "image corners"
        )
    if deviation > 0.01:
        found.append(
            f"the focal length is only accurate to {2 * deviation:.1%}; tilt the board more"
        )
    return found
