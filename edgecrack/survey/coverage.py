"""Computes how much of each sheet was seen, and how well.

Each cell gets the best state that any frame reached: fit to measure, fit to detect, unfit, ignored
on purpose, or skipped, which means in view only of frames that were not inspected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.measurement.fitness import Verdict
from edgecrack.survey.plane_geometry import Matrix, corners, moved
from edgecrack.survey.sheets import Placement, Sheet, Sheets

Seen = Literal["skipped", "ignored", "unfit", "detect", "measure"]
# In the order of their values in `Coverage.best`, from 1; 0 is out of view of all frames.
SEEN: tuple[Seen, ...] = ("skipped", "ignored", "unfit", "detect", "measure")

_CELL_PX = 8.0
_MOST_CELLS = 4_000_000


@dataclass(frozen=True, eq=False)
class FrameLook:
    """How a frame was inspected.

    Attributes:
        frame: frame number.
        verdict: what it is fit for; None if it was not inspected.
        ignored: bool [H, W] of the frame's size, True where it is ignored on purpose; None if
            nowhere.
        missed: bool [H, W], True where it should have been inspected but was not; None if nowhere.
    """

    frame: int
    verdict: Verdict | None
    ignored: NDArray[np.bool_] | None = field(default=None, repr=False)
    missed: NDArray[np.bool_] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Coverage:
    """What was seen of a sheet.

    Attributes:
        sheet: sheet number.
        best: uint8 [H, W], for each cell 0 if it was never in view, else 1 + its index in `SEEN`.
        cell_px: side of a cell in the sheet's pixels.
        origin_xy: upper left corner of the first cell, in the sheet's pixels.
        area_px: area by state, in square pixels of the sheet.
    """

    sheet: int
    best: NDArray[np.uint8] = field(repr=False)
    cell_px: float
    origin_xy: tuple[float, float]
    area_px: dict[Seen, float]

    @property
    def seen_px(self) -> float:
        """Area in view of any frame, in square pixels of the sheet."""
        return sum(self.area_px.values())

    def share(self, seen: Seen) -> float:
        """Share of the area in view, 0 to 1."""
        return self.area_px[seen] / self.seen_px if self.seen_px else 0.0


def coverage_of(
    sheets: Sheets, sheet: Sheet, looks: Iterable[FrameLook], cell_px: float = _CELL_PX
) -> Coverage:
    """Compute the coverage of a sheet.

    Args:
        sheets: of the run.
        sheet: one of them.
        looks: inspected frames in any order; frames of the sheet that are missing count as
            skipped, and those of other sheets are ignored.
        cell_px: side of a cell in the sheet's pixels; increased for very large sheets.

    Raises:
        ConfigError: `cell_px` is not positive.
    """
    if not cell_px > 0:
        raise ConfigError(f"`cell_px` is {cell_px}", "give more than 0")
    placements = {frame: sheets.placements[frame] for frame in sheet.frames}
    outlines = np.concatenate(
        [moved(corners(each.hw), each.homography) for each in placements.values()]
    )
    low, high = outlines.min(axis=0), outlines.max(axis=0)
    cell_px = max(cell_px, float(np.sqrt(np.prod(high - low) / _MOST_CELLS)))
    width, height = np.maximum(np.ceil((high - low) / cell_px).astype(int), 1).tolist()
    best = np.zeros((height, width), np.uint8)
    to_cells = np.array(
        [[1 / cell_px, 0, -low[0] / cell_px], [0, 1 / cell_px, -low[1] / cell_px], [0, 0, 1]]
    )
    left = dict.fromkeys(placements)
    for look in looks:
        if look.frame in left:
            del left[look.frame]
            _mark(best, placements[look.frame], look, to_cells)
    for frame in left:
        _mark(best, placements[frame], FrameLook(frame, None), to_cells)
    area = {
        name: float(np.count_nonzero(best == number)) * cell_px**2
        for number, name in enumerate(SEEN, 1)
    }
    origin = float(low[0]), float(low[1])
    return Coverage(sheet.number, best, cell_px, origin, area)


def _mark(best: NDArray[np.uint8], placement: Placement, look: FrameLook, to_cells: Matrix) -> None:
    """Raise the cells that a frame shows to its state, in place."""
    outline = moved(corners(placement.hw), to_cells @ placement.homography)
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 1, best.shape[::-1])
    if (high <= low).any():
        return
    part = best[low[1] : high[1], low[0] : high[0]]
    code = np.uint8(1 + SEEN.index(look.verdict or "skipped"))
    if look.ignored is None and look.missed is None:
        shown = np.zeros(part.shape, np.uint8)
        points = np.round((outline - low - 0.5) * 16).astype(np.int32)
        cv2.fillConvexPoly(shown, points, int(code), cv2.LINE_8, 4)
    else:
        shown = _warped(_codes(placement, look, code), placement, to_cells, low, part.shape)
    np.maximum(part, shown, out=part)


def _codes(placement: Placement, look: FrameLook, code: np.uint8) -> NDArray[np.uint8]:
    codes = np.full(placement.hw, code, np.uint8)
    for mask, name in ((look.missed, SEEN[0]), (look.ignored, SEEN[1])):
        if mask is None:
            continue
        if mask.shape != placement.hw:
            raise ConfigError(
                f"frame {look.frame} has shape {placement.hw}, but its mask has {mask.shape}",
                "give a mask of the frame's shape",
            )
        codes[mask] = 1 + SEEN.index(name)
    return codes


def _warped(
    codes: NDArray[np.uint8],
    placement: Placement,
    to_cells: Matrix,
    low: NDArray[np.int64],
    shape: tuple[int, ...],
) -> NDArray[np.uint8]:
    shift = np.array([[1, 0, -low[0] - 0.5], [0, 1, -low[1] - 0.5], [0, 0, 1]], np.float64)
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], np.float64)
    way = shift @ to_cells @ placement.homography @ half
    size = (shape[1], shape[0])
    return np.asarray(cv2.warpPerspective(codes, way, size, flags=cv2.INTER_NEAREST), np.uint8)
