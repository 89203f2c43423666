"""Camera calibration files: ROS `camera_info` YAML with the calibration conditions.

`edgecrack calibrate-camera` writes them; files from ROS `camera_calibration` can be read too. A
calibration is valid for one focus and one zoom.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.files import write_atomic
from edgecrack.images.photo_facts import PhotoFacts
from edgecrack.outside_text import is_number, parse_yaml

SCHEMA_VERSION = 1
_MODELS = ("plumb_bob", "rational_polynomial")
_COEFFICIENTS = (0, 4, 5, 8, 12, 14)
_ASPECT_TOLERANCE = 0.01
_FOCAL_TOLERANCE = 0.01
_REMEDY = "make it with `edgecrack calibrate-camera`, or give ROS's camera_info YAML"
_LARGEST_BYTES = 1 << 20
_STEPS, _EXACT = 20, 1e-9
_MOST_SKEW = 1e-6
# Pixels are nearly square, and even strong distortion has coefficients of a few at most.
_MOST_ASPECT, _MOST_DISTORTION, _FARTHEST = 1.2, 1000.0, 20.0


@dataclass(frozen=True, eq=False)
class CameraFile:
    """A camera's intrinsic calibration.

    Attributes:
        matrix: float64 [3, 3], focal lengths and principal point in pixels; the centre of the first
            pixel is (0, 0), as in OpenCV.
        distortion: float64 [N], OpenCV's coefficients, N 0, 4, 5, 8, 12 or 14.
        image_size: width and height in pixels.
        name: camera name.
        focal_deviation: relative standard uncertainty of the focal length; None if not stated.
        focal_mm: focal length from the EXIF data of the calibration photos, to detect a different
            zoom later; None if not stated.
        fixed_focus: whether focus and zoom stay as calibrated; None if not stated.
        facts: other facts about the calibration.
        file: name of the source file; "" for none.
        sha256: hexadecimal hash of that file; "" for none.
    """

    matrix: NDArray[np.float64]
    distortion: NDArray[np.float64]
    image_size: tuple[int, int]
    name: str = "camera"
    focal_deviation: float | None = None
    focal_mm: float | None = None
    fixed_focus: bool | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""

    def of_size(self, width_px: int, height_px: int) -> CameraFile:
        """The same camera at another resolution of the same view.

        Raises:
            ConfigError: the image has a different aspect ratio, so it shows a different view.
        """
        if (width_px, height_px) == self.image_size:
            return self
        factors = width_px / self.image_size[0], height_px / self.image_size[1]
        if abs(factors[0] / factors[1] - 1) > _ASPECT_TOLERANCE:
            turned = (height_px, width_px) == self.image_size
            raise ConfigError(
                f"the camera was calibrated at {self.image_size[0]}x{self.image_size[1]} pixels "
                f"and the image has {width_px}x{height_px}, another shape",
                "hold the camera as it was held for the board photos"
                if turned
                else "calibrate the camera at this resolution",
            )
        scaled = self.matrix.copy()
        for axis, factor in enumerate(factors):
            scaled[axis, axis] *= factor
            # The centre of the first pixel is 0, its corner -0.5.
            scaled[axis, 2] = (scaled[axis, 2] + 0.5) * factor - 0.5
        return replace(self, matrix=scaled, image_size=(width_px, height_px))

    def check_photo(self, photo: PhotoFacts | None) -> None:
        """Refuse a photo taken with a different lens or zoom.

        Raises:
            ConfigError: its focal length differs, or it has digital zoom.
        """
        if photo is None:
            return
        if photo.digital_zoom is not None and abs(photo.digital_zoom - 1) > _FOCAL_TOLERANCE:
            raise ConfigError(
                f"the photo was enlarged in the camera by {photo.digital_zoom:g} (digital zoom)",
                "take it without digital zoom, or give the scale in another way",
            )
        if photo.focal_mm is None or self.focal_mm is None:
            return
        if abs(photo.focal_mm / self.focal_mm - 1) > _FOCAL_TOLERANCE:
            raise ConfigError(
                f"the photo was taken at a focal length of {photo.focal_mm:g} mm and the camera "
                f"was calibrated at {self.focal_mm:g} mm",
                "calibrate the camera at this zoom, or give the scale in another way",
            )

    def check_focus(self) -> None:
        """Refuse a camera whose focus or zoom changes.

        Raises:
            ConfigError: the focus is not fixed.
        """
        if self.fixed_focus is False:
            raise ConfigError(
                f"the camera {self.name} focuses or zooms by itself, so its calibration is "
                "not valid",
                "fix focus and zoom and calibrate again, or give the scale in another way",
            )

    def rays(self, points_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undistorted viewing directions of image points.

        Args:
            points_px: float64 [N, 2]; the centre of the first pixel is (0.5, 0.5).

        Returns:
            float64 [N, 2], x / z and y / z.
        """
        seen = np.asarray(points_px, np.float64).reshape(-1, 1, 2) - 0.5
        if not len(seen):
            return np.zeros((0, 2))
        lens = self.distortion if self.distortion.size else None
        rays = np.asarray(cv2.undistortPoints(seen, self.matrix, lens), np.float64)
        if lens is None:
            return rays.reshape(-1, 2)
        # OpenCV stops after five steps, too few at the corners of wide-angle lenses.
        focal_px = np.diag(self.matrix)[:2]
        for _ in range(_STEPS):
            lifted = np.concatenate([rays, np.ones((len(rays), 1, 1))], axis=2)
            again, _ = cv2.projectPoints(lifted, np.zeros(3), np.zeros(3), self.matrix, lens)
            step = (seen - again) / focal_px
            rays = rays + step
            if float(np.abs(step).max()) < _EXACT:
                break
        return np.asarray(rays, np.float64).reshape(-1, 2)


def read_camera(path: Path | str) -> CameraFile:
    """Read a camera file.

    Raises:
        ConfigError: the file cannot be read or is not a camera file.
    """
    path = Path(path)
    try:
        data = path.read_bytes()[: _LARGEST_BYTES + 1]
    except OSError as error:
        raise ConfigError(
            f"cannot read the camera file {path}: {error.strerror}", _REMEDY
        ) from error
    try:
        if len(data) > _LARGEST_BYTES:
            raise ValueError("it is larger than 1 MiB")
        document = parse_yaml(data)
    except ValueError as error:
        raise ConfigError(f"{path} is not a camera file: {error}", _REMEDY) from error
    try:
        camera = _camera(document)
        return replace(camera, file=path.name, sha256=hashlib.sha256(data).hexdigest())
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        if isinstance(error, TypeError) or "could not convert" in why:
            why = "a field contains something other than numbers"
        raise ConfigError(f"{path} is not a camera file: {why}", _REMEDY) from error


def _camera(document: Any) -> CameraFile:
    if not isinstance(document, dict):
        raise ValueError("it contains no fields")
    size = (_whole(document, "image_width"), _whole(document, "image_height"))
    matrix = _numbers(document["camera_matrix"], "camera_matrix")
    if matrix.size != 9:
        raise ValueError(f"camera_matrix has {matrix.size} numbers instead of 9")
    matrix = matrix.reshape(3, 3)
    skew = [matrix[0, 1], matrix[1, 0], *(matrix[2] - (0, 0, 1))]
    if float(np.abs(skew).max()) > _MOST_SKEW:
        raise ValueError("camera_matrix is not of the form fx 0 cx, 0 fy cy, 0 0 1")
    model = document.get("distortion_model", "plumb_bob")
    if model not in _MODELS:
        raise ValueError(f"distortion_model is {model!r}; supported are {' and '.join(_MODELS)}")
    distortion = _numbers(document["distortion_coefficients"], "distortion_coefficients")
    if distortion.size not in _COEFFICIENTS:
        raise ValueError(f"distortion_coefficients has {distortion.size} numbers")
    focal_px, centre = (matrix[0, 0], matrix[1, 1]), (matrix[0, 2], matrix[1, 2])
    if not all(focal > 0 for focal in focal_px):
        raise ValueError(f"its focal lengths are {focal_px[0]:g} and {focal_px[1]:g} px")
    if not 1 / _MOST_ASPECT < focal_px[0] / focal_px[1] < _MOST_ASPECT:
        raise ValueError(f"its focal lengths are {focal_px[0]:g} and {focal_px[1]:g} px")
    if not 0.1 * max(size) < focal_px[0] < 100 * max(size):
        raise ValueError(
            f"a focal length of {focal_px[0]:g} px is implausible for {size[0]}x{size[1]} px"
        )
    if distortion.size and float(np.abs(distortion).max()) > _MOST_DISTORTION:
        raise ValueError(f"a distortion of {float(np.abs(distortion).max()):g} is implausible")
    if not all(-side < at < 2 * side for at, side in zip(centre, size, strict=True)):
        raise ValueError(f"its principal point is {centre[0]:g}, {centre[1]:g}")
    own = document.get("edgecrack") or {}
    if not isinstance(own, dict):
        raise ValueError("edgecrack contains no fields")
    if own.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise ValueError(f"its schema version is {own['schema_version']!r}; supported is 1")
    fixed = own.get("fixed_focus")
    if fixed is not None and not isinstance(fixed, bool):
        raise ValueError(f"fixed_focus is {fixed!r} instead of true or false")
    camera = CameraFile(
        matrix,
        distortion.ravel(),
        size,
        str(document.get("camera_name", "camera")),
        _optional(own, "focal_deviation", most=0.5),
        _optional(own, "focal_mm", most=1e4),
        fixed,
        {key: own[key] for key in ("photos", "board", "rms_px", "date") if key in own},
    )
    _check_lens(camera)
    return camera


def _check_lens(camera: CameraFile) -> None:
    """Check that the distortion is monotonic up to the corners.

    Raises:
        ValueError: it is not, so no lens has these coefficients.
    """
    width, height = camera.image_size
    centre = camera.matrix[:2, 2] + 0.5
    for corner in ((0.0, 0.0), (width, 0.0), (0.0, height), (width, height)):
        outward = centre + np.linspace(0.05, 1.0, 20)[:, None] * (np.array(corner) - centre)
        with np.errstate(all="ignore"):
            away = np.hypot(*camera.rays(outward).T)
        if not np.isfinite(away).all() or (np.diff(away) <= 0).any() or away[-1] > _FARTHEST:
            raise ValueError("no lens has its distortion coefficients")


def _whole(document: dict[str, Any], name: str) -> int:
    value = document[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 8 <= value <= 100_000:
        raise ValueError(f"{name} is {value!r}")
    return value


def _numbers(value: Any, name: str) -> NDArray[np.float64]:
    data = value["data"] if isinstance(value, dict) else value
    flat = np.asarray(data, object).ravel()
    if not all(map(is_number, flat)):
        raise ValueError(f"{name} contains values that are not numbers")
    numbers = np.asarray(data, np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} contains a value that is not a finite number")
    return numbers


def _optional(own: dict[str, Any], name: str, most: float) -> float | None:
    value = own.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r}")
    if not (math.isfinite(value) and 0 < value <= most):
        raise ValueError(f"{name} is {value:g}")
    return float(value)


def write_camera(path: Path | str, camera: CameraFile) -> None:
    """Write a camera file.

    Raises:
        OutputError: it cannot be written.
    """
    matrix = camera.matrix
    document = {
        "image_width": camera.image_size[0],
        "image_height": camera.image_size[1],
        "camera_name": camera.name,
        "camera_matrix": _array(matrix),
        "distortion_model": _MODELS[camera.distortion.size > 5],
        "distortion_coefficients": _array(camera.distortion.reshape(1, -1)),
        "rectification_matrix": _array(np.eye(3)),
        "projection_matrix": _array(np.hstack([matrix, np.zeros((3, 1))])),
        "edgecrack": {
            "schema_version": SCHEMA_VERSION,
            "focal_deviation": camera.focal_deviation,
            "focal_mm": camera.focal_mm,
            "fixed_focus": camera.fixed_focus,
            **camera.facts,
        },
    }
    write_atomic(path, yaml.safe_dump(document, sort_keys=False, default_flow_style=None))


def _array(values: NDArray[np.float64]) -> dict[str, Any]:
    rows, columns = values.shape
    return {"rows": rows, "cols": columns, "data": [float(each) for each in values.ravel()]}
