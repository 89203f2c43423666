"""The scale by what a drone's photo says: its laser's range and the calibrated focal length."""

from __future__ import annotations

import numpy as np

from edgecrack.images.photo_facts import PhotoFacts
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.plane import plane_scale
from edgecrack.scale.quantity import Quantity
from edgecrack.scale.scale import ModelledScale

# DJI states +-(0.2 m + 0.15 %) for the range finders of H20T, H30T and M3E/M3T-class drones.
_RANGE_M, _RANGE_SHARE = 0.2, 0.0015
_FOCAL_DEVIATION = 0.005
_LEAST_RANGE_M, _MOST_RANGE_M = 0.5, 200.0


def photo_scale(photo: PhotoFacts | None, width_px: int, height_px: int) -> ModelledScale | None:
    """The scale that a photo's own file gives; None where it does not.

    Args:
        photo: what the file says.
        width_px: of the picture, upright.
        height_px: of the picture, upright.
    """
    if photo is None or photo.range_m is None or photo.calibrated_focal_px is None:
        return None
    side_px = max(width_px, height_px)
    if not _LEAST_RANGE_M <= photo.range_m <= _MOST_RANGE_M:
        return None
    if not 0.25 * side_px < photo.calibrated_focal_px < 60 * side_px:
        return None
    # A resized, cropped or enlarged picture has another focal length in pixels.
    size = photo.taken_size_px
    is_whole = size is None or size == (side_px, min(width_px, height_px))
    if not is_whole or (photo.digital_zoom or 1.0) != 1.0:
        return None
    focal = photo.calibrated_focal_px
    matrix = np.array(
        [[focal, 0, (width_px - 1) / 2], [0, focal, (height_px - 1) / 2], [0, 0, 1]], np.float64
    )
    camera = CameraFile(
        matrix, np.zeros(0), (width_px, height_px), photo.camera or "drone", _FOCAL_DEVIATION
    )
    spread_m = _RANGE_M + _RANGE_SHARE * photo.range_m
    if spread_m >= photo.range_m:
        return None
    return plane_scale(camera, Quantity(photo.range_m, spread_m / 2), source="the drone's laser")
