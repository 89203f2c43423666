"""The pictures of a report: each crack as it was seen and with its course, and the maps.

A scale bar and an arrow upwards are on each; upwards is where the camera's picture has its top.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.run_report.report_words import MM_PER_INCH, Words
from edgecrack.run_survey.map_files import read_picture
from edgecrack.survey.mosaic import DrawnCrack, Mosaic, draw_cracks

Image = NDArray[np.uint8]

_CARD_PX, _MAP_PX = 560, 1800
_QUALITY = 82
_MARGIN, _LEAST_PX = 0.2, 60
_LINE, _INK = (40, 40, 230), (255, 255, 255)
_BARS_MM: tuple[float, ...] = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_BARS_INCH: tuple[float, ...] = (0.1, 0.25, 0.5, 1, 2, 3, 6, 12, 24, 36, 60, 120)


def as_address(picture: Image) -> str:
    """A picture as an address that holds it."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def map_picture(path: Path) -> str | None:
    """A map as an address, at most 1,800 px."""
    picture = _fitted(path)
    return None if picture is None else as_address(picture[0])


def coverage_picture(path: Path, map_path: Path) -> str | None:
    """What was seen of a sheet as an address, without the legend in it, which is in English.

    Args:
        path: of the coverage's picture.
        map_path: of the map's, which is as high without a legend.
    """
    drawn = read_picture(map_path)
    picture = _fitted(path, None if drawn is None else drawn.shape[:2])
    return None if picture is None else as_address(picture[0])


def numbered_map(
    survey: Path,
    drawn: Mapping[str, Any],
    cracks: Sequence[Mapping[str, Any]],
    *,
    is_reviewed: bool,
) -> str | None:
    """A map with cracks as an address, at most 1,800 px.

    Args:
        survey: its folder.
        drawn: the sheet's `map`, as `cracks.json` has it.
        cracks: of the sheet, those that are to be on it.
        is_reviewed: the survey's own drawing must not stand in for a lost picture, since a review
            may have rejected what is on it.
    """
    fitted = _fitted(survey / drawn["undrawn"]) if "undrawn" in drawn else None
    if fitted is None:
        return None if is_reviewed else map_picture(survey / drawn["picture"])
    picture, factor = fitted
    from_sheet = np.diag([factor, factor, 1.0]) @ np.array(drawn["from_sheet"], np.float64)
    mosaic = Mosaic(picture, np.ones(picture.shape[:2], bool), from_sheet)
    lines = [
        DrawnCrack(
            str(crack["id"]),
            tuple(np.array(line, np.float64) for line in (*crack["lines"], *crack["gaps"])),
        )
        for crack in cracks
    ]
    return as_address(draw_cracks(mosaic, lines))


def _fitted(path: Path, map_hw: tuple[int, ...] | None = None) -> tuple[Image, float] | None:
    """A picture of at most 1,800 px, and by how much it was reduced; cut to a map's height."""
    picture = read_picture(path)
    if picture is not None and map_hw is not None and picture.shape[1] == map_hw[1]:
        picture = picture[: map_hw[0]]
    if picture is None:
        return None
    factor = min(1.0, _MAP_PX / max(picture.shape[:2]))
    if factor < 1:
        picture = np.asarray(
            cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
        )
    return picture, factor


def crack_pictures(
    run: Path, crack: Mapping[str, Any], mm_per_px: float | None, words: Words
) -> list[str]:
    """A crack in the frame that shows it best, raw and drawn; raw alone, or none, where it is lost.

    Args:
        run: folder of the run.
        crack: as the survey's `cracks.json` has it.
        mm_per_px: of the sheet, for the scale bar; None draws none.
        words: for its units.
    """
    best = crack["best"] or {"picture": None, "view": None, "points": []}
    picture = _kept(run, best["picture"])
    points = np.asarray(best["points"], np.float64)
    if picture is None or points.ndim != 2 or len(points) < 2:
        view = _kept(run, best["view"])
        return [] if view is None else [as_address(view)]
    left, top, right, bottom = _window(points, picture.shape[:2])
    factor = _CARD_PX / (right - left)
    size = (_CARD_PX, max(1, round((bottom - top) * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    raw = np.asarray(cv2.resize(picture[top:bottom, left:right], size, interpolation=how), np.uint8)
    drawn = raw.copy()
    course = ((points - (left, top)) * factor - 0.5) * 16
    cv2.polylines(drawn, [np.round(course).astype(np.int32)], False, _LINE, 2, cv2.LINE_AA, 4)
    for each in (raw, drawn):
        _arrow(each)
    if mm_per_px is not None:
        _bar(drawn, mm_per_px / factor, words)
    return [as_address(raw), as_address(drawn)]


def _kept(run: Path, name: str | None) -> Image | None:
    """A picture of the run; None where there is none, or a name that leads outside."""
    if name is None or Path(name).is_absolute() or ".." in Path(name).parts:
        return None
    return read_picture(run / name)


def _window(points: NDArray[np.float64], hw: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Around a crack, of 4 to 3, as much of it as the picture has."""
    height, width = hw[0], hw[1]
    low, high = points.min(axis=0), points.max(axis=0)
    wide, tall = np.maximum((high - low) * (1 + 2 * _MARGIN), _LEAST_PX)
    wide = min(max(wide, tall * 4 / 3), width)
    tall = min(max(tall, wide * 3 / 4), height)
    middle = (low + high) / 2
    left = int(np.clip(middle[0] - wide / 2, 0, width - wide))
    top = int(np.clip(middle[1] - tall / 2, 0, height - tall))
    return left, top, left + max(2, int(wide)), top + max(2, int(tall))


def _arrow(picture: Image) -> None:
    x = picture.shape[1] - 22
    for colour, thick in (((0, 0, 0), 4), (_INK, 2)):
        cv2.arrowedLine(picture, (x, 44), (x, 14), colour, thick, cv2.LINE_AA, tipLength=0.35)


def _bar(picture: Image, mm_per_px: float, words: Words) -> None:
    """A bar of a round length, at most a third of the picture wide."""
    height, width = picture.shape[:2]
    lengths, per_px = _BARS_MM, mm_per_px
    if words.is_imperial:
        lengths, per_px = _BARS_INCH, mm_per_px / MM_PER_INCH
    fitting = [each for each in lengths if each / per_px <= width / 3]
    if not fitting:
        return
    y, x = height - 16, 16
    end = x + round(fitting[-1] / per_px)
    for colour, thick in (((0, 0, 0), 6), (_INK, 3)):
        cv2.line(picture, (x, y), (end, y), colour, thick, cv2.LINE_AA)
    text = f"{fitting[-1]:g} {words.small_unit}"
    for colour, thick in (((0, 0, 0), 6), (_INK, 2)):
        cv2.putText(picture, text, (x, y - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.75, colour, thick,
                    cv2.LINE_AA)  # fmt: skip
