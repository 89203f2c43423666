"""Cars, wheels and bicycles that stand on a road, mostly cut off by the picture's border.

They are abstract shapes: what counts is that their outlines are smooth and dark, that
their gaps and tubes are even in width, and that they look unlike the surface on one side.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgecrack.synthetic.borders import PAINTS, draw_border, fill
from edgecrack.synthetic.canvas import Canvas, soft
from edgecrack.synthetic.noise import smooth_sequence
from edgecrack.synthetic.shapes import far_flung_place, oval, polygon, stroke


def vehicle(canvas: Canvas, rng: np.random.Generator) -> None:
    """A parked car: its body with gaps and highlights, dark below, and up to two wheels."""
    border = draw_border(canvas, rng)
    at = np.linspace(-0.2, 1.2, 40)
    depth = border.size * rng.uniform(0.07, 0.3)
    bulge = 1.0 + 0.25 * smooth_sequence(rng, 40, 16.0)
    begin = rng.uniform(0.1, 0.8) if rng.random() < 0.6 else -0.5
    rounded = np.clip((at - begin) * 5.0, 0.0, 1.0) ** 0.5
    if rng.random() < 0.5:
        rounded = rounded[::-1]
    edge = depth * bulge * rounded - 2.0
    us = at * border.length
    corners = np.concatenate([border.at(us, edge), border.at(us[::-1], 0.0 * us - 60.0)])
    shade_edge = edge + depth * rng.uniform(0.15, 0.7) * rounded
    below = np.concatenate([border.at(us, shade_edge), border.at(us[::-1], 0.0 * us - 60.0)])
    under = polygon(canvas, below)
    light = rng.uniform(0.15, 0.5)
    canvas.shade(soft(under, rng.uniform(1.0, 5.0)), light)
    if light < 0.35:  # Too dark below to see a crack.
        canvas.hide(under)
    radius = depth * rng.uniform(0.6, 1.0)
    for _ in range(int(rng.integers(0, 3))):
        u = rng.uniform(0.1, 0.9) * border.length
        hub = border.at(np.array([u]), np.array([0.75 * depth]))[0]
        _wheel(canvas, rng, (hub[0], hub[1]), radius, border.angle())
    body = polygon(canvas, corners)
    colour = PAINTS[int(rng.integers(0, len(PAINTS)))]
    fill(canvas, rng, body, colour, rng.uniform(0.05, 0.2))
    for _ in range(int(rng.integers(1, 4))):
        share = rng.uniform(0.1, 0.95)
        line = stroke(canvas, border.at(us, share * edge), int(rng.integers(1, 4)))
        dark = rng.random() < 0.6
        canvas.shade(np.minimum(line, body), rng.uniform(0.15, 0.5) if dark else 1.5)
    for u in rng.uniform(0.0, 1.0, int(rng.integers(0, 4))) * border.length:
        drift = rng.normal(0.0, 0.15) * depth
        ends = border.at(np.array([u, u + drift]), np.array([-5.0, 1.4 * depth]))
        canvas.shade(np.minimum(stroke(canvas, ends, int(rng.integers(1, 3))), body), 0.3)
    if rng.random() < 0.6:
        u, v = rng.uniform(0.1, 0.9) * border.length, rng.uniform(0.3, 0.7) * depth
        lamp = border.at(np.array([u]), np.array([v]))[0]
        axes = (0.5 * depth, 0.22 * depth)
        glass = np.minimum(oval(canvas, (lamp[0], lamp[1]), axes, border.angle()), body)
        level = rng.uniform(30.0, 230.0)
        canvas.blend(glass, (level, level, level * 0.95))
    canvas.shade(np.minimum(stroke(canvas, border.at(us, edge - 1.0), 2), body), 0.45)


def wheel(canvas: Canvas, rng: np.random.Generator) -> None:
    """A wheel alone, standing or lying, with its shadow."""
    place = far_flung_place(canvas, rng)
    radius = rng.uniform(0.08, 0.3) * min(canvas.hw)
    fallen = oval(canvas, (place[0], place[1] + 0.5 * radius), (1.2 * radius, 0.8 * radius), 0.0)
    canvas.shade(soft(fallen, 0.15 * radius), rng.uniform(0.4, 0.8))
    _wheel(canvas, rng, place, radius, rng.uniform(0.0, np.pi))


def _wheel(
    canvas: Canvas,
    rng: np.random.Generator,
    hub_xy: tuple[float, float],
    radius: float,
    angle_rad: float,
) -> None:
    """A dark tyre around a rim with spokes or holes."""
    squash = rng.uniform(0.55, 1.0)
    tyre = oval(canvas, hub_xy, (radius, radius * squash), angle_rad)
    dark = rng.uniform(18.0, 48.0)
    fill(canvas, rng, tyre, (dark, dark, dark * 1.03), 0.15)
    for share in rng.uniform(0.72, 0.97, int(rng.integers(1, 4))):
        axes = (radius * share, radius * squash * share)
        canvas.shade(oval(canvas, hub_xy, axes, angle_rad, 1), rng.choice((0.5, 1.6)))
    rim = rng.uniform(0.5, 0.7)
    metal = rng.uniform(70.0, 205.0)
    axes = (radius * rim, radius * squash * rim)
    canvas.blend(oval(canvas, hub_xy, axes, angle_rad), (metal, metal, metal))
    count = int(rng.integers(4, 11))
    direct = np.array([np.cos(angle_rad), np.sin(angle_rad)])
    aside = np.array([-direct[1], direct[0]]) * squash
    for turn in np.arange(count) * (2 * np.pi / count):
        turns = turn + np.array([-0.28, -0.32, 0.32, 0.28]) * 6.0 / count
        reach = radius * rim * np.array([0.35, 0.9, 0.9, 0.35])
        hole = np.outer(reach * np.cos(turns), direct) + np.outer(reach * np.sin(turns), aside)
        canvas.blend(polygon(canvas, hole + hub_xy), (dark * 0.8, dark * 0.8, dark * 0.8))
    canvas.shade(oval(canvas, hub_xy, axes, angle_rad, 2), 0.4)


def bicycle(canvas: Canvas, rng: np.random.Generator) -> None:
    """Thin dark hoops, spokes and tubes, and the same once more as a shadow."""
    x, y = far_flung_place(canvas, rng)
    radius = rng.uniform(0.06, 0.22) * min(canvas.hw)
    turn = rng.normal(0.0, 0.15) + (np.pi / 2.0 if rng.random() < 0.2 else 0.0)
    squash = rng.uniform(0.45, 1.0)
    thickness = max(1, int(radius * rng.uniform(0.05, 0.12)))
    cosine, sine = np.cos(turn), np.sin(turn)
    frame = np.array([[cosine * squash, sine * squash], [-sine, cosine]])
    hubs = np.array([[-1.35, 0.0], [1.35, 0.0]]) * radius @ frame + (x, y)
    knots = np.array([[-1.35, 0], [-0.55, -1.5], [0.85, -1.4], [1.35, 0], [-0.2, 0.1]])
    knots = knots * radius @ frame + (x, y)
    tubes = ((0, 4, 2), (1, 4), (0, 1, 2), (2, 3))
    lines, spokes = canvas.blank(), canvas.blank()
    for path in tubes:
        np.maximum(lines, stroke(canvas, knots[list(path)], thickness), out=lines)
    for hub in hubs:
        rim = oval(canvas, (hub[0], hub[1]), (radius * squash, radius), turn, thickness)
        np.maximum(lines, rim, out=lines)
        for angle in np.linspace(0.0, np.pi, int(rng.integers(4, 10)), endpoint=False):
            reach = radius * np.array([[np.cos(angle), np.sin(angle)]]) @ frame
            ends = np.concatenate([hub + reach, hub - reach])
            np.maximum(spokes, stroke(canvas, ends, 1), out=spokes)
    both = np.maximum(lines, (0.5 * spokes).astype(np.uint8))
    drop = (int(rng.uniform(0.1, 0.6) * radius), int(rng.uniform(-0.6, 0.6) * radius))
    move = np.array([[1, 0, drop[1]], [0, 1, drop[0]]], dtype=np.float64)
    fallen = cv2.warpAffine(both, move, (canvas.hw[1], canvas.hw[0]))
    canvas.shade(soft(np.asarray(fallen, np.uint8), 1.0), rng.uniform(0.5, 0.8))
    canvas.blend(both, PAINTS[int(rng.choice((2, 2, 3, 4, 6)))])
    canvas.blend(lines, (35.0, 34.0, 34.0), 0.5)
    canvas.hide(lines)
