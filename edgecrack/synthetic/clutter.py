"""Objects at the border of the picture: people's legs, kerbs and objects behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecrack.synthetic.canvas import (
    ByteArray,
    Canvas,
    Colour,
    Points,
    fractal_noise,
    oval,
    polygon,
    soft,
    stroke,
)

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
    """A border of the picture with its own coordinates: along it, and into the picture.

    Attributes:
        origin: the corner where it begins, x and y in pixels.
        along: unit vector along the border.
        inward: unit vector into the picture.
        length: length of the border, pixels.
        size: the picture's shorter side, pixels.
    """

    origin: Points
    along: Points
    inward: Points
    length: float
    size: float

    def at(self, alongs: Points, inwards: Points) -> Points:
        """Picture points [N, 2] from distances along and away from the border."""
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


CLOTHES: tuple[Colour, ...] = (
    (120.0, 85.0, 60.0),
    (70.0, 48.0, 38.0),
    (32.0, 31.0, 33.0),
    (105.0, 130.0, 150.0),
    (90.0, 90.0, 92.0),
)


def legs(canvas: Canvas, rng: np.random.Generator) -> None:
    """One or two legs with trousers and shoes, as of the photographer or a passer-by."""
    border = draw_border(canvas, rng, 0.25)
    middle = rng.uniform(0.1, 0.9) * border.length
    length = border.size * rng.uniform(0.06, 0.3)
    half = border.size * rng.uniform(0.035, 0.1)
    cloth = CLOTHES[int(rng.integers(0, len(CLOTHES)))]
    leather = CLOTHES[int(rng.integers(0, len(CLOTHES)))]
    if rng.random() < 0.25:
        leather = (205.0, 205.0, 208.0)
    for number in range(int(rng.integers(1, 3))):
        u = middle + number * half * rng.uniform(2.0, 3.2)
        v = length * rng.uniform(0.8, 1.2)
        turn = border.angle() + np.pi / 2.0 + rng.normal(0.0, 0.35)
        toe = border.at(np.array([u]), np.array([v + half]))[0]
        reach = half * rng.uniform(1.3, 2.3)
        dark = oval(canvas, (toe[0] + 0.4 * half, toe[1] + 0.3 * half), (reach, half), turn)
        canvas.shade(soft(dark, 0.3 * half), rng.uniform(0.35, 0.7))
        shoe = oval(canvas, (toe[0], toe[1]), (reach, 0.8 * half), turn)
        fill(canvas, rng, shoe, leather, 0.15)
        canvas.shade(oval(canvas, (toe[0], toe[1]), (0.9 * reach, 0.68 * half), turn, 1), 0.5)
        ends = np.array([-half, -0.75 * half, 0.75 * half, half])
        inwards = np.array([-20.0, v + 0.4 * half, v + 0.4 * half, -20.0])
        trouser = polygon(canvas, border.at(u + ends, inwards))
        fill(canvas, rng, trouser, cloth, rng.uniform(0.08, 0.25))
        for fold in rng.uniform(0.0, 1.0, int(rng.integers(2, 7))) * v:
            span = np.linspace(-1.0, rng.uniform(-0.2, 0.8), 8)
            sag = rng.normal(0.0, 0.5) * half * (1.0 - span**2)
            crease = stroke(canvas, border.at(u + half * span, fold + sag), int(rng.integers(1, 4)))
            canvas.shade(soft(np.minimum(crease, trouser), 0.7), rng.uniform(0.3, 0.7))
        side = stroke(canvas, border.at(u + ends[2:], inwards[2:]), 2)
        canvas.shade(np.minimum(soft(side, 1.0), trouser), 0.5)


def roadside(canvas: Canvas, rng: np.random.Generator) -> None:
    """A kerb along one border, and behind it a hedge, fence, paving or several objects."""
    border = draw_border(canvas, rng, 0.6)
    us = np.linspace(-0.3, 1.3, 30) * border.length
    depth = border.size * rng.uniform(0.05, 0.24)
    kerb = border.size * rng.uniform(0.02, 0.09)
    bend = border.size * rng.normal(0.0, 0.05) * np.linspace(-1.0, 1.0, 30) ** 2
    outer = np.concatenate([border.at(us, depth + kerb + bend), border.at(us[::-1], 0 * us - 99)])
    stone = polygon(canvas, outer)
    canvas.shade(soft(stone, rng.uniform(1.5, 5.0)), rng.uniform(0.45, 0.85))
    level = rng.uniform(90.0, 200.0)
    fill(canvas, rng, stone, (level * 0.96, level, level * 1.02), 0.08)
    for u in np.arange(-0.1, 1.1, rng.uniform(0.12, 0.35)) * border.length:
        ends = border.at(np.array([u, u]), np.array([0.6 * depth, 1.2 * depth + kerb]))
        canvas.shade(np.minimum(stroke(canvas, ends, 1), stone), 0.45)
    inner = np.concatenate([border.at(us, depth + bend), border.at(us[::-1], 0 * us - 99)])
    beyond = polygon(canvas, inner)
    green = rng.random() < 0.5
    colour = (45.0, 85.0, 70.0) if green else (120.0, 122.0, 128.0)
    rough = rng.uniform(0.3, 0.5) if green else rng.uniform(0.04, 0.2)
    tone = 1.0 + rough * fractal_noise(rng, canvas.hw, 16.0, 1.0, gain=0.85)
    paint = (np.maximum(tone, 0.15)[..., None] * np.array(colour)).astype(np.float32)
    canvas.blend(beyond, paint)
    for _ in range(int(rng.integers(0, 9))):
        thing = _thing(canvas, rng, border, depth)
        shade = PAINTS[int(rng.integers(0, len(PAINTS)))]
        canvas.blend(np.minimum(thing, beyond), shade, rng.uniform(0.6, 1.0))
    canvas.shade(soft(stroke(canvas, border.at(us, depth + bend), 1), 0.5), 0.5)
    canvas.shade(stroke(canvas, border.at(us, depth + kerb + bend), int(rng.integers(1, 4))), 0.4)


def _thing(canvas: Canvas, rng: np.random.Generator, border: Border, depth: float) -> ByteArray:
    """A post, disc or box behind a kerb."""
    u, v = rng.uniform(0.0, 1.0) * border.length, rng.uniform(0.0, 0.9) * depth
    kind = rng.random()
    if kind < 0.4:
        lean = u + rng.normal(0.0, 0.1) * depth
        ends = border.at(np.array([u, lean]), np.array([-5.0, 1.1 * depth]))
        return stroke(canvas, ends, int(rng.integers(1, 6)))
    if kind < 0.65:
        centre = border.at(np.array([u]), np.array([v]))[0]
        axes = (rng.uniform(0.1, 0.5) * depth, rng.uniform(0.1, 0.5) * depth)
        thickness = -1 if rng.random() < 0.5 else 2
        return oval(canvas, (centre[0], centre[1]), axes, border.angle(), thickness)
    span = rng.uniform(0.3, 1.6) * depth
    alongs = np.array([u, u + span, u + span, u])
    return polygon(canvas, border.at(alongs, np.array([-9.0, -9.0, v, v])))
