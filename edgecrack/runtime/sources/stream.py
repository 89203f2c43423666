"""RTSP, and over HTTP what is no MJPEG, through OpenCV's FFmpeg.

Knows which of FFmpeg's settings keep a stream current; `VideoSource` reads what is opened here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from edgecrack.errors import SourceError
from edgecrack.runtime.redact import redact
from edgecrack.runtime.sources.capture import frame_count, open_ffmpeg
from edgecrack.runtime.sources.http_stream import CHECK_CAMERA
from edgecrack.runtime.sources.options import DEFAULT_TIMEOUT_MS
from edgecrack.runtime.sources.video import VideoSource

_OPTIONS_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# TCP, for UDP loses packets on a robot's radio link, which smears frames. No probing of the frame
# rate, which takes most of a second. Not `nobuffer`: it throws the first key frame away and waits
# for the next, and cameras send one every few seconds.
_RTSP_OPTIONS = "rtsp_transport;tcp|fpsprobesize;0"
_environment = threading.Lock()

# Decoding on n threads delays every frame by n - 1; up to this size one thread is fast enough.
_ONE_THREAD_PX = 1920 * 1200


def open_stream(uri: str, timeout_ms: int = DEFAULT_TIMEOUT_MS) -> VideoSource:
    """Open an RTSP (over TCP) or HTTP address.

    FFmpeg's own options in the environment (`OPENCV_FFMPEG_CAPTURE_OPTIONS`), for example
    `rtsp_transport;udp`, take the place of the ones here.

    Args:
        uri: with credentials if needed; they appear nowhere else.
        timeout_ms: longest wait for the connection, and for each frame.

    Raises:
        SourceError: nobody answers, or what answers is no video.
    """
    started_s = time.monotonic()
    name = redact(uri)
    capture = _open(uri, timeout_ms)
    if not capture.isOpened():
        capture.release()
        waited_s = time.monotonic() - started_s
        raise SourceError(
            f"{name} does not deliver video (gave up after {waited_s:.1f} s)", CHECK_CAMERA
        )
    return VideoSource(capture, name, live=frame_count(capture) is None, timeout_ms=timeout_ms)


def _open(uri: str, timeout_ms: int) -> cv2.VideoCapture:
    settings = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms]
    settings += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
    if not uri.lower().startswith("rtsp"):
        return open_ffmpeg(uri, settings)
    with _default_options(_RTSP_OPTIONS):
        if not hasattr(cv2, "CAP_PROP_N_THREADS"):  # OpenCV before 4.6, as JetPack 5 has it
            return open_ffmpeg(uri, settings)
        capture = open_ffmpeg(uri, [*settings, cv2.CAP_PROP_N_THREADS, 1])
        if capture.isOpened() and _area_px(capture) > _ONE_THREAD_PX:
            capture.release()
            capture = open_ffmpeg(uri, settings)
    return capture


def _area_px(capture: cv2.VideoCapture) -> float:
    return capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT)


@contextmanager
def _default_options(options: str) -> Iterator[None]:
    """Options of FFmpeg for what is opened in the block, unless the user has set some."""
    with _environment:
        is_unset = _OPTIONS_VARIABLE not in os.environ
        if is_unset:
            os.environ[_OPTIONS_VARIABLE] = options
        try:
            yield
        finally:
            if is_unset:
                del os.environ[_OPTIONS_VARIABLE]
