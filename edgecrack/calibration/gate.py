"""Whether an INT8 file is accurate enough to be handed out.

The gate compares it with the FP32 file on tiles that set none of its ranges. A file that fails
is not written. Knows scores alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecrack.calibration.accuracy import Accuracy
from edgecrack.calibration.defaults import MAX_DROP
from edgecrack.errors import AccuracyError, ConfigError


@dataclass(frozen=True)
class Gate:
    """The drop that is allowed.

    Attributes:
        max_drop: points of ODS, of strict F1 and of recall on thin cracks that INT8 may lose, each;
            0 to 100. ODS alone would allow a shift that another threshold undoes, and recall one
            that flags everything; strict F1 is taken at the threshold that the robot uses.
    """

    max_drop: float = MAX_DROP

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop <= 100:
            raise ConfigError(
                f"the allowed drop is {self.max_drop} points", "give 0 to 100, as in --max-drop 0.5"
            )

    def passes(self, reference: Accuracy, candidate: Accuracy) -> bool:
        """Whether all drops are within the limit."""
        return self.excess(reference, candidate) <= 0

    def excess(self, reference: Accuracy, candidate: Accuracy) -> float:
        """By how many points the worst of the three drops exceeds the limit, or less than 0.

        Not a number where a score is none, which passes no gate.
        """
        drops = (
            reference.ods - candidate.ods,
            reference.strict_f1 - candidate.strict_f1,
            reference.thin_recall - candidate.thin_recall,
        )
        # Rounded, for 86.86 - 86.36 is a hair above 0.5 in floats.
        return round(float(np.max(drops)) - self.max_drop, 9)

    def require(self, reference: Accuracy, candidate: Accuracy, tried: str) -> None:
        """Refuse a candidate that loses too much.

        Args:
            reference: of the FP32 file.
            candidate: of the INT8 file, on the same tiles.
            tried: what was done to save it, in words.

        Raises:
            AccuracyError: saying the numbers and what to try.
        """
        if self.passes(reference, candidate):
            return
        raise AccuracyError(
            f"INT8 loses too much: ODS {reference.ods:.2f} -> {candidate.ods:.2f}, strict F1 "
            f"{reference.strict_f1:.2f} -> {candidate.strict_f1:.2f}, recall on thin cracks "
            f"{reference.thin_recall:.2f} -> {candidate.thin_recall:.2f}, {self.max_drop:g} points "
            f"allowed ({tried})",
            "give more varied images, another --method, a larger --max-drop if you accept the "
            "loss, or use --precision fp16",
        )
