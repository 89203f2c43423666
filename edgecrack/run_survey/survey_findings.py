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
from edgecrack.survey.inventory import FrameCracks, Inventory, SurveyCrack
from edgecrack.survey.plane_geometry import Points, inverse, local_scale, moved
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


@dataclass(frozen=True, eq=False)
class SurveyFindings:
    """All that a survey found out.

    Attributes:
        kept: what the run kept.
        sheets: the planes.
        inventory: the cracks.
        coverages: of each sheet.
        found: what was found in the frames that were looked at.
        table: by which severity is told, or None.
        places: by sheet, where it is in space; sheets of which nobody knows are left out.
    """

    kept: KeptFrames
    sheets: Sheets
    inventory: Inventory
    coverages: tuple[Coverage, ...]
    found: tuple[FrameCracks, ...] = field(repr=False)
    table: SeverityTable | None = None
    places: Mapping[int, PlacedSheet] = field(default_factory=dict)

    def metres_per_px(self, sheet: int) -> float | None:
        """Of a sheet on the whole; None without a scale."""
        scale = self._scale_of([each for each in self.found if self._sheet_of(each) == sheet], None)
        return None if scale is None else scale.mm_per_px / 1000

    def length_scale(self, crack: SurveyCrack) -> LengthScale | None:
        """At a crack; None where no measured frame that shows it has a scale."""
        own = set(crack.frames)
        middle = middle_of(crack.lines[0])[None]
        return self._scale_of([each for each in self.found if each.frame in own], middle)

    def _sheet_of(self, found: FrameCracks) -> int:
        placement = self.sheets.placements.get(found.frame)
        return -1 if placement is None else placement.sheet

    def _scale_of(self, found: Sequence[FrameCracks], at: Points | None) -> LengthScale | None:
        factors, stated = [], True
        squares: list[float] = []
        for each in found:
            placement = self.sheets.placements[each.frame]
            values = [mm for mm in each.mm_per_px or () if mm.size]
            if not values:
                continue
            height, width = placement.hw
            middle = np.array([[width / 2, height / 2]])
            place = moved(middle, placement.homography) if at is None else at
            fineness = float(local_scale(inverse(placement.homography), place)[0])
            factors.append(float(np.median(np.concatenate(values))) * fineness)
            squares.append(sum(term**2 for term in (each.scale_terms or {}).values()))
            stated = stated and self.kept.widths[each.frame].is_stated is True
        if not factors:
            return None
        middle_factor = float(np.median(factors))
        spread = 1.4826 * float(np.median(np.abs(np.array(factors) - middle_factor)))
        relative = math.hypot(
            math.sqrt(float(np.mean(squares))), spread / middle_factor / math.sqrt(len(factors))
        )
        return LengthScale(middle_factor, relative, stated)
