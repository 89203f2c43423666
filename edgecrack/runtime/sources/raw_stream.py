"""Raw pictures as GStreamer sends them through a pipe, with their size before each change.

The framing is `rtpgstpay ! rtpstreampay` (RTP over RFC 4571, payload as in GStreamer's
`gstrtpgstpay.c`): of the formats in GStreamer's good plugins the one that says when the size
changes; `y4menc` does not. Knows bytes and pixels; no process and no pipe.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

MTU_BYTES = 65_000
ELEMENTS = f"rtpgstpay mtu={MTU_BYTES} ! rtpstreampay"

_HEAD_BYTES = 12 + 8  # RTP's, and GStreamer's
_PLAIN_RTP = 0x80  # version 2, no padding, no extension, no contributing sources
_MARKER = 0x80
_HAS_CAPS = 0x80
_MAX_CAPS_BYTES = 64 * 1024
_LARGEST_SIDE_PX = 16_384
_MAX_PICTURE_BYTES = 2 * _LARGEST_SIDE_PX**2


class BrokenStreamError(ValueError):
    """The bytes are not what the pipeline should send."""


@dataclass(frozen=True, slots=True)
class RawFormat:
    """What GStreamer says of the pictures that follow.

    Attributes:
        width: columns.
        height: rows.
        frame_rate_hz: None where it varies or is unknown.
    """

    width: int
    height: int
    frame_rate_hz: float | None

    @property
    def frame_bytes(self) -> int:
        """Length of one I420 picture with GStreamer's padding of its rows."""
        luma, chroma = self._strides
        return luma * _even(self.height) + chroma * _even(self.height)

    @property
    def _strides(self) -> tuple[int, int]:
        return _round_up_4(self.width), _round_up_4(_even(self.width) // 2)

    def to_bgr(self, data: bytes | bytearray) -> NDArray[np.uint8]:
        """Decode one picture (BT.601, limited range).

        Args:
            data: `frame_bytes` bytes of I420.

        Returns:
            uint8 [height, width, 3] BGR.
        """
        rows, columns = _even(self.height), _even(self.width)
        luma_stride, chroma_stride = self._strides
        flat = np.frombuffer(data, dtype=np.uint8)
        if luma_stride == columns and chroma_stride == columns // 2:
            planes = flat.reshape(rows * 3 // 2, columns)
        else:
            luma, chroma = np.split(flat, [luma_stride * rows])
            planes = np.concatenate(
                [
                    luma.reshape(rows, luma_stride)[:, :columns].ravel(),
                    chroma.reshape(rows, chroma_stride)[:, : columns // 2].ravel(),
                ]
            ).reshape(rows * 3 // 2, columns)
        image = cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)[: self.height, : self.width]
        return np.ascontiguousarray(image, dtype=np.uint8)


class _Flags(NamedTuple):
    """What a packet's header says: last of its picture, format in front, no picture at all."""

    is_last: bool
    has_caps: bool
    is_event: bool


class RawFrames:
    """Takes bytes as they come and gives the pictures in them.

    Attributes:
        format: of the picture that `next_picture` gave last; None before the first.
    """

    def __init__(self) -> None:
        self._received = bytearray()
        self._place = 0
        self._payload = bytearray()
        self.format: RawFormat | None = None

    @property
    def is_inside_picture(self) -> bool:
        """Whether part of a picture has come."""
        return bool(self._payload) or self._place < len(self._received)

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        del self._received[: self._place]
        self._place = 0
        self._received += data

    def next_picture(self) -> bytearray | None:
        """The next whole picture, of `format.frame_bytes`; None until more has arrived.

        Raises:
            BrokenStreamError: the bytes are no such stream.
        """
        while (flags := self._take_packet()) is not None:
            if not flags.is_last:
                continue
            payload, self._payload = self._payload, bytearray()
            if flags.is_event:
                continue
            if flags.has_caps:
                self._take_caps(payload)
            if payload:
                return self._checked(payload)
        return None

    def _take_packet(self) -> _Flags | None:
        """Put the next packet's content to that of the packets before; None until it is whole."""
        start = self._place + 2
        length = int.from_bytes(self._received[self._place : start], "big")
        if len(self._received) < max(start, start + length):
            return None
        head = bytes(self._received[start : start + _HEAD_BYTES])
        if length < _HEAD_BYTES or head[0] != _PLAIN_RTP:
            raise BrokenStreamError(f"a packet of {length} bytes begins with {head[:1].hex()}")
        offset = int.from_bytes(head[-4:], "big")
        if offset != len(self._payload) or offset > _MAX_PICTURE_BYTES:
            raise BrokenStreamError(f"{len(self._payload)} bytes came, then those at {offset}")
        self._payload += self._received[start + _HEAD_BYTES : start + length]
        self._place = start + length
        return _Flags(bool(head[1] & _MARKER), bool(head[12] & _HAS_CAPS), head[13] != 0)

    def _take_caps(self, payload: bytearray) -> None:
        """Read the format in front of a picture, and take it away."""
        length, place = 0, 0
        while True:
            if place >= min(4, len(payload)):
                raise BrokenStreamError("the format has no length")
            byte = payload[place]
            place += 1
            length = length << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        if length > min(_MAX_CAPS_BYTES, len(payload) - place):
            raise BrokenStreamError(f"the format has {length} bytes")
        self.format = _format_of(payload[place : place + length].decode("latin-1"))
        del payload[: place + length]

    def _checked(self, picture: bytearray) -> bytearray:
        expected = -1 if self.format is None else self.format.frame_bytes
        if len(picture) != expected:
            raise BrokenStreamError(f"a picture has {len(picture)} bytes instead of {expected}")
        return picture


def _format_of(caps: str) -> RawFormat:
    """Read `video/x-raw, format=(string)I420, width=(int)640, ...`."""
    width = re.search(r"\bwidth=\(int\)(\d{1,5})\b", caps)
    height = re.search(r"\bheight=\(int\)(\d{1,5})\b", caps)
    if width is None or height is None or "format=(string)I420" not in caps:
        raise BrokenStreamError(f"the format is {caps[:80]!r}")
    sides = int(width[1]), int(height[1])
    if not all(0 < side <= _LARGEST_SIDE_PX for side in sides):
        raise BrokenStreamError(f"pictures are {sides[0]}x{sides[1]} px")
    rate = re.search(r"\bframerate=\(fraction\)(\d{1,9})/([1-9]\d{0,8})\b", caps)
    rate_hz = int(rate[1]) / int(rate[2]) if rate else 0.0
    return RawFormat(*sides, rate_hz or None)


def _even(number: int) -> int:
    return number + number % 2


def _round_up_4(number: int) -> int:
    return -(-number // 4) * 4
