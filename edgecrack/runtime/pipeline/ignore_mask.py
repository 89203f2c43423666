"""A user's ignore mask, where nothing is inspected: a black and white picture, or polygons.

It is drawn for frames of one size, as shown, and is scaled to other sizes of the same shape.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.images.decoding import UnreadableImageError, decode_image
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.images.nodata import masked_pixels
from edgecrack.outside_text import OutsideTextError, parse_json
from edgecrack.runtime.frame import Frame

SCHEMA_VERSION = 1
MOST_PIXELS = 2**28
_DARK = 127
# Sizes whose ratio of sides differs by no more than this have one shape; cameras round sides.
_SHAPE_TOLERANCE = 0.01
# A photo has many levels of gray, a mask hardly any except along its edges.
_GRAY = (64, 192)
_MOST_GRAY = 0.1
_MOST_GRAY_LEVELS = 32
_REDRAW = "draw one for that shape"
_FORM = (
    'give {"schema_version": 1, "width": W, "height": H, "polygons": [[[x, y], ...], ...]} '
    "in pixels of a frame of that size"
)

Point = tuple[float, float]
Polygon = tuple[Point, ...]


class IgnoreMask:
    """The pixels to ignore, for frames of one shape and any size.

        mask = read_ignore_mask(Path("arm.png"))
        ignored = mask.at((480, 640))    # IgnoredPixels, or None where the mask is empty

    Args:
        name: for messages.
        frame_hw: height and width of the frames that it was drawn for.
        drawn: bool [H, W] of that size, True where a frame is ignored; or polygons, whose points
            are x from 0 at the left edge of the frame to its width, and y from 0 at its top to its
            height. A pixel is ignored if its centre is in a polygon.

    Raises:
        ConfigError: nothing would be left to inspect.
    """

    def __init__(
        self, name: str, frame_hw: tuple[int, int], drawn: NDArray[np.bool_] | Sequence[Polygon]
    ) -> None:
        self.name, self.frame_hw = name, frame_hw
        self._drawn = drawn
        self.is_empty = self.at(frame_hw) is None

    @property
    def emptiness(self) -> str:
        """The warning for an empty mask, as a sentence without a full stop."""
        return (
            f"the ignore mask {self.name} ignores nothing: it has no pixel above {_DARK}, or no "
            "polygon with an area"
        )

    @property
    def sha256(self) -> str:
        """Hash of the drawing, which identifies a mask."""
        drawn = self._drawn
        content = drawn.tobytes() if isinstance(drawn, np.ndarray) else repr(drawn).encode()
        return hashlib.sha256(repr(self.frame_hw).encode() + content).hexdigest()

    def fits(self, frame_hw: tuple[int, int]) -> bool:
        """Whether frames of a size have the mask's shape, within one percent."""
        height, width = self.frame_hw
        ratio = (frame_hw[1] * height) / (frame_hw[0] * width)
        return abs(ratio - 1) <= _SHAPE_TOLERANCE

    def at(self, frame_hw: tuple[int, int]) -> IgnoredPixels | None:
        """The pixels ignored in frames of a size; None for none. Cached for each size.

        Raises:
            ConfigError: the frames have another shape, or nothing would be left to inspect.
        """
        if not self.fits(frame_hw):
            raise ConfigError(self._misfit("frames", frame_hw), _REDRAW)
        return _pixels(self, frame_hw)

    def of(self, frame: Frame) -> IgnoredPixels | None:
        """Like `at`, for a frame, which the error names."""
        if not self.fits(frame.hw):
            raise ConfigError(self.misfit(frame), _REDRAW)
        return _pixels(self, frame.hw)

    def misfit(self, frame: Frame) -> str:
        """Why it cannot be used for a frame, as the first half of a sentence."""
        return self._misfit(f"frame {frame.name}", frame.hw)

    def _misfit(self, what: str, frame_hw: tuple[int, int]) -> str:
        return (
            f"the ignore mask {self.name} is for frames of {_size(self.frame_hw)} px and cannot "
            f"be fitted to {what} of {_size(frame_hw)} px, for the shapes differ"
        )

    def drawn_at(self, frame_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """Like `at`, without checking the shape: bool [H, W]."""
        if not isinstance(self._drawn, np.ndarray):
            scale_xy = frame_hw[1] / self.frame_hw[1], frame_hw[0] / self.frame_hw[0]
            mask = np.zeros(frame_hw, dtype=np.bool_)
            for polygon in self._drawn:
                mask |= inside(np.asarray(polygon, dtype=np.float64) * scale_xy, frame_hw)
            return mask
        if frame_hw == self.frame_hw:
            return self._drawn
        shrinks = frame_hw[0] < self.frame_hw[0]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST_EXACT
        white = self._drawn.astype(np.uint8) * 255
        resized = cv2.resize(white, frame_hw[::-1], interpolation=method)
        return np.asarray(np.asarray(resized) > _DARK)


class Ignoring:
    """Applies an ignore mask to the frames of a stream, which may change their size.

    A frame of another shape than the mask's is an error. But if a live source changes its shape
    after the first frame, the stream goes on, and nothing is ignored until the shape fits again, so
    that nothing is left out that should be inspected.

    Args:
        mask: None ignores nothing.
        tell: called with a kind of event, a sentence and a level: when the mask is empty, and when
            the shape of a live source changes.
    """

    def __init__(self, mask: IgnoreMask | None, tell: Callable[[str, str, Any], object]) -> None:
        self._mask, self._tell = mask, tell
        self._fitted: bool | None = None
        if mask is not None and mask.is_empty:
            tell("ignore.empty", mask.emptiness, "warning")

    def of(self, frame: Frame) -> IgnoredPixels | None:
        """The pixels ignored in the next frame; None for none.

        Raises:
            ConfigError: the mask does not fit the frame.
        """
        if self._mask is None:
            return None
        fits = self._mask.fits(frame.hw)
        if fits and self._fitted is False:
            self._tell("ignore.fits", f"the ignore mask {self._mask.name} fits again", "info")
        elif not fits and self._fitted and frame.live:
            sentence = f"{self._mask.misfit(frame)}; until it fits again, nothing is ignored"
            self._tell("ignore.misfit", sentence, "warning")
        elif not fits and (self._fitted is None or not frame.live):
            self._mask.of(frame)  # which raises
        self._fitted = fits
        return self._mask.of(frame) if fits else None


def read_ignore_mask(path: Path) -> IgnoreMask:
    """Read an ignore mask: polygons from `*.json`, an image from any other file.

    In an image, pixels brighter than 127 are ignored; transparent ones are not.

    Raises:
        ConfigError: the file cannot be read or contains neither; everything would be ignored; or
            the image is a photo.
    """
    try:
        if not path.is_file():
            problem = "is not a file" if path.exists() else "does not exist"
            raise ConfigError(f"the ignore mask {path} {problem}", "check the path")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the ignore mask {path} cannot be read: {error.strerror}",
            "give a file that this user may read",
        ) from error
    if path.suffix.lower() == ".json":
        return _of_json(data, path)
    return _of_image(data, path)


def inside(polygon: NDArray[np.float64], frame_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels of a frame whose centres are in a polygon, bool [H, W].

    Where the polygon crosses itself, parts that it encloses twice are outside.

    Args:
        polygon: float64 [N, 2], points (x, y); the centre of the first pixel is (0.5, 0.5).
        frame_hw: height and width.
    """
    result = np.zeros(frame_hw, dtype=np.bool_)
    x, y = polygon[:, 0], polygon[:, 1]
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    first = max(0, int(np.ceil(y.min() - 0.5)))
    last = min(frame_hw[0], int(np.ceil(y.max() - 0.5)))
    for row in range(first, last):
        centre = row + 0.5
        crosses = (y <= centre) != (next_y <= centre)
        share = (centre - y[crosses]) / (next_y - y)[crosses]
        edges = np.sort(x[crosses] + share * (next_x - x)[crosses])
        columns = np.clip(np.ceil(edges - 0.5), 0, frame_hw[1]).astype(np.intp)
        for left, right in zip(columns[::2], columns[1::2], strict=True):
            result[row, left:right] = True
    return result


@lru_cache(maxsize=8)
def _pixels(mask: IgnoreMask, frame_hw: tuple[int, int]) -> IgnoredPixels | None:
    found = mask.drawn_at(frame_hw)
    if found.all():
        raise ConfigError(
            f"the ignore mask {mask.name} ignores frames of {_size(frame_hw)} px wholly, so "
            "nothing is left to inspect",
            "leave dark what is to be inspected, or give smaller polygons",
        )
    return IgnoredPixels(found) if found.any() else None


def _of_image(data: bytes, path: Path) -> IgnoreMask:
    try:
        picture = decode_image(data)
    except UnreadableImageError as error:
        raise ConfigError(
            f"the ignore mask {path} {error}",
            "give an image, white where nothing is to be inspected, or polygons as *.json",
        ) from error
    gray = np.asarray(cv2.cvtColor(np.asarray(picture), cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    between = gray[(gray >= _GRAY[0]) & (gray < _GRAY[1])]
    if len(between) > _MOST_GRAY * gray.size and len(np.unique(between)) > _MOST_GRAY_LEVELS:
        raise ConfigError(
            f"the ignore mask {path} is a photo: {len(between) / gray.size:.0%} of its pixels are "
            "neither dark nor bright",
            "paint white what is to be ignored and all else black",
        )
    ignored = gray > _DARK
    if (transparent := masked_pixels(picture)) is not None:
        ignored &= ~transparent
    height, width = ignored.shape
    return IgnoreMask(str(path), (height, width), ignored)


def _of_json(data: bytes, path: Path) -> IgnoreMask:
    try:
        frame_hw, polygons = _parsed(parse_json(data))
    except _FormError as error:
        raise ConfigError(f"in the ignore mask {path}, {error}", error.remedy) from error
    except OutsideTextError as error:
        raise ConfigError(f"the ignore mask {path} cannot be read: {error}", _FORM) from error
    except ValueError as error:
        raise ConfigError(f"the ignore mask {path} is no JSON of that form", _FORM) from error
    return IgnoreMask(str(path), frame_hw, polygons)


class _FormError(ValueError):
    """What in a document is not as it should be."""

    def __init__(self, problem: str, remedy: str = _FORM) -> None:
        super().__init__(problem)
        self.remedy = remedy


def _parsed(document: object) -> tuple[tuple[int, int], list[Polygon]]:
    """Size and polygons of a document.

    Raises:
        _FormError: it has another form.
    """
    fields = ("schema_version", "width", "height", "polygons")
    if not isinstance(document, dict):
        raise _FormError("there is no object at the top")
    version = document.get("schema_version")
    if version is not None and (type(version) is not int or version != SCHEMA_VERSION):
        raise _FormError(
            f"schema_version is {_short(version)}",
            f"give {SCHEMA_VERSION}, or upgrade edgecrack for newer ones",
        )
    for name in fields:
        if name not in document:
            raise _FormError(f"{name!r} is missing")
    # What is not understood may say where nothing is to be ignored.
    for name in document:
        if name not in fields:
            raise _FormError(f"the field {_short(name)} is unknown", "leave it out")
    height, width = (_side(name, document[name]) for name in ("height", "width"))
    if height * width > MOST_PIXELS:
        raise _FormError(f"the frame is {width}x{height} px", "give the size of your frames")
    given = document["polygons"]
    if not isinstance(given, list):
        raise _FormError(f"polygons is {_short(given)}")
    return (height, width), [
        _polygon(polygon, number, (height, width)) for number, polygon in enumerate(given, 1)
    ]


def _side(name: str, value: object) -> int:
    if type(value) is not int or value < 1:
        raise _FormError(f"{name} is {_short(value)}", "give a whole number of pixels above 0")
    return value


def _polygon(points: object, number: int, frame_hw: tuple[int, int]) -> Polygon:
    if not isinstance(points, list):
        raise _FormError(f"polygon {number} is {_short(points)}")
    if len(points) < 3:
        raise _FormError(f"polygon {number} has {len(points)} points", "give at least 3")
    return tuple(_point(point, number, frame_hw) for point in points)


def _point(point: object, number: int, frame_hw: tuple[int, int]) -> Point:
    is_pair = isinstance(point, list) and len(point) == 2
    if not is_pair or any(type(value) not in (int, float) for value in _items(point)):
        raise _FormError(f"polygon {number} has the point {_short(point)}", "give [x, y] in pixels")
    x, y = _items(point)
    height, width = frame_hw
    if not (0 <= x <= width and 0 <= y <= height):  # nor is NaN
        raise _FormError(
            f"polygon {number} has the point {_short(point)} outside of the frame",
            f"give x from 0 to {width} and y from 0 to {height}, or mend width and height",
        )
    return float(x), float(y)


def _items(point: object) -> list[Any]:
    return point if isinstance(point, list) else []


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _size(hw: tuple[int, int]) -> str:
    return f"{hw[1]}x{hw[0]}"
