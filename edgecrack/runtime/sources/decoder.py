"""Decodes one video track with FFmpeg; damaged pictures are counted and skipped.

Reads packet by packet, so that each picture keeps its own time and arrival time.
"""

from __future__ import annotations

import heapq
import math
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from edgecrack.runtime.sources.ffmpeg import (
    DamageRecord,
    FFmpegMessage,
    choose_track,
    hear,
    messages,
    take_over_messages,
)
from edgecrack.runtime.sources.options import MAX_FRAME_RATE_HZ

_ENDED_EARLY = re.compile(r"partial file|ends? prematurely|ended prematurely", re.IGNORECASE)
# How a complete HTTP response without a length ends.
_NO_LENGTH = "should be 18446744073709551615"
# Metadata beside the picture.
_HARMLESS = re.compile(
    r"\bSEI\b|\bAPP\w*\b|exif|jfif|icc|xmp|adobe|user data|unregistered|mmco|metadata|timecode",
    re.IGNORECASE,
)
_NETWORK = frozenset({"http", "https", "tcp", "tls", "rtsp", "udp", "hls", "httpproxy"})
_MISSED = re.compile(r"RTP: missed \d+ packets|max delay reached", re.IGNORECASE)
# H.264, debug level: a reference picture may be missing.
_GAP = "Frame num gap"
# Layered streams omit pictures by design, from the beginning.
_GAPS_BY_DESIGN, _BEGINNING = 3, 12
# Codecs with inter prediction; of the others, few mark key frames.
_PREDICTING = frozenset(
    """h263 h264 hevc vvc av1 libdav1d libaom-av1 vp8 vp9 libvpx libvpx-vp9 mpeg1video mpeg2video
    mpeg4 msmpeg4v1 msmpeg4v2 msmpeg4 wmv1 wmv2 wmv3 vc1 flv theora
    rv30 rv40 cavs""".split()  # noqa: SIM905
)
_CORRUPT_PACKET = re.compile(r"Packet corrupt \(stream = (?P<stream>\d+), dts = (?P<dts>-?\d+)")
# These store an exact frame count; the others an estimate, or nothing.
_COUNTING_FORMATS = frozenset({"mov", "mp4", "m4a", "3gp", "3g2", "mj2"})
# These store decoding times only; FFmpeg invents presentation times.
_DECODING_TIMES = frozenset({"avi", "asf"})
# Raw streams; FFmpeg invents times for some of them.
_TIMELESS_FORMATS = frozenset(
    """apv av1 avs2 avs3 cavsvideo dirac dnxhd evc h261 h263 h264 hevc ingenient ipu m4v mjpeg
    mjpeg_2000 mpegvideo obu rawvideo vc1 vvc""".split()  # noqa: SIM905
)
_REMEMBERED = 64
_PRFT_BYTES = 16


@dataclass(frozen=True, slots=True)
class DecodedArrival:
    """When a picture's data arrived.

    Attributes:
        time_ns: in ns of `time.time_ns`.
        monotonic_ns: the same moment in ns of `time.monotonic_ns`.
        sender_time_ns: when it was taken by the sender's own clock, in ns since 1970; None if
            the stream does not say.
    """

    time_ns: int
    monotonic_ns: int
    sender_time_ns: int | None = None


class Turn(NamedTuple):
    """Makes a stored picture upright, in this order.

    Attributes:
        swaps_axes: rows become columns.
        mirrors_x: flip left to right.
        mirrors_y: flip top to bottom.
    """

    swaps_axes: bool = False
    mirrors_x: bool = False
    mirrors_y: bool = False

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The upright picture: uint8 [H, W, 3] or [W, H, 3]."""
        if self == Turn():
            return image
        turned = image.transpose(1, 0, 2) if self.swaps_axes else image
        turned = turned[:, ::-1] if self.mirrors_x else turned
        turned = turned[::-1] if self.mirrors_y else turned
        return np.ascontiguousarray(turned)


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture, not yet converted.

    Attributes:
        frame: FFmpeg's.
        time_s: from the beginning of the file or stream; None where it has no times.
        arrival: of its data.
        turn: what makes it upright.
    """

    frame: VideoFrame
    time_s: float | None
    arrival: DecodedArrival
    turn: Turn

    def image(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] in BGR order, upright.

        Raises:
            FFmpegError: its pixel format cannot be converted.
        """
        with av.logging.Capture():
            pixels = _bgr(self.frame)
        return self.turn.apply(np.asarray(pixels, np.uint8))


def _bgr(frame: VideoFrame) -> NDArray[Any]:
    """Converted in one thread: the network uses all cores."""
    try:
        return frame.to_ndarray(format="bgr24", threads=1)
    except FFmpegError:
        # A colour matrix that FFmpeg cannot convert; only gray levels matter here.
        return frame.to_ndarray(format="bgr24", threads=1, src_colorspace="ITU709")


class Decoder:
    """Decodes one video track.

    Args:
        container: opened and not yet read; its owner closes it.
        said: FFmpeg messages during opening.
        name: for messages.
        track: which of several video tracks, from 0; None takes the default one.

    Attributes:
        note: which of several tracks is read; else None.
        frame_rate_hz: pictures per second on average, None if unknown.
        corrupt_frames: damaged pictures skipped so far.
        stopped: set from any thread to end a call early.
        failure: why reading ended, where that was an error.

    Raises:
        SourceError: the track does not exist or cannot be decoded.
    """

    def __init__(
        self,
        container: InputContainer,
        said: Sequence[FFmpegMessage],
        name: str,
        track: int | None = None,
    ) -> None:
        stream, self.note = choose_track(container, said, name, track)
        self._stream, self._duration = stream, container.duration
        self.frame_rate_hz = _plausible_rate_hz(stream.average_rate or stream.guessed_rate)
        self._context = stream.codec_context
        self._level = av.logging.DEBUG if self._context.name == "h264" else av.logging.WARNING
        take_over_messages()
        self._context.thread_count = 1  # messages of other threads would be lost
        self._context.copy_opaque = True
        self._format_names = frozenset(container.format.name.split(","))
        self._start_s = _start_s(container)
        self._has_times = not any(
            name in _TIMELESS_FORMATS or name.endswith("_pipe") for name in self._format_names
        )
        self._packets: Iterator[Packet[Any]] | None = iter(container.demux(stream))
        self._decoded: deque[Picture] = deque()
        self._arrivals: dict[int, DecodedArrival] = {}
        self._damage: DamageRecord | None = None
        self._corrupt_dts: set[int] = set()
        self._turn: Turn | None = None
        self._rotation = 0
        self._gaps = 0
        # Decoding times of packets that have no time to be shown at, and are shown in order.
        self._shown_later: list[int] = []
        self._number = 0
        self._ended_early = any(map(_tells_an_early_end, said))
        self._last_was_corrupt = False
        self.corrupt_frames = 0
        self.stopped = False
        self.failure: FFmpegError | None = None

    @property
    def frame_count(self) -> int | None:
        """Number of pictures by the container's count or estimate; None if unknown."""
        if self._stream.frames > 0:
            return self._stream.frames
        rate, duration = self._stream.average_rate, self._duration
        if not rate or duration is None or duration <= 0:
            return None
        return max(1, round(float(rate) * duration / av.time_base))

    @property
    def counts_exactly(self) -> bool:
        """Whether `frame_count` is exact."""
        return self._stream.frames > 0 and bool(self._format_names & _COUNTING_FORMATS)

    @property
    def is_cut_short(self) -> bool:
        """Whether the file turned out, at its end, to be truncated."""
        if self._packets is not None:
            return False
        return self._ended_early or self._last_was_corrupt

    def next(self, until_s: float = math.inf) -> Picture | None:
        """The next sound picture, or None at the end.

        `failure` is then set if it ended with an error. The container limits the wait for each
        packet.

        Args:
            until_s: when to give up among damaged pictures, in s of `time.monotonic`.
        """
        while not self._decoded:
            if self._packets is None or self.stopped or time.monotonic() > until_s:
                return None
            self._read_packet()
        return self._decoded.popleft()

    def _read_packet(self) -> None:
        if self._packets is None:
            return
        hear(self._level)
        with av.logging.Capture() as said:
            try:
                packet = next(self._packets, None)
            except FFmpegError as error:
                packet, self.failure = None, error
            except IndexError:  # PyAV, at the end of a file in which tracks appeared on the way
                packet = None
        number = self._number
        self._hear_reading(messages(said), number)
        if packet is None:
            self._packets = None
            if self.failure is not None:
                if not any(_NO_LENGTH in message.text for message in messages(said)):
                    self._ended_early = True
                self._decode(None)
            return
        if packet.size:
            self._note_packet(packet, number)
            self._number += 1
        elif packet.dts is not None:  # repeats the previous picture
            return
        packet.opaque = number
        self._decode(packet)

    def _note_packet(self, packet: Packet[Any], number: int) -> None:
        if self._damage is None:
            # Nothing can be decoded before the first key frame of a running stream.
            is_entry = packet.is_keyframe or self._context.name not in _PREDICTING
            self._damage = DamageRecord(starts_clean=is_entry)
        if packet.is_keyframe:
            self._damage.note_entry(number)
        self._last_was_corrupt = packet.is_corrupt
        if packet.is_corrupt or (packet.dts is not None and packet.dts in self._corrupt_dts):
            self._damage.note_damage(number)
        if packet.dts is not None and (packet.pts is None or self._format_names & _DECODING_TIMES):
            heapq.heappush(self._shown_later, packet.dts)
        now = DecodedArrival(time.time_ns(), time.monotonic_ns(), _sender_time_ns(packet))
        self._arrivals[number] = now

    def _hear_reading(self, said: Sequence[FFmpegMessage], number: int) -> None:
        """Process the messages of reading this packet."""
        for message in said:
            if match := _CORRUPT_PACKET.search(message.text):
                if int(match["stream"]) == self._stream.index:
                    self._corrupt_dts.add(int(match["dts"]))
            elif _tells_an_early_end(message):
                self._ended_early = True
            elif self._damage is not None and (
                _MISSED.search(message.text)
                or (message.origin not in _NETWORK and _is_damage(message))
            ):
                self._damage.note_damage(number)

    def _decode(self, packet: Packet[Any] | None) -> None:
        number = max(0, self._number - 1)
        frames: list[Any] = []
        hear(self._level)
        with av.logging.Capture() as said:
            try:
                frames = list(self._context.decode(packet))
            except FFmpegError:
                self.corrupt_frames += 1
                self._forget_time(packet)
                if self._damage is not None:
                    self._damage.note_damage(number)
        if self._damage is None:
            self._damage = DamageRecord()
        heard = messages(said)
        if any(map(_is_damage, heard)) or self._lacks_pictures(heard):
            self._damage.note_damage(number)
        for frame in frames:
            self._take(frame)

    def _forget_time(self, packet: Packet[Any] | None) -> None:
        """Drop the time of a packet without a picture; the next picture must not get it."""
        if packet is not None and packet.dts in self._shown_later:
            self._shown_later.remove(packet.dts)
            heapq.heapify(self._shown_later)

    def _lacks_pictures(self, heard: Sequence[FFmpegMessage]) -> bool:
        """Whether earlier pictures are missing, by H.264's frame numbers."""
        if not any(message.text.startswith(_GAP) for message in heard):
            return False
        self._gaps += self._number <= _BEGINNING
        return self._gaps < _GAPS_BY_DESIGN

    def _take(self, frame: VideoFrame) -> None:
        number = frame.opaque if isinstance(frame.opaque, int) else max(0, self._number - 1)
        time_s = self._time_s(frame)
        if self._damage is None:
            return
        if frame.is_corrupt:
            self._damage.note_damage(number)
        # Each field of an interlaced picture may be a packet of its own.
        is_half = frame.interlaced_frame and self._damage.is_damaged(number + 1)
        if is_half or not self._damage.is_sound(number, bool(frame.key_frame)):
            self.corrupt_frames += 1
            return
        # Reading the matrix makes a reference cycle, which frees the picture late; some streams
        # carry it with key frames only.
        if self._turn is None or (frame.rotation and frame.rotation != self._rotation):
            self._turn, self._rotation = _turn_of(frame), frame.rotation
        self._decoded.append(Picture(frame, time_s, self._arrival_of(number), self._turn))

    def _time_s(self, frame: VideoFrame) -> float | None:
        """Presentation time; call once per picture."""
        pts, base = frame.pts, frame.time_base
        if self._shown_later:
            pts, base = heapq.heappop(self._shown_later), self._stream.time_base
        if pts is None or base is None or not self._has_times:
            return None
        return float(pts * base - self._start_s)

    def _arrival_of(self, number: int) -> DecodedArrival:
        """The packet's arrival; much earlier ones are dropped."""
        arrival = self._arrivals.get(number) or DecodedArrival(time.time_ns(), time.monotonic_ns())
        while self._arrivals and next(iter(self._arrivals)) < number - _REMEMBERED:
            del self._arrivals[next(iter(self._arrivals))]
        return arrival


def _tells_an_early_end(message: FFmpegMessage) -> bool:
    return bool(_ENDED_EARLY.search(message.text)) and _NO_LENGTH not in message.text


def _is_damage(message: FFmpegMessage) -> bool:
    """Whether a message reports damage to a picture."""
    return message.is_error and not _HARMLESS.search(message.text)


def _plausible_rate_hz(rate: Fraction | None) -> float | None:
    """Pictures per second, or None where it is not known or cannot be."""
    rate_hz = float(rate) if rate else 0.0
    return rate_hz if 0 < rate_hz <= MAX_FRAME_RATE_HZ else None


def _start_s(container: InputContainer) -> Fraction:
    """Where players begin to count, in s: the earliest time of any track."""
    start = container.start_time
    if start is None:
        return Fraction(0)
    rounded = Fraction(start, av.time_base)
    # The container's is in whole microseconds, which the track's own need not be.
    exact = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if stream.start_time is not None and stream.time_base is not None
    ]
    return min(exact, key=lambda one: abs(one - rounded), default=rounded)


def _sender_time_ns(packet: Packet[Any]) -> int | None:
    """When the picture was taken by the sender's clock (RTCP reports); None if unknown."""
    if not packet.has_sidedata("prft"):
        return None
    data = bytes(packet.get_sidedata("prft"))
    if len(data) < _PRFT_BYTES:
        return None
    return int(np.frombuffer(data[:8], np.int64)[0]) * 1000


def _turn_of(frame: VideoFrame) -> Turn:
    """How the file says that the picture is to be shown."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    values = np.frombuffer(bytes(matrix), np.int32) if matrix is not None else np.zeros(0, np.int32)
    if len(values) < 5:
        return Turn()
    (a, b), (c, d) = values[0:2].tolist(), values[3:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(True, c < 0, b < 0)
    return Turn(False, a < 0, d < 0)
