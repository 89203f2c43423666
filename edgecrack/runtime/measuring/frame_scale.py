"""The scale of each frame of a stream, or why it has none.

A wrong scale is worse than none: where the calibration is invalid or the range unknown, a frame is
measured in pixels only, with the reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgecrack.errors import ConfigError
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.measuring.stream_scale import StreamScale
from edgecrack.runtime.telemetry.events import EventLog, RepeatLimiter
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.plane import plane_scale
from edgecrack.scale.quantity import Quantity
from edgecrack.scale.scale import Scale, UnknownLens, uniform_scale

NO_RANGE = "no range was measured near the frame"
AUTOFOCUS = "the camera's autofocus is on, so its calibration does not hold"


@dataclass(frozen=True)
class FoundScale:
    """A frame's scale.

    Attributes:
        scale: None where there is none.
        source: its origin, also where there is none.
        reason: why there is none, as a clause; "" where there is one.
        distance_m: used for it; None where it needs none.
        camera: at the frame's size; None if unknown.
    """

    scale: Scale | None
    source: str
    reason: str = ""
    distance_m: Quantity | None = None
    camera: CameraFile | None = None


class FrameScale:
    """Finds the scale of frames.

    Args:
        config: the user's settings.
        camera: named in them, opened; None without one.
        flip: of the frames relative to the camera's own picture.
        focus_moves: whether autofocus is on now; None if unknown.
        events: gets an event when millimetres are refused, for each reason at most once a minute.
    """

    def __init__(
        self,
        config: StreamScale,
        camera: CameraFile | None = None,
        *,
        flip: str = "none",
        focus_moves: Callable[[], bool | None] = lambda: None,
        events: EventLog | None = None,
    ) -> None:
        self._config = config
        self._camera = None if camera is None else flipped(camera, flip)
        self._focus_moves = focus_moves
        self._events = events or EventLog()
        self._refusals = RepeatLimiter(60.0, is_episode=False)
        self._known: tuple[tuple[int, int], FoundScale] | None = None
        self._lock = threading.Lock()

    def of(self, result: FrameResult) -> FoundScale:
        """The scale of a frame."""
        with self._lock:
            found = self._of(result)
        if found.reason and self._refusals.is_due(found.reason):
            self._events.emit(
                "scale.refused",
                f"no millimetres, pixels remain: {found.reason}",
                "warning",
                reason=found.reason,
            )
        return found

    def _of(self, result: FrameResult) -> FoundScale:
        if self._config.mm_per_pixel is not None or self._camera is None:
            if self._config.mm_per_pixel is None:
                raise ValueError("no camera was opened")
            return FoundScale(
                uniform_scale(self._config.mm_per_pixel, lens=UnknownLens(result.frame.hw)), "given"
            )
        distance = self._config.distance_m
        source = "camera and distance" if distance is not None else "camera and range"
        if self._camera.fixed_focus is False:
            reason = f"the camera {self._camera.name} focuses or zooms by itself"
            return FoundScale(None, source, reason)
        try:
            self._camera.check_photo(result.frame.photo)
        except ConfigError as error:
            return FoundScale(None, source, error.problem)
        if self._focus_moves():
            return FoundScale(None, source, AUTOFOCUS)
        if distance is not None:
            return self._by_plane(result, distance, source, keeps=True)
        position = result.position
        if position is None or position.range_m is None:
            return FoundScale(None, source, NO_RANGE)
        deviation_m = position.range_deviation_m
        if deviation_m is not None and 2 * deviation_m >= position.range_m:
            return FoundScale(None, source, "the range is no surer than it is long")
        return self._by_plane(result, Quantity(position.range_m, deviation_m), source, keeps=False)

    def _by_plane(
        self, result: FrameResult, distance_m: Quantity, source: str, *, keeps: bool
    ) -> FoundScale:
        height, width = result.frame.hw
        if keeps and self._known is not None and self._known[0] == (width, height):
            return self._known[1]
        if self._camera is None:
            raise ValueError("no camera was opened")
        config = self._config
        try:
            camera = self._camera.of_size(width, height)
            scale = plane_scale(camera, distance_m, config.tilt, config.towards_deg, source)
        except ConfigError as error:
            return FoundScale(None, source, error.problem)
        found = FoundScale(scale, source, distance_m=distance_m, camera=camera)
        if keeps:
            self._known = ((width, height), found)
        return found


def flipped(camera: CameraFile, flip: str) -> CameraFile:
    """The camera for mirrored pictures.

    Args:
        camera: for unmirrored pictures.
        flip: as in `SourceOptions.flip`.
    """
    across, down = flip in ("horizontal", "both"), flip in ("vertical", "both")
    if not (across or down):
        return camera
    matrix, lens = camera.matrix.copy(), camera.distortion.copy()
    for axis, is_mirrored in enumerate((across, down)):
        if is_mirrored:
            matrix[axis, 2] = camera.image_size[axis] - 1 - matrix[axis, 2]
    # OpenCV's odd coefficients: p2, s1 and s2 across, p1, s3 and s4 down, and the sensor's tilt
    # about the other axis.
    for is_mirrored, odd in ((across, (3, 8, 9, 13)), (down, (2, 10, 11, 12))):
        for place in odd:
            if is_mirrored and place < lens.size:
                lens[place] = -lens[place]
    return replace(camera, matrix=matrix, distortion=lens)
