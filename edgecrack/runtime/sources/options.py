"""What a person chooses about a source besides its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edgecrack.errors import ConfigError
from edgecrack.images.kinds import DEFAULT_MEGAPIXELS

DEFAULT_TIMEOUT_MS = 5_000

Flip = Literal["none", "horizontal", "vertical", "both"]
FLIPS: tuple[Flip, ...] = get_args(Flip)

_LIMITS_PX = (16, 16_384)
_LAST_TRACK = 999
_MOST_MEGAPIXELS = 10_000
_LONGEST_DELAY_MS = 60_000
# What all sources take for possible of a camera.
MAX_FRAME_RATE_HZ = 1000.0
# A live source that nobody read for so long has old frames waiting in its buffers.
STALE_AFTER_S = 0.2


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Settings of a source.

    Attributes:
        width: columns asked of a camera or GStreamer pipeline; None takes its own.
        height: rows asked of it; given together with `width`.
        frame_rate_hz: frames per second asked of it.
        pixel_format: four characters as Video4Linux names them: MJPG, YUYV, NV12.
        flip: "horizontal" mirrors left and right, "vertical" top and bottom, "both" turns by
            180 degrees, for a camera that hangs upside down. Applies to every source.
        loop: begin again at the end of a file or folder.
        timeout_ms: longest wait for a camera or network stream to open, and then for each frame.
        topic: image topic of a recording; None takes its only one.
        track: which of several video tracks of a file, from 0; None takes the default one.
        capture_delay_ms: how long before its arrival here a live source's picture was taken;
            for sources whose pictures carry no time of their own.
        max_megapixels: a larger image file is refused.
        keeps_location: whether results say where a photo was taken.
    """

    width: int | None = None
    height: int | None = None
    frame_rate_hz: float | None = None
    pixel_format: str | None = None
    flip: Flip = "none"
    loop: bool = False
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    topic: str | None = None
    track: int | None = None
    capture_delay_ms: float = 0.0
    max_megapixels: float = DEFAULT_MEGAPIXELS
    keeps_location: bool = True

    def __post_init__(self) -> None:
        """Refuse what no source can have."""
        if (self.width is None) != (self.height is None):
            given = "width" if self.height is None else "height"
            raise ConfigError(
                f"only the {given} of the frames is given", "give `width` and `height`"
            )
        for name, value in (("width", self.width), ("height", self.height)):
            if value is not None and not _LIMITS_PX[0] <= value <= _LIMITS_PX[1]:
                raise ConfigError(
                    f"the frames' {name} is {value}", f"give {_LIMITS_PX[0]} to {_LIMITS_PX[1]} px"
                )
        rate_hz = self.frame_rate_hz
        if rate_hz is not None and not 0 < rate_hz <= MAX_FRAME_RATE_HZ:
            raise ConfigError(
                f"the frame rate is {rate_hz}", "give a rate above 0, at most 1000 Hz"
            )
        code = self.pixel_format
        if code is not None and not (len(code) == 4 and code.isascii() and code.isprintable()):
            raise ConfigError(
                f"the pixel format is {code!r}", "give four characters such as MJPG or YUYV"
            )
        if self.flip not in FLIPS:
            raise ConfigError(f"flip is {self.flip!r}", f"give one of {', '.join(FLIPS)}")
        if not 1 <= self.timeout_ms <= 600_000:
            raise ConfigError(f"the timeout is {self.timeout_ms} ms", "give 1 to 600000 ms")
        if not 0 < self.max_megapixels <= _MOST_MEGAPIXELS:
            raise ConfigError(
                f"the largest picture is {self.max_megapixels:g} megapixels",
                f"give a number above 0, at most {_MOST_MEGAPIXELS}",
            )
        if self.track is not None and not 0 <= self.track <= _LAST_TRACK:
            raise ConfigError(f"the track is {self.track}", "count video tracks from 0")
        if not 0 <= self.capture_delay_ms <= _LONGEST_DELAY_MS:
            raise ConfigError(
                f"the capture delay is {self.capture_delay_ms:g} ms",
                f"give 0 to {_LONGEST_DELAY_MS} ms",
            )

    @property
    def asks_of_camera(self) -> str | None:
        """The first setting given that only a camera or pipeline can follow, or None."""
        for name in ("width", "frame_rate_hz", "pixel_format"):
            if getattr(self, name) is not None:
                return {"frame_rate_hz": "frame rate", "pixel_format": "pixel format"}.get(
                    name, "size"
                )
        return None
