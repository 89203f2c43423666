"""FFmpeg through PyAV: opens inputs, captures log messages and explains errors.

FFmpeg reports most damage in log messages only. They are captured in the thread that reads and
decodes, which is why decoders here have one thread.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import av
import av.logging
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from edgecrack.errors import SourceError

# A video track may begin after minutes of sound; by default FFmpeg probes 5 s or 5 MB.
_PATIENT_PROBING = {"probesize": "50000000", "analyzeduration": "60000000"}
_UNKNOWN_CODEC = re.compile(
    r"Could not find codec parameters for stream \d+ \(Video: (?P<codec>[^,)]+)"
)
_ENCRYPTED_TAGS = ("encv", "drmi")
_NO_VIDEO = ("tty",)  # text art


class FFmpegMessage(NamedTuple):
    """An FFmpeg log message.

    Attributes:
        level: lower is more severe; `av.logging.ERROR`, `WARNING`.
        origin: the component: "h264", "mpegts".
        text: as FFmpeg writes it.
    """

    level: int
    origin: str
    text: str

    @property
    def is_error(self) -> bool:
        """Whether its level is error or worse."""
        return self.level <= av.logging.ERROR


def messages(said: Sequence[tuple[int, str, str]]) -> list[FFmpegMessage]:
    """The messages of an `av.logging.Capture`."""
    return [FFmpegMessage(*one) for one in said]


def hear(level: int = av.logging.WARNING) -> None:
    """Enable FFmpeg's messages of this level and more severe ones; none reaches the terminal.

    An `av.logging.Capture` catches those of the calling thread. Call this before each: a host
    program may set the level, too, and without messages damage goes unnoticed.

    Args:
        level: of `av.logging`; a level once requested stays enabled.
    """
    _ask_for(level)
    if av.logging.get_level() != _asked["level"]:
        av.logging.set_level(_asked["level"])


_asked: dict[str, int] = {}


def _ask_for(level: int) -> None:
    if not _asked and os.environ.get("EDGECRACK_DEBUG") != "1":
        logger = logging.getLogger("libav")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    _asked["level"] = max(level, _asked.get("level", level))


def take_over_messages() -> None:
    """Route FFmpeg's messages here, even if a host program prints or deduplicates them.

    Call this when opening an input; FFmpeg does not report who receives them.
    """
    hear()
    av.logging.set_level(_asked["level"])
    # A repeated message means another damaged frame.
    av.logging.set_skip_repeated(False)


def file_address(path: str) -> str:
    """A path that FFmpeg does not take for a URL: `a:b.mp4` is not of protocol `a`."""
    return f"file:{path}"


def open_input(
    address: str,
    options: Mapping[str, str],
    timeout_s: float | None = None,
    *,
    patient: bool = False,
) -> tuple[InputContainer, list[FFmpegMessage]]:
    """Open a file or stream.

    Args:
        address: URL, or `file_address` of a path.
        options: FFmpeg's own.
        timeout_s: longest wait for it to open, and then for each packet; None waits as long as
            FFmpeg does.
        patient: probe far into it for a late video track.

    Returns:
        The container, and FFmpeg's messages while probing it.

    Raises:
        FFmpegError: it cannot be opened.
    """
    given = dict(_PATIENT_PROBING) if patient else {}
    take_over_messages()
    with av.logging.Capture() as said:
        container = av.open(
            address,
            "r",
            options={**given, **options},
            metadata_errors="replace",
            timeout=timeout_s,
        )
    return container, messages(said)


def video_tracks(container: InputContainer) -> list[VideoStream]:
    """The container's video tracks, without cover pictures and preview images."""
    pictures = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    return [one for one in container.streams.video if not one.disposition & pictures]


def choose_track(
    container: InputContainer, said: Sequence[FFmpegMessage], name: str, track: int | None
) -> tuple[VideoStream, str | None]:
    """The video track to read, and a note if there was a choice.

    Args:
        container: opened.
        said: FFmpeg messages during opening.
        name: for messages.
        track: which of several, from 0; None takes the file's default track, or else the
            first.

    Raises:
        SourceError: the track does not exist, or its codec is unknown or encrypted.
    """
    if container.format.name in _NO_VIDEO:
        raise SourceError(f"{name} is a text file", "give a video")
    tracks = video_tracks(container)
    if not tracks:
        covers = bool(container.streams.video)
        what = "only a cover picture" if covers else f"no video ({_contents(container)})"
        raise SourceError(f"{name} holds {what}", "give a file with a video track")
    if track is not None and track >= len(tracks):
        known = ", ".join(_description(index, one) for index, one in enumerate(tracks))
        raise SourceError(
            f"{name} has no video track {track}", f"give `track` with one of: {known}"
        )
    chosen = track
    if chosen is None:
        default = av.stream.Disposition.default
        marked = [index for index, one in enumerate(tracks) if one.disposition & default]
        chosen = marked[0] if marked else 0
    stream = tracks[chosen]
    _check_decodable(stream, said, name)
    if len(tracks) == 1:
        return stream, None
    others = ", ".join(
        _description(index, one) for index, one in enumerate(tracks) if index != chosen
    )
    return stream, (
        f"{name} has {len(tracks)} video tracks; track {_description(chosen, stream)} is read; "
        f"`track` chooses another: {others}"
    )


def _check_decodable(stream: VideoStream, said: Sequence[FFmpegMessage], name: str) -> None:
    # The type stubs omit None, its value without a decoder.
    context: object = stream.codec_context
    if context is None or not stream.codec_context.is_decoder:
        codec = _codec_of(stream, said)
        raise SourceError(
            f"{name} is of a video codec that this FFmpeg cannot decode ({codec})",
            "convert it: ffmpeg -i FILE -c:v libx264 new.mp4",
        )
    if _tag_of(stream) in _ENCRYPTED_TAGS:
        raise SourceError(
            f"{name} is encrypted", "give a copy without encryption (DRM), or export it again"
        )


def _codec_of(stream: VideoStream, said: Sequence[FFmpegMessage]) -> str:
    """The name or tag of an unknown codec."""
    for message in said:
        if match := _UNKNOWN_CODEC.search(message.text):
            return match["codec"].strip()
    return _tag_of(stream) or "without a name"


def _tag_of(stream: VideoStream) -> str:
    try:
        tag = stream.codec_tag
    except (AttributeError, ValueError):
        return ""
    return tag if tag.isprintable() else ""


def _description(index: int, stream: VideoStream) -> str:
    context: object = stream.codec_context
    if context is None:
        return f"{index} (unknown codec)"
    size = f"{stream.width}x{stream.height}, " if stream.width else ""
    return f"{index} ({size}{stream.codec_context.name})"


def _contents(container: InputContainer) -> str:
    kinds = sorted({stream.type for stream in container.streams if stream.type})
    return f"{container.format.long_name}: {', '.join(kinds) or 'nothing'}"


def reason_of(error: FFmpegError) -> str:
    """Why something failed, in a clause without addresses and passwords."""
    if isinstance(error, av.error.ExitError):
        return "nothing came in time"
    if isinstance(error, av.error.InvalidDataError):
        return "it is not a video that FFmpeg knows, or it is damaged"
    if (
        isinstance(error, (av.error.ArgumentError, av.error.UndefinedError))
        or error.errno == errno.EINVAL
    ):
        return "its header is wrong, or it is raw pixels without a size"
    if isinstance(error, av.error.HTTPUnauthorizedError):
        return "it wants another user or password (401)"
    return (error.strerror or "it cannot be read").rstrip(".").lower()


# With intra refresh by stripes there are no key frames; by then all stripes were sent.
LONGEST_DAMAGE_FRAMES = 300
_REMEMBERED = 4096


class DamageRecord:
    """Follows the packets of one video track as they are decoded.

    Packets are numbered in decoding order; a picture has its packet's number. Pictures come in
    presentation order.

    Args:
        starts_clean: the first packet can be decoded on its own.
    """

    def __init__(self, starts_clean: bool = True) -> None:
        self._open: list[int] = [] if starts_clean else [-1]
        self._damaged: deque[int] = deque(maxlen=_REMEMBERED)
        self._entries: deque[int] = deque(maxlen=_REMEMBERED)

    def note_damage(self, number: int) -> None:
        """The packet is damaged, or something before it is missing."""
        if not self._open or self._open[-1] != number:
            self._open.append(number)
            self._damaged.append(number)

    def note_entry(self, number: int) -> None:
        """The container marks the packet as an entry point for decoding."""
        self._entries.append(number)

    def is_damaged(self, number: int) -> bool:
        """Whether the packet itself is damaged."""
        return number in self._damaged

    def is_sound(self, number: int, is_key: bool) -> bool:
        """Whether a picture is undamaged; call once per picture, in order.

        Args:
            number: of the picture's packet.
            is_key: it was encoded without reference to others.
        """
        before = [damaged for damaged in self._open if damaged <= number]
        if not before:
            return True
        if number in self._damaged or not self._is_over(before[-1], number, is_key):
            return False
        self._open = [damaged for damaged in self._open if damaged > number]
        return True

    def _is_over(self, damaged: int, number: int, is_key: bool) -> bool:
        if is_key or number - damaged >= LONGEST_DAMAGE_FRAMES:
            return True
        # With intra refresh by stripes, a full cycle lies between two entry points.
        entries = [entry for entry in self._entries if damaged < entry <= number]
        return len(entries) >= 2
