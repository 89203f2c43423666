"""Writes maps, strips and tiles, from the pictures that a run kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.files import write_atomic, write_png
from edgecrack.images.encodings import encode
from edgecrack.run_survey.survey_findings import SurveyFindings
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.survey.coverage import SEEN, Coverage, Seen
from edgecrack.survey.inventory import SurveyCrack
from edgecrack.survey.mosaic import (
    LONGEST_PX,
    DrawnCrack,
    Mosaic,
    draw_cracks,
    make_mosaic,
    sheet_size,
)
from edgecrack.survey.plane_geometry import inverse, moved
from edgecrack.survey.sheets import Sheet
from edgecrack.terminal.wording import interval

Image = NDArray[np.uint8]


def read_picture(path: Path, how: int = cv2.IMREAD_COLOR) -> Image | None:
    """A picture, uint8 [H, W, 3] BGR or as OpenCV's flag says; None if it cannot be read."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
        picture = cv2.imdecode(data, how) if data.size else None
    except (OSError, ValueError, cv2.error):
        return None
    return None if picture is None else np.asarray(picture, np.uint8)


def read_gray(path: Path | None, hw: tuple[int, int]) -> Image | None:
    """A picture in gray, uint8 [H, W]; None if it is lost or not of this size."""
    picture = None if path is None else read_picture(path, cv2.IMREAD_GRAYSCALE)
    return picture if picture is not None and picture.shape == hw else None


@lru_cache(maxsize=8)
def ignored_in(path: Path | None, hw: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Where a frame is ignored, bool [H, W]; None if nowhere or the file is lost."""
    mask = read_gray(path, hw)
    return None if mask is None else mask > 127


_TILE_HW, _TEXT_PX, _ACROSS, _GAP_PX = (240, 320), 54, 4, 8
_MOST = 48
_MARGIN = 0.15
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE = (40, 40, 230)


def draw_strip(findings: SurveyFindings) -> Image | None:
    """Draw a strip of the confirmed cracks, longest first, at most 48.

    Returns:
        uint8 [H, W, 3], BGR; None if no crack is confirmed.
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
    """The key frame that shows most of a crack, cropped around it, with the crack's course."""
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
    """A crop around points, resized to the tile's size."""
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


_TILE_PX = 1024
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 90]
_MOST_TILES = 4000
# BGR.
SEEN_COLOURS: dict[Seen, tuple[int, int, int]] = {
    "skipped": (200, 60, 200),
    "ignored": (160, 160, 160),
    "unfit": (40, 40, 230),
    "detect": (30, 190, 240),
    "measure": (90, 190, 60),
}
_WORDS: dict[Seen, str] = {
    "skipped": "in view, not inspected",
    "ignored": "ignored on purpose",
    "unfit": "unfit",
    "detect": "fit to detect",
    "measure": "fit to measure",
}
_TINT = 0.45


@dataclass(frozen=True)
class MapFiles:
    """The files of a map; names are relative to the survey's folder.

    Attributes:
        sheet: sheet number.
        picture: the map.
        undrawn: the map without cracks, as JPEG; a report draws them itself.
        coverage: the coverage map.
        world: the map's world file.
        tiles: folder with tiles at full size; None if the map itself is at full size.
        from_sheet: float64 [3, 3], from the sheet's pixels to the picture's.
    """

    sheet: int
    picture: str
    undrawn: str
    coverage: str
    world: str
    tiles: str | None
    from_sheet: NDArray[np.float64]


def write_map(
    folder: OutputFolder,
    place: int,
    findings: SurveyFindings,
    sheet: Sheet,
    picture_of: Callable[[int], Image | None],
    *,
    shows_all: bool = False,
) -> MapFiles:
    """Draw a sheet with its cracks.

    Args:
        folder: of the survey.
        place: number of the map, from 1; part of all file names but the first map's.
        findings: of the survey.
        sheet: the sheet.
        picture_of: returns a key frame's picture by frame number; None if it is lost.
        shows_all: whether to draw unconfirmed cracks, too.

    Raises:
        OutputError: a file cannot be written.
    """
    tail = "" if place == 1 else f"-{place}"
    own = [crack for crack in findings.inventory.cracks if crack.sheet == sheet.number]
    drawn = [
        DrawnCrack(str(crack.id), (*crack.lines, *crack.bridges), crack.confirmed)
        for crack in own
        if crack.confirmed or shows_all
    ]
    mosaic = make_mosaic(findings.sheets, sheet, picture_of)
    write_png(folder.claim(f"map{tail}.png"), draw_cracks(mosaic, drawn))
    undrawn = f"map{tail}-undrawn.jpg"
    write_atomic(folder.claim(undrawn), encode(".jpg", mosaic.image, _JPEG))
    tinted = _tinted(mosaic, findings.coverages[sheet.number])
    write_png(folder.claim(f"coverage{tail}.png"), tinted)
    world = f"map{tail}.pgw"
    write_atomic(folder.claim(world), _world(mosaic, findings.metres_per_px(sheet.number)))
    tiles = None
    if max(sheet_size(findings.sheets, sheet)) > LONGEST_PX:
        tiles = f"map_tiles{tail}"
        _write_tiles(folder, tiles, findings, sheet, picture_of, drawn)
    return MapFiles(
        sheet.number,
        f"map{tail}.png",
        undrawn,
        f"coverage{tail}.png",
        world,
        tiles,
        mosaic.from_sheet,
    )


def _world(mosaic: Mosaic, metres_per_px: float | None) -> str:
    """A world file in metres, or in the sheet's pixels without a scale; y points up."""
    unit = 1.0 if metres_per_px is None else metres_per_px
    scale = unit / float(mosaic.from_sheet[0, 0])
    left, top = -mosaic.from_sheet[:2, 2] / mosaic.from_sheet[0, 0] * unit
    lines = (scale, 0.0, 0.0, -scale, left + scale / 2, -(top + scale / 2))
    return "".join(f"{value:.10g}\n" for value in lines)


def _write_tiles(
    folder: OutputFolder,
    name: str,
    findings: SurveyFindings,
    sheet: Sheet,
    picture_of: Callable[[int], Image | None],
    drawn: list[DrawnCrack],
) -> None:
    width, height = sheet_size(findings.sheets, sheet)
    side = _TILE_PX
    while (-(-width // side)) * (-(-height // side)) > _MOST_TILES:
        side *= 2
    for row in range(-(-height // side)):
        for column in range(-(-width // side)):
            window = (column * side, row * side, min(side, width - column * side),
                      min(side, height - row * side))  # fmt: skip
            mosaic = make_mosaic(findings.sheets, sheet, picture_of, window=window)
            if mosaic.seen.any():
                tile = folder.claim(f"{name}/{row:04d}_{column:04d}.png")
                write_png(tile, draw_cracks(mosaic, drawn), durable=False)


def _tinted(mosaic: Mosaic, coverage: Coverage) -> Image:
    """The map tinted by coverage, with a legend."""
    height, width = mosaic.image.shape[:2]
    cells = np.array(
        [
            [coverage.cell_px, 0, coverage.origin_xy[0] + coverage.cell_px / 2],
            [0, coverage.cell_px, coverage.origin_xy[1] + coverage.cell_px / 2],
            [0, 0, 1],
        ]
    )
    way = mosaic.from_sheet @ cells
    best = cv2.warpPerspective(coverage.best, way, (width, height), flags=cv2.INTER_NEAREST)
    colours = np.zeros((len(SEEN) + 1, 3), np.float32)
    for number, name in enumerate(SEEN, 1):
        colours[number] = SEEN_COLOURS[name]
    gray = np.asarray(cv2.cvtColor(mosaic.image, cv2.COLOR_BGR2GRAY), np.float32)[..., None]
    mixed = np.where(
        (np.asarray(best) > 0)[..., None],
        (1 - _TINT) * gray + _TINT * colours[np.asarray(best)],
        255.0,
    )
    picture = np.clip(mixed, 0, 255).astype(np.uint8)
    return _with_legend(picture, coverage)


def _with_legend(picture: Image, coverage: Coverage) -> Image:
    size = max(0.4, max(picture.shape[:2]) / 2400)
    line = round(34 * size)
    shown = [name for name in reversed(SEEN) if coverage.area_px[name] > 0]
    strip = np.full(((len(shown) + 1) * line, picture.shape[1], 3), 255, np.uint8)
    for row, name in enumerate(shown):
        y = row * line + line // 2
        cv2.rectangle(
            strip, (line // 2, y), (line + line // 2, y + line * 2 // 3), SEEN_COLOURS[name], -1
        )
        text = f"{_WORDS[name]}  {coverage.share(name):.0%}"
        cv2.putText(strip, text, (2 * line, y + line * 2 // 3), cv2.FONT_HERSHEY_SIMPLEX, size,
                    (30, 30, 30), max(1, round(1.4 * size)), cv2.LINE_AA)  # fmt: skip
    return np.concatenate([picture, strip])
