"""Whether the readings from a check sheet agree with its printed values.

Uses the En score of ISO 13528 and ISO/IEC 17043: the difference over the combined expanded
uncertainty (k = 2) of both values. Values agree up to a score of 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecrack.measurement.budget import Figure
from edgecrack.scale.quantity import COVERAGE, Quantity

MOST_SCORE, NEVER_ABOVE = 1.0, 1.5
FEWEST_CRACKS = 3
AGREEING_SHARE = 0.9
# Narrower cracks are too uncertain to test the scale.
_TELLING_MM = 0.3


@dataclass(frozen=True)
class CrackReading:
    """A crack on the sheet and its reading.

    Attributes:
        stated_mm: the printed width.
        true_mm: reference width: from the user's gauge, or as stated, with the printing error.
        is_gauged: whether the user read it with a gauge.
        read_mm: the measured width with its interval; None if it could not be measured.
        reason: why it could not be measured, as a clause; "" if it was.
    """

    stated_mm: float
    true_mm: Quantity
    is_gauged: bool
    read_mm: Figure | None
    reason: str = ""

    @property
    def measurable(self) -> bool:
        """Whether it could be read."""
        return self.read_mm is not None

    @property
    def score(self) -> float | None:
        """En: 0 is exact, up to 1 agrees; negative if the reading is too narrow."""
        if self.read_mm is None:
            return None
        both = math.hypot(self.read_mm.deviation, self.true_mm.deviation or 0.0)
        return (self.read_mm.value - self.true_mm.value) / max(COVERAGE * both, 1e-9)

    def sentence(self) -> str:
        """Such as "0.40 mm: read 0.38 +- 0.05"."""
        if self.read_mm is None:
            return f"{self.stated_mm:.2f} mm: not read, {self.reason}"
        spread = COVERAGE * self.read_mm.deviation
        text = f"{self.stated_mm:.2f} mm: read {self.read_mm.value:.2f} +- {spread:.2f}"
        score = self.score or 0.0
        if abs(score) <= MOST_SCORE:
            return text
        return f"{text}, {'too wide' if score > 0 else 'too narrow'} (En {abs(score):.1f})"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        read = self.read_mm
        return {
            "stated_mm": self.stated_mm,
            "true_mm": {"value": self.true_mm.value, "spread_95": self.true_mm.spread},
            "gauged": self.is_gauged,
            "read_mm": None
            if read is None
            else {"value": read.value, "low": read.low, "high": read.high, "terms": {**read.terms}},
            "score": self.score,
            "measurable": self.measurable,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class ScaleCheck:
    """The given scale compared with that of the sheet's own markers.

    Attributes:
        deviation: relative excess of the given scale, with its standard uncertainty.
        is_stated: whether the uncertainty of the given scale is known.
        is_bar_measured: whether the user measured the sheet's bar.
    """

    deviation: Quantity
    is_stated: bool
    is_bar_measured: bool

    @property
    def score(self) -> float:
        """The En score."""
        return self.deviation.value / max(self.deviation.spread or 0.0, 1e-9)

    @property
    def agrees(self) -> bool:
        """Whether both scales agree within their uncertainty."""
        return abs(self.score) <= MOST_SCORE

    def sentence(self) -> str:
        """The difference and, if it is too large, its usual cause."""
        share, spread = self.deviation.value, self.deviation.spread or 0.0
        text = (
            f"the given scale is {abs(share):.1%} {'larger' if share > 0 else 'smaller'} than that "
            f"of the sheet's markers, +-{spread:.1%}"
        )
        if self.agrees:
            return text
        if self.is_bar_measured:
            return f"{text}: the distance or the camera's calibration is wrong"
        return (
            f"{text}: the sheet was printed at another size (measure its bar), or the distance is "
            "wrong"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "deviation": self.deviation.value,
            "spread_95": self.deviation.spread,
            "score": self.score,
            "agrees": self.agrees,
            "uncertainty_stated": self.is_stated,
            "bar_measured": self.is_bar_measured,
        }


@dataclass(frozen=True)
class SiteCheck:
    """Result of checking camera, distance and software with an image of the check sheet.

    Attributes:
        version: sheet version.
        markers: numbers of the visible markers.
        cracks: all cracks on the sheet, narrowest first.
        scale: the given scale compared with the sheet's own.
        scale_source: where the given scale comes from.
        is_by_itself: the scale comes from the sheet's own markers, and its bar was not measured.
    """

    version: int
    markers: tuple[int, ...]
    cracks: tuple[CrackReading, ...]
    scale: ScaleCheck
    scale_source: str
    is_by_itself: bool = False

    @property
    def read(self) -> tuple[CrackReading, ...]:
        """The cracks that could be read."""
        return tuple(crack for crack in self.cracks if crack.measurable)

    @property
    def mean_deviation(self) -> Quantity | None:
        """Mean relative deviation of cracks of 0.3 mm and wider; None if none was read."""
        return _mean_deviation([crack for crack in self.read if crack.stated_mm >= _TELLING_MM])

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the check failed, one clause each; empty if it passed."""
        found = []
        if self.is_by_itself:
            found.append(
                "the scale comes from the sheet's own markers: measure its bar, or a wrong print "
                "size would not be noticed"
            )
        if not self.scale.agrees:
            found.append(self.scale.sentence())
        read = self.read
        if len(read) < FEWEST_CRACKS:
            found.append(
                f"{len(read)} of {len(self.cracks)} cracks could be read; {FEWEST_CRACKS} are "
                "needed: photograph the whole sheet, from closer or sharper"
            )
        wrong = [crack for crack in read if abs(crack.score or 0.0) > MOST_SCORE]
        far = [crack for crack in wrong if abs(crack.score or 0.0) > NEVER_ABOVE]
        if far or len(read) - len(wrong) < AGREEING_SHARE * len(read):
            widths = ", ".join(f"{crack.stated_mm:.2f}" for crack in wrong)
            found.append(f"the cracks of {widths} mm were not read within their uncertainty")
        mean = self.mean_deviation
        if mean is not None and abs(mean.value) > (mean.spread or 0.0):
            found.append(
                f"cracks of {_TELLING_MM} mm and more were read {abs(mean.value):.1%} too "
                f"{'wide' if mean.value > 0 else 'narrow'} on average, +-{mean.spread:.1%}"
            )
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether enough cracks were read, nearly all of them right, and the scales agree."""
        return not self.problems

    def sentences(self) -> list[str]:
        """The verdict with its reasons, then one line per crack."""
        verdict = "site check passed" if self.passed else "site check failed"
        lines = [f"{verdict}: {len(self.read)} of {len(self.cracks)} cracks read"]
        if self.scale.agrees:
            lines.append(self.scale.sentence())
        return [*lines, *self.problems, *(crack.sentence() for crack in self.cracks)]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        mean = self.mean_deviation
        return {
            "passed": self.passed,
            "problems": list(self.problems),
            "sheet_version": self.version,
            "markers": list(self.markers),
            "scale_source": self.scale_source,
            "scale": self.scale.to_dict(),
            "mean_deviation": None
            if mean is None
            else {"value": mean.value, "spread_95": mean.spread},
            "cracks": [crack.to_dict() for crack in self.cracks],
        }


def _mean_deviation(cracks: Sequence[CrackReading]) -> Quantity | None:
    """Mean of the relative deviations.

    Noise and gauge readings are independent between cracks; all other errors are common to them,
    including the printer's.
    """
    if not cracks:
        return None
    true = np.array([crack.true_mm.value for crack in cracks])
    figures = [crack.read_mm for crack in cracks if crack.read_mm is not None]
    shares = np.array([figure.value for figure in figures]) / true - 1
    names = sorted({name for figure in figures for name in figure.terms})
    terms = {
        name: np.array([figure.terms.get(name, 0.0) for figure in figures]) / true for name in names
    }
    own = np.array([crack.true_mm.deviation or 0.0 for crack in cracks]) / true
    gauged = np.array([crack.is_gauged for crack in cracks])
    independent = [terms.pop("noise", np.zeros(len(cracks))), np.where(gauged, own, 0.0)]
    common = [*terms.values(), np.where(gauged, 0.0, own)]
    variance = sum(float(np.square(each).sum()) / len(cracks) ** 2 for each in independent)
    variance += sum(float(each.mean()) ** 2 for each in common)
    return Quantity(float(shares.mean()), math.sqrt(variance))
