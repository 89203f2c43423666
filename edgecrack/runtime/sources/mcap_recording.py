"""Replays the images of a recording as frames.

Recordings of `ros2 bag` (storage mcap), Foxglove and edgecrack itself: `Image` and
`CompressedImage` messages of one topic, in the order of the file.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import SourceError
from edgecrack.images.decoding import UnreadableImageError
from edgecrack.mcap.cdr import MalformedMessageError, read_compressed_image, read_image
from edgecrack.mcap.message_types import IMAGE
from edgecrack.mcap.reader import McapFile, Message
from edgecrack.mcap.topics import choose_image_topic, recovery_remedy
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import SourceBase, SourceStatus
from edgecrack.runtime.sources.jpeg import read_head
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.sources.ros_images import (
    ENCODINGS,
    UnsupportedEncodingError,
    compressed_to_bgr,
    pixels_to_bgr,
)
from edgecrack.terminal.native_logs import silence_native_logs

_LOG = logging.getLogger("edgecrack")
_MAX_FRAME_RATE_HZ = 1000.0


class McapSource(SourceBase):
    """The images of one topic.

    `capture_time_ns` of a frame is the message's own stamp or, if that is not set, the time at
    which it was recorded, as for positions of the same recording.

    Args:
        file: open; from now on the source closes it.
        topic: an image topic in it; None as in `open_recording`.

    Attributes:
        topic: the topic.
        is_cut_short: the file has no end; `frame_count` counts the frames of its whole part.

    Raises:
        SourceError: there is no such topic, or no image in it can be read. The file is closed.
    """

    live = False

    def __init__(self, file: McapFile, topic: str | None = None) -> None:
        silence_native_logs()
        self._file = file
        self._lock = threading.Lock()
        self._closed = self._has_said_damage = False
        self.name = str(file.path)
        self._delivered = self._damaged = 0
        self._first_time_ns: int | None = None
        try:
            self.topic, channels = choose_image_topic(file, topic)
            self._types = {each.id: file.type_of(each)[0] for each in channels}
            self.is_cut_short = file.is_cut_short
            self.frame_count: int | None = file.count(self._types)
            self.frame_rate_hz = _plausible(file.rate_hz(self._types))
            self._messages = file.messages(self._types)
            # Read one image now, so that a recording that cannot be replayed is refused here.
            self._first: Frame | None = self._first_frame()
        except BaseException:
            self.close()
            raise
        if self.is_cut_short:
            _LOG.warning(
                f"{self.name} has no end: its recorder was killed, or it was not copied whole; "
                f"the {self.frame_count} images before that are read; repair it with: "
                f"edgecrack recover {self.name}"
            )
        if bare := " and ".join(file.unprotected):
            _LOG.warning(
                f"{self.name} has no checksum for {bare}: damage there would not be noticed"
            )
        self._say_damage()

    @property
    def corrupt_frames(self) -> int:
        """Images so far that are damaged, on their own or with their chunk."""
        return self._damaged + self._file.lost_messages

    @property
    def status(self) -> SourceStatus:
        """The state of the source."""
        return SourceStatus(is_cut_short=self.is_cut_short or self._file.damage is not None)

    def read(self) -> Frame | None:
        """The next image, or None after the last; damaged ones are counted and left out.

        Raises:
            SourceError: the disk fails.
        """
        with self._lock:
            try:
                if self._closed:
                    return None
                first, self._first = self._first, None
                frame = first or self._next_frame()
                if frame is None:
                    self._say_damage()
                    return None
                self._delivered += 1
                return replace(frame, monotonic_ns=time.monotonic_ns())
            finally:
                if self._closed:
                    self._file.close()

    def close(self) -> None:
        """Close the file; waits for a read in another thread only briefly."""
        self._closed = True
        # Not during a read, which closes the file itself when it is done.
        if self._lock.acquire(timeout=0.5):
            try:
                self._file.close()
            finally:
                self._lock.release()

    def _say_damage(self) -> None:
        if self._file.damage is None or self._has_said_damage:
            return
        self._has_said_damage = True
        _LOG.warning(
            f"{self.name} is damaged: {self._file.damage}; details: edgecrack recover {self.name}"
        )

    def _first_frame(self) -> Frame:
        for message in self._messages:
            try:
                return self._frame(message)
            except UnsupportedEncodingError as error:
                raise SourceError(
                    f"the image on {self.topic} in {self.name} {error}",
                    f"record one of JPEG, PNG, {', '.join(ENCODINGS)}, or give another `topic`",
                ) from error
            except (UnreadableImageError, MalformedMessageError):
                self._damaged += 1
        damaged = f"; {self.corrupt_frames} are damaged" if self.corrupt_frames else ""
        raise SourceError(
            f"{self.name} has no whole image on {self.topic}{damaged}",
            recovery_remedy(self._file) or "give another one",
        )

    def _next_frame(self) -> Frame | None:
        for message in self._messages:
            try:
                return self._frame(message)
            except (UnreadableImageError, MalformedMessageError, UnsupportedEncodingError):
                self._damaged += 1
        return None

    def _frame(self, message: Message) -> Frame:
        image, stamp_ns, jpeg = _decode(message, self._types[message.channel_id])
        time_ns = stamp_ns or message.log_time_ns
        if self._first_time_ns is None:
            self._first_time_ns = time_ns
        return Frame(
            image=image,
            index=self._delivered,
            capture_time_ns=time_ns,
            source=self.name,
            name=f"{self._delivered:06d}",
            media_time_ms=max(0.0, (time_ns - self._first_time_ns) / 1e6),
            time_source="recording",
            jpeg=jpeg,
        )


def open_recording(path: Path, options: SourceOptions) -> McapSource:
    """Open an MCAP recording, also one whose recorder was killed.

    Args:
        path: `*.mcap`, or `*.mcap.part` while or after it was recorded.
        options: `topic` chooses the images; None takes /edgecrack/image where there is one,
            otherwise the only image topic.

    Raises:
        SourceError: the file is not MCAP, or has no images that can be read, or several image
            topics and none was chosen.
        MissingDependencyError: the extra "record" is not installed.
    """
    return McapSource(McapFile(path), options.topic)


def _decode(message: Message, type_name: str) -> tuple[NDArray[np.uint8], int, bytes | None]:
    """Picture, stamp in ns, and its JPEG, if every decoder shows that alike."""
    if type_name == IMAGE:
        raw = read_image(message.data)
        hw = (raw.height, raw.width)
        image = pixels_to_bgr(raw.data, hw, raw.encoding, raw.step, raw.is_bigendian)
        return image, raw.stamp_ns, None
    packed = read_compressed_image(message.data)
    data = bytes(packed.data)
    image = compressed_to_bgr(data, packed.format)
    head = read_head(data)
    return image, packed.stamp_ns, data if head is not None and head.is_plain else None


def _plausible(rate_hz: float | None) -> float | None:
    return rate_hz if rate_hz is not None and 0 < rate_hz <= _MAX_FRAME_RATE_HZ else None
