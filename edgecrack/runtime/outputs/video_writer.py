"""An MP4 that plays up to its last moments whenever the process that writes it is killed.

Each frame goes to the file as a fragment of its own, so that what is there can be played without
repair. A clean close adds the index of an ordinary MP4, for the duration and quick seeking, and
leaves the pictures where they are. Must not know what the pictures show.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, cast

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.container import OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from edgecrack.errors import OutputError, first_line
from edgecrack.files import output_error

# A seek decodes from the keyframe before; so many seconds, and never more frames than this.
KEYFRAME_INTERVAL_S = 2.0
_MOST_FRAMES_BETWEEN_KEYFRAMES = 250
_TICKS_PER_S = 90_000  # whole for 24, 25, 30, 50, 60 and 30000/1001 frames per second
_SMALLEST_RATE_HZ, _LARGEST_RATE_HZ = 0.01, 1000.0
# Without empty_moov, FFmpeg 8.1 crashes on a video that is closed before its first picture.
_MOVFLAGS = "hybrid_fragmented+empty_moov+frag_every_frame"
# A fragment that fits is written in one piece.
_BUFFER_BYTES = 2**20
# BT.709 in the numbering of ITU-T H.273, which FFmpeg shares: primaries and transfer.
_BT709 = 1


class Encoder(NamedTuple):
    """A video encoder of FFmpeg's.

    Attributes:
        name: FFmpeg's name.
        options: its settings, as FFmpeg calls them; one picture in gives one packet out at once,
            or the last seconds would be lost with a killed process.
        bits_per_pixel: what an encoder without a constant quality may use; None leaves it away.
    """

    name: str
    options: Mapping[str, str]
    bits_per_pixel: float | None = None


# The first that works is used. Settings: benchmarks/overlay_cost.py.
ENCODERS = (
    Encoder(
        "libx264",
        MappingProxyType(
            {
                "preset": "ultrafast",  # has no adaptive quantization, which blurs thin lines
                "tune": "zerolatency",
                "crf": "21",
                "coder": "cabac",  # a tenth smaller, and Main profile instead of Baseline
                "x264-params": "subme=1",  # a twelfth smaller, and truer
            }
        ),
    ),
    Encoder("libopenh264", MappingProxyType({"profile": "main"}), bits_per_pixel=0.2),
    Encoder(
        "libvpx-vp9",
        MappingProxyType(
            {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "21", "b": "0"}
        ),
    ),
)


class VideoWriter:
    """Writes pictures of one size, each with the time at which it is shown.

        writer = VideoWriter(Path("overlay.mp4"), (480, 640), frame_rate_hz=25.0)
        for number, picture in enumerate(pictures):
            writer.append(picture, time_ns=number * 40_000_000)
        writer.close()

    H.264 where an encoder for it is there, else VP9; yuv420p, BT.709; a keyframe every two seconds.
    It uses the calling thread only, since the network has the other cores.

    Args:
        path: must not exist.
        hw: height and width in pixels, both even.
        frame_rate_hz: what the file names as its rate, and how long its last picture stays.
        encoders: the first of them that can be opened is used.

    Attributes:
        path: as given.
        hw: as given.
        frames: how many were appended.

    Raises:
        OutputError: the file cannot be made, or no encoder takes pictures of this size.
    """

    def __init__(
        self,
        path: Path,
        hw: tuple[int, int],
        frame_rate_hz: float,
        encoders: Sequence[Encoder] = ENCODERS,
    ) -> None:
        self.path, self.hw = path, hw
        self.frames = 0
        rate_hz = min(max(frame_rate_hz, _SMALLEST_RATE_HZ), _LARGEST_RATE_HZ)
        self._rate = Fraction(rate_hz).limit_denominator(1001)
        self._interval_ticks = round(_TICKS_PER_S / self._rate)
        self._last_tick = self._key_tick = -1
        self._closed = False
        self._reformatter = VideoReformatter()
        self._file = _WholeWrites(path)
        try:
            self._container, self._stream = self._start(encoders)
        except BaseException:
            self._file.close()
            with suppress(OSError):
                path.unlink()
            raise

    @property
    def encoder_name(self) -> str:
        """FFmpeg's name of the encoder that is used."""
        return self._stream.codec_context.codec.name

    def append(self, image: NDArray[np.uint8], time_ns: int) -> None:
        """Append one picture; after a failure the file ends with the last whole fragment.

        Args:
            image: uint8 [H, W, 3] BGR of the size `hw`.
            time_ns: since the beginning of the video; one that is not above the time before
                becomes the next that the file can tell apart, 1/90000 s later.

        Raises:
            OutputError: the picture cannot be written, or one before could not.
        """
        if self._closed:
            raise OutputError(f"cannot write {self.path}: it is closed", "start a new run")
        self._file.check()
        tick = max(self._last_tick + 1, round(time_ns * _TICKS_PER_S / 1e9))
        self._mux(self._frame(image, tick))
        self._file.check()
        self._file.keep()
        self._last_tick = tick
        self.frames += 1

    def close(self) -> None:
        """Write the index, unless writing has failed before; may be called twice.

        Raises:
            OutputError: the index cannot be written; the file plays without it.
        """
        if self._closed:
            return
        self._closed = True
        failed_before = self._file.failure is not None
        try:
            self._mux(None)
            with self._refusals():
                self._container.close()
            if not failed_before:
                self._file.check()
        finally:
            self._file.close()

    def __del__(self) -> None:
        # PyAV 16 crashes where it has to close a file that nobody closed.
        with suppress(Exception):
            self.close()

    def _start(self, encoders: Sequence[Encoder]) -> tuple[OutputContainer, VideoStream]:
        """The header is written, with the first encoder that opens."""
        reasons = []
        for encoder in encoders:
            container = av.open(
                self._file,
                "w",
                format="mp4",
                container_options={"movflags": _MOVFLAGS, "flush_packets": "1"},
                buffer_size=_BUFFER_BYTES,
            )
            try:
                stream = cast(VideoStream, container.add_stream(encoder.name, rate=self._rate))
                self._set_up(stream, encoder)
                container.start_encoding()
            except (ValueError, av.FFmpegError) as error:
                reasons.append(f"{encoder.name}: {_reason(error)}")
            else:
                if self._file.failure is not None:
                    container.close()  # else PyAV does, when half of it is gone
                    raise self._file.failure
                self._file.keep()
                return container, stream
        height, width = self.hw
        raise OutputError(
            f"cannot write {self.path}: no video of {width} x {height} pixels can be started "
            f"({'; '.join(reasons)})",
            "leave overlay out of `save`, or give smaller frames",
        )

    def _set_up(self, stream: VideoStream, encoder: Encoder) -> None:
        stream.height, stream.width = self.hw
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, _TICKS_PER_S)
        context = stream.codec_context
        context.time_base = Fraction(1, _TICKS_PER_S)
        context.thread_count = 1
        context.gop_size = _MOST_FRAMES_BETWEEN_KEYFRAMES
        context.max_b_frames = 0
        context.color_range = ColorRange.MPEG
        context.color_primaries = context.color_trc = _BT709
        context.colorspace = Colorspace.ITU709
        context.options = dict(encoder.options)
        if encoder.bits_per_pixel is not None:
            pixels_per_s = self.hw[0] * self.hw[1] * self._rate
            context.bit_rate = int(encoder.bits_per_pixel * pixels_per_s)

    def _frame(self, image: NDArray[np.uint8], tick: int) -> VideoFrame:
        frame = self._reformatter.reformat(
            VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="bgr24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        frame.pts, frame.time_base = tick, Fraction(1, _TICKS_PER_S)
        frame.duration = self._interval_ticks
        if self._key_tick < 0 or tick - self._key_tick >= KEYFRAME_INTERVAL_S * _TICKS_PER_S:
            frame.pict_type, self._key_tick = PictureType.I, tick
        return frame

    def _mux(self, frame: VideoFrame | None) -> None:
        """Encode and write a frame, or at the end what the encoder held back."""
        with self._refusals():
            for packet in self._stream.encode(frame):
                # Of the last picture; each other one lasts until the next.
                packet.duration = self._interval_ticks
                self._container.mux(packet)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What FFmpeg raises becomes ours."""
        try:
            yield
        except av.FFmpegError as error:
            raise OutputError(
                f"cannot write {self.path}: {_reason(error)}", "leave overlay out of `save`"
            ) from error


class _WholeWrites:
    """The file that FFmpeg writes into; after a failed write nothing is written any more.

    FFmpeg is not told: it would go on all the same in some places, and PyAV raise in others. What
    FFmpeg changes in the middle, the header that names the index, waits until all else is there.

    Args:
        path: must not exist. Opened here, since FFmpeg would read some names as an address or a
            pattern.

    Raises:
        OutputError: it exists or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.failure: OutputError | None = None
        self._path = path
        self._place = self._end = self._kept_bytes = 0
        self._changes: list[tuple[int, bytes]] = []
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            raise output_error(path, error) from error

    def write(self, data: bytes) -> int:
        """Take all of it; for FFmpeg."""
        if self._place < self._end:
            self._changes.append((self._place, data))
        elif self.failure is None and self._descriptor >= 0:
            try:
                _write_at(self._descriptor, self._place, data)
            except OSError as error:
                self.failure = output_error(self._path, error)
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self._kept_bytes)
        self._place += len(data)
        self._end = max(self._end, self._place)
        return len(data)

    def seek(self, place: int, whence: int) -> int:
        """Go to a place; for FFmpeg, which counts from the beginning when it writes."""
        if whence != os.SEEK_SET:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._place = place
        return place

    def tell(self) -> int:
        """The place; for FFmpeg."""
        return self._place

    def keep(self) -> None:
        """What is there now stays after a failure."""
        self._kept_bytes = self._place

    def check(self) -> None:
        """Raise what failed, or that the file was removed, which no write would show.

        Raises:
            OutputError: the file is not what was written into it.
        """
        if os.fstat(self._descriptor).st_nlink == 0 and not self._path.exists():
            self.failure = self.failure or OutputError(
                f"cannot write {self._path}: it was removed meanwhile",
                "leave the folder alone while a run writes into it",
            )
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Close it; may be called twice.

        Raises:
            OutputError: the last changes could not be written, or the system says only now that it
                could not write.
        """
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            try:
                if self._changes and self.failure is None:
                    # After a power cut, too, the header names an index that is there.
                    os.fdatasync(descriptor)
                    for place, data in self._changes:
                        _write_at(descriptor, place, data)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise output_error(self._path, error) from error


def _write_at(descriptor: int, place: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], place + written)


def _reason(error: Exception) -> str:
    if isinstance(error, UnknownCodecError):
        return "not in this FFmpeg"
    return getattr(error, "strerror", None) or first_line(error)
