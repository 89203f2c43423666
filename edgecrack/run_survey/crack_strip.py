"""Each confirmed crack once, in the picture that shows it best, side by side."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.run_survey.kept_pictures import read_picture
from edgecrack.run_survey.survey_findings import SurveyFindings
from edgecrack.survey.inventory import SurveyCrack
from edgecrack.survey.plane_geometry import inverse, moved
from edgecrack.terminal.wording import interval

Image = NDArray[np.uint8]

_TILE_HW, _TEXT_PX, _ACROSS, _GAP_PX = (240, 320), 54, 4, 8
_MOST = 48
_MARGIN = 0.15
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE = (40, 40, 230)


def draw_strip(findings: SurveyFindings) -> Image | None:
    """The confirmed cracks, longest first, at most 48.

    Returns:
        uint8 [H, W, 3], BGR; None where none is confirmed or no picture of any was kept.
    """
    confirmed = [crack for crack in findings.inventory.cracks if crack.confirmed]
    confirmed.sort(key=lambda crack: -crack.length_px)
    tiles = [_tile(findings, crack) for crack in confirmed[:_MOST]]
    if not tiles:
        return None
    across = min(_ACROSS, len(tiles))
    rows = -(-len(tiles) // across)
    height, width = _TILE_HW[0] + _TEXT_PX + _GAP_PX, _TILE_HW[1] + _GAP_PX
    strip = np.full((rows * height + _GAP_PX, across * width + _GAP_PX, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, across)
        y, x = row * height + _GAP_PX, column * width + _GAP_PX
        strip[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return strip


def _tile(findings: SurveyFindings, crack: SurveyCrack) -> Image:
    tile = np.full((_TILE_HW[0] + _TEXT_PX, _TILE_HW[1], 3), 255, np.uint8)
    picture = _shown(findings, crack)
    if picture is None:
        picture = np.full((*_TILE_HW, 3), 225, np.uint8)
        cv2.putText(picture, "no picture", (100, 125), _FONT, 0.6, (90, 90, 90), 1, cv2.LINE_AA)
    tile[: _TILE_HW[0]] = picture
    first, second = _words(findings, crack)
    for text, y in ((first, _TILE_HW[0] + 22), (second, _TILE_HW[0] + 44)):
        cv2.putText(tile, text, (2, y), _FONT, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
    return tile


def _words(findings: SurveyFindings, crack: SurveyCrack) -> tuple[str, str]:
    scale = findings.length_scale(crack)
    length = f"{crack.length_px:.0f} px"
    if scale is not None:
        length = f"{crack.length_px * scale.mm_per_px:.0f} mm"
    width = "no width"
    if crack.width is not None:
        figures, unit = (crack.width.px, "px") if crack.width.mm is None else (crack.width.mm, "mm")
        width = interval(figures.mean.value, figures.mean.low, figures.mean.high, unit)
    return f"{crack.id}: {length}, in {len(crack.frames)} frames", width


def _shown(findings: SurveyFindings, crack: SurveyCrack) -> Image | None:
    """The key frame that shows most of a crack, cut around it, with the crack's course."""
    places = np.concatenate(crack.lines)
    best: tuple[float, int] | None = None
    for frame in findings.sheets.sheets[crack.sheet].key_frames:
        path = findings.kept.frames[frame].picture
        if path is None:
            continue
        placement = findings.sheets.placements[frame]
        inside = _inside(moved(places, inverse(placement.homography)), placement.hw)
        if inside.any() and (best is None or float(inside.mean()) > best[0]):
            best = float(inside.mean()), frame
    if best is None:
        return None
    path = findings.kept.frames[best[1]].picture
    picture = None if path is None else read_picture(path)
    if picture is None:
        return None
    placement = findings.sheets.placements[best[1]]
    if picture.shape[:2] != placement.hw:
        return None
    back = inverse(placement.homography)
    drawn = np.asarray(picture, np.uint8).copy()
    seen = []
    for line in crack.lines:
        points = moved(line, back)
        seen.append(points[_inside(points, placement.hw)])
        cv2.polylines(
            drawn, [np.round((points - 0.5) * 16).astype(np.int32)], False, _LINE, 1, cv2.LINE_AA, 4
        )
    return _cut(drawn, np.concatenate(seen))


def _inside(points: NDArray[np.float64], hw: tuple[int, int]) -> NDArray[np.bool_]:
    return np.asarray(((points >= 0) & (points <= (hw[1], hw[0]))).all(axis=1))


def _cut(picture: Image, points: NDArray[np.float64]) -> Image:
    """A window of the tile's shape around points, at the tile's size."""
    height, width = picture.shape[:2]
    tall, wide = _TILE_HW
    low, high = points.min(axis=0), points.max(axis=0)
    size = (high - low) * (1 + 2 * _MARGIN) + 20
    factor = max(size[0] / wide, size[1] / tall, 0.5)
    factor = min(factor, width / wide, height / tall)
    window = np.array([wide, tall]) * factor
    middle = (low + high) / 2
    corner = np.clip(middle - window / 2, 0, np.maximum(np.array([width, height]) - window, 0))
    left, top = np.floor(corner).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(corner + window).astype(int), (width, height)).tolist()
    part = picture[top:bottom, left:right]
    how = cv2.INTER_AREA if factor > 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(part, (wide, tall), interpolation=how), np.uint8)
