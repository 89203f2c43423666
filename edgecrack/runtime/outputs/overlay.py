"""The annotated picture of a frame, and `overlay.mp4`, the video of these pictures.

Drawing works on the crack regions only, so it costs a few milliseconds on one core.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import OutputError
from edgecrack.files import output_error
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.measurement.regions import Region
from edgecrack.runtime.frame import Frame, FrameResult, describe_position
from edgecrack.runtime.outputs.output_folder import OutputFolder, output_errors
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from edgecrack.runtime.outputs.video_writer import Encoder, VideoWriter

# BGR. Chosen to stand out on gray concrete, black asphalt and red brick alike.
TINT = (40, 60, 255)
OUTLINE = (0, 170, 255)
BOX = (255, 220, 0)
LINE = (0, 255, 255)
TINT_OPACITY = 0.45
MAX_BOXES = 24
# Ignored parts are darkened and hatched, as maps show what is outside of them.
HATCH = (150, 150, 150)
IGNORED_BRIGHTNESS = 0.5
_HATCH_STEP_PX = 14
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SMALLEST_CAPTION_PX = 160
_FRACTION_BITS = 4
_LEAST_MISSED = 1e-6  # below that is rounding

DEFAULT_FRAME_RATE_HZ = 10.0
# Writing stops with an error while this much disk space is still free.
RESERVE_BYTES = 32 * 2**20
# The index of so many frames needs less than what is reserved, and a day's at 10 per second fit.
MOST_FRAMES_PER_VIDEO = 1_000_000
# A longer pause or outage is not shown at full length.
LONGEST_STEP_S = 10.0
_SMALLEST_SIDE_PX = 16


def draw_overlay(result: FrameResult) -> NDArray[np.uint8]:
    """Draw what was found into a copy of the frame.

    Crack pixels are tinted and outlined so that the crack itself stays visible; its centre is a
    thin line; the largest regions get a thin box; ignored parts are darkened and hatched; a caption
    names the frame and the number of crack pixels.

    Returns:
        uint8 [H, W, 3] BGR, of the frame's size.
    """
    image = np.ascontiguousarray(result.frame.image).copy()
    height, width = result.frame.hw
    scale = max(1, round(min(height, width) / 540))
    if result.ignored is not None:
        _shade_ignored(image, result.ignored, scale)
    if result.regions:
        tint_cracks(image, result.mask, result.regions, scale)
        _draw_boxes(image, result.regions, scale)
        _draw_lines(image, result.centre_lines(), scale)
    if width >= _SMALLEST_CAPTION_PX and height >= _SMALLEST_CAPTION_PX // 2:
        draw_caption(image, caption(result))
    return image


def _shade_ignored(image: NDArray[np.uint8], ignored: IgnoredPixels, scale: int) -> None:
    """Darken and hatch what is ignored, in place; `scale` is the width of lines, here and below."""
    mask = ignored.mask.view(np.uint8)
    left, top, width, height = cv2.boundingRect(mask)
    part = np.s_[top : top + height, left : left + width]
    darkened = cv2.convertScaleAbs(image[part], alpha=IGNORED_BRIGHTNESS)
    image[part] = cv2.copyTo(darkened, mask[part], image[part].copy())
    image[_hatching(ignored, scale)] = HATCH


@lru_cache(maxsize=4)
def _hatching(ignored: IgnoredPixels, scale: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels of hatching and outline; cached."""
    height, width = ignored.mask.shape
    y, x = np.ogrid[:height, :width]
    lines = (x + y) % (_HATCH_STEP_PX * scale) < scale
    inner = cv2.erode(
        ignored.mask.view(np.uint8), np.ones((2 * scale + 1, 2 * scale + 1), dtype=np.uint8)
    )
    rows, columns = np.nonzero(ignored.mask & (lines | (inner == 0)))
    return rows, columns


def tint_cracks(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    regions: tuple[Region, ...],
    line_px: int = 1,
) -> None:
    """Tint and outline the crack pixels, in place.

    Args:
        image: uint8 [H, W, 3] BGR.
        mask: uint8 [H, W], 255 on crack.
        regions: the groups of crack pixels in `mask`; nothing outside their boxes changes
            except the outline.
        line_px: width of the outline, drawn outside the crack.
    """
    height, width = mask.shape
    boxes = np.array([region.xyxy for region in regions])
    left, top = np.maximum(boxes[:, :2].min(axis=0) - line_px, 0)
    right, bottom = np.minimum(boxes[:, 2:].max(axis=0) + line_px, (width, height))
    window, crack = image[top:bottom, left:right], mask[top:bottom, left:right]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * line_px + 1, 2 * line_px + 1))
    window[cv2.dilate(crack, kernel) != crack] = OUTLINE
    pixels = window[crack != 0]
    tint = np.full_like(pixels, TINT)
    window[crack != 0] = cv2.addWeighted(pixels, 1 - TINT_OPACITY, tint, TINT_OPACITY, 0)


def _draw_boxes(image: NDArray[np.uint8], regions: tuple[Region, ...], scale: int) -> None:
    """Draw a thin box around each of the largest regions, in place."""
    height, width = image.shape[:2]
    margin = 3 * scale
    for region in regions[:MAX_BOXES]:
        left, top, right, bottom = region.xyxy
        corner = (max(left - margin, 0), max(top - margin, 0))
        opposite = (min(right + margin, width) - 1, min(bottom + margin, height) - 1)
        cv2.rectangle(image, corner, opposite, BOX, scale)


def _draw_lines(
    image: NDArray[np.uint8], lines: tuple[NDArray[np.float64], ...], scale: int
) -> None:
    """Draw centre lines, in place."""
    points = [np.round((line - 0.5) * 2**_FRACTION_BITS).astype(np.int32) for line in lines]
    cv2.polylines(image, points, False, LINE, scale, cv2.LINE_AA, _FRACTION_BITS)


def caption(result: FrameResult) -> str:
    """One line: frame, time, crack pixels, and latency.

    The time is that of the picture: time of day (UTC) for a live source, the position in a
    recording, none for a still.
    """
    frame, regions = result.frame, counted(len(result.regions), "region")
    found = f"crack {result.crack_pixels:,} px in {regions}" if result.regions else "no crack"
    cost = f"{result.latency_ms:.0f} ms"
    place = describe_position(result.position)
    words = (frame.name, _moment(frame), place, found, *_left_out(result), cost)
    return "  ".join(word for word in words if word)


def _left_out(result: FrameResult) -> list[str]:
    """The ignored share, and the inspected one where that is not the rest."""
    words = []
    if result.ignored_ratio:
        words.append(f"{max(result.ignored_ratio, 0.01):.0%} ignored")
    if result.missed_ratio > _LEAST_MISSED:
        words.append(f"{result.inspected_ratio:.0%} inspected")
    return words


def draw_caption(image: NDArray[np.uint8], text: str) -> None:
    """Write a line of text on a darkened strip at the bottom, in place."""
    height, width = image.shape[:2]
    text = text.encode("ascii", "replace").decode("ascii")  # the font has ASCII only
    size = float(np.clip(min(height, width) / 480 * 0.5, 0.4, 3.0))
    margin = max(4, round(10 * size))
    text_width = _text_size(text, size)[0]
    if text_width > width - 2 * margin:
        size *= (width - 2 * margin) / text_width
    _, text_height, baseline, thickness = _text_size(text, size)
    strip = image[max(0, height - text_height - baseline - margin) :]
    cv2.convertScaleAbs(strip, dst=strip, alpha=0.3)
    place = (margin, height - baseline - margin // 2)
    cv2.putText(image, text, place, _FONT, size, (255, 255, 255), thickness, cv2.LINE_AA)


def _text_size(text: str, size: float) -> tuple[int, int, int, int]:
    """Width, height, baseline and thickness of a line of text."""
    thickness = max(1, round(size * 1.4))
    (width, height), baseline = cv2.getTextSize(text, _FONT, size, thickness)
    return width, height, baseline, thickness


def _moment(frame: Frame) -> str:
    if frame.live:
        moment = datetime.fromtimestamp(frame.stamp_ns / 1e9, tz=timezone.utc)
        return f"{moment:%H:%M:%S}Z"
    if frame.media_time_ms is None:
        return ""
    minutes, seconds = divmod(frame.media_time_ms / 1000, 60)
    return f"{int(minutes)}:{seconds:04.1f}"


class OverlaySink:
    """Draws each result and appends it to a video, until the disk is nearly full.

    The video has its name from the beginning and can be played while it is written and after a
    kill. A frame of another size starts `overlay_2.mp4`, and so on; so does one after a million.

    Args:
        folder: of the video.
        frame_rate_hz: of frames that have no time of their own (see `FrameTimes`); None means 10.
        encoders: the first that works is used; None takes those of `video_writer`.
    """

    name = "overlay"

    def __init__(
        self,
        folder: OutputFolder,
        frame_rate_hz: float | None = None,
        encoders: Sequence[Encoder] | None = None,
    ) -> None:
        self._folder = folder
        self._frame_rate_hz = frame_rate_hz or DEFAULT_FRAME_RATE_HZ
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
        from edgecrack.runtime.outputs.video_writer import ENCODERS, VideoWriter

        self._videos += 1
        name = "overlay.mp4" if self._videos == 1 else f"overlay_{self._videos}.mp4"
        path = self._folder.path / name
        if os.path.lexists(
            path
        ):  # before the name is claimed, as the next run removes claimed files
            raise output_error(path, FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)))
        self._times = FrameTimes(self._frame_rate_hz)
        encoders = self._encoders or ENCODERS
        return VideoWriter(self._folder.claim(name), hw, self._frame_rate_hz, encoders)

    def _check_room(self) -> None:
        with output_errors(self._folder.path):
            free_bytes = shutil.disk_usage(self._folder.path).free
        if free_bytes < RESERVE_BYTES:
            raise OutputError(
                f"{self._folder.path} has {free_bytes / 2**20:.0f} MiB left, too little for the "
                "overlay video",
                "free some space or give another folder",
            )


class FrameTimes:
    """The time at which each frame of a video is shown, in nanoseconds after the first.

    Frames of a recording keep the intervals of their media times, those of a live source the
    intervals of their capture. A frame follows after one interval of the constant rate where there
    is no such time (still images), where time goes back (a recording played again), and where it
    jumps by more than `LONGEST_STEP_S` (an outage, a pause).

        times = FrameTimes(frame_rate_hz=10.0)
        times.after_ns(first), times.after_ns(second)    # (0, 100_000_000) for two still images
    """

    def __init__(self, frame_rate_hz: float) -> None:
        self._interval_ns = round(1e9 / frame_rate_hz)
        self._before: Frame | None = None
        self._time_ns = 0

    def after_ns(self, frame: Frame) -> int:
        """The time of the next frame; above the last one."""
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
    """Pad to even sides of at least 16 pixels, as the encoder requires."""
    height, width = image.shape[:2]
    down = max(height + height % 2, _SMALLEST_SIDE_PX) - height
    right = max(width + width % 2, _SMALLEST_SIDE_PX) - width
    if not down and not right:
        return image
    padded = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(padded, dtype=np.uint8)
