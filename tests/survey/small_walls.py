"""A small rough wall with cracks, and a camera that looks at parts of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.measurement.centre_lines import follow, thin
from edgecrack.measurement.cracks import Crack
from edgecrack.measurement.fitness import Verdict
from edgecrack.survey.inventory import FrameCracks
from edgecrack.survey.plane_geometry import Matrix
from edgecrack.survey.sheets import SheetBuilder
from edgecrack.survey.track import FrameTracker, Step

HW = (200, 300)
Image = NDArray[np.uint8]


def rough_wall(height: int = 420, width: int = 760, seed: int = 0) -> Image:
    """A texture that is found again."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), sigma) * sigma * weight
        for sigma, weight in ((1, 30.0), (2.5, 40.0), (7, 30.0))
    ]
    return np.clip(130 + sum(layers), 0, 255).astype(np.uint8)


def crack_mask(hw: tuple[int, ...], lines: Iterable[Sequence[tuple[float, float]]]) -> Image:
    mask = np.zeros(hw, np.uint8)
    for line in lines:
        cv2.polylines(mask, [np.array(line, np.int32)], False, 255, 3)
    return mask


def shifted(x: float, y: float, scale: float = 1.0, turn: float = 0.0) -> Matrix:
    """From a frame's pixels to the wall's."""
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([[cosine, -sine, x], [sine, cosine, y], [0, 0, 1]])


def seen(wall: Image, to_wall: Matrix, hw: tuple[int, int] = HW) -> Image:
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    way = np.linalg.inv(half) @ to_wall @ half
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(wall, way, hw[::-1], flags=flags), np.uint8)


def along(x0: float, x1: float, y: float, step: float = 20.0) -> list[Matrix]:
    count = int(abs(x1 - x0) / step) + 1
    return [
        shifted(x, y, 1 + 0.01 * np.sin(x / 50), 0.01 * np.cos(x / 40))
        for x in np.linspace(x0, x1, count)
    ]


def found_in(frame: int, mask: Image, verdict: Verdict = "measure") -> FrameCracks:
    """The connected cracks of a true mask, without widths."""
    _, parts = cv2.connectedComponents((mask > 127).astype(np.uint8), None, 8)
    rows, columns = np.nonzero(thin(mask > 127))
    groups = np.asarray(parts)[rows, columns]
    cracks = []
    for group in np.unique(groups):
        own = groups == group
        lines = tuple(follow(rows[own], columns[own], 8))
        length = sum(line.length_px for line in lines)
        if length >= 10:
            box = (0, 0, 0, 0)
            cracks.append(Crack(lines, length, 0, box, 0.0, 1.0, (), None, None, None, None))
    return FrameCracks(frame, cracks, verdict)


def followed(
    images: Iterable[Image], builder: SheetBuilder | None = None
) -> tuple[SheetBuilder, list[Step]]:
    tracker, builder = FrameTracker(), builder or SheetBuilder()
    steps = []
    for image in images:
        steps.append(tracker.add(image))
        builder.add(steps[-1], image)
    return builder, steps
