"""Draws the map of a sheet: its key frames in one picture, with numbered cracks.

Where key frames overlap, the finest one, furthest from its own border, has the largest weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.survey.plane_geometry import (
    Matrix,
    Points,
    corners,
    inverse,
    local_scale,
    moved,
    normal,
)
from edgecrack.survey.sheets import Sheet, Sheets

Image = NDArray[np.uint8]

LONGEST_PX = 3000
_PAPER = 255
_SHARPNESS = 4  # power of the weights: the best frame nearly alone determines a pixel
# Weight at a frame's border; pixels with less in total were interpolated across one.
_AT_BORDER, _LEAST_WEIGHT = 0.02, 1e-9
_MOST_LEVEL, _LEAST_LEVEL = 2.5, 0.4  # of a gain
_LINE, _HALO = (40, 40, 230), (255, 255, 255)
_UNCONFIRMED = (0, 165, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A picture of a sheet.

    Attributes:
        image: uint8 [H, W, 3], BGR; white where nothing was seen.
        seen: bool [H, W], True where a key frame shows the wall.
        from_sheet: float64 [3, 3], from the sheet's pixels to the picture's.
    """

    image: Image
    seen: NDArray[np.bool_]
    from_sheet: Matrix


@dataclass(frozen=True, eq=False)
class DrawnCrack:
    """A crack to draw.

    Attributes:
        label: text beside it.
        lines: float [N, 2] each, in the sheet's pixels.
        confirmed: drawn red if True, else orange.
    """

    label: str
    lines: tuple[Points, ...]
    confirmed: bool = True


def make_mosaic(
    sheets: Sheets,
    sheet: Sheet,
    picture_of: Callable[[int], Image | None],
    longest_px: int = LONGEST_PX,
    window: tuple[int, int, int, int] | None = None,
) -> Mosaic:
    """Blend a sheet's key frames into one picture.

    Args:
        sheets: of the run.
        sheet: one of them.
        picture_of: returns a key frame's picture, uint8 [H, W] or [H, W, 3] BGR, by frame number;
            None if it is lost.
        longest_px: limit of the picture's longer side; larger sheets are reduced.
        window: left, top, width and height of a part at full size, to draw that part alone; None
            for the whole sheet.
    """
    frames = [(frame, sheets.placements[frame]) for frame in sheet.key_frames]
    low, high = _extent(sheets, sheet)
    if window is None:
        scale = min(1.0, longest_px / float((high - low).max()))
        width, height = np.maximum(np.ceil((high - low) * scale).astype(int), 1).tolist()
    else:
        scale, low = 1.0, low + np.array(window[:2])
        width, height = window[2:]
    from_sheet = np.diag([scale, scale, 1.0])
    from_sheet[:2, 2] = -low * scale
    total = np.zeros((height, width, 3), np.float32)
    weights = np.zeros((height, width), np.float32)
    for frame, placement in frames:
        outline = moved(corners(placement.hw), from_sheet @ placement.homography)
        if not _is_in(outline, width, height):
            continue
        picture = picture_of(frame)
        if picture is not None:
            gain = float(np.clip(sheet.gains.get(frame, 1.0), _LEAST_LEVEL, _MOST_LEVEL))
            _lay(total, weights, _bgr(picture), normal(from_sheet @ placement.homography), gain)
    seen = weights > _LEAST_WEIGHT
    mixed = total / np.maximum(weights, 1e-12)[..., None]
    image = np.where(seen[..., None], np.clip(np.rint(mixed), 0, 255), _PAPER).astype(np.uint8)
    return Mosaic(image, seen, from_sheet)


def sheet_size(sheets: Sheets, sheet: Sheet) -> tuple[int, int]:
    """Width and height of a sheet's map at full size, in pixels of the sheet."""
    low, high = _extent(sheets, sheet)
    width, height = np.maximum(np.ceil(high - low).astype(int), 1).tolist()
    return width, height


def _extent(sheets: Sheets, sheet: Sheet) -> tuple[Points, Points]:
    """Upper left and lower right corners of the key frames' area, in the sheet's pixels."""
    frames = [sheets.placements[frame] for frame in sheet.key_frames]
    outline = np.concatenate([moved(corners(each.hw), each.homography) for each in frames])
    return outline.min(axis=0), outline.max(axis=0)


def _is_in(outline: Points, width: int, height: int) -> bool:
    low, high = outline.min(axis=0), outline.max(axis=0)
    return bool(low[0] < width and low[1] < height and (high > 0).all())


def draw_cracks(mosaic: Mosaic, cracks: Iterable[DrawnCrack]) -> Image:
    """Draw numbered cracks on a copy of the picture.

    Args:
        mosaic: of the sheet that the cracks are on; not modified.
        cracks: to draw.

    Returns:
        uint8 [H, W, 3], BGR.
    """
    drawn = mosaic.image.copy()
    size = max(drawn.shape[:2])
    thick, letters = max(1, round(size / 900)), max(0.45, size / 1300)
    places = []
    for crack in cracks:
        lines = [moved(line, mosaic.from_sheet) for line in crack.lines if len(line) > 1]
        colour = _LINE if crack.confirmed else _UNCONFIRMED
        for line in lines:
            points = np.round((line - 0.5) * 16).astype(np.int32)
            cv2.polylines(drawn, [points], False, colour, thick, cv2.LINE_AA, 4)
        if lines:
            longest = max(lines, key=len)
            middle = longest[len(longest) // 2]
            if ((middle >= 0) & (middle <= drawn.shape[1::-1])).all():  # else outside this part
                places.append((crack.label, middle, colour))
    for label, (x, y), colour in places:
        _write(drawn, label, (x, y), colour, letters)
    return drawn


def _bgr(picture: Image) -> Image:
    return picture if picture.ndim == 3 else np.dstack([picture] * 3)


def _lay(
    total: NDArray[np.float32],
    weights: NDArray[np.float32],
    picture: Image,
    placed: Matrix,
    gain: float,
) -> None:
    """Add a picture to the weighted sums, in place."""
    hw = picture.shape[0], picture.shape[1]
    outline = moved(corners(hw), placed)
    left, top = np.maximum(np.floor(outline.min(axis=0)).astype(int), 0).tolist()
    right, bottom = np.minimum(
        np.ceil(outline.max(axis=0)).astype(int), weights.shape[::-1]
    ).tolist()
    if right <= left or bottom <= top:
        return
    shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
    # OpenCV puts the centre of the first pixel at (0, 0).
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], np.float64)
    way = np.linalg.inv(half) @ shift @ placed @ half
    size = (right - left, bottom - top)
    seen = cv2.warpPerspective(picture, way, size, borderMode=cv2.BORDER_REPLICATE)
    weight = cv2.warpPerspective(_border_weight(hw), way, size)
    weight = weight * _fineness(placed, size, (left, top))
    weight **= _SHARPNESS
    part = np.s_[top:bottom, left:right]
    total[part] += weight[..., None] * np.minimum(seen.astype(np.float32) * gain, 255)
    weights[part] += weight


def _border_weight(hw: tuple[int, int]) -> NDArray[np.float32]:
    """1 in the middle of a frame, decreasing towards its border, float32 [H, W]."""
    rows, columns = (
        np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / side for side in hw
    )
    nearest = np.minimum(rows[:, None], columns[None])
    return np.asarray(np.clip(4 * nearest, _AT_BORDER, 1), np.float32)


def _fineness(
    placed: Matrix, size: tuple[int, int], corner: tuple[int, int]
) -> NDArray[np.float32]:
    """A frame's pixels per pixel of the map, along a line, float32 [H, W]."""
    columns, rows = (np.linspace(0, side, 9) for side in size)
    places = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2) + corner
    coarse = local_scale(inverse(placed), places).reshape(9, 9).astype(np.float32)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _write(
    drawn: Image, label: str, xy: tuple[float, float], colour: tuple[int, int, int], size: float
) -> None:
    (width, height), _ = cv2.getTextSize(label, _FONT, size, 1)
    thick = max(1, round(2 * size))
    x = int(np.clip(xy[0] + 6, 0, max(0, drawn.shape[1] - width - 2)))
    y = int(np.clip(xy[1] - 6, height + 2, max(height + 2, drawn.shape[0] - 2)))
    cv2.putText(drawn, label, (x, y), _FONT, size, _HALO, 3 * thick, cv2.LINE_AA)
    cv2.putText(drawn, label, (x, y), _FONT, size, colour, thick, cv2.LINE_AA)
