"""The picture being painted: its pixels, and which of them are crack.

Painters draw a shape as an 8-bit coverage map and hand it here; only the shape's
bounding box is touched, so a small thing on a large wall costs little. A canvas over a
slice of another canvas's arrays paints into the larger one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgecrack.synthetic.noise import ByteArray, FloatArray, fractal_noise, smooth_step

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Canvas:
    """A picture under construction.

    Attributes:
        image: float32 [H, W, 3], BGR, 0 to 255 (clipped only at the end).
        mask: uint8 [H, W], 255 where a crack was painted and is visible.
    """

    image: FloatArray
    mask: ByteArray

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.mask.shape[0], self.mask.shape[1]

    def blank(self) -> ByteArray:
        """An empty coverage map, uint8 [H, W]."""
        return np.zeros(self.hw, dtype=np.uint8)

    def view(self, y0: int, x0: int, y1: int, x1: int) -> Canvas:
        """The part of this canvas between two corners; painting on it paints here."""
        return Canvas(self.image[y0:y1, x0:x1], self.mask[y0:y1, x0:x1])

    def blend(self, coverage: ByteArray, colour: Colour | FloatArray, opacity: float = 1.0) -> None:
        """Cover the picture with a colour (or a [H, W, 3] picture) where `coverage` says."""
        box = bounding_box(coverage)
        if box is None:
            return
        region = self.image[box]
        share = coverage[box].astype(np.float32)[..., None] * np.float32(opacity / 255.0)
        paint = (
            colour[box] if isinstance(colour, np.ndarray) else np.asarray(colour, dtype=np.float32)
        )
        region += (paint - region) * share

    def shade(self, coverage: ByteArray, factor: float | Colour) -> None:
        """Multiply the picture by `factor` (one for all, or one a channel) under `coverage`."""
        box = bounding_box(coverage)
        if box is None:
            return
        share = coverage[box].astype(np.float32)[..., None] * np.float32(1.0 / 255.0)
        self.image[box] *= 1.0 + share * (np.asarray(factor, dtype=np.float32) - np.float32(1.0))

    def hide(self, coverage: ByteArray) -> None:
        """Something opaque lies here: cracks under it cannot be seen and are unmarked."""
        self.mask[coverage >= 128] = 0


def bounding_box(coverage: ByteArray) -> tuple[slice, slice] | None:
    """Row and column slices around the non-zero part of a map; None if it is all zero."""
    x, y, width, height = cv2.boundingRect(coverage)
    if width == 0 or height == 0:
        return None
    return slice(y, y + height), slice(x, x + width)


def worn(
    coverage: ByteArray, rng: np.random.Generator, amount: float, scale_px: float = 24.0
) -> ByteArray:
    """The same map with patches missing, as paint wears or a stain fades.

    Args:
        coverage: uint8 [H, W].
        rng: source of randomness.
        amount: 0 takes away nothing, 1 about everything.
        scale_px: size of the largest missing patches.
    """
    box = bounding_box(coverage)
    if box is None:
        return coverage
    region = coverage[box]
    field = fractal_noise(rng, (region.shape[0], region.shape[1]), scale_px, gain=0.8)
    edge = 4.0 * amount - 2.0
    kept = smooth_step(field, edge - 0.35, edge + 0.35)
    result = np.zeros_like(coverage)
    result[box] = (region * kept).astype(np.uint8)
    return result


def soft(coverage: ByteArray, sigma_px: float) -> ByteArray:
    """The same map with its edges blurred by a Gaussian."""
    if sigma_px <= 0.0:
        return coverage
    return np.asarray(cv2.GaussianBlur(coverage, (0, 0), sigma_px), dtype=np.uint8)
