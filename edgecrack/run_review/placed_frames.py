"""The frames of a survey that were kept as pictures, and their positions on its sheets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from edgecrack.errors import SourceError
from edgecrack.survey.plane_geometry import Matrix, Points, inverse, moved


@dataclass(frozen=True, eq=False)
class PlacedFrame:
    """A frame that was kept.

    Attributes:
        number: as the survey counts.
        name: as the source called it.
        picture: its file, relative to the run's folder; None where none was kept.
        sheet: number of its sheet.
        hw: height and width in pixels.
        to_sheet: float64 [3, 3], from its pixels to the sheet's.
    """

    number: int
    name: str
    picture: str | None
    sheet: int
    hw: tuple[int, int]
    to_sheet: Matrix = field(repr=False)

    def on_sheet(self, points: Points) -> Points:
        """Points of the frame, float [N, 2], in the sheet's pixels."""
        return moved(points, self.to_sheet)

    def in_frame(self, points: Points) -> Points:
        """Points of the sheet, float [N, 2], in the frame's pixels; NaN behind the camera."""
        back = inverse(self.to_sheet)
        depth = points @ back[2, :2] + back[2, 2]
        places = np.full((len(points), 2), np.nan)
        places[depth > 0] = moved(points[depth > 0], back)
        return places

    def in_view(self, line: Points) -> Points:
        """Of a line of the sheet, float [N, 2], the points in view, in the frame's pixels."""
        places = self.in_frame(line)
        height, width = self.hw
        with np.errstate(invalid="ignore"):
            inside = ((places >= 0) & (places <= (width, height))).all(axis=1)
        return places[inside]


def placed_frames(document: Mapping[str, Any]) -> dict[int, PlacedFrame]:
    """The kept frames of a survey, by number.

    Args:
        document: content of its `cracks.json`.

    Raises:
        SourceError: the survey is damaged, or of a version that did not record frame positions.
    """
    listed = document.get("key_frames")
    remedy = "run edgecrack survey on the run again"
    if not isinstance(listed, list):
        raise SourceError("the survey does not record where its frames are", remedy)
    try:
        frames = [_frame(each, len(document["sheets"])) for each in listed]
    except (KeyError, TypeError, ValueError, OverflowError, np.linalg.LinAlgError) as error:
        raise SourceError("the survey's key frames are damaged", remedy) from error
    return {frame.number: frame for frame in frames}


def _frame(given: Mapping[str, Any], sheets: int) -> PlacedFrame:
    to_sheet = np.array(given["to_sheet"], np.float64)
    height, width = (int(each) for each in given["hw"])
    picture, sheet = given["picture"], int(given["sheet"])
    if picture is not None:
        pure = PurePosixPath(picture)
        picture = None if pure.is_absolute() or ".." in pure.parts else str(picture)
    is_plausible = to_sheet.shape == (3, 3) and np.isfinite(to_sheet).all() and 0 <= sheet < sheets
    if not is_plausible or min(height, width) < 1:
        raise ValueError
    inverse(to_sheet)
    return PlacedFrame(
        int(given["frame"]), str(given["name"]), picture, sheet, (height, width), to_sheet
    )
