"""Pictures of lines, and predictors whose maps the pictures themselves hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.evaluation.strata.item_result import ItemResult, score_item
from edgecrack.yardstick.manifest import CRACK, Item, Origin, TrueCrack

HW = (60, 70)


@dataclass(frozen=True, eq=False)
class Drawn(Item):
    """An item that holds its pixels: channel 0 is what will be predicted."""

    seen: NDArray[np.uint8] | None = None
    truth: NDArray[np.bool_] | None = None

    def image(self) -> NDArray[np.uint8]:
        assert self.seen is not None
        assert self.truth is not None
        gray = np.where(self.truth, 60, 120).astype(np.uint8)
        return np.dstack([self.seen, gray, gray])

    def mask(self) -> NDArray[np.uint8]:
        assert self.truth is not None
        return np.where(self.truth, 255, 0).astype(np.uint8)


def predict(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the picture says will be predicted."""
    return np.ascontiguousarray(image[:, :, 0])


def drawn(
    name: str,
    truth: NDArray[np.bool_],
    seen: NDArray[np.uint8],
    *,
    kind: str = CRACK,
    origin: Origin = "labelled",
    surface: str = "concrete",
    photo: str = "",
    cracks: Sequence[TrueCrack] = (),
) -> Drawn:
    """An item of its own photo, unless one is given."""
    paths = Path(name), Path(name) if kind == CRACK else None
    return Drawn(
        name, *paths, kind, origin, surface, photo or name, tuple(cracks), seen=seen, truth=truth
    )


def scored(item: Drawn, threshold: float = 0.5) -> ItemResult:
    """The item's result by `predict`."""
    return score_item(predict, item, threshold)


def line_crack(width_px: int, row: int = 30, hw: tuple[int, int] = HW) -> NDArray[np.bool_]:
    """A horizontal crack over the whole width, bool [H, W]."""
    truth = np.zeros(hw, bool)
    truth[row : row + width_px] = True
    return truth


def random_pair(
    rng: np.random.Generator, hw: tuple[int, int] = HW
) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Strokes as truth, and a probability map that has something to do with them."""
    canvas = np.zeros(hw, np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        ends = rng.integers(0, min(hw), (2, 2)).tolist()
        cv2.line(canvas, ends[0], ends[1], 255, int(rng.integers(1, 14)))
    canvas[hw[0] // 2, hw[1] // 2] = 255
    noise = rng.integers(0, 256, hw).astype(np.float64)
    seen = 0.6 * cv2.GaussianBlur(canvas, (0, 0), 1.5) + 0.4 * noise
    return canvas > 0, np.clip(np.rint(seen), 0, 255).astype(np.uint8)
