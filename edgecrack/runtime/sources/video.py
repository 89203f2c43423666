"""Video files: every undamaged frame, upright and with its own time; detects truncated files."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from av.container import InputContainer
from av.error import FFmpegError

from edgecrack.errors import SourceError
from edgecrack.images.photo_facts import ns_since_1970
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.sources.base import InterruptibleSource, SourceStatus
from edgecrack.runtime.sources.decoder import Decoder, Picture
from edgecrack.runtime.sources.ffmpeg import FFmpegMessage, file_address, open_input, reason_of
from edgecrack.runtime.sources.options import SourceOptions

# A file may refer to other files only, so that a playlist cannot open network addresses.
_FILE_OPTIONS = {"protocol_whitelist": "file,crypto,data"}
_MOMENT = re.compile(
    r"(?P<moment>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?P<fraction>\.\d{1,9})?\s*"
    r"(?:Z|UTC|(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d))?"
)
_TS_BYTES = 188
# Clocks that were never set begin here or at zero.
_EARLIEST = datetime(2000, 1, 2, tzinfo=timezone.utc)


class VideoSource(InterruptibleSource):
    """Frames of an opened container that has an end.

    Args:
        container: opened; the source owns it from now on.
        said: FFmpeg messages during opening.
        name: without credentials.
        track: which of several video tracks, from 0; None takes the default one.
        lacks_bytes: the file is shorter than its header says.

    Attributes:
        note: which of several tracks is read; else None.
        size_changes: number of frame size changes so far.

    Raises:
        SourceError: the track does not exist, or the first frame cannot be decoded. The
            container is closed.
    """

    live = False

    def __init__(
        self,
        container: InputContainer,
        said: list[FFmpegMessage],
        name: str,
        track: int | None = None,
        *,
        lacks_bytes: bool = False,
    ) -> None:
        super().__init__(name)
        self._lacks_bytes = lacks_bytes
        self._container = container
        self._delivered = self.size_changes = 0
        self._hw: tuple[int, int] | None = None
        try:
            self._decoder = Decoder(container, said, name, track)
        except BaseException:
            container.close()
            raise
        self.note = self._decoder.note
        self.frame_rate_hz = self._decoder.frame_rate_hz
        self.frame_count = self._decoder.frame_count
        self._began_ns = _began_ns(container.metadata)
        # Read one frame now, to refuse a video that cannot be decoded.
        try:
            self._first = self._decoder.next()
            if self._first is None:
                raise self._undecodable()
        except BaseException:
            self.close()
            raise

    @property
    def corrupt_frames(self) -> int:
        """Damaged frames skipped so far."""
        return self._decoder.corrupt_frames

    @property
    def status(self) -> SourceStatus:
        """Counters and notes beyond the frames."""
        return SourceStatus(
            size_changes=self.size_changes,
            counts_exactly=self._decoder.counts_exactly,
            is_cut_short=self._lacks_bytes or self._decoder.is_cut_short,
            note=self.note,
        )

    def read(self) -> Frame | None:
        """The next undamaged frame, or None at the end.

        Raises:
            SourceError: a frame cannot be converted, or a file over the network stopped.
        """
        try:
            with self._reading():
                if self._closed:
                    return None
                picture, self._first = self._first, None
                return self._frame(picture or self._decoder.next())
        except FFmpegError as error:
            raise SourceError(
                f"{self.name} fails to decode: {reason_of(error)}",
                "check that it plays in a video player",
            ) from error

    def _interrupt(self) -> None:
        self._decoder.stopped = True

    def _release(self) -> None:
        self._container.close()

    def _frame(self, picture: Picture | None) -> Frame | None:
        if picture is None:
            return None
        index = self._delivered
        image = picture.image()
        self._delivered += 1
        hw = (image.shape[0], image.shape[1])
        self.size_changes += self._hw is not None and hw != self._hw
        self._hw = hw
        taken_ns = None
        if self._began_ns is not None and picture.time_s is not None:
            taken_ns = self._began_ns + round(picture.time_s * 1e9)
        return Frame(
            image=image,
            index=index,
            capture_time_ns=taken_ns,
            source=self.name,
            name=f"{index:06d}",
            media_time_ms=None if picture.time_s is None else picture.time_s * 1000,
            monotonic_ns=time.monotonic_ns(),
            read_time_ns=time.time_ns(),
            time_source="unknown" if taken_ns is None else "recording",
            # Containers keep whole seconds.
            time_uncertainty_ms=None if taken_ns is None else 1000.0,
        )

    def _undecodable(self) -> SourceError:
        if self._decoder.failure is not None:
            problem = f"{self.name} cannot be read: {reason_of(self._decoder.failure)}"
        else:
            problem = f"{self.name} opens, but no frame in it can be decoded"
        return SourceError(
            problem,
            "check that it plays in a video player; it may be damaged, encrypted or of an "
            "unknown codec",
        )


def _began_ns(metadata: Mapping[str, str]) -> int | None:
    """When a recording began by its metadata, in ns since 1970, or None."""
    latest = datetime.now(timezone.utc) + timedelta(days=1)
    for key in ("com.apple.quicktime.creationdate", "creation_time"):
        moment = _moment(metadata.get(key, ""))
        if moment is not None and _EARLIEST < moment < latest:
            return ns_since_1970(moment)
    return None


def _moment(text: str) -> datetime | None:
    """A container's timestamp, UTC by default; None if it is not one."""
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes = int(match["hours"] or 0), int(match["minutes"] or 0)
    offset = timedelta(hours=hours, minutes=minutes)
    try:
        moment = datetime.strptime(match["moment"].replace("T", " "), "%Y-%m-%d %H:%M:%S")
        moment += timedelta(seconds=float(f"0{match['fraction'] or '.0'}"))
        zone = timezone(-offset if match["sign"] == "-" else offset)
    except ValueError:
        return None
    return moment.replace(tzinfo=zone)


def open_video_file(path: Path, options: SourceOptions | None = None) -> VideoSource:
    """Open a video file; rotation stored in the file is applied.

    Args:
        path: of any name.
        options: `track` chooses one of several video tracks.

    Raises:
        SourceError: the file is not a video, or its first frame is damaged.
    """
    track = None if options is None else options.track
    address = file_address(str(path))
    try:
        container, said = open_input(address, _FILE_OPTIONS)
        if _needs_patience(container):
            container.close()
            container, said = open_input(address, _FILE_OPTIONS, patient=True)
    except FFmpegError as error:
        if other := _page_or_nothing(path):
            raise SourceError(f"{path} {other}", "give the video itself") from error
        raise SourceError(
            f"{path} is not a video that can be opened: {reason_of(error)}",
            "check that it plays in a video player; an interrupted recording lacks its index",
        ) from error
    return VideoSource(container, said, str(path), track, lacks_bytes=_lacks_bytes(path))


def _lacks_bytes(path: Path) -> bool:
    """Whether a file is truncated in a way that FFmpeg does not report.

    That is, an AVI shorter than its header says, or a transport stream that ends within a packet.
    """
    try:
        with path.open("rb") as file:
            head = file.read(3 * _TS_BYTES)
            size = file.seek(0, 2)
    except OSError:  # it was removed meanwhile
        return False
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return size < int.from_bytes(head[4:8], "little") + 8
    is_ts = len(head) == 3 * _TS_BYTES and all(head[place] == 0x47 for place in (0, 188, 376))
    return is_ts and size % _TS_BYTES != 0


def _page_or_nothing(path: Path) -> str | None:
    """What a non-video file is, by its first bytes."""
    try:
        with path.open("rb") as file:
            begin = file.read(512)
    except OSError:
        return None
    if not begin:
        return "is empty"
    is_page = begin.lstrip().lower().startswith((b"<!doctype html", b"<html"))
    return "is a web page, not a video" if is_page else None


def _needs_patience(container: InputContainer) -> bool:
    """Whether the beginning did not show the video track."""
    videos = container.streams.video
    return not videos or any(
        one.codec_context is not None and one.codec_context.width == 0 for one in videos
    )
