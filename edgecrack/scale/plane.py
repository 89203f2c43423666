"""Scale of a plane from a calibrated camera, a map grid, or photo metadata."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.images.photo_facts import PhotoFacts
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.quantity import Quantity
from edgecrack.scale.scale import ModelledScale, Points, WallMap

MOST_TILT_DEG = 75.0
# A hand-held camera is square to a wall within this, at 95 %.
USUAL_TILT = Quantity(0.0, 2.5)
_MM_PER_M = 1000.0
_DIRECTIONS_DEG = tuple(range(0, 360, 45))
_KEPT_RAYS = 2


def plane_scale(
    camera: CameraFile,
    distance_m: Quantity,
    tilt_deg: Quantity = USUAL_TILT,
    towards_deg: float | None = None,
    source: str = "camera and distance",
) -> ModelledScale:
    """The scale of a wall from a camera and a distance.

    Args:
        camera: at the size of the image.
        distance_m: from the camera to the wall along the optical axis, e.g. from a laser beside the
            lens; above 0.
        tilt_deg: angle between the view and the wall's perpendicular, below 75.
        towards_deg: direction in the image in which the wall recedes: 0 right, 90 down, 180 left,
            270 up. None if unknown: all directions are equally likely.
        source: where the distance comes from.

    Raises:
        ConfigError: the tilt is out of range, or so large that the wall does not fill the image.
    """
    tilt = abs(tilt_deg.value) + (tilt_deg.deviation or 0.0)
    if tilt >= MOST_TILT_DEG:
        raise ConfigError(
            f"the tilt is {tilt_deg} degrees", f"keep it below {MOST_TILT_DEG:g} degrees"
        )
    directions = _DIRECTIONS_DEG if towards_deg is None else (towards_deg,)
    if towards_deg is None and tilt == 0:
        directions = (0,)
    _check_wall_in_view(camera, tilt, directions)
    quantities = {
        "distance": distance_m,
        "tilt": tilt_deg,
        "focal length": Quantity(1.0, camera.focal_deviation),
    }

    rays = _remembered(camera.rays)

    def wall(values: Mapping[str, float]) -> list[WallMap]:
        return [
            _wall(
                rays,
                values["distance"],
                math.radians(values["tilt"]),
                math.radians(direction),
                values["focal length"],
            )
            for direction in directions
        ]

    facts = {"camera": camera.name, "towards_deg": towards_deg}
    return ModelledScale(source, quantities, wall, "direction of the tilt", facts)


def _normal(tilt: float, towards: float) -> Points:
    """Normal of a wall that recedes in a direction, pointing away from the camera.

    The wall is the points p with n p = n (0, 0, d). If it recedes along t, n leans against t.
    """
    lean = math.sin(tilt)
    return np.array([-lean * math.cos(towards), -lean * math.sin(towards), math.cos(tilt)])


def _remembered(rays_of: Callable[[Points], Points]) -> Callable[[Points], Points]:
    """Cache rays for the same points.

    All quantities are varied at the same points, and undistortion takes most of the time.
    """
    known: dict[bytes, Points] = {}

    def asked(points: Points) -> Points:
        key = points.tobytes()
        found = known.get(key)
        if found is None:
            if len(known) >= _KEPT_RAYS:
                known.clear()
            found = known[key] = rays_of(points)
        return found

    return asked


def _wall(
    rays_of: Callable[[Points], Points],
    distance_m: float,
    tilt: float,
    towards: float,
    focal: float,
) -> WallMap:
    normal = _normal(tilt, towards)
    # Two orthogonal axes on the wall.
    first = np.cross([0.0, 1.0, 0.0], normal)
    first /= np.linalg.norm(first)
    axes = np.stack([first, np.cross(normal, first)], axis=1)

    def to_wall(points: Points) -> Points:
        rays = rays_of(points) / focal
        directions = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
        # A ray nearly parallel to the wall meets it far away, or behind the camera.
        along = np.maximum(directions @ normal, 1e-3)
        hit = directions * (distance_m * _MM_PER_M * normal[2] / along)[:, None]
        return np.asarray(hit @ axes, np.float64)

    return to_wall


def _check_wall_in_view(
    camera: CameraFile, tilt_deg: float, directions_deg: tuple[float, ...]
) -> None:
    width, height = camera.image_size
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    rays = np.concatenate([camera.rays(corners), np.ones((4, 1))], axis=1)
    for direction in directions_deg:
        normal = _normal(math.radians(tilt_deg), math.radians(direction))
        if float((rays @ normal).min()) < 0.05:
            raise ConfigError(
                f"at a tilt of {tilt_deg:g} degrees, part of the image does not show the wall",
                "point the camera more squarely at the wall, or give the scale with a marker",
            )


class GroundGrid(Protocol):
    """The map grid of an image, such as `orthomosaic.map_grid.MapGrid`."""

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...

    def length_m(self, xy: Points) -> float | None:
        """Ground length of a line in pixels, float64 [N, 2]; None if unknown."""
        ...


def ground_scale(grid: GroundGrid) -> ModelledScale | None:
    """The scale in the middle of a georeferenced image; None if the map unit is unknown.

    The accuracy of the orthomosaic is unknown, so the uncertainty is not stated.

    Args:
        grid: map coordinates of the pixels.
    """
    height, width = grid.hw
    middle = np.array([width / 2, height / 2])
    sides = [grid.length_m(np.stack([middle - step, middle + step])) for step in np.eye(2) / 2]
    if any(not side for side in sides):
        return None
    across, down = (_MM_PER_M * (side or 0.0) for side in sides)

    def wall(values: Mapping[str, float]) -> list[WallMap]:
        factors = np.array([across, down]) / np.sqrt(across * down) * values["ground sampling"]

        def to_wall(points: Points) -> Points:
            return np.asarray(points * factors, np.float64)

        return [to_wall]

    sampling = {"ground sampling": Quantity(float(np.sqrt(across * down)))}
    return ModelledScale("the map's ground sampling", sampling, wall)


# DJI states +-(0.2 m + 0.15 %) for the range finders of H20T, H30T and M3E/M3T-class drones.
_RANGE_M, _RANGE_SHARE = 0.2, 0.0015
_FOCAL_DEVIATION = 0.005
_LEAST_RANGE_M, _MOST_RANGE_M = 0.5, 200.0


def photo_scale(photo: PhotoFacts | None, width_px: int, height_px: int) -> ModelledScale | None:
    """The scale from the metadata of a photo; None if it has none.

    Args:
        photo: the metadata.
        width_px: image width, upright.
        height_px: image height, upright.
    """
    if photo is None or photo.range_m is None or photo.calibrated_focal_px is None:
        return None
    side_px = max(width_px, height_px)
    if not _LEAST_RANGE_M <= photo.range_m <= _MOST_RANGE_M:
        return None
    if not 0.25 * side_px < photo.calibrated_focal_px < 60 * side_px:
        return None
    # A resized, cropped or enlarged image has a different focal length in pixels.
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
