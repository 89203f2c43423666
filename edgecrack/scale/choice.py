"""How the user gave the scale, and the scale of each image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.images.photo_facts import PhotoFacts
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.markers import MarkerKind, marker_scale
from edgecrack.scale.plane import USUAL_TILT, GroundGrid, ground_scale, photo_scale, plane_scale
from edgecrack.scale.quantity import Quantity, check_towards
from edgecrack.scale.scale import Scale, UnknownLens, uniform_scale


@dataclass(frozen=True)
class ScaleConfig:
    """How image scales are determined. With no settings, the metadata of each image is used.

    Attributes:
        mm_per_pixel: a value for all images.
        camera: a calibrated camera, with a distance or a marker.
        distance_m: from the camera to the wall.
        tilt_deg: angle of the wall to the view; None for a camera held square to the wall.
        towards_deg: direction in the image in which the wall recedes; None if unknown.
        marker: a marker of known size in view.

    Raises:
        ConfigError: two ways are given, or one is incomplete.
    """

    mm_per_pixel: Quantity | None = None
    camera: CameraFile | None = None
    distance_m: Quantity | None = None
    tilt_deg: Quantity | None = None
    towards_deg: float | None = None
    marker: MarkerKind | None = None

    def __post_init__(self) -> None:
        ways = {
            "`mm_per_pixel`": self.mm_per_pixel,
            "`distance_m`": self.distance_m,
            "`marker`": self.marker,
        }
        given = [name for name, way in ways.items() if way is not None]
        if len(given) > 1:
            raise ConfigError(f"the scale is given by {' and by '.join(given)}", "give one of them")
        if self.mm_per_pixel is not None and self.camera is not None:
            raise ConfigError(
                "the scale is given by `mm_per_pixel` and by `camera`",
                "give one of them: a camera goes with `distance_m` or `marker`",
            )
        if self.distance_m is not None and self.camera is None:
            raise ConfigError(
                f"the distance is {self.distance_m} m, but the camera is not known",
                "give its file with `camera`; `edgecrack calibrate-camera` makes one",
            )
        if self.camera is not None and self.distance_m is None and self.marker is None:
            raise ConfigError(
                "a camera alone gives no scale", "give `distance_m`, or `marker` if one is in view"
            )
        if self.distance_m is None and (self.tilt_deg or self.towards_deg is not None):
            raise ConfigError("a tilt needs `distance_m`, which is not given", "give it as well")
        check_towards(self.towards_deg, self.tilt_deg)
        if self.camera is not None:
            self.camera.check_focus()

    def of_image(
        self,
        image: NDArray[np.uint8],
        photo: PhotoFacts | None = None,
        grid: GroundGrid | None = None,
    ) -> Scale | None:
        """The scale of an image; None if it has none.

        Args:
            image: uint8 [H, W] or [H, W, 3] in BGR order, upright, at its original size.
            photo: camera metadata from its file.
            grid: map coordinates of its pixels.

        Raises:
            ConfigError: the settings do not determine the scale of this image.
        """
        height, width = image.shape[:2]
        if self.mm_per_pixel is not None:
            return uniform_scale(self.mm_per_pixel, lens=UnknownLens((height, width)))
        camera = None
        if self.camera is not None:
            self.camera.check_photo(photo)
            camera = self.camera.of_size(width, height)
        if self.marker is not None:
            return marker_scale(image, self.marker, camera)
        if self.distance_m is not None and camera is not None:
            tilt = USUAL_TILT if self.tilt_deg is None else self.tilt_deg
            return plane_scale(camera, self.distance_m, tilt, self.towards_deg)
        if grid is not None:
            return ground_scale(grid)
        return photo_scale(photo, width, height)
