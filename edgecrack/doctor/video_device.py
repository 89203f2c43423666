"""Asks a video device what it is for, through Video4Linux's own call.

Source: linux/videodev2.h, `struct v4l2_capability`.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Literal

Capture = Literal["camera", "metadata", "no camera", "unknown"]

_CAPABILITY = struct.Struct("=16s32s32sIII12x")  # driver, card, bus, version, all, this node's
_VIDIOC_QUERYCAP = (2 << 30) | (_CAPABILITY.size << 16) | (ord("V") << 8)
_VIDEO_CAPTURE = 0x00000001 | 0x00001000  # one plane, several planes
_META_CAPTURE = 0x00800000
_HAS_NODE_CAPABILITIES = 0x80000000


def ask_device(device: Path) -> Capture:
    """What a video device delivers; "unknown" where it does not tell."""
    try:
        import fcntl

        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
        try:
            answer = fcntl.ioctl(handle, _VIDIOC_QUERYCAP, bytes(_CAPABILITY.size))
        finally:
            os.close(handle)
    except (ImportError, OSError):
        return "unknown"
    return capture_of(answer)


def capture_of(answer: bytes) -> Capture:
    """What the answer to VIDIOC_QUERYCAP, a `struct v4l2_capability`, says of the device."""
    *_, whole_device, node = _CAPABILITY.unpack(answer)
    flags = node if whole_device & _HAS_NODE_CAPABILITIES else whole_device
    if flags & _VIDEO_CAPTURE:
        return "camera"
    return "metadata" if flags & _META_CAPTURE else "no camera"
