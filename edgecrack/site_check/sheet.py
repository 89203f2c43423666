"""The check sheet: an A4 page with rough cracks of known width, in millimetres.

x points right and y down from the upper left corner of the page. A print may be years older than
the program that reads it, so the cracks of a version never change: they are made from raw random
bits, which NumPy keeps stable, not from its distributions, which may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.scale.markers import SHEET_NUMBERS, SHEET_SIDE_MM

Points = NDArray[np.float64]

VERSION = 1
PAGE_MM = (210.0, 297.0)
MARGIN_MM = 12.0  # printers leave margins of up to 6 mm
MARKER_FAMILY = "aruco-4x4"
MARKER_SIDE_MM = SHEET_SIDE_MM
# The marker numbers encode the sheet version. They are the last of the dictionary 4X4_50, because
# users number their own markers from the first.
MARKER_NUMBERS: Mapping[int, tuple[int, ...]] = {1: tuple(SHEET_NUMBERS)}
BAR_MM = 100.0
_RUNNING_ACROSS_MM = (0.1, 0.2, 0.4, 0.7, 1.5)
_RUNNING_DOWN_MM = (0.15, 0.3, 0.5, 1.0, 2.0)
WIDTHS_MM = tuple(sorted((*_RUNNING_ACROSS_MM, *_RUNNING_DOWN_MM)))

_MARKER_X_MM = (MARGIN_MM, PAGE_MM[0] - MARGIN_MM - MARKER_SIDE_MM)
_MARKER_Y_MM = (
    MARGIN_MM,
    (PAGE_MM[1] - MARKER_SIDE_MM) / 2,
    PAGE_MM[1] - MARGIN_MM - MARKER_SIDE_MM,
)
_BETWEEN_X_MM = 105.0
_BAR_LEFT_MM = (PAGE_MM[0] - BAR_MM) / 2
_STEP_MM = 0.2
# Wander of the centre line: amplitudes (standard deviations) and correlation lengths.
_WINDING_MM = ((1.3, 6.0), (0.25, 1.5))
_MOST_WINDING_MM = 3.2
# Roughness of each edge: amplitude as a share of the width, correlation length, and the length over
# which it averages out, so that every stretch of 20 mm has the stated width within 4 %.
_ROUGHNESS, _ROUGH_MM, _EVEN_MM = 0.12, 0.5, 2.0
_NARROWEST = 0.4
_SEED = 20_260


@dataclass(frozen=True, eq=False)
class SheetCrack:
    """A crack on the sheet.

    Attributes:
        stated_mm: the width printed beside it: its area over its centre line length.
        middle: float64 [N, 2], its centre line.
        outline: float64 [2 N, 2], both edges as one closed ring.
    """

    stated_mm: float
    middle: Points
    outline: Points

    @property
    def length_mm(self) -> float:
        """Length of the centre line."""
        return float(_steps(self.middle).sum())

    @property
    def mean_width_mm(self) -> float:
        """Area of the outline over the centre line length."""
        return _area(self.outline) / self.length_mm

    def inner_middle(self, without_mm: float) -> Points:
        """The centre line without its ends, float64 [M, 2].

        Args:
            without_mm: length to leave out at each end.
        """
        along = np.concatenate([[0.0], np.cumsum(_steps(self.middle))])
        kept = (along >= without_mm) & (along <= along[-1] - without_mm)
        return np.asarray(self.middle[kept], np.float64)


@dataclass(frozen=True)
class SheetMarker:
    """A marker on the sheet.

    Attributes:
        number: marker number in OpenCV's dictionary 4X4_50.
        x_mm: x of its upper left corner.
        y_mm: y of its upper left corner.
    """

    number: int
    x_mm: float
    y_mm: float

    @property
    def corners(self) -> Points:
        """Float64 [4, 2], clockwise from the upper left."""
        return rectangle(self.x_mm, self.y_mm, MARKER_SIDE_MM, MARKER_SIDE_MM)

    @property
    def rings(self) -> list[Points]:
        """Outlines of the black cells, float64 [4, 2] each."""
        dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
        cells = cv2.aruco.generateImageMarker(dictionary, self.number, 6) == 0
        side = MARKER_SIDE_MM / len(cells)
        return [
            rectangle(self.x_mm + column * side, self.y_mm + row * side, side, side)
            for row, column in np.argwhere(cells)
        ]


@dataclass(frozen=True)
class SheetText:
    """A line of text on the sheet.

    Attributes:
        text: the text.
        x_mm: x of its left end or its middle.
        y_mm: y of its baseline.
        size_mm: font size; capitals are 0.73 of it high.
        align: whether `x_mm` is the left end or the middle.
        bold: whether it is bold.
    """

    text: str
    x_mm: float
    y_mm: float
    size_mm: float
    align: Literal["left", "middle"] = "middle"
    bold: bool = False


@dataclass(frozen=True, eq=False)
class CheckSheet:
    """Contents of a check sheet.

    Attributes:
        version: encoded in the marker numbers.
        markers: one in each corner and one halfway down each side.
        cracks: narrowest first.
        lines: outlines of the bar and of the ruler's ticks, float64 [4, 2] each; the bar first.
        texts: printed texts.
    """

    version: int
    markers: tuple[SheetMarker, ...]
    cracks: tuple[SheetCrack, ...]
    lines: tuple[Points, ...]
    texts: tuple[SheetText, ...]


def rectangle(x_mm: float, y_mm: float, width_mm: float, height_mm: float) -> Points:
    """Corners of a rectangle, float64 [4, 2], clockwise from the upper left."""
    right, lower = x_mm + width_mm, y_mm + height_mm
    return np.array([[x_mm, y_mm], [right, y_mm], [right, lower], [x_mm, lower]])


@lru_cache
def check_sheet(version: int = VERSION) -> CheckSheet:
    """The check sheet.

        >>> sheet = check_sheet()
        >>> [crack.stated_mm for crack in sheet.cracks][:4]
        [0.1, 0.15, 0.2, 0.3]

    Args:
        version: a key of `MARKER_NUMBERS`.

    Raises:
        ConfigError: there is no such version.
    """
    if version not in MARKER_NUMBERS:
        raise ConfigError(
            f"there is no check sheet of version {version}",
            f"versions: {', '.join(map(str, MARKER_NUMBERS))}",
        )
    places = [(x, y) for y in _MARKER_Y_MM for x in _MARKER_X_MM]
    markers = tuple(
        SheetMarker(number, *place)
        for number, place in zip(MARKER_NUMBERS[version], places, strict=True)
    )
    cracks, labels = _cracks()
    bar = rectangle(_BAR_LEFT_MM, 154.0, BAR_MM, 3.0)
    return CheckSheet(
        version, markers, cracks, (bar, *_ticks()), (*labels, *_numbers(), *_sentences(version))
    )


def _cracks() -> tuple[tuple[SheetCrack, ...], tuple[SheetText, ...]]:
    cracks, labels = [], []
    for number, width in enumerate(_RUNNING_ACROSS_MM):
        y = 56.0 + 16.0 * number
        cracks.append(_crack(width, (32.0, y), (1.0, 0.0), 164.0))
        labels.append(SheetText(f"{width:.2f} mm", 12.0, y + 1.2, 3.4, "left", bold=True))
    for number, width in enumerate(_RUNNING_DOWN_MM):
        x = 25.0 + 40.0 * number
        cracks.append(_crack(width, (x, 180.0), (0.0, 1.0), 68.0))
        labels.append(SheetText(f"{width:.2f} mm", x, 175.0, 3.4, bold=True))
    return tuple(sorted(cracks, key=lambda crack: crack.stated_mm)), tuple(labels)


def _crack(
    width_mm: float, start: tuple[float, float], direction: tuple[float, float], reach_mm: float
) -> SheetCrack:
    """A crack that wanders about a straight line.

    Args:
        width_mm: its mean width.
        start: start of the line.
        direction: direction of the line, a unit vector.
        reach_mm: length of the line.
    """
    count = round(reach_mm / _STEP_MM) + 1
    seed = _SEED + round(1000 * width_mm)
    aside = sum(
        size * _wander(10 * seed + number, count, reach)
        for number, (size, reach) in enumerate(_WINDING_MM)
    )
    aside = np.clip(aside, -_MOST_WINDING_MM, _MOST_WINDING_MM)
    forward, across = np.array(direction), np.array([-direction[1], direction[0]])
    along = np.arange(count)[:, None] * _STEP_MM * forward
    middle = np.array(start) + along + np.asarray(aside)[:, None] * across
    tangents = np.gradient(middle, axis=0)
    tangents /= np.hypot(*tangents.T)[:, None]
    normals = np.stack([-tangents[:, 1], tangents[:, 0]], axis=1)
    rough = [_edge(10 * seed + number, count, width_mm) for number in (5, 6)]
    half = width_mm / 2
    length = float(_steps(middle).sum())
    for _ in range(4):  # a bend makes one edge longer than the other, and rough ones are clipped
        edges = [np.maximum(half + each, _NARROWEST * width_mm / 2) for each in rough]
        ring = np.concatenate(
            [middle + edges[0][:, None] * normals, (middle - edges[1][:, None] * normals)[::-1]]
        )
        half += (width_mm - _area(ring) / length) / 2
    return SheetCrack(width_mm, middle, ring)


def _edge(seed: int, count: int, width_mm: float) -> Points:
    """Offset of an edge beyond half the width, float64 [N]."""
    rough = _wander(seed, count, _ROUGH_MM)
    return _ROUGHNESS * width_mm * (rough - _smooth(rough, _EVEN_MM))


def _wander(seed: int, count: int, reach_mm: float) -> Points:
    """A smooth random line, float64 [N], with standard deviation 1."""
    spare = round(4 * reach_mm / _STEP_MM)
    line = _smooth(_normal_values(seed, count + 2 * spare), reach_mm)[spare : spare + count]
    return np.asarray((line - line.mean()) / line.std(), np.float64)


def _normal_values(seed: int, count: int) -> Points:
    """Independent values of a standard normal distribution (Box and Muller), float64 [N]."""
    raw = np.asarray(np.random.PCG64(seed).random_raw(2 * count), np.uint64)
    first, second = (raw >> np.uint64(11)).reshape(2, count) / 2.0**53
    return np.asarray(np.sqrt(-2 * np.log1p(-first)) * np.cos(2 * np.pi * second), np.float64)


def _smooth(values: Points, reach_mm: float) -> Points:
    """Gaussian smoothing, with a truncated window at both ends."""
    half = round(4 * reach_mm / _STEP_MM)
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) * _STEP_MM / reach_mm) ** 2)
    sums, weights = (
        np.convolve(each, kernel)[half : half + len(values)]
        for each in (values, np.ones(len(values)))
    )
    return np.asarray(sums / weights, np.float64)


def _steps(points: Points) -> Points:
    return np.asarray(np.hypot(*np.diff(points, axis=0).T), np.float64)


def _area(ring: Points) -> float:
    x, y = ring.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _ticks() -> list[Points]:
    """Centred ticks of the ruler, one per millimetre."""
    thick = 0.2
    return [
        rectangle(
            _BAR_LEFT_MM + at - thick / 2,
            143.0,
            thick,
            6.0 if at % 10 == 0 else 4.5 if at % 5 == 0 else 3.0,
        )
        for at in range(int(BAR_MM) + 1)
    ]


def _numbers() -> list[SheetText]:
    numbers = [
        SheetText(str(at), _BAR_LEFT_MM + at, 142.0, 2.6) for at in range(0, int(BAR_MM) + 1, 10)
    ]
    return [*numbers, SheetText("mm", _BAR_LEFT_MM + BAR_MM + 6.5, 142.0, 2.6)]


def _sentences(version: int) -> list[SheetText]:
    numbers = MARKER_NUMBERS[version]
    left = 48.0
    above = [
        "1  Print at 100 % (\u201cactual size\u201d), on matt white paper, in black.",
        "2  Measure the bar below with a ruler and note what you read.",
        "3  Put the sheet flat on the wall, at the distance of the run.",
        "4  Take it into view before the run and after it, in focus.",
    ]
    below = [
        "The figures are widths in mm: a crack\u2019s area over its length.",
        "Read some with a crack gauge and note what you read: printers err.",
        "Bar: ____________ mm        Printed on: ____________________",
    ]
    return [
        SheetText("edgecrack check sheet", left, 17.0, 5.4, "left", bold=True),
        *(
            SheetText(text, left, 24.5 + 5.4 * number, 3.1, "left")
            for number, text in enumerate(above)
        ),
        SheetText("This bar has 100 mm: measure it.", _BETWEEN_X_MM, 161.6, 3.1),
        *(
            SheetText(text, left, 261.0 + 5.6 * number, 3.1, "left")
            for number, text in enumerate(below)
        ),
        SheetText(
            f"Version {version}, markers {numbers[0]} to {numbers[-1]}, 4X4_50, 30 mm",
            left, 283.0, 2.6, "left",
        ),
    ]  # fmt: skip
