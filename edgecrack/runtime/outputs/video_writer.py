"""An MP4 that plays up to its last frames even if the process that writes it is killed.

Each frame is written as a fragment of its own, so the file plays without repair at any time. A
clean close adds the index of an ordinary MP4, for the duration and quick seeking, and leaves the
pictures where they are.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
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
    """A video encoder of FFmpeg.

    Attributes:
        name: FFmpeg's name.
        options: FFmpeg's settings; each picture must give its packet immediately, or a killed
            process would lose the last seconds.
        bits_per_pixel: limit for an encoder without a constant quality; None sets none.
    """

    name: str
    options: Mapping[str, str]
    bits_per_pixel: float | None = None


# The first that works is used. Settings: benchmarks/overlay_cost.py.
ENCODERS = (
    Encoder(
        "libx264",
        {
            "preset": "ultrafast",  # has no adaptive quantization, which blurs thin lines
            "tune": "zerolatency",
            "crf": "21",
            "coder": "cabac",  # a tenth smaller, and Main profile instead of Baseline
            "x264-params": "subme=1",  # a twelfth smaller, and more accurate
        },
    ),
    Encoder("libopenh264", {"profile": "main"}, bits_per_pixel=0.2),
    Encoder(
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "21", "b": "0"},
    ),
)


class VideoWriter:
    """Writes pictures of one size, each with the time at which it is shown.

        writer = VideoWriter(Path("overlay.mp4"), (480, 640), frame_rate_hz=25.0)
        for number, picture in enumerate(pictures):
            writer.append(picture, time_ns=number * 40_000_000)
        writer.close()

    H.264 where an encoder for it exists, else VP9; yuv420p, BT.709; a keyframe every two seconds.
    Encodes in the calling thread only, since the network uses the other cores.

    Args:
        path: must not exist.
        hw: height and width in pixels, both even.
        frame_rate_hz: nominal rate of the file, and how long its last picture is shown.
        encoders: the first that can be opened is used.

    Attributes:
        path: as given.
        hw: as given.
        frames: number of pictures appended.

    Raises:
        OutputError: the file cannot be made, or no encoder accepts pictures of this size.
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
        """FFmpeg's name of the encoder in use."""
        return self._stream.codec_context.codec.name

    def append(self, image: NDArray[np.uint8], time_ns: int) -> None:
        """Append one picture; after a failure the file ends with the last whole fragment.

        Args:
            image: uint8 [H, W, 3] BGR of the size `hw`.
            time_ns: since the beginning of the video; a time not above the last one is moved to
                1/90000 s after it, the smallest step of the file.

        Raises:
            OutputError: this picture or an earlier one cannot be written.
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
        """Write the index, unless writing failed earlier; may be called twice.

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
        # PyAV 16 crashes when it has to close a file that was not closed.
        with suppress(Exception):
            self.close()

    def _start(self, encoders: Sequence[Encoder]) -> tuple[OutputContainer, VideoStream]:
        """Write the header with the first encoder that opens."""
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
                    container.close()  # else PyAV does, when half of it is deleted
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
        """Encode and write a frame; None writes what the encoder still holds."""
        with self._refusals():
            for packet in self._stream.encode(frame):
                # Counts for the last picture only; each other one lasts until the next.
                packet.duration = self._interval_ticks
                self._container.mux(packet)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turn FFmpeg's errors into OutputError."""
        try:
            yield
        except av.FFmpegError as error:
            raise OutputError(
                f"cannot write {self.path}: {_reason(error)}", "leave overlay out of `save`"
            ) from error


class _WholeWrites:
    """The file that FFmpeg writes to; nothing more is written after a failed write.

    The failure is not reported to FFmpeg, which would go on in some places, and make PyAV raise in
    others. A change in the middle, that of the header to name the index, waits until all else is
    written.

    Args:
        path: must not exist. Opened here, since FFmpeg would take some names for an address or a
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
        """Write all of it; for FFmpeg."""
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
        """Go to an offset; for FFmpeg, which counts from the beginning when it writes."""
        if whence != os.SEEK_SET:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._place = place
        return place

    def tell(self) -> int:
        """The offset; for FFmpeg."""
        return self._place

    def keep(self) -> None:
        """Keep what is written so far if a later write fails."""
        self._kept_bytes = self._place

    def check(self) -> None:
        """Raise the failure, or that the file was removed, which no write reports.

        Raises:
            OutputError: the file lacks what was written to it.
        """
        if os.fstat(self._descriptor).st_nlink == 0 and not self._path.exists():
            self.failure = self.failure or OutputError(
                f"cannot write {self._path}: it was removed while being written",
                "leave the folder alone while a run writes to it",
            )
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Close it; may be called twice.

        Raises:
            OutputError: the last changes could not be written, or the system reports an earlier
                failure only now.
        """
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            try:
                if self._changes and self.failure is None:
                    # Even after a power cut the header must name an index that exists.
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
