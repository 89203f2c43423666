"""A frame of reference along one border of the picture, for what reaches in from there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecrack.synthetic.canvas import Canvas, Colour
from edgecrack.synthetic.noise import ByteArray, fractal_noise
from edgecrack.synthetic.shapes import Points

# Colours of varnish, plastic and metal, BGR.
PAINTS: tuple[Colour, ...] = (
    (215.0, 216.0, 218.0),
    (165.0, 166.0, 168.0),
    (38.0, 38.0, 40.0),
    (45.0, 38.0, 165.0),
    (135.0, 75.0, 35.0),
    (45.0, 165.0, 205.0),
    (90.0, 92.0, 96.0),
)


@dataclass(frozen=True)
class Border:
    """A border of the picture with a frame of its own: along it, and into the picture.

    Attributes:
        origin: the corner where it begins, x and y in pixels.
        along: unit vector along the border.
        inward: unit vector into the picture.
        length: how long the border is, pixels.
        size: the picture's shorter side, pixels.
    """

    origin: Points
    along: Points
    inward: Points
    length: float
    size: float

    def at(self, alongs: Points, inwards: Points) -> Points:
        """Points [N, 2] of the picture from distances along and away from the border."""
        points = self.origin + np.outer(alongs, self.along) + np.outer(inwards, self.inward)
        return np.asarray(points, dtype=np.float64)

    def angle(self) -> float:
        """Direction of the border, radians."""
        return float(np.arctan2(self.along[1], self.along[0]))


def draw_border(canvas: Canvas, rng: np.random.Generator, top_share: float = 0.4) -> Border:
    """Choose a border, `top_share` the upper one, with a slight slope."""
    height, width = canvas.hw
    side = 0 if rng.random() < top_share else int(rng.integers(1, 4))
    origin = ((0, 0), (width, 0), (width, height), (0, height))[side]
    turn = side * np.pi / 2.0 + rng.normal(0.0, 0.09)
    along = np.array([np.cos(turn), np.sin(turn)])
    inward = np.array([-np.sin(turn), np.cos(turn)])
    length = float(width if side % 2 == 0 else height)
    return Border(np.array(origin, dtype=float), along, inward, length, float(min(height, width)))


def fill(
    canvas: Canvas, rng: np.random.Generator, shape: ByteArray, colour: Colour, mottle: float
) -> None:
    """Paint a smooth, softly lit opaque body."""
    light = 1.0 + mottle * fractal_noise(rng, canvas.hw, 0.4 * min(canvas.hw), 6.0, gain=0.4)
    light += np.float32(0.015) * rng.standard_normal(canvas.hw, dtype=np.float32)
    paint = light[..., None] * np.array(colour, dtype=np.float32)
    canvas.blend(shape, paint.astype(np.float32))
    canvas.hide(shape)
