"""Find the check sheet in an image by its markers, and read its cracks."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.measurement.bars import GAMMA
from edgecrack.measurement.budget import Figure, width_figures
from edgecrack.measurement.cracks import ROWS_PX, WidthRow, measure_image
from edgecrack.scale.camera_file import CameraFile
from edgecrack.scale.markers import Marker, find_markers, is_by_sheet
from edgecrack.scale.quantity import Quantity
from edgecrack.scale.scale import Scale
from edgecrack.site_check.sheet import (
    BAR_MM,
    MARKER_FAMILY,
    MARKER_NUMBERS,
    PAGE_MM,
    WIDTHS_MM,
    CheckSheet,
    Points,
    SheetCrack,
    check_sheet,
)
from edgecrack.site_check.verdict import CrackReading, ScaleCheck, SiteCheck

_FEWEST_MARKERS = 2
# Corners further off than this share of a marker's side do not belong to a check sheet.
_NOT_THE_SHEET = 0.2


@dataclass(frozen=True, eq=False)
class SheetPlacement:
    """A check sheet in an image.

    Attributes:
        sheet: the sheet.
        markers: its visible markers, two or more; for their corners, the centre of the first image
            pixel is (0.5, 0.5).
        camera: the camera whose distortion was removed; None if unknown.
        matrix: float64 [3, 3], from millimetres on the sheet to pixels, or to the camera's rays.
        residual_px: root mean square distance of the corners from their positions on the sheet.
    """

    sheet: CheckSheet
    markers: tuple[Marker, ...]
    camera: CameraFile | None
    matrix: NDArray[np.float64]
    residual_px: float

    def to_image(self, points_mm: Points) -> Points:
        """From millimetres on the sheet, float64 [N, 2], to pixels, float64 [N, 2]."""
        return _seen(self.matrix, points_mm, self.camera)

    def mask(self, hw: tuple[int, ...]) -> NDArray[np.bool_]:
        """Where it covers the wall, bool [H, W]: its cracks are not part of the structure.

        Args:
            hw: height and width of the image.
        """
        width, height = PAGE_MM
        corners = np.array([[0.0, 0.0], [width, 0.0], [width, height], [0.0, height]])
        sides = [
            np.linspace(first, second, 20, endpoint=False)
            for first, second in zip(corners, np.roll(corners, -1, axis=0), strict=True)
        ]
        outline = np.clip(self.to_image(np.concatenate(sides)), -10_000, 20_000)
        covered = np.zeros(hw[:2], np.uint8)
        cv2.fillPoly(covered, [np.round(outline).astype(np.int32)], 1)
        return np.asarray(covered > 0)

    def centres(self) -> tuple[Points, Points]:
        """Marker centres in pixels and in millimetres on the sheet, float64 [N, 2] each.

        A blurred black square looks too small, because grey values are not linear light; its centre
        does not move.
        """
        corners_mm = _corners_mm(self.sheet)
        return (
            np.array([marker.corners.mean(axis=0) for marker in self.markers]),
            np.array([corners_mm[marker.number].mean(axis=0) for marker in self.markers]),
        )


def find_sheet(image: NDArray[np.uint8], camera: CameraFile | None = None) -> SheetPlacement | None:
    """Find a check sheet.

    Args:
        image: uint8 [H, W] or [H, W, 3] in BGR order.
        camera: removes lens distortion, at the size of the image.

    Returns:
        None if fewer than two of its markers are visible.

    Raises:
        ConfigError: there are two sheets in view, or this OpenCV cannot find markers.
    """
    found = find_markers(image, MARKER_FAMILY)
    for version, numbers in MARKER_NUMBERS.items():
        markers = tuple(marker for marker in found if marker.number in numbers)
        seen = [marker.number for marker in markers]
        if len(set(seen)) < _FEWEST_MARKERS:
            continue
        if len(set(seen)) < len(seen):
            twice = max(seen, key=seen.count)
            raise ConfigError(
                f"marker {twice} of the check sheet is in view more than once",
                "cover all sheets but one",
            )
        return _placed(check_sheet(version), markers, camera)
    return None


def _placed(
    sheet: CheckSheet, markers: tuple[Marker, ...], camera: CameraFile | None
) -> SheetPlacement | None:
    corners_mm = _corners_mm(sheet)
    sheet_mm = np.concatenate([corners_mm[marker.number] for marker in markers])
    image_px = np.concatenate([marker.corners for marker in markers])
    flat = image_px if camera is None else camera.rays(image_px)
    matrix, _ = cv2.findHomography(sheet_mm, flat, 0)
    if matrix is None:
        return None
    placement = np.asarray(matrix, np.float64)
    away = _seen(placement, sheet_mm, camera) - image_px
    residual_px = float(np.sqrt(np.square(away).sum(axis=1).mean()))
    if not residual_px < _NOT_THE_SHEET * min(marker.side_px for marker in markers):
        return None
    return SheetPlacement(sheet, markers, camera, placement, residual_px)


def _corners_mm(sheet: CheckSheet) -> dict[int, Points]:
    return {marker.number: marker.corners for marker in sheet.markers}


def _seen(matrix: NDArray[np.float64], points_mm: Points, camera: CameraFile | None) -> Points:
    lifted = np.column_stack([points_mm, np.ones(len(points_mm))]) @ matrix.T
    # Points behind the camera are never visible.
    depth = np.where(np.abs(lifted[:, 2]) < 1e-9, 1e-9, lifted[:, 2])
    flat = lifted[:, :2] / depth[:, None]
    if camera is None:
        return np.asarray(flat, np.float64)
    rays = np.column_stack([flat, np.ones(len(flat))])
    lens = camera.distortion if camera.distortion.size else None
    pixels, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), camera.matrix, lens)
    return np.asarray(pixels, np.float64).reshape(-1, 2) + 0.5


# Change of a line's width in print, as a standard uncertainty: half a dot at 600 dpi, at 95 %.
PRINT_MM = 0.01
# Size error of a print at 100 %, the same as for other printed markers.
PRINT_SHARE = 0.005
# A bar of any other length is not from this sheet, or was read in inches.
_BAR_SHARE = 0.2
_BAR_READ_MM = 0.25  # standard uncertainty of a ruler reading, if the user states none
_READ_SHARE = 0.02  # of a width, if the user states none
_WITHOUT_END_MM = 2.0
_WIDENED_PX = 3.0
_AROUND_PX = 80
_LEAST_LENGTH_MM = 20.0
_LEAST_SHARE = 0.5
# The width estimate ends at 0.3 px; results near that may be narrower.
_LEAST_PX = 0.4
_CENTRE_PX = 0.1  # standard uncertainty of a marker centre
_PIECES = 8
# Two markers may place the far end of the sheet badly; OpenCV cannot draw further or thicker.
_FAR_PX, _THICKEST_PX = 1e6, 1000
_TOO_NARROW = "too narrow for this scale"


def read_sheet(
    image: NDArray[np.uint8],
    scale: Scale,
    readings: Mapping[float, Quantity] | None = None,
    *,
    bar_mm: Quantity | None = None,
    camera: CameraFile | None = None,
    gamma: float = GAMMA,
) -> SiteCheck | None:
    """Read the cracks of a check sheet in an image.

        check = read_sheet(frame, uniform_scale(Quantity(0.2, 0.001)), {0.4: Quantity(0.38, 0.01)})
        if check is not None:
            print(*check.sentences(), sep="; ")

    The markers locate the cracks; their widths are measured like any other crack and converted with
    the given scale.

    Args:
        image: uint8 [H, W] or [H, W, 3] in BGR order, as the camera delivered it.
        scale: the scale of the image, to be checked.
        readings: crack gauge readings on the print, by printed width.
        bar_mm: length of the sheet's bar by a ruler. Needed if the scale comes from the sheet
            itself, because a wrong print size would not be noticed.
        camera: removes lens distortion.
        gamma: gamma of the image; see `bars.WidthPrior`.

    Returns:
        None if fewer than two markers of a sheet are visible.

    Raises:
        ConfigError: the image has an unsupported type or shape, or another shape than the camera's;
            a reading is for a crack that is not on the sheet, or is implausible; the bar length is
            implausible; or two sheets are in view.
    """
    _check_image(image)
    checked_readings(readings or {})
    print_size(bar_mm)
    lens = None if camera is None else camera.of_size(image.shape[1], image.shape[0])
    placement = find_sheet(image, lens)
    if placement is None:
        return None
    return read_placed(image, placement, scale, readings, bar_mm=bar_mm, gamma=gamma)


def read_placed(
    image: NDArray[np.uint8],
    placement: SheetPlacement,
    scale: Scale,
    readings: Mapping[float, Quantity] | None = None,
    *,
    bar_mm: Quantity | None = None,
    gamma: float = GAMMA,
) -> SiteCheck:
    """`read_sheet` for a sheet that has already been found.

    Args:
        image: see `read_sheet`.
        placement: from `find_sheet`.
        scale: see `read_sheet`.
        readings: see `read_sheet`.
        bar_mm: see `read_sheet`.
        gamma: see `read_sheet`.

    Raises:
        ConfigError: a reading is implausible.
    """
    gauged = checked_readings(readings or {})
    size = print_size(bar_mm)
    rows = _rows(image, placement, gamma)
    cracks = [
        _reading(crack, rows[number], scale, size, gauged.get(crack.stated_mm))
        for number, crack in enumerate(placement.sheet.cracks)
    ]
    return SiteCheck(
        placement.sheet.version,
        tuple(sorted(marker.number for marker in placement.markers)),
        tuple(cracks),
        _scale_check(placement, scale, size, is_bar_measured=bar_mm is not None),
        scale.source,
        is_by_sheet(scale) and bar_mm is None,
    )


def _check_image(image: NDArray[np.uint8]) -> None:
    is_gray, is_bgr = image.ndim == 2, image.ndim == 3 and image.shape[-1] == 3
    if image.dtype != np.uint8 or not (is_gray or is_bgr) or not image.size:
        raise ConfigError(
            f"an image of {image.dtype} {image.shape} cannot be read",
            "give uint8 [height, width] or [height, width, 3]",
        )


def checked_readings(readings: Mapping[float, Quantity]) -> dict[float, Quantity]:
    """Crack gauge readings, each with an uncertainty.

    Raises:
        ConfigError: a reading is for a crack that is not on the sheet, or is implausible.
    """
    checked = {}
    for stated, reading in readings.items():
        width = min(WIDTHS_MM, key=lambda each: abs(each - stated))
        if not abs(width - stated) < 1e-6:
            raise ConfigError(
                f"a reading is for a crack of {stated:g} mm, which is not on the sheet",
                f"widths: {', '.join(f'{each:g}' for each in WIDTHS_MM)}",
            )
        if not 0.5 * width <= reading.value <= 2 * width:
            raise ConfigError(
                f"the crack of {width:g} mm was read as {reading.value:g} mm",
                "give millimetres; print the sheet again if it is that far off",
            )
        deviation = reading.deviation
        checked[width] = Quantity(
            reading.value, _READ_SHARE * reading.value if deviation is None else deviation
        )
    return checked


def print_size(bar_mm: Quantity | None) -> Quantity:
    """Print size relative to the nominal size, with its relative standard uncertainty.

    Raises:
        ConfigError: the bar length is implausible.
    """
    if bar_mm is None:
        return Quantity(1.0, PRINT_SHARE)
    if not abs(bar_mm.value / BAR_MM - 1) <= _BAR_SHARE:
        raise ConfigError(
            f"the sheet's bar is {bar_mm.value:g} mm long instead of {BAR_MM:g}",
            "give its length in millimetres, and print the sheet again at 100 %",
        )
    deviation = _BAR_READ_MM if bar_mm.deviation is None else bar_mm.deviation
    return Quantity(bar_mm.value / BAR_MM, deviation / bar_mm.value)


def _rows(
    image: NDArray[np.uint8], placement: SheetPlacement, gamma: float
) -> list[list[WidthRow]]:
    """Widths along each crack, in image pixels."""
    mask, (left, top) = _mask(image.shape[:2], placement)
    rows: list[list[WidthRow]] = [[] for _ in placement.sheet.cracks]
    if not mask.any():
        return rows
    part = image[top : top + mask.shape[0], left : left + mask.shape[1]]
    for crack in measure_image(part, mask > 0, gamma=gamma):
        x, y = crack.lines[0].xy[len(crack.lines[0].xy) // 2]
        number = int(mask[min(int(y), mask.shape[0] - 1), min(int(x), mask.shape[1] - 1)]) - 1
        if number >= 0:
            rows[number] += [_shifted(row, left, top) for row in crack.rows]
    return rows


def _mask(
    hw: tuple[int, ...], placement: SheetPlacement
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Crack label image, uint8, 1 + crack index; and its position in the image."""
    lines = [
        placement.to_image(crack.inner_middle(_WITHOUT_END_MM)) for crack in placement.sheet.cracks
    ]
    every = np.concatenate(lines)
    first = np.clip(np.floor(every.min(axis=0)) - _AROUND_PX, 0, hw[::-1]).astype(int)
    last = np.clip(np.ceil(every.max(axis=0)) + _AROUND_PX, 0, hw[::-1]).astype(int)
    mask = np.zeros(tuple(np.maximum(last - first, 0)[::-1]), np.uint8)
    if not mask.size:
        return mask, (0, 0)
    for number, (crack, line) in enumerate(zip(placement.sheet.cracks, lines, strict=True)):
        thick = round(crack.stated_mm * _px_per_mm(crack, line) + _WIDENED_PX)
        # The centre of the first pixel is (0.5, 0.5) for lines and (0, 0) for OpenCV.
        inside = np.clip(line - first - 0.5, -_FAR_PX, _FAR_PX)
        points = np.round(inside * 16).astype(np.int32)
        thick = min(max(3, thick), _THICKEST_PX)
        cv2.polylines(mask, [points], False, number + 1, thick, cv2.LINE_8, 4)
    return mask, (int(first[0]), int(first[1]))


def _px_per_mm(crack: SheetCrack, line: Points) -> float:
    middle = crack.inner_middle(_WITHOUT_END_MM)
    return float(
        np.hypot(*np.diff(line, axis=0).T).sum() / np.hypot(*np.diff(middle, axis=0).T).sum()
    )


def _shifted(row: WidthRow, left: int, top: int) -> WidthRow:
    x, y = row.xy
    return WidthRow((x + left, y + top), row.normal, row.along_px, row.line, row.width)


def _reading(
    crack: SheetCrack,
    rows: Sequence[WidthRow],
    scale: Scale,
    size: Quantity,
    gauged: Quantity | None,
) -> CrackReading:
    spread = math.hypot(PRINT_MM, crack.stated_mm * (size.deviation or 0.0))
    true = gauged or Quantity(crack.stated_mm * size.value, spread)
    figure, reason = _read(rows, scale)
    return CrackReading(crack.stated_mm, true, gauged is not None, figure, reason)


def _read(rows: Sequence[WidthRow], scale: Scale) -> tuple[Figure | None, str]:
    """The mean width in millimetres, or why there is none."""
    if not rows:
        return None, "it is out of view"
    local = scale.local([row.xy for row in rows], [row.normal for row in rows], across=True)
    measured = np.array([row.width.measurable for row in rows])
    length_mm = ROWS_PX * float(local.mm_per_px.sum())
    if length_mm < _LEAST_LENGTH_MM:
        return None, f"only {length_mm:.0f} mm of it are in view"
    if measured.mean() < _LEAST_SHARE or measured @ local.mm_per_px * ROWS_PX < _LEAST_LENGTH_MM:
        return None, _refusal(rows, local.mm_per_px)
    figures = width_figures([row.width for row in rows], local.mm_per_px, local.terms)
    least_mm = _LEAST_PX * float(local.mm_per_px.mean())
    if figures is None or figures.mean.value < least_mm:
        return None, f"it is below {least_mm:.2f} mm, {_TOO_NARROW}"
    return figures.mean, ""


def _refusal(rows: Sequence[WidthRow], mm_per_px: NDArray[np.float64]) -> str:
    narrow = [
        scale * row.width.high_px
        for row, scale in zip(rows, mm_per_px, strict=True)
        if not row.width.measurable and row.width.high_px is not None
    ]
    others = Counter(
        row.width.reason for row in rows if not row.width.measurable and row.width.high_px is None
    )
    reason, count = others.most_common(1)[0] if others else ("", 0)
    if len(narrow) >= count:
        return f"it is below {float(np.median(narrow)):.2f} mm, {_TOO_NARROW}"
    return reason


def _scale_check(
    placement: SheetPlacement, scale: Scale, size: Quantity, *, is_bar_measured: bool
) -> ScaleCheck:
    """Compare scales along the lines between marker centres."""
    centres_px, centres_mm = placement.centres()
    pairs = np.array(list(itertools.combinations(range(len(centres_px)), 2)))
    starts, ends = centres_px[pairs[:, 0]], centres_px[pairs[:, 1]]
    steps = (ends - starts) / _PIECES
    lengths_px = np.hypot(*steps.T)
    places = (np.arange(_PIECES) + 0.5)[:, None, None]
    points = (starts + places * steps).reshape(-1, 2)
    directions = np.tile(steps / lengths_px[:, None], (_PIECES, 1))
    local = scale.local(points, directions)
    pieces_mm = local.mm_per_px * np.tile(lengths_px, _PIECES)
    given_mm = float(pieces_mm.sum())
    true_mm = size.value * float(
        np.hypot(*(centres_mm[pairs[:, 1]] - centres_mm[pairs[:, 0]]).T).sum()
    )
    # Each term is the same error everywhere.
    terms = [float((term * pieces_mm).sum()) / given_mm for term in local.terms.values()]
    places_px = math.sqrt(2) * _CENTRE_PX / float(_PIECES * lengths_px.mean())
    deviation = math.hypot(size.deviation or 0.0, places_px, *terms)
    return ScaleCheck(Quantity(given_mm / true_mm - 1, deviation), local.is_stated, is_bar_measured)
