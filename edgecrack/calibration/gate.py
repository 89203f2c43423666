"""Whether an INT8 file is accurate enough to be written.

The gate compares it with the FP32 file on tiles that set none of its ranges. With labels, both are
scored by them. Without, the gate measures how far the INT8 file agrees with FP32, with limits of
its own. What is judged is not the measured drop but its upper confidence bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from edgecrack.calibration import defaults
from edgecrack.calibration.accuracy import (
    CONFIDENCE,
    DRAWS,
    LEAST_IMAGES,
    ImageCounts,
    draw_images,
    scores_of,
    upper_bound,
)
from edgecrack.errors import AccuracyError
from edgecrack.settings import settings
from edgecrack.terminal.wording import counted

Kind = Literal["labels", "agreement"]
"""By labels, or by agreement with the FP32 file where there are none."""

FLAGGED = "bare_flagged"
NAMES: Mapping[str, str] = {
    "ods": "ODS",
    "strict_f1": "strict F1",
    "tolerant_f1": "agreement with FP32 within 2 px",
    "thin_recall": "recall on thin cracks",
    FLAGGED: "flagged where there is no crack",
}
_LIMITS: Mapping[Kind, Mapping[str, float]] = {
    "labels": {
        # ODS alone would allow a shift that another threshold undoes, and recall alone would allow
        # flagging everything; strict F1 is measured at the threshold that the robot uses.
        "ods": defaults.MAX_DROP,
        "strict_f1": defaults.MAX_DROP,
        "thin_recall": defaults.MAX_DROP,
    },
    "agreement": {
        "tolerant_f1": defaults.MAX_DISAGREEMENT,
        "thin_recall": defaults.MAX_THIN_DISAGREEMENT,
    },
}
_FLAGGED_SHARE = 0.1  # of what FP32 flags, which INT8 may flag in addition in any case


@dataclass(frozen=True)
class Judged:
    """One score of both files, in points of 100; the flagged area in percent.

    Attributes:
        score: its name, one of `NAMES`.
        before: of the FP32 file.
        after: of the INT8 file.
        drop: what INT8 loses, or flags beyond FP32.
        upper: upper bound of the drop with 95 % confidence.
        limit: largest allowed `upper`.
    """

    score: str
    before: float
    after: float
    drop: float
    upper: float
    limit: float

    @property
    def excess(self) -> float:
        """By how much the limit is exceeded; negative where it is not."""
        # Rounded, since 86.86 - 86.36 is slightly above 0.5 in floats.
        return round(self.upper - self.limit, 9)

    @property
    def unsure(self) -> bool:
        """Whether the drop is within the limit and only its upper bound is not."""
        return self.excess > 0 and round(self.drop - self.limit, 9) <= 0

    def to_dict(self) -> dict[str, float]:
        """The figures as a sidecar stores them."""
        values = {
            "fp32": self.before,
            "int8": self.after,
            "drop": self.drop,
            "upper": self.upper,
            "limit": self.limit,
        }
        return {name: round(value, 4) for name, value in values.items()}

    def __str__(self) -> str:
        lost = f"{self.before:.2f} -> {self.after:.2f}"
        return (
            f"{NAMES[self.score]} {lost} ({self.drop:+.2f}, at most {self.upper:+.2f}, "
            f"{self.limit:.4g} allowed)"
        )


@dataclass(frozen=True)
class Verdict:
    """The verdict of a gate on one file.

    Attributes:
        kind: the gate.
        tiles: number of tiles.
        images: number of images that the tiles are from.
        judged: the scores, in the order of a table.
        missing: scores that these tiles do not determine, because no crack is thin or no tile is
            free of cracks.
    """

    kind: Kind
    tiles: int
    images: int
    judged: tuple[Judged, ...]
    missing: tuple[str, ...] = ()

    @property
    def excess(self) -> float:
        """By how much the worst score exceeds its limit; negative where none does."""
        return max(item.excess for item in self.judged)

    @property
    def passed(self) -> bool:
        """Whether every score is within its limit."""
        return self.excess <= 0

    def to_dict(self) -> dict[str, Any]:
        """The verdict as a sidecar stores it."""
        return {
            "kind": self.kind,
            "tiles": self.tiles,
            "images": self.images,
            "passed": self.passed,
            "confidence": CONFIDENCE,
            "draws": DRAWS,
            "scores": {item.score: item.to_dict() for item in self.judged},
            "not_judged": list(self.missing),
        }


@settings()
class Gate:
    """What INT8 may lose.

    Attributes:
        max_drop: points that each score may lose at the upper end of its confidence interval, 0 to
            100; None for the defaults, which differ between the two kinds of gate.
        max_flagged: percent of the crack-free area that INT8 may flag beyond FP32, 0 to 100, plus
            a tenth of what FP32 flags.
    """

    max_drop: Annotated[float, Field(ge=0, le=100)] | None = None
    max_flagged: Annotated[
        float, Field(ge=0, le=100, description="a number from 0 to 100, such as 0.05")
    ] = defaults.MAX_FLAGGED

    def judge(
        self, kind: Kind, reference: ImageCounts, candidate: ImageCounts, seed: int, tiles: int
    ) -> Verdict:
        """Judge an INT8 file.

        Args:
            kind: the gate.
            reference: counts of the FP32 file on each image.
            candidate: counts of the INT8 file on the same images.
            seed: draws the images of the bootstrap.
            tiles: number of tiles of the images.
        """
        images = len(reference)
        # The first row is the measurement, the others are draws.
        weights = np.vstack([np.ones((1, images), np.int64), draw_images(images, seed)])
        before, after = (scores_of(item.summed(weights)) for item in (reference, candidate))
        limits = self._limits(kind, float(before[FLAGGED][0]))
        missing = _missing(reference)
        judged = []
        for name, limit in limits.items():
            lost = before[name] - after[name] if name != FLAGGED else after[name] - before[name]
            figures = (float(before[name][0]), float(after[name][0]), float(lost[0]))
            if name not in missing:
                judged.append(Judged(name, *figures, upper_bound(lost[1:], images), limit))
        return Verdict(kind, tiles, images, tuple(judged), tuple(n for n in limits if n in missing))

    def _limits(self, kind: Kind, flagged: float) -> dict[str, float]:
        limits = dict(_LIMITS[kind])
        if self.max_drop is not None:
            limits = dict.fromkeys(limits, self.max_drop)
        return {**limits, FLAGGED: self.max_flagged + _FLAGGED_SHARE * flagged}


def refusal(
    verdict: Verdict, tried: str, *, confirming: bool = False, choosable: bool = True
) -> AccuracyError:
    """The error of a refused file, with the figures and the remedy.

    Args:
        verdict: a failed one.
        tried: what was tried, in words.
        confirming: whether the tiles are those that should have confirmed a choice of layers.
        choosable: whether there are enough tiles to choose layers by.
    """
    exceeded = [item for item in verdict.judged if item.excess > 0]
    lead = "INT8 loses too much by the labels"
    if verdict.kind == "agreement":
        lead = "INT8 differs too much from FP32, which replaces the labels that the data lack"
    if confirming:
        lead = f"the chosen layers fail on tiles that were not used to choose them: {lead}"
    problem = (
        f"{lead}: {', '.join(map(str, exceeded))} on {counted(verdict.tiles, 'tile')} of "
        f"{counted(verdict.images, 'image')} ({tried})"
    )
    return AccuracyError(problem, _remedy(exceeded, verdict.images, choosable))


def _remedy(exceeded: list[Judged], images: int, choosable: bool) -> str:
    options = {"`max_flagged`" if item.score == FLAGGED else "`max_drop`" for item in exceeded}
    larger = f"a larger {' and '.join(sorted(options))}"
    if all(item.unsure for item in exceeded):
        return (
            f"give more images: the measured drop is within the limit, and only the confidence "
            f"bound of {images} images is not; or {larger} if you accept that"
        )
    more = "more varied images"
    if not choosable:
        more = (
            f"{2 * LEAST_IMAGES} held-out images or more, several with a crack, so that the layers "
            "to keep in FP16 can be chosen on some and confirmed on others"
        )
    return f"give {more}, another `method`, {larger} if you accept it, or use `precision` fp16"


def _missing(counts: ImageCounts) -> set[str]:
    """Scores that the images do not determine."""
    parts = {"thin_recall": counts.thin, FLAGGED: counts.bare}
    return {name for name, pixels in parts.items() if not pixels.any()}
