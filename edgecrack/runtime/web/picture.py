"""A result as the bytes that viewers get: for the page, and for players of MJPEG.

The page gets the frame and the probability map apart, and draws one over the other itself, so
that opacity and threshold act at once. Knows results only; must not know who watches.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.images.encodings import encode
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.metrics.counting import uint8_level
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.outputs.overlay import draw_caption, draw_overlay

WIDEST_PX = 1280
# Below this a heat map is dark anyway; without this noise the map takes half the bytes.
FAINTEST = 8
_SCALED_QUALITY = 80
_DARK_HW = (360, 640)
_HEADER_BYTES = 4
_FAINT_TO_ZERO = np.where(np.arange(256) < FAINTEST, 0, np.arange(256)).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class PagePicture:
    """One result for the page, the same bytes for all viewers but for the age.

    Attributes:
        header: what the page says of it, and the sizes that it needs to take `body` apart.
        body: the frame as JPEG; the probability map, of the same size, as zlib-compressed rows of
            uint8; and where a part is ignored, its mask of that size as zlib-compressed bits, the
            first pixel in the highest bit.
    """

    header: dict[str, Any]
    body: bytes = field(repr=False)

    def message(self, number: int, age_ms: float, stale_after_ms: float) -> bytes:
        """The message to one viewer: length of the header (uint32, big-endian), header, body.

        Args:
            number: what the viewer answers when it has shown the picture.
            age_ms: of the picture, now.
            stale_after_ms: age from which the viewer must not show it as live.
        """
        now = {"number": number, "age_ms": round(age_ms), "stale_after_ms": round(stale_after_ms)}
        header = json.dumps({**self.header, **now}, allow_nan=False).encode()
        return b"".join((len(header).to_bytes(_HEADER_BYTES, "big"), header, self.body))


def page_picture(result: FrameResult) -> PagePicture:
    """Encode a result for the page, at most 1280 px wide.

    The map goes as compressed bytes and not as a PNG: that takes half the time and no more
    bytes, and a browser need not read it back from a canvas, which some falsify on purpose.

    Raises:
        OutputError: it cannot be encoded.
    """
    frame = result.frame
    height, width = frame.hw
    probability = result.probability
    if width > WIDEST_PX:
        size = (WIDEST_PX, max(1, round(height * WIDEST_PX / width)))
        image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
        jpeg = encode(
            ".jpg", np.asarray(image, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, _SCALED_QUALITY]
        )
        probability = _shrunk(probability, size)
    else:
        jpeg = result.jpeg()
    faint_gone = np.ascontiguousarray(cv2.LUT(probability, _FAINT_TO_ZERO))
    # Runs are all that a map has to give; looking for longer matches takes time for nothing.
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    packed = packer.compress(faint_gone.data) + packer.flush()
    header = {
        **_facts(result),
        "width": probability.shape[1],
        "height": probability.shape[0],
        "jpeg_bytes": len(jpeg),
        "map_bytes": len(packed),
        "lines": [
            (line * (probability.shape[1] / width)).round(1).tolist()
            for line in result.centre_lines()
        ],
    }
    return PagePicture(header, jpeg + packed + _ignored_bits(result.ignored, probability.shape))


@lru_cache(maxsize=4)
def _ignored_bits(ignored: IgnoredPixels | None, hw: tuple[int, int]) -> bytes:
    """What is ignored for a page picture of this size; made once and kept."""
    if ignored is None:
        return b""
    mask = cv2.resize(ignored.mask.view(np.uint8), hw[::-1], interpolation=cv2.INTER_NEAREST)
    return zlib.compress(np.packbits(np.asarray(mask, np.uint8)).tobytes())


def _facts(result: FrameResult) -> dict[str, Any]:
    frame = result.frame
    return {
        "frame": frame.index,
        "name": frame.name,
        "live": frame.live,
        "time_ms": frame.stamp_ns // 1_000_000,
        "media_time_ms": frame.media_time_ms,
        "capture_time_ns": frame.capture_time_ns,
        "threshold": result.threshold,
        "level": uint8_level(result.threshold),
        "crack_pixels": result.crack_pixels,
        "regions": len(result.regions),
        "latency_ms": round(result.latency_ms, 1),
        "inspected_ratio": round(result.inspected_ratio, 3),
        "ignored_ratio": round(result.ignored_ratio, 4),
        "missed_ratio": round(result.missed_ratio, 4),
    }


def _shrunk(probability: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The map in a smaller size that keeps each peak: averages would let a hairline crack fade."""
    reach = -(-probability.shape[1] // size[0])
    peaks = cv2.dilate(probability, np.ones((reach, reach), np.uint8))
    return np.asarray(cv2.resize(peaks, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def overlay_jpeg(result: FrameResult) -> bytes:
    """The composed picture for players of MJPEG, at most 1280 px wide.

    Raises:
        OutputError: it cannot be encoded.
    """
    return encode(".jpg", _fitted(draw_overlay(result)), [cv2.IMWRITE_JPEG_QUALITY, 85])


def stale_jpeg(result: FrameResult | None, age_ms: float | None) -> bytes:
    """The last picture, gray and with its age across it, so that nobody takes it for live.

    Args:
        result: None where there is none that may be shown: the picture is dark then.
        age_ms: of it.

    Raises:
        OutputError: it cannot be encoded.
    """
    if result is None or age_ms is None:
        empty = np.full((*_DARK_HW, 3), 24, np.uint8)
        draw_caption(empty, "NO PICTURE")
        return encode(".jpg", empty)
    gray = cv2.cvtColor(_fitted(result.frame.image), cv2.COLOR_BGR2GRAY)
    dark = cv2.cvtColor(cv2.convertScaleAbs(gray, alpha=0.5), cv2.COLOR_GRAY2BGR)
    image = np.asarray(dark, np.uint8)
    draw_caption(image, f"NO PICTURE for {age_ms / 1000:.0f} s - this is the last one")
    return encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])


def _fitted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if width <= WIDEST_PX:
        return image
    size = (WIDEST_PX, max(1, round(height * WIDEST_PX / width)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
