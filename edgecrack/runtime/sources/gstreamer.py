"""GStreamer pipelines and CSI cameras as sources, run by a child process."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import EdgecrackError, MissingDependencyError, SourceError, first_line
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources import gst_child
from edgecrack.runtime.sources.base import EagerSource
from edgecrack.runtime.sources.child import INSTALL, Child, Pipe, failure, without_passwords
from edgecrack.runtime.sources.options import (
    DEFAULT_TIMEOUT_MS,
    MAX_FRAME_RATE_HZ,
    STALE_AFTER_S,
    SourceOptions,
)

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
    """The caps of the pictures that follow.

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
    """Packet header flags."""

    is_last: bool
    has_caps: bool
    is_event: bool


class RawFrames:
    """Parses raw pictures from a byte stream.

    Attributes:
        format: of the last picture returned; None before the first.
    """

    def __init__(self) -> None:
        self._received = bytearray()
        self._place = 0
        self._payload = bytearray()
        self.format: RawFormat | None = None

    @property
    def is_inside_picture(self) -> bool:
        """Whether part of a picture has arrived."""
        return bool(self._payload) or self._place < len(self._received)

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        del self._received[: self._place]
        self._place = 0
        self._received += data

    def next_picture(self) -> bytearray | None:
        """The next whole picture, of `format.frame_bytes`; None until more has arrived.

        Raises:
            BrokenStreamError: the bytes are not such a stream.
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
        """Append the next packet's content; None until it is complete."""
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
        """Read and remove the caps in front of a picture."""
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


_PROGRAM = "gst-launch-1.0"
# Keep only the newest picture.
_NEWEST = "queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0"


class PipelineSource(EagerSource):
    """Frames of a GStreamer pipeline in a child process.

    Args:
        pipeline: words of a pipeline that ends in I420.
        name: without credentials.
        timeout_ms: longest wait for each frame, the first included.

    Raises:
        SourceError: it cannot be started, or the first frame does not arrive.
        MissingDependencyError: GStreamer is not installed.
    """

    live = True
    frame_count: int | None = None

    def __init__(
        self, pipeline: Sequence[str], name: str, timeout_ms: int = DEFAULT_TIMEOUT_MS
    ) -> None:
        super().__init__(name)
        self.frame_rate_hz: float | None = None
        self.corrupt_frames = 0
        self._timeout_s = timeout_ms / 1000
        self._raw = RawFrames()
        self._pipe = Pipe()
        try:
            self._child = self._start(pipeline)
        except BaseException:
            self._pipe.close()
            raise
        self._read_first()

    def _interrupt(self) -> None:
        self._child.stop()

    def _release(self) -> None:
        self._pipe.close()

    def _start(self, pipeline: Sequence[str]) -> Child:
        program = shutil.which(_PROGRAM)
        if program is None:
            raise MissingDependencyError(
                f"{self.name} needs {_PROGRAM}, which is not installed", INSTALL
            )
        tail = f"! {_NEWEST} ! {ELEMENTS} ! fdsink fd={self._pipe.write_end}"
        words = [*pipeline, *tail.split()]
        # English messages, since they are parsed here.
        settings = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}
        command = [program, "-q", "--", *words]
        if without_passwords(words) != " ".join(words):
            # Every user of this machine can read a command line.
            command = [sys.executable, "-I", gst_child.__file__]
            settings[gst_child.VARIABLE] = json.dumps(words)
        try:
            child = Child(command, self._pipe.write_end, settings)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or first_line(error)
            raise SourceError(
                f"{program} cannot be started for {self.name}: {reason}", "check its permissions"
            ) from error
        self._pipe.close_write_end()
        return child

    def _next_frame(self) -> Frame:
        try:
            with self._reading():
                if self._closed:
                    raise self._was_closed()
                return self._receive()
        except BrokenStreamError as error:
            raise SourceError(
                f"{self.name} stopped: its pipeline sends no pictures ({error})",
                "try the pipeline with gst-launch-1.0, then start again",
            ) from error

    def _receive(self) -> Frame:
        deadline_s = time.monotonic() + self._timeout_s
        to_pass_over = self._waiting_pictures()
        while True:
            while (data := self._raw.next_picture()) is None:
                self._raw.feed(self._read_pipe(deadline_s))
            time_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
            picture_format = self._raw.format
            if to_pass_over > 0 or picture_format is None:
                to_pass_over -= 1
                continue
            self._pipe.hold_at_most(picture_format.frame_bytes // 2)
            rate_hz = picture_format.frame_rate_hz
            self.frame_rate_hz = rate_hz if rate_hz and rate_hz <= MAX_FRAME_RATE_HZ else None
            return Frame(
                image=picture_format.to_bgr(data),
                index=self._delivered,
                capture_time_ns=time_ns,
                source=self.name,
                name=f"{self._delivered:06d}",
                live=True,
                monotonic_ns=monotonic_ns,
                read_time_ns=time_ns,
                time_source="arrival",
                time_uncertainty_ms=1000 / self.frame_rate_hz if self.frame_rate_hz else None,
            )

    def _waiting_pictures(self) -> int:
        """Number of stale pictures in the pipe after a pause in reading."""
        if self._raw.format is None or time.monotonic() - self._read_s < STALE_AFTER_S:
            return 0
        waiting = self._pipe.waiting_bytes + self._raw.is_inside_picture
        return -(-waiting // self._raw.format.frame_bytes)

    def _read_pipe(self, deadline_s: float) -> bytes:
        data = None if self._closed else self._pipe.read(deadline_s - time.monotonic())
        if self._closed:
            raise self._was_closed()
        if data is None:
            raise SourceError(
                f"{self.name} stopped delivering frames: nothing arrived for {self._timeout_s:g} s",
                "check the camera, or try the pipeline with gst-launch-1.0",
            )
        if not data:
            raise self._end_of_child()
        return data

    def _was_closed(self) -> SourceError:
        return SourceError(f"{self.name} stopped: it was closed", "open it again")

    def _end_of_child(self) -> EdgecrackError:
        self._child.wait(0.3)  # for its last messages
        return failure(self.name, self._child.last_lines, self._child.exit_status)


_FORM = 'give a pipeline that ends in raw video, e.g. "gst://v4l2src device=/dev/video0"'
_CSI_SIZE = (1920, 1080)
_CSI_RATE_HZ = 30.0


def is_pipeline(address: str) -> bool:
    """Whether an address means a pipeline or a Jetson's camera."""
    return address.lower().startswith(("gst://", "csi://"))


def open_pipeline(address: str, options: SourceOptions | None = None) -> PipelineSource:
    """Open `gst://PIPELINE` or `csi://N`.

    Args:
        address: `gst://` and a pipeline as `gst-launch-1.0` takes it, up to raw video and
            without a sink; or `csi://` and the number of a camera on a Jetson's CSI connector.
        options: size and rate that the pipeline has to deliver.

    Raises:
        SourceError: the pipeline is wrong, or delivers nothing in time.
        MissingDependencyError: GStreamer is not installed.
    """
    options = options or SourceOptions()
    scheme, _, rest = address.partition("://")
    if scheme.lower() == "csi":
        return PipelineSource(_csi(address, rest, options), address.lower(), options.timeout_ms)
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise SourceError(f"the pipeline of a gst:// address is wrong: {error}", _FORM) from error
    words = _without_sink(words)
    if not words:
        raise SourceError("gst:// has no pipeline behind it", _FORM)
    name = f"gst://{without_passwords(words)}"
    # The pictures are decoded as BT.601.
    caps = "video/x-raw,format=I420,colorimetry=bt601" + _asked(options)
    return PipelineSource([*words, "!", "videoconvert", "!", caps], name, options.timeout_ms)


def _csi(address: str, rest: str, options: SourceOptions) -> list[str]:
    match = re.fullmatch(r"(\d{1,2})/?", rest)
    if match is None:
        raise SourceError(f"{address} is not a CSI camera", "give csi://0")
    width, height = options.width or _CSI_SIZE[0], options.height or _CSI_SIZE[1]
    rate = _fraction(options.frame_rate_hz or _CSI_RATE_HZ)
    size = f"width={width},height={height},framerate={rate}"
    # The camera writes to GPU memory; nvvidconv converts it to I420 in hardware.
    return (
        f"nvarguscamerasrc sensor-id={match[1]} ! video/x-raw(memory:NVMM),format=NV12,{size}"
        " ! nvvidconv ! video/x-raw,format=I420"
    ).split()


def _asked(options: SourceOptions) -> str:
    caps = ""
    if options.width is not None and options.height is not None:
        caps += f",width={options.width},height={options.height}"
    if options.frame_rate_hz is not None:
        caps += f",framerate={_fraction(options.frame_rate_hz)}"
    return caps


def _fraction(rate_hz: float) -> str:
    """A rate as GStreamer writes it: 30/1, 25/2, and 30000/1001 for 29.97."""
    broadcast = Fraction(round(rate_hz * 1.001) * 1000, 1001)
    is_broadcast = abs(float(broadcast) - rate_hz) < 3e-4 * rate_hz
    exact = broadcast if is_broadcast else Fraction(rate_hz).limit_denominator(1000)
    return f"{exact.numerator}/{exact.denominator}"


def _without_sink(words: list[str]) -> list[str]:
    """Remove a final `! appsink ...`, as in pipelines written for OpenCV."""
    ends = [place for place, word in enumerate(words) if word == "!"]
    if ends and (words[ends[-1] + 1 :] or ["appsink"])[0] == "appsink":
        return words[: ends[-1]]
    return words
