"""Where frames come from: one small interface and the function that opens it by address.

Each kind of source has its own module; this one only decides which. A source delivers
frames and says what it knows of itself; it does not drop, resize or preprocess.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edgecrack.errors import SourceError
from edgecrack.runtime.frame import Frame
from edgecrack.runtime.redact import redact
from edgecrack.runtime.sources.options import SourceOptions

_SCHEME = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_NETWORK_SCHEMES = ("rtsp", "rtsps", "http", "https")
_KINDS = "give a video file, an image, a folder of images, rtsp://..., http://..., camera:0 or demo"


class Source(Protocol):
    """Delivers frames one by one.

    Attributes:
        live: frames that are not taken in time are gone: a camera or a network stream. Such
            a source never ends by itself; when it stops, `read` raises.
        name: what to call it in messages and results; never holds credentials.
        frame_rate_hz: frames per second of the recording or camera, None if unknown.
        frame_count: frames in the recording or folder, None if unknown or endless.
        corrupt_frames: frames so far that arrived damaged and were left out.
    """

    @property
    def live(self) -> bool:
        """Whether frames that are not taken in time are gone."""
        ...

    @property
    def name(self) -> str:
        """The source's name, without credentials."""
        ...

    @property
    def frame_rate_hz(self) -> float | None:
        """Frames per second, None if unknown."""
        ...

    @property
    def frame_count(self) -> int | None:
        """Number of frames, None if unknown."""
        ...

    @property
    def corrupt_frames(self) -> int:
        """Frames so far that arrived damaged and were left out."""
        ...

    def read(self) -> Frame | None:
        """The next frame, or None at the end of a recording.

        Waits no longer than the options' timeout.

        Raises:
            SourceError: the frame cannot be read, or a live source stopped.
        """
        ...

    def close(self) -> None:
        """Let go of the device or file. May be called twice and from another thread."""
        ...

    def __enter__(self) -> Source:
        """The source itself; leaving the block closes it."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        ...


def open_source(uri: str | os.PathLike[str], options: SourceOptions | None = None) -> Source:
    """Open a source by its address.

    Args:
        uri: a video file; an image; a folder of images (taken in natural order: 2 before 10);
            `rtsp://`, `rtsps://`, `http://` or `https://` (MJPEG streams and recordings);
            `camera:0` or `/dev/video0`; `demo`, a synthetic wall, also as
            `demo?frames=240&seed=7&live=1`.
        options: size, rate, flip and the like; None takes the defaults.

    Raises:
        SourceError: the address is of no known kind, or the source cannot be opened. Nothing
            stays open, and the same address may be tried again.
    """
    # Imported here: each of these needs cv2, which `import edgecrack` must not load.
    from edgecrack.images import IMAGE_SUFFIXES
    from edgecrack.runtime.sources.camera import open_camera
    from edgecrack.runtime.sources.demo import open_demo
    from edgecrack.runtime.sources.folder import ImagesSource
    from edgecrack.runtime.sources.video import open_stream, open_video_file

    options = options or SourceOptions()
    timeout_ms = options.timeout_ms
    address = os.fspath(uri).strip()
    if not address:
        raise SourceError("the source is empty", _KINDS)
    if scheme := _SCHEME.match(address):
        if scheme["scheme"].lower() not in _NETWORK_SCHEMES:
            raise SourceError(
                f"{redact(address)} has the unknown scheme {scheme['scheme']}://", _KINDS
            )
        return open_stream(address, timeout_ms)
    if address == "demo" or address.startswith("demo?"):
        return open_demo(address)
    if address.startswith(("camera:", "/dev/video")):
        return open_camera(address, timeout_ms)
    path = Path(address).expanduser()
    _check_readable(path, address)
    if path.is_dir():
        return ImagesSource.of_folder(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImagesSource.of_image(path)
    return open_video_file(path)


def _check_readable(path: Path, address: str) -> None:
    try:
        exists = path.exists()
    except OSError as error:  # e.g. a name that is too long
        raise SourceError(f"cannot look up {address}: {error.strerror}", _KINDS) from error
    if not exists:
        remedy = f"for a camera give camera:{address}" if address.isdigit() else _KINDS
        raise SourceError(f"{address} does not exist", remedy)
    if not (path.is_file() or path.is_dir()):
        raise SourceError(f"{address} is neither a file nor a folder", _KINDS)
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise SourceError(f"{address} may not be read by this user", "change its permissions")
