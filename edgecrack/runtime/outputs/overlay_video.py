"""`overlay.mp4`: the annotated frames as a video that any player opens.

Knows which file a frame belongs to and when it is shown; `video_writer.py` writes the files.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import OutputError
from edgecrack.files import output_error
from edgecrack.runtime.frame import Frame, FrameResult
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.runtime.outputs.overlay import draw_overlay
from edgecrack.runtime.outputs.video_writer import ENCODERS, Encoder, VideoWriter

DEFAULT_FRAME_RATE_HZ = 10.0
RESERVE_BYTES = 32 * 2**20
# The index of so many frames needs less than what is reserved, and a day's at 10 per second fit.
MOST_FRAMES_PER_VIDEO = 1_000_000
# A pause or an outage that lasts longer is not sat through by who watches the video.
LONGEST_STEP_S = 10.0
_SMALLEST_SIDE_PX = 16


class OverlaySink:
    """Draws each result and appends it to a video.

    The video has its name from the beginning and can be played while it is written, and after a
    kill. A frame of another size starts `overlay_2.mp4`, and so on; so does one after a million.

    Args:
        folder: where the video goes.
        frame_rate_hz: of frames that have no time of their own (see `FrameTimes`); None gives 10.
        reserve_bytes: stop with an error while this much disk space is still free.
        encoders: the first that works is used.
    """

    name = "overlay"

    def __init__(
        self,
        folder: OutputFolder,
        frame_rate_hz: float | None = None,
        reserve_bytes: int = RESERVE_BYTES,
        encoders: Sequence[Encoder] = ENCODERS,
    ) -> None:
        self._folder = folder
        self._frame_rate_hz = frame_rate_hz or DEFAULT_FRAME_RATE_HZ
        self._reserve_bytes = reserve_bytes
        self._encoders = encoders
        self._writer: VideoWriter | None = None
        self._times = FrameTimes(self._frame_rate_hz)
        self._videos = 0

    def write(self, result: FrameResult) -> None:
        """Append one frame.

        Raises:
            OutputError: the disk is about to be full, or the video cannot be written.
        """
        self._check_room()
        picture = _encodable(draw_overlay(result))
        hw = (picture.shape[0], picture.shape[1])
        writer = self._writer
        if writer is None or hw != writer.hw or writer.frames >= MOST_FRAMES_PER_VIDEO:
            self.close()
            self._writer = writer = self._open(hw)
        writer.append(picture, self._times.after_ns(result.frame))

    def close(self) -> None:
        """Finish the video.

        Raises:
            OutputError: its index cannot be written; it plays without.
        """
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _open(self, hw: tuple[int, int]) -> VideoWriter:
        self._videos += 1
        name = "overlay.mp4" if self._videos == 1 else f"overlay_{self._videos}.mp4"
        path = self._folder.path / name
        if os.path.lexists(path):  # before the name is claimed, for the next run removes those
            raise output_error(path, FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)))
        self._times = FrameTimes(self._frame_rate_hz)
        return VideoWriter(self._folder.claim(name), hw, self._frame_rate_hz, self._encoders)

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


class FrameTimes:
    """When each frame of a video is shown, in nanoseconds after the first.

    Frames of a recording keep the distances of their media times, those of a live source the
    distances at which they were captured. A frame follows by one interval of the constant rate
    where there is no such time (still images), where time goes back (a recording played again), and
    where it leaps by more than `LONGEST_STEP_S` (an outage, a pause).

        times = FrameTimes(frame_rate_hz=10.0)
        times.after_ns(first), times.after_ns(second)    # (0, 100_000_000) for two still images
    """

    def __init__(self, frame_rate_hz: float) -> None:
        self._interval_ns = round(1e9 / frame_rate_hz)
        self._before: Frame | None = None
        self._time_ns = 0

    def after_ns(self, frame: Frame) -> int:
        """The time of the next frame; above that of the one before."""
        if self._before is not None:
            step_ns = _step_ns(self._before, frame)
            usable = step_ns is not None and 0 < step_ns <= LONGEST_STEP_S * 1e9
            self._time_ns += step_ns if step_ns is not None and usable else self._interval_ns
        self._before = frame
        return self._time_ns


def _step_ns(before: Frame, frame: Frame) -> int | None:
    if frame.live:
        return frame.monotonic_ns - before.monotonic_ns
    if before.media_time_ms is None or frame.media_time_ms is None:
        return None
    return round((frame.media_time_ms - before.media_time_ms) * 1e6)


def _encodable(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pad to even sides of at least 16 pixels, which the encoder needs."""
    height, width = image.shape[:2]
    down = max(height + height % 2, _SMALLEST_SIDE_PX) - height
    right = max(width + width % 2, _SMALLEST_SIDE_PX) - width
    if not down and not right:
        return image
    padded = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(padded, dtype=np.uint8)
