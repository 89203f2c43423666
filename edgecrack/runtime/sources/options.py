"""Settings of a source besides its address."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Predicate
from pydantic import Field

from edgecrack.errors import ConfigError
from edgecrack.images.kinds import DEFAULT_MEGAPIXELS
from edgecrack.settings import settings

DEFAULT_TIMEOUT_MS = 5_000

Flip = Literal["none", "horizontal", "vertical", "both"]
_Side = Annotated[int, Field(ge=16, le=16_384)]
# Highest plausible frame rate of a camera.
MAX_FRAME_RATE_HZ = 1000.0
# A live source that was not read for so long has old frames in its buffers.
STALE_AFTER_S = 0.2


@settings()
class SourceOptions:
    """Settings of a source.

    Attributes:
        width: columns requested from a camera or GStreamer pipeline; None keeps its own.
        height: rows requested; given together with `width`.
        frame_rate_hz: frame rate requested.
        pixel_format: four characters as Video4Linux names them: MJPG, YUYV, NV12.
        flip: "horizontal" mirrors left and right, "vertical" top and bottom, "both" rotates by
            180 degrees, for a camera mounted upside down. Applies to every source.
        loop: start again at the end of a file or folder.
        timeout_ms: longest wait for a camera or network stream to open, and then for each frame.
        topic: image topic of a recording; None for its only one.
        track: video track of a file, from 0; None for the default one.
        capture_delay_ms: how long before its arrival a live source's picture was taken; for
            sources whose pictures carry no time stamp.
        max_megapixels: a larger image file is refused.
        keeps_location: whether results say where a photo was taken.
    """

    width: _Side | None = None
    height: _Side | None = None
    frame_rate_hz: Annotated[float, Field(gt=0, le=MAX_FRAME_RATE_HZ)] | None = None
    pixel_format: (
        Annotated[
            str,
            Predicate(lambda code: len(code) == 4 and code.isascii() and code.isprintable()),
            Field(description="four characters such as MJPG or YUYV"),
        ]
        | None
    ) = None
    flip: Flip = "none"
    loop: bool = False
    timeout_ms: Annotated[int, Field(ge=1, le=600_000)] = DEFAULT_TIMEOUT_MS
    topic: str | None = None
    track: Annotated[int, Field(ge=0, le=999)] | None = None
    capture_delay_ms: Annotated[float, Field(ge=0, le=60_000)] = 0.0
    max_megapixels: Annotated[float, Field(gt=0, le=10_000)] = DEFAULT_MEGAPIXELS
    keeps_location: bool = True

    def __post_init__(self) -> None:
        if (self.width is None) != (self.height is None):
            given = "width" if self.height is None else "height"
            raise ConfigError(f"only `{given}` is given", "give `width` and `height`")

    @property
    def asks_of_camera(self) -> str | None:
        """The first setting given that only a camera or pipeline supports, or None."""
        for name in ("width", "frame_rate_hz", "pixel_format"):
            if getattr(self, name) is not None:
                return {"frame_rate_hz": "frame rate", "pixel_format": "pixel format"}.get(
                    name, "size"
                )
        return None
