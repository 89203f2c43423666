"""All that a survey found out, and how long a pixel of its sheets is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgecrack.measurement.severity import SeverityTable
from edgecrack.run_survey.kept_lines import KeptFrames
from edgecrack.run_survey.positions import PlacedSheet
from edgecrack.survey.coverage import Coverage
from edgecrack.survey.crack_curves import middle_of
from edgecrack.survey.inventory import Inventory, SurveyCrack
from edgecrack.survey.plane_geometry import Points, inverse, local_scale, moved
from edgecrack.survey.repeatability import Repeatability
from edgecrack.survey.sheets import Sheets


@dataclass(frozen=True, eq=False)
class LengthScale:
    """How long a pixel of the sheet is at a crack.

    Attributes:
        mm_per_px: median over the measured frames that show it.
        relative: standard uncertainty, as a share; that of the scale and how much frames differ.
        is_stated: whether the scale's own uncertainty is known.
    """

    mm_per_px: float
    relative: float
    is_stated: bool


@dataclass(frozen=True)
class FrameScaleFound:
    """The scale of a frame that was measured.

    Attributes:
        mm_per_px: median over its rows, in the frame's pixels.
        relative: standard uncertainty, as a share.
        is_stated: whether that is known.
    """

    mm_per_px: float
    relative: float
    is_stated: bool


def frame_scales(kept: KeptFrames) -> dict[int, FrameScaleFound]:
    """By frame, the scale of those that were measured and have one."""
    found = {}
    for number, widths in kept.widths.items():
        values = [mm for mm in widths.mm_per_px if mm is not None and mm.size]
        if not values and widths.in_middle is not None:
            found[number] = FrameScaleFound(*widths.in_middle)
        elif values:
            found[number] = FrameScaleFound(
                float(np.median(np.concatenate(values))),
                math.sqrt(sum(term**2 for term in widths.terms.values())),
                widths.is_stated is True,
            )
    return found


@dataclass(frozen=True, eq=False)
class SurveyFindings:
    """All that a survey found out.

    Attributes:
        kept: what the run kept.
        sheets: the planes.
        inventory: the cracks.
        coverages: of each sheet.
        scales: by frame, of those that have one.
        table: by which severity is told, or None.
        places: by sheet, where it is in space; sheets of which nobody knows are left out.
        repeatability: how well two halves of the frames agree; None where nobody compared them.
    """

    kept: KeptFrames
    sheets: Sheets
    inventory: Inventory
    coverages: tuple[Coverage, ...]
    scales: Mapping[int, FrameScaleFound] = field(repr=False)
    table: SeverityTable | None = None
    places: Mapping[int, PlacedSheet] = field(default_factory=dict)
    repeatability: Repeatability | None = None

    def metres_per_px(self, sheet: int) -> float | None:
        """Of a sheet on the whole; None without a scale."""
        placements = self.sheets.placements
        own = [each for each in self.scales if placements[each].sheet == sheet]
        scale = self._scale_of(own, None)
        return None if scale is None else scale.mm_per_px / 1000

    def length_scale(self, crack: SurveyCrack) -> LengthScale | None:
        """At a crack; None where no measured frame that shows it has a scale."""
        middle = middle_of(crack.lines[0])[None]
        return self._scale_of([each for each in crack.frames if each in self.scales], middle)

    def _scale_of(self, frames: Sequence[int], at: Points | None) -> LengthScale | None:
        if not frames:
            return None
        factors = []
        for frame in frames:
            placement = self.sheets.placements[frame]
            height, width = placement.hw
            middle = np.array([[width / 2, height / 2]])
            place = moved(middle, placement.homography) if at is None else at
            fineness = float(local_scale(inverse(placement.homography), place)[0])
            factors.append(self.scales[frame].mm_per_px * fineness)
        factor = float(np.median(factors))
        spread = 1.4826 * float(np.median(np.abs(np.array(factors) - factor)))
        squares = [self.scales[frame].relative ** 2 for frame in frames]
        relative = math.hypot(
            math.sqrt(float(np.mean(squares))), spread / factor / math.sqrt(len(factors))
        )
        stated = all(self.scales[frame].is_stated for frame in frames)
        return LengthScale(factor, relative, stated)
