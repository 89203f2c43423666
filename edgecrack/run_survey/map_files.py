"""The files of a sheet's map: picture, world file, tiles, coverage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.files import write_atomic, write_png
from edgecrack.images.encodings import encode
from edgecrack.run_survey.survey_findings import SurveyFindings
from edgecrack.runtime.outputs.output_folder import OutputFolder
from edgecrack.survey.coverage import SEEN, Coverage, Seen
from edgecrack.survey.mosaic import (
    LONGEST_PX,
    DrawnCrack,
    Mosaic,
    draw_cracks,
    make_mosaic,
    sheet_size,
)
from edgecrack.survey.sheets import Sheet

Image = NDArray[np.uint8]

_TILE_PX = 1024
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 90]
_MOST_TILES = 4000
# Of what was seen, BGR.
SEEN_COLOURS: dict[Seen, tuple[int, int, int]] = {
    "skipped": (200, 60, 200),
    "ignored": (160, 160, 160),
    "unfit": (40, 40, 230),
    "detect": (30, 190, 240),
    "measure": (90, 190, 60),
}
_WORDS: dict[Seen, str] = {
    "skipped": "in view, not looked at",
    "ignored": "ignored on purpose",
    "unfit": "unfit",
    "detect": "fit to detect",
    "measure": "fit to measure",
}
_TINT = 0.45


@dataclass(frozen=True)
class MapFiles:
    """A map.

    Attributes:
        sheet: its number.
        picture: name of the map's file, relative to the survey's folder.
        undrawn: name of the same without cracks, as JPEG, on which a report draws them.
        coverage: name of the same with what was seen.
        world: name of its world file.
        tiles: name of the folder with tiles at full size; None where the picture has it.
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
        place: of the map, from 1; it is in the names of all but the first.
        findings: of the survey.
        sheet: which.
        picture_of: gives a key frame's picture by its number, None where it is lost.
        shows_all: unconfirmed cracks are drawn, too.

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
    """A world file: the sheet's pixels, or metres where there is a scale; y points up."""
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
    """The map, tinted by how well each place was seen, with a legend."""
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
