"""RTSP streams, and HTTP streams other than MJPEG, with low latency and capture times."""

from __future__ import annotations

import os
import time

from av.container import InputContainer
from av.error import FFmpegError

from edgecrack.errors import SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import InterruptibleSource, SourceStatus
from edgecrack.runtime.sources.decoder import Decoder, Picture
from edgecrack.runtime.sources.ffmpeg import FFmpegMessage, open_input, reason_of
from edgecrack.runtime.sources.http_connection import CHECK_CAMERA
from edgecrack.runtime.sources.options import DEFAULT_TIMEOUT_MS
from edgecrack.runtime.sources.stale_frames import LiveGrabs
from edgecrack.runtime.sources.video import VideoSource
from edgecrack.terminal.redaction import redact

OPTIONS_VARIABLE = "EDGECRACK_FFMPEG_OPTIONS"
# As OpenCV names it, with its separators.
_OLD_OPTIONS_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
# TCP, since UDP loses packets on a robot's radio link. No frame rate probing, which takes most of a
# second. Not `nobuffer`: it drops the first key frame, and cameras send one every few seconds.
_RTSP_OPTIONS = {"rtsp_transport": "tcp", "fpsprobesize": "0"}
_FALLBACK_RATE_HZ = 30.0
# Longest time from exposure to the last byte here; and the offset of synchronised clocks.
LONGEST_JOURNEY_NS = 2_000_000_000
CLOCKS_DIFFER_NS = 20_000_000


class StreamSource(InterruptibleSource):
    """The newest frame of an endless network stream.

    A frame is at most about one frame time old, older only if the stream has no timestamps or
    decoding takes longer than a frame time.

    Args:
        container: opened; the source owns it from now on.
        said: FFmpeg messages during opening.
        name: without credentials.
        timeout_ms: the container's own for one packet, and the longest run of damaged frames.

    Attributes:
        note: which of several tracks is read; else None.

    Raises:
        SourceError: the first frame cannot be read. The container is closed.
    """

    live = True
    frame_count: int | None = None

    def __init__(
        self,
        container: InputContainer,
        said: list[FFmpegMessage],
        name: str,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
    ) -> None:
        super().__init__(name)
        self._container = container
        self._timeout_s = timeout_ms / 1000
        self._delivered = 0
        self._clock = SenderClock()
        self._picture: Picture | None = None
        self._is_new = False
        try:
            self._decoder = Decoder(container, said, name)
        except BaseException:
            container.close()
            raise
        self.note = None if self._decoder.note is None else self._decoder.note.split("; `track`")[0]
        self.frame_rate_hz = self._decoder.frame_rate_hz
        self._grabs = LiveGrabs(self, self._timeout_s, self.frame_rate_hz)
        try:
            if not self.grab():
                raise SourceError(
                    f"{name} opens, but no frame in it can be decoded{self._why()}",
                    "check that it plays in a video player; its codec may be unknown",
                )
        except BaseException:
            self.close()
            raise
        self._grabs.expect_backlog()  # streams collect frames while they open

    @property
    def corrupt_frames(self) -> int:
        """Damaged frames skipped so far."""
        return self._decoder.corrupt_frames

    def grab(self) -> bool:
        """Decode the next frame, for `LiveGrabs`; False where the stream has stopped."""
        picture = self._decoder.next(time.monotonic() + self._timeout_s)
        if picture is not None:
            self._picture, self._is_new = picture, True
        return picture is not None

    @property
    def media_s(self) -> float | None:
        """Time of the grabbed frame in the stream, in s."""
        return None if self._picture is None else self._picture.time_s

    @property
    def status(self) -> SourceStatus:
        """Counters and notes beyond the frames."""
        return SourceStatus(passed_over=self._grabs.passed_over, note=self.note)

    def read(self) -> Frame:
        """The newest frame; waits if there is none.

        Raises:
            SourceError: no frame arrived in time, the stream ended, or the source was closed.
        """
        try:
            with self._reading():
                if self._closed:
                    raise self._stopped(": it was closed")
                goes_on = self._grabs.drain() and self._grabs.grab()
                # If the stream ends during the draining, the last drained frame is the newest.
                if self._picture is None or not (goes_on or self._is_new) or self._closed:
                    raise self._stopped(": it was closed" if self._closed else self._why())
                self._grabs.read_s, self._is_new = time.monotonic(), False
                return self._frame(self._picture)
        except FFmpegError as error:
            raise SourceError(
                f"{self.name} fails to decode: {reason_of(error)}",
                "check that it plays in a video player",
            ) from error

    def _interrupt(self) -> None:
        self._grabs.closed = self._decoder.stopped = True

    def _release(self) -> None:
        self._container.close()

    def _frame(self, picture: Picture) -> Frame:
        index = self._delivered
        image = picture.image()
        self._delivered += 1
        arrival = picture.arrival
        sent_ns = self._clock.taken_ns(arrival.sender_time_ns, arrival.time_ns)
        taken_ns = arrival.time_ns if sent_ns is None else sent_ns
        interval_ms = 1000 / (self.frame_rate_hz or _FALLBACK_RATE_HZ)
        return Frame(
            image=image,
            index=index,
            capture_time_ns=taken_ns,
            source=self.name,
            name=f"{index:06d}",
            live=True,
            monotonic_ns=arrival.monotonic_ns - (arrival.time_ns - taken_ns),
            read_time_ns=arrival.time_ns,
            time_source="arrival" if sent_ns is None else "sender",
            time_uncertainty_ms=interval_ms if sent_ns is None else None,
        )

    def _why(self) -> str:
        failure = self._decoder.failure
        return "" if failure is None else f": {reason_of(failure)}"

    def _stopped(self, why: str) -> SourceError:
        return SourceError(
            f"{self.name} stopped delivering frames after {self._delivered}{why}",
            "check its cable, power and network, then start again",
        )


def open_stream(uri: str, timeout_ms: int = DEFAULT_TIMEOUT_MS) -> StreamSource | VideoSource:
    """Open an RTSP (over TCP) or HTTP address.

    FFmpeg options in the environment, such as EDGECRACK_FFMPEG_OPTIONS=rtsp_transport=udp,
    replace the defaults.

    Args:
        uri: with credentials if needed; they appear nowhere else.
        timeout_ms: longest wait for the connection, and for each frame.

    Raises:
        SourceError: no answer, or the answer is not video.
    """
    started_s = time.monotonic()
    name = redact(uri)
    is_rtsp = uri.lower().startswith("rtsp")
    options = _user_options() or (_RTSP_OPTIONS if is_rtsp else {})
    # FFmpeg's timeouts, in microseconds, end waits that PyAV's cannot interrupt.
    if not is_rtsp:
        options = {"multiple_requests": "1", **options}  # otherwise parts of a file get lost
    options = {("timeout" if is_rtsp else "rw_timeout"): str(1000 * timeout_ms), **options}
    try:
        container, said = open_input(uri, options, timeout_ms / 1000)
    except FFmpegError as error:
        waited_s = time.monotonic() - started_s
        raise SourceError(
            f"{name} does not deliver video: {reason_of(error)} (gave up after {waited_s:.1f} s)",
            _remedy(uri),
        ) from error
    if _has_end(container, is_rtsp):
        return VideoSource(container, said, name)
    return StreamSource(container, said, name, timeout_ms)


def _has_end(container: InputContainer, is_rtsp: bool) -> bool:
    if container.duration is not None and container.duration > 0:
        return True
    return not is_rtsp and container.size > 0


def _user_options() -> dict[str, str]:
    """FFmpeg's options in the environment."""
    for variable, between, within in (
        (OPTIONS_VARIABLE, ",", "="),
        (_OLD_OPTIONS_VARIABLE, "|", ";"),
    ):
        text = os.environ.get(variable, "")
        pairs = [part.split(within, 1) for part in text.split(between) if within in part]
        if pairs:
            return {key.strip(): value.strip() for key, value in pairs}
    return {}


def _remedy(uri: str) -> str:
    if "#" in uri:
        return "write %23 for a # in user, password or path; " + CHECK_CAMERA
    return CHECK_CAMERA


class SenderClock:
    """Uses the sender's clock as long as pictures arrive shortly after they were taken.

    After one impossible time the clock is ignored for good.
    """

    def __init__(self) -> None:
        self._is_wrong = False

    def taken_ns(self, sender_ns: int | None, arrival_ns: int) -> int | None:
        """When a picture was taken, or None if unknown.

        Args:
            sender_ns: by the sender's clock, in ns since 1970; None if not sent.
            arrival_ns: when it arrived here, by our clock.
        """
        if sender_ns is None or self._is_wrong:
            return None
        journey_ns = arrival_ns - sender_ns
        if not -CLOCKS_DIFFER_NS <= journey_ns <= LONGEST_JOURNEY_NS:
            self._is_wrong = True
            return None
        return min(sender_ns, arrival_ns)
