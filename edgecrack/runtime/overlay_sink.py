"""`overlay.mp4`: the annotated frames as a video that any player opens.

OpenCV's video writer never says that a write failed. So this checks for room before each
frame, watches that the file grows, and counts the frames of the finished file.
"""

from __future__ import annotations

import shutil

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import OutputError
from edgecrack.files import output_error
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.output_folder import OutputFolder
from edgecrack.runtime.overlay import draw_overlay
from edgecrack.runtime.quiet import quiet_opencv

DEFAULT_FRAME_RATE_HZ = 10.0
RESERVE_BYTES = 32 * 2**20
# The writer holds back 256 KiB, and an unchanging picture takes as little as 10 bytes a frame:
# a file that stood still for fewer frames than this may be quite well.
GROWTH_CHECK_FRAMES = 30_000
# MPEG-4 counts time in whole parts of at most 1/65535 s, which 239.813 Hz does not fit into.
_FINEST_RATE_HZ = 65.0
_SMALLEST_SIDE_PX = 16


class OverlaySink:
    """Draws each result and appends it to a video.

    The video is written as `overlay.part.mp4` and renamed when complete. A frame of another
    size starts `overlay_2.mp4`, and so on.

    Args:
        folder: where the video goes.
        frame_rate_hz: None gives 10; above 65 it is rounded to a tenth.
        reserve_bytes: stop with an error while this much disk space is still free: a video
            without its index, which is written last, cannot be played.
    """

    name = "overlay"

    def __init__(
        self,
        folder: OutputFolder,
        frame_rate_hz: float | None = None,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        quiet_opencv()
        self._folder = folder
        self._frame_rate_hz = _encodable_rate_hz(frame_rate_hz or DEFAULT_FRAME_RATE_HZ)
        self._reserve_bytes = reserve_bytes
        self._writer: cv2.VideoWriter | None = None
        self._hw = (0, 0)
        self._videos = 0
        self._frames = 0
        self._size_bytes = -1

    def write(self, result: FrameResult) -> None:
        """Append one frame.

        Raises:
            OutputError: the disk is about to be full, or the video cannot be written.
        """
        self._check_room()
        picture = _encodable(draw_overlay(result))
        if picture.shape[:2] != self._hw:
            self.close()
            self._open((picture.shape[0], picture.shape[1]))
        if self._writer is None:
            raise OutputError(f"cannot write {self._part}: it is closed", "start a new run")
        self._writer.write(picture)
        self._frames += 1
        if self._frames % GROWTH_CHECK_FRAMES == 0:
            self._check_growth()

    def close(self) -> None:
        """Finish the video and give it its name.

        Raises:
            OutputError: the finished file does not hold all frames; it stays under its
                `.part.mp4` name.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        self._hw = (0, 0)
        frames = _count_frames(str(self._part))
        if frames != self._frames:
            raise OutputError(
                f"{self._part} holds {frames} of {self._frames} frames",
                "free some space or raise the limit on file sizes",
            )
        try:
            self._part.replace(self._final)
        except OSError as error:
            raise output_error(self._final, error) from error

    def _open(self, hw: tuple[int, int]) -> None:
        self._videos += 1
        stem = "overlay" if self._videos == 1 else f"overlay_{self._videos}"
        self._part = self._folder.claim(f"{stem}.part.mp4")
        self._final = self._folder.claim(f"{stem}.mp4")
        height, width = hw
        code = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(self._part), code, self._frame_rate_hz, (width, height))
        if not writer.isOpened():
            writer.release()
            raise OutputError(
                f"cannot write {self._part}: no video of {width} x {height} pixels at "
                f"{self._frame_rate_hz:g} frames per second can be started",
                "leave the overlay out, or give a writable folder and frames below 8192 pixels",
            )
        self._writer, self._hw, self._frames, self._size_bytes = writer, hw, 0, -1

    def _check_room(self) -> None:
        try:
            free_bytes = shutil.disk_usage(self._folder.path).free
        except OSError as error:
            raise output_error(self._folder.path, error) from error
        if free_bytes < self._reserve_bytes:
            raise OutputError(
                f"{self._folder.path} has {free_bytes / 2**20:.0f} MiB left, too little for the "
                "overlay video",
                "free some space or give another folder",
            )

    def _check_growth(self) -> None:
        """A quota or a size limit shows in nothing but a file that no longer grows."""
        try:
            size_bytes = self._part.stat().st_size
        except OSError as error:
            raise output_error(self._part, error) from error
        if size_bytes == self._size_bytes:
            raise OutputError(
                f"{self._part} stopped growing at {size_bytes} bytes",
                "check the disk quota and the limit on file sizes",
            )
        self._size_bytes = size_bytes


def _encodable_rate_hz(rate_hz: float) -> float:
    return round(rate_hz, 1) if rate_hz > _FINEST_RATE_HZ else rate_hz


def _encodable(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pad to even sides of at least 16 pixels, which the encoder needs."""
    height, width = image.shape[:2]
    down = max(height + height % 2, _SMALLEST_SIDE_PX) - height
    right = max(width + width % 2, _SMALLEST_SIDE_PX) - width
    if not down and not right:
        return image
    padded = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(padded, dtype=np.uint8)


def _count_frames(path: str) -> int:
    capture = cv2.VideoCapture(path)
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()
