"""Where the check sheet lies in an image, by its markers."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.markers import Marker, find_markers
from edgecrack.site_check.sheet import (
    MARKER_FAMILY,
    MARKER_NUMBERS,
    PAGE_MM,
    CheckSheet,
    Points,
    check_sheet,
)

_FEWEST_MARKERS = 2
# Corners this far from where they belong, as a share of a marker's side, are of no such sheet.
_NOT_THE_SHEET = 0.2


@dataclass(frozen=True, eq=False)
class SheetPlacement:
    """A check sheet in an image.

    Attributes:
        sheet: which.
        markers: of it that are seen, two or more; of their corners the middle of the image's first
            pixel is (0.5, 0.5).
        camera: whose distortion was taken out; None where it is not known.
        matrix: float64 [3, 3], from millimetres of the sheet to pixels, or to the camera's rays.
        residual_px: how far the corners lie from where the sheet has them, root mean square.
    """

    sheet: CheckSheet
    markers: tuple[Marker, ...]
    camera: CameraFile | None
    matrix: NDArray[np.float64]
    residual_px: float

    def to_image(self, points_mm: Points) -> Points:
        """From millimetres of the sheet, float64 [N, 2], to pixels, float64 [N, 2]."""
        return _seen(self.matrix, points_mm, self.camera)

    def mask(self, hw: tuple[int, ...]) -> NDArray[np.bool_]:
        """Where it covers the wall, bool [H, W]: its cracks are none of the structure's.

        Args:
            hw: height and width of the image.
        """
        width, height = PAGE_MM
        corners = np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
        sides = [
            np.linspace(first, second, 20, endpoint=False)
            for first, second in zip(corners, np.roll(corners, -1, axis=0), strict=True)
        ]
        outline = np.clip(self.to_image(np.concatenate(sides)), -10_000, 20_000)
        covered = np.zeros(hw[:2], np.uint8)
        cv2.fillPoly(covered, [np.round(outline).astype(np.int32)], 1)
        return np.asarray(covered > 0)

    def centres(self) -> tuple[Points, Points]:
        """Middles of the markers in pixels and in millimetres of the sheet, float64 [N, 2] each.

        A blurred black square looks smaller than it is, for grey values are no light; its middle
        stays.
        """
        corners_mm = _corners_mm(self.sheet)
        return (
            np.array([marker.corners.mean(axis=0) for marker in self.markers]),
            np.array([corners_mm[marker.number].mean(axis=0) for marker in self.markers]),
        )


def find_sheet(image: NDArray[np.uint8], camera: CameraFile | None = None) -> SheetPlacement | None:
    """Find a check sheet.

    Args:
        image: uint8 [H, W] or [H, W, 3] in BGR order.
        camera: takes the lens's distortion out, at the size of the image.

    Returns:
        None where fewer than two of its markers are seen.

    Raises:
        ConfigError: there are two sheets in view, or this OpenCV cannot find markers.
    """
    found = find_markers(image, MARKER_FAMILY)
    for version, numbers in MARKER_NUMBERS.items():
        markers = tuple(marker for marker in found if marker.number in numbers)
        seen = [marker.number for marker in markers]
        if len(set(seen)) < _FEWEST_MARKERS:
            continue
        if len(set(seen)) < len(seen):
            twice = max(seen, key=seen.count)
            raise ConfigError(
                f"marker {twice} of the check sheet is in view more than once",
                "cover all sheets but one",
            )
        return _placed(check_sheet(version), markers, camera)
    return None


def _placed(
    sheet: CheckSheet, markers: tuple[Marker, ...], camera: CameraFile | None
) -> SheetPlacement | None:
    corners_mm = _corners_mm(sheet)
    sheet_mm = np.concatenate([corners_mm[marker.number] for marker in markers])
    image_px = np.concatenate([marker.corners for marker in markers])
    flat = image_px if camera is None else camera.rays(image_px)
    matrix, _ = cv2.findHomography(sheet_mm, flat, 0)
    if matrix is None:
        return None
    placement = np.asarray(matrix, np.float64)
    away = _seen(placement, sheet_mm, camera) - image_px
    residual_px = float(np.sqrt(np.square(away).sum(axis=1).mean()))
    if not residual_px < _NOT_THE_SHEET * min(marker.side_px for marker in markers):
        return None
    return SheetPlacement(sheet, markers, camera, placement, residual_px)


def _corners_mm(sheet: CheckSheet) -> dict[int, Points]:
    return {marker.number: marker.corners for marker in sheet.markers}


def _seen(matrix: NDArray[np.float64], points_mm: Points, camera: CameraFile | None) -> Points:
    lifted = np.column_stack([points_mm, np.ones(len(points_mm))]) @ matrix.T
    # What lies behind the camera is never seen.
    depth = np.where(np.abs(lifted[:, 2]) < 1e-9, 1e-9, lifted[:, 2])
    flat = lifted[:, :2] / depth[:, None]
    if camera is None:
        return np.asarray(flat, np.float64)
    rays = np.column_stack([flat, np.ones(len(flat))])
    lens = camera.distortion if camera.distortion.size else None
    pixels, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), camera.matrix, lens)
    return np.asarray(pixels, np.float64).reshape(-1, 2) + 0.5
