"""Whether a model works: it finds a drawn crack and reports none on a clean wall.

Coarse on purpose: any useful model passes; one that finds nothing, is a wrong file or is run
incorrectly by this machine fails. `edgecrack evaluate` measures how good a model is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ModelFileError
from edgecrack.runtime.detector import CrackDetector

LEAST_FOUND = 0.5
_SIDE_PX, _CRACK_PX, _NEAR_PX = 320, 3, 5
_POINTS, _FRACTION_BITS = 40, 4


@dataclass(frozen=True)
class SelfTest:
    """The result of a model on the built-in pictures.

    Attributes:
        found: share of the drawn crack's pixels that it found, 0 to 1.
        false_px: false positive pixels on the clean wall.
        repeatable: whether a second run gave the same values; None without a second run.
    """

    found: float
    false_px: int
    repeatable: bool | None = None

    @property
    def problem(self) -> str:
        """Why the model must not be used, as a clause; "" if it may be."""
        if self.found < LEAST_FOUND:
            return f"finds {self.found:.0%} of the crack that is drawn in a built-in picture"
        if self.false_px:
            return f"takes {self.false_px} pixels of a clean wall, a built-in picture, for a crack"
        if self.repeatable is False:
            return "gives other values when it sees the same picture again"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "found": round(self.found, 4)}


def run_self_test(detector: CrackDetector, *, twice: bool = False) -> SelfTest:
    """Run a model on a cracked wall and on a clean one.

    Values inside the network that are not finite show up as wrong pixels, since a model file's
    output is uint8.

    Args:
        detector: an open model, with its own threshold or the user's.
        twice: whether the cracked wall is run again, to compare the values.

    Raises:
        EdgecrackError: the model cannot be run.
    """
    threshold = detector.runner.spec.threshold
    picture, crack = built_in_picture(cracked=True)
    seen = detector.detect(picture, threshold=threshold)
    near = cv2.dilate(seen.mask, np.ones((_NEAR_PX, _NEAR_PX), np.uint8)) > 0
    found = np.count_nonzero(near & crack) / np.count_nonzero(crack)
    clean, _ = built_in_picture(cracked=False)
    false_px = detector.detect(clean, threshold=threshold).crack_pixels
    repeatable = None
    if twice:
        again = detector.detect(picture, threshold=threshold)
        repeatable = bool(np.array_equal(again.probability, seen.probability))
    return SelfTest(float(found), false_px, repeatable)


def require_self_test(detector: CrackDetector, name: str, *, twice: bool = False) -> SelfTest:
    """As `run_self_test`, but a failed test is an error.

    Raises:
        ModelFileError: the model fails.
        EdgecrackError: it cannot be run.
    """
    done = run_self_test(detector, twice=twice)
    if done.problem:
        raise ModelFileError(
            f"the model {name} {done.problem}",
            "see with `edgecrack evaluate` what it can, or train another one",
        )
    return done


@cache
def built_in_picture(*, cracked: bool) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A wall as a camera sees it, uint8 [H, W, 3], and its crack, bool [H, W]."""
    generator, shape = np.random.default_rng(7), (_SIDE_PX, _SIDE_PX)

    def noise(spread_px: float, levels: float) -> NDArray[np.float32]:
        drawn = generator.normal(0, 1, shape).astype(np.float32)
        smooth = cv2.GaussianBlur(drawn, (0, 0), spread_px)
        return np.asarray(smooth * (levels / float(smooth.std())), np.float32)

    wall = 165 + noise(12, 3) + noise(1, 2)
    crack = np.zeros(shape, np.uint8)
    if cracked:
        columns = np.linspace(-5, _SIDE_PX + 5, _POINTS)
        rows = np.cumsum(generator.normal(0, 5, _POINTS))
        course = np.stack([columns, rows - rows.mean() + _SIDE_PX / 2], axis=1)
        points = np.round(course * (1 << _FRACTION_BITS)).astype(np.int32)
        cv2.polylines(crack, [points], False, 255, _CRACK_PX, cv2.LINE_AA, _FRACTION_BITS)
        wall = wall * (1 - 0.65 * crack.astype(np.float32) / 255)
    wall = cv2.GaussianBlur(wall, (0, 0), 0.7) + generator.normal(0, 1.5, shape)
    gray = np.clip(np.round(wall), 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2), crack > 127
