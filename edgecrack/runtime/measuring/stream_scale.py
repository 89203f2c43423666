"""The user's settings for the scale of a stream's frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecrack.errors import ConfigError
from edgecrack.scale.camera_file import CameraFile, read_camera
from edgecrack.scale.plane import USUAL_TILT, plane_scale
from edgecrack.scale.quantity import (
    Quantity,
    check_towards,
    read_distance_m,
    read_mm_per_pixel,
    read_tilt_deg,
)

_RECORDING = "recording"


@dataclass(frozen=True)
class RecordedCamera:
    """The camera whose CameraInfo is in the recording that is replayed.

    Attributes:
        topic: of the CameraInfo; None for the one beside the images, or the only one.
    """

    topic: str | None = None


@dataclass(frozen=True)
class StreamScale:
    """The scale: a number, or a camera and its distance from the wall.

    Attributes:
        mm_per_pixel: millimetres per pixel, the same in all frames.
        camera: a calibrated camera, or the one in the recording that is replayed.
        distance_m: from the camera to the wall; None for the range that comes with positions.
        tilt_deg: between the view and the wall's perpendicular; None for a camera aligned by eye.
        towards_deg: where in the image the wall recedes: 0 right, 90 down, 180 left, 270 up; None
            if unknown.

    Raises:
        ConfigError: neither a number nor a camera is given or both are, or a camera's settings are
            given without one.
    """

    mm_per_pixel: Quantity | None = None
    camera: CameraFile | RecordedCamera | None = None
    distance_m: Quantity | None = None
    tilt_deg: Quantity | None = None
    towards_deg: float | None = None

    def __post_init__(self) -> None:
        if self.mm_per_pixel is not None and self.camera is not None:
            raise ConfigError(
                "the scale is given by `mm_per_pixel` and by `camera_file`", "give one of them"
            )
        if self.camera is None:
            self._check_without_camera()
        check_towards(self.towards_deg, self.tilt_deg)
        if isinstance(self.camera, CameraFile):
            # Whether the wall fills the picture at this tilt does not depend on the distance.
            plane_scale(self.camera, Quantity(1.0), self.tilt, self.towards_deg)

    def _check_without_camera(self) -> None:
        for name, value in (
            ("distance_m", self.distance_m),
            ("tilt_deg", self.tilt_deg),
            ("tilt_towards_deg", self.towards_deg),
        ):
            if value is not None:
                raise ConfigError(
                    f"`{name}` is {value}, but the camera is not known",
                    "give `camera_file`; `edgecrack calibrate-camera` makes it",
                )
        if self.mm_per_pixel is None:
            raise ConfigError("no scale is given", "give `mm_per_pixel` or `camera_file`")

    @property
    def tilt(self) -> Quantity:
        """The tilt to use, in degrees."""
        return USUAL_TILT if self.tilt_deg is None else self.tilt_deg

    @property
    def needs_range(self) -> bool:
        """Whether the distance comes with the positions."""
        return self.camera is not None and self.distance_m is None

    def check_size(self, width_px: int, height_px: int) -> None:
        """Check that frames have the shape that the camera was calibrated for.

        Raises:
            ConfigError: they have another one.
        """
        if isinstance(self.camera, CameraFile):
            self.camera.of_size(width_px, height_px)

    def __str__(self) -> str:
        """All settings as text, to compare the parts of a run."""
        if self.mm_per_pixel is not None:
            return f"{self.mm_per_pixel} mm/px"
        camera = self.camera
        if isinstance(camera, CameraFile):
            matrix = ",".join(f"{value:.6g}" for value in camera.matrix.ravel())
            lens = ",".join(f"{value:.6g}" for value in camera.distortion)
            name = f"{camera.name} {camera.image_size} {matrix} {lens} {camera.focal_deviation}"
        else:
            name = str(camera)
        return f"{name}; {self.distance_m}; {self.tilt_deg}; {self.towards_deg}"


def stream_scale(
    mm_per_pixel: str | None = None,
    camera_file: str | None = None,
    distance_m: str | None = None,
    tilt_deg: str | None = None,
    tilt_towards_deg: float | None = None,
) -> StreamScale | None:
    """Parse a user's options; None without any.

        >>> stream_scale("0.12+-0.005").mm_per_pixel
        Quantity(value=0.12, deviation=0.0025)

    Args:
        mm_per_pixel: such as 0.12+-0.005.
        camera_file: path of a camera's file; or `recording`, or `recording:/camera/camera_info`,
            for the camera in the recording that is replayed.
        distance_m: such as 1.5+-0.02.
        tilt_deg: such as 20 or 20+-2.
        tilt_towards_deg: as `StreamScale.towards_deg`.

    Raises:
        ConfigError: a value is invalid, or they contradict each other.
    """
    given = (mm_per_pixel, camera_file, distance_m, tilt_deg, tilt_towards_deg)
    if all(each is None for each in given):
        return None
    return StreamScale(
        read_mm_per_pixel(mm_per_pixel),
        None if camera_file is None else _camera(camera_file),
        read_distance_m(distance_m),
        read_tilt_deg(tilt_deg),
        tilt_towards_deg,
    )


def _camera(text: str) -> CameraFile | RecordedCamera:
    kind, colon, topic = text.strip().partition(":")
    if kind != _RECORDING:
        try:
            return read_camera(Path(text).expanduser())
        except RuntimeError:  # unknown user after ~
            return read_camera(text)
    if colon and not topic.strip():
        raise ConfigError(
            f"the camera file {text!r} names no topic", "give recording:/camera/camera_info"
        )
    return RecordedCamera(topic.strip() or None)
