"""The scale of a flat wall that a calibrated camera sees from a known distance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.quantity import Quantity
from edgecrack.scale.scale import ModelledScale, Points, WallMap

MOST_TILT_DEG = 75.0
# Nobody looks at a wall more exactly straight than this, within 95 %.
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
    """Make the scale of a wall.

    Args:
        camera: at the size of the image.
        distance_m: from the camera to the wall along the middle of the view, as a laser beside the
            lens measures it; above 0.
        tilt_deg: angle between the view and the wall's perpendicular, below 75.
        towards_deg: where in the image the wall recedes: 0 to the right, 90 down, 180 to the left,
            270 up. None where nobody knows; then all directions are as likely.
        source: where the distance comes from.

    Raises:
        ConfigError: the tilt is out of range, or so large that the wall does not fill the image.
    """
    tilt = abs(tilt_deg.value) + (tilt_deg.deviation or 0.0)
    if tilt >= MOST_TILT_DEG:
        raise ConfigError(
            f"the tilt is {tilt_deg} degrees", f"look at the wall at less than {MOST_TILT_DEG:g}"
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
    """Of the wall, pointing away from the camera: the wall recedes towards a direction.

    The wall holds the points p with n p = n (0, 0, d). Where it recedes along t, n leans against t.
    """
    lean = math.sin(tilt)
    return np.array([-lean * math.cos(towards), -lean * math.sin(towards), math.cos(tilt)])


def _remembered(rays_of: Callable[[Points], Points]) -> Callable[[Points], Points]:
    """The same function, which asks for the same places once.

    All quantities are moved over the same two ends of each step, and undistorting takes longest.
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
    # Two axes on the wall, at right angles to each other.
    first = np.cross([0.0, 1.0, 0.0], normal)
    first /= np.linalg.norm(first)
    axes = np.stack([first, np.cross(normal, first)], axis=1)

    def to_wall(points: Points) -> Points:
        rays = rays_of(points) / focal
        directions = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
        # A ray that is nearly along the wall meets it far away, or behind the camera.
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
                f"at a tilt of {tilt_deg:g} degrees a part of the image looks past the wall",
                "look at the wall more squarely, or give the scale by a marker",
            )
