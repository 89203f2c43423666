"""Opens a source by its address; each kind of source has its own module."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgecrack.errors import ConfigError, SourceError
from edgecrack.runtime.handoff import TimedOut
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.newest import SourceReader
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.sources.reconnecting import ReconnectingSource, ReconnectPolicy
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.terminal.redaction import redact

_SCHEME = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_SCHEMES = ("rtsp", "rtsps", "http", "https", "gst", "csi")
_PATTERN = frozenset("*?[")
_KINDS = (
    "give a video file, a recording (.mcap), an image, a folder or pattern of images, camera:0, "
    "/dev/v4l/by-id/..., rtsp://..., http://..., csi://0, gst://... or demo"
)


def open_source(uri: str | os.PathLike[str], options: SourceOptions | None = None) -> Source:
    """Open a source by its address.

        >>> from edgecrack import open_source
        >>> with open_source("demo?frames=2") as source:
        ...     source.live, source.frame_count, source.read().hw
        (False, 2, (480, 640))

    Args:
        uri: one of

            - `camera:0`, `/dev/video0`, or `/dev/v4l/by-id/...` and `/dev/v4l/by-path/...`,
              which stay valid when a camera gets another number;
            - `csi://0`, a camera on a Jetson's CSI connector;
            - `gst://PIPELINE`, any GStreamer pipeline up to raw video;
            - `rtsp://`, `rtsps://`, `http://` or `https://` (MJPEG, or what FFmpeg plays);
            - a video file; a `.mcap` recording, also packed as `.mcap.zstd`, or the folder of a
              bag that holds one; an image; a folder of images (taken in natural order: 2 before
              10);
            - `demo`, a synthetic wall, also as `demo?frames=240&seed=7&live=1`.
        options: size, rate, flip and others; None takes the defaults.

    Raises:
        SourceError: the address is unknown, or the source cannot be opened. Nothing stays
            open, and the same address may be tried again.
        ConfigError: the source does not support one of the options.
        MissingDependencyError: a package that this source needs is not installed.
    """
    options = options or SourceOptions()
    address = os.fspath(uri).strip()
    if not address:
        raise SourceError("the source is empty", _KINDS)
    if "\0" in address:
        raise SourceError(f"{redact(address)!r} holds a NUL byte", _KINDS)
    if options.loop:
        from edgecrack.runtime.sources.wrapped import LoopedSource

        once = replace(options, loop=False)
        return LoopedSource(lambda: open_source(address, once))
    source = _open_one(address, options)
    if options.capture_delay_ms:
        source = _dated_back(source, options.capture_delay_ms)
    if options.flip == "none":
        return source
    from edgecrack.runtime.sources.wrapped import TurnedSource

    return TurnedSource(source, options.flip)


def _dated_back(source: Source, delay_ms: float) -> Source:
    from edgecrack.runtime.sources.wrapped import DelayedSource

    if source.live:
        return DelayedSource(source, delay_ms)
    source.close()
    raise ConfigError(f"{source.name} is a recording", "leave out `capture_delay_ms` for it")


def _open_one(address: str, options: SourceOptions) -> Source:
    """Open a source without its wrappers."""
    # Imported on use: a camera needs no FFmpeg, which takes time and memory.
    from edgecrack.runtime.sources.camera import is_camera, open_camera
    from edgecrack.runtime.sources.gstreamer import is_pipeline, open_pipeline

    if is_camera(address):
        _refuse_options(address, replace(_without_size(options), pixel_format=None))
        return open_camera(address, options)
    if is_pipeline(address):
        _refuse_options(address, _without_size(options))
        return open_pipeline(address, options)
    scheme = _SCHEME.match(address)
    if scheme and scheme["scheme"].lower() not in _SCHEMES:
        raise SourceError(f"{redact(address)} has the unknown scheme {scheme['scheme']}://", _KINDS)
    # Only a path can be a recording, which has topics.
    is_demo = address == "demo" or address.startswith("demo?")
    is_path = not scheme and not is_demo
    _refuse_options(address, replace(options, topic=None, track=None) if is_path else options)
    if scheme and scheme["scheme"].lower().startswith("http"):
        from edgecrack.runtime.sources.mjpeg import open_http

        return open_http(address, options.timeout_ms)
    if scheme:
        from edgecrack.runtime.sources.network_stream import open_stream

        return open_stream(address, options.timeout_ms)
    if is_demo:
        from edgecrack.runtime.sources.demo import open_demo

        return open_demo(address)
    if _PATTERN & set(address) and not Path(address).expanduser().exists():
        from edgecrack.runtime.sources.folder import ImagesSource

        _refuse_options(address, options)
        return ImagesSource.of_pattern(str(Path(address).expanduser()), options)
    return _open_path(readable_path(address, _KINDS), options)


def _open_path(path: Path, options: SourceOptions) -> Source:
    from edgecrack.images.decoding import IMAGE_SUFFIXES
    from edgecrack.mcap.locating import recording_at
    from edgecrack.runtime.sources.folder import ImagesSource

    if recording := recording_at(path):
        _refuse_options(str(path), replace(options, topic=None))
        from edgecrack.runtime.sources.mcap_recording import open_recording

        return open_recording(recording, options)
    is_image = path.suffix.lower() in IMAGE_SUFFIXES
    _refuse_options(
        str(path), options if path.is_dir() or is_image else replace(options, track=None)
    )
    if path.is_dir():
        return ImagesSource.of_folder(path, options)
    if is_image:
        return ImagesSource.of_image(path, options)
    from edgecrack.runtime.sources.video import open_video_file

    return open_video_file(path, options)


def _without_size(options: SourceOptions) -> SourceOptions:
    """The options without those that every camera and pipeline supports."""
    return replace(options, width=None, height=None, frame_rate_hz=None)


def _refuse_options(address: str, options: SourceOptions) -> None:
    """Refuse options that this source does not support."""
    name = redact(address)
    if asked := options.asks_of_camera:
        raise ConfigError(
            f"the {asked} of {name} cannot be chosen", "leave that option out for this source"
        )
    if options.topic is not None:
        raise ConfigError(f"{name} has no topics", "leave `topic` out, or give a .mcap recording")
    if options.track is not None:
        raise ConfigError(
            f"the track of {name} cannot be chosen", "leave `track` out, or give a video file"
        )


def readable_path(address: str, remedy: str) -> Path:
    """The file or folder at `address`; `~` and `~user` are expanded.

    Args:
        address: without NUL bytes.
        remedy: for a missing path.

    Raises:
        SourceError: it does not exist or may not be read.
    """
    try:
        path = Path(address).expanduser()
        exists = path.exists()
    except RuntimeError as error:
        user = address.split("/")[0]
        raise SourceError(f"cannot look up {address}: {user} has no home folder", remedy) from error
    except (OSError, ValueError) as error:  # e.g. a name that is too long
        reason = getattr(error, "strerror", None) or "it is not a valid name"
        raise SourceError(f"cannot look up {address}: {reason}", remedy) from error
    if not exists:
        if address.isdigit():
            remedy = f"for a camera give camera:{address}"
        raise SourceError(f"{address} does not exist", remedy)
    if not (path.is_file() or path.is_dir()):
        raise SourceError(f"{address} is neither a file nor a folder", remedy)
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise SourceError(f"{address} may not be read by this user", "change its permissions")
    return path


_LIVE = re.compile(r"^(camera:|/dev/|csi://|gst://|rtsps?://|https?://)", re.IGNORECASE)


def open_live_source(
    address: str,
    options: SourceOptions | None = None,
    policy: ReconnectPolicy | None = None,
    events: EventLog | None = None,
    open_: Callable[[], Source] | None = None,
    stop: threading.Event | None = None,
) -> Source:
    """Open a source by its address; a live one is opened again whenever it is lost.

    Args:
        address: as `open_source` takes it.
        options: as `open_source` takes them.
        policy: how long to wait; `wait_for_first` also waits for a source that does not exist yet.
        events: gets an event for each outage.
        open_: opens the source instead of `open_source`; for tests.
        stop: when it is set, the wait for a live source ends, and it is returned unopened.

    Raises:
        EdgecrackError: as `open_source`; also where a live source does not answer, unless the
            policy waits for it.
    """
    policy, events = policy or ReconnectPolicy(), events or EventLog()
    opening = open_ or (lambda: open_source(address, options))
    name = redact(address)
    if not _LIVE.match(address):
        return opening()
    first = SourceReader(opening, "source-0")
    try:
        source = first.wait_open(policy.open_timeout_s, stop or threading.Event(), time.monotonic)
    except TimedOut:
        first.leave()
        if not policy.wait_for_first and not (stop and stop.is_set()):
            raise SourceError(
                f"{name} did not answer within {policy.open_timeout_s:g} s",
                "check its cable, power and network, or give `wait` to keep trying",
            ) from None
    except SourceError:
        if not policy.wait_for_first:
            raise
    else:
        if not source.live:  # a recording that a web server delivers
            first.release()
            return source
        return ReconnectingSource(opening, source.name, policy, events, first)
    return ReconnectingSource(opening, name, policy, events)
