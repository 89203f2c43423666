"""Objects on the surface that are not cracks, and vehicles cut off by the border."""

from __future__ import annotations

import cv2
import numpy as np

from edgecrack.synthetic.canvas import (
    Canvas,
    Points,
    band,
    blob,
    far_flung_place,
    fractal_noise,
    oval,
    polygon,
    random_place,
    right_angle,
    smooth_sequence,
    smooth_step,
    soft,
    stroke,
    worn,
)
from edgecrack.synthetic.clutter import PAINTS, draw_border, fill


def shadow(canvas: Canvas, rng: np.random.Generator) -> None:
    """A cast shadow: of a building's edge, a pole, a tree; hard or soft."""
    kind = rng.random()
    place = random_place(canvas, rng)
    angle = rng.uniform(0.0, np.pi)
    size = min(canvas.hw)
    if kind < 0.35:
        shape = band(canvas, place, angle, rng.uniform(0.3, 1.2) * size)
    elif kind < 0.6:
        shape = band(canvas, place, angle, rng.uniform(3.0, 0.08 * size + 4.0))
    elif kind < 0.8:
        shape = blob(canvas, rng, rng.uniform(0.2, 0.5) * size, 0.15)
    else:
        field = fractal_noise(rng, canvas.hw, rng.uniform(20.0, 70.0), 6.0, gain=0.5)
        shape = (smooth_step(field, 0.1, 0.5) * 255.0).astype(np.uint8)
    sigma = rng.uniform(0.3, 1.0) if rng.random() < 0.5 else rng.uniform(2.0, 14.0)
    light = rng.uniform(0.4, 0.8)
    canvas.shade(soft(shape, sigma), (light * 1.04, light, light * 0.97))


def cable(canvas: Canvas, rng: np.random.Generator) -> None:
    """A cable or wire: smooth, even in width, with a highlight and a shadow beside it."""
    height, width = canvas.hw
    x, y = random_place(canvas, rng)
    angle = right_angle(rng)
    at = np.linspace(-1.0, 1.0, 60)
    reach = 0.8 * max(height, width)
    sag = rng.normal(0.0, 0.12) * max(height, width)
    wave = rng.normal(0.0, 0.02) * max(height, width) * np.sin(at * rng.uniform(2.0, 6.0))
    across = sag * (1.0 - at**2) + wave
    xs = x + reach * at * np.cos(angle) - across * np.sin(angle)
    ys = y + reach * at * np.sin(angle) + across * np.cos(angle)
    draw_cable(canvas, rng, np.stack([xs, ys], axis=1), int(rng.integers(1, 7)))


def draw_cable(
    canvas: Canvas,
    rng: np.random.Generator,
    points: Points,
    thickness: int,
) -> None:
    """A cable along given points [N, 2], with a random colour and shadow."""
    drop = rng.uniform(0.5, 2.5) * thickness
    if rng.random() < 0.6:
        fallen = stroke(canvas, points + drop, thickness)
        canvas.shade(soft(fallen, 0.4 + 0.3 * thickness), rng.uniform(0.55, 0.85))
    level = rng.uniform(15.0, 70.0) if rng.random() < 0.75 else rng.uniform(150.0, 230.0)
    body = stroke(canvas, points, thickness)
    canvas.blend(body, (level, level * 1.02, level * 1.04))
    if thickness >= 3:
        shine = stroke(canvas, points - 0.2 * thickness, 1)
        canvas.blend(shine, (level + 60.0, level + 60.0, level + 60.0), 0.7)
    canvas.hide(body)


def debris(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fallen leaves and blades or tufts of grass."""
    size = min(canvas.hw)
    for _ in range(int(rng.integers(1, 7))):
        x, y = random_place(canvas, rng)
        tone = rng.uniform(0.6, 1.2)
        green = rng.random() < 0.5
        colour = (40.0, 115.0, 80.0) if green else (50.0, 105.0, 150.0)
        shape = canvas.blank()
        if rng.random() < 0.5:
            axes = (int(rng.uniform(0.01, 0.035) * size) + 2, int(0.008 * size) + 2)
            cv2.ellipse(shape, (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, 255, -1)
        else:
            for _ in range(int(rng.integers(1, 7))):
                angle = rng.uniform(-np.pi, 0.0)
                length = rng.uniform(0.03, 0.14) * size
                at = np.linspace(0.0, 1.0, 8)
                bend = rng.normal(0.0, 0.5)
                blade = [x + length * at * np.cos(angle + bend * at)]
                blade += [y + length * at * np.sin(angle + bend * at)]
                np.maximum(shape, stroke(canvas, np.stack(blade, axis=1), 1), out=shape)
        canvas.shade(soft(np.roll(shape, 2, axis=(0, 1)), 1.0), 0.75)
        canvas.blend(soft(shape, 0.5), (colour[0] * tone, colour[1] * tone, colour[2] * tone))
        canvas.hide(shape)


def manhole(
    canvas: Canvas, rng: np.random.Generator, place_xy: tuple[float, float] | None = None
) -> None:
    """A round cover with a raised pattern, or a drain grid."""
    size = min(canvas.hw)
    x, y = place_xy or random_place(canvas, rng)
    radius = rng.uniform(0.1, 0.28) * size
    plate, gap, ribs = canvas.blank(), canvas.blank(), canvas.blank()
    at = (int(x), int(y))
    tilt = rng.uniform(0.65, 1.0)
    angle = float(rng.uniform(0.0, 180.0))
    if rng.random() < 0.6:
        axes = (int(radius), int(radius * tilt))
        cv2.ellipse(plate, at, axes, angle, 0, 360, 255, -1, cv2.LINE_AA)
        for share in rng.uniform(0.2, 0.9, 3):
            inner = (int(radius * share), int(radius * tilt * share))
            cv2.ellipse(ribs, at, inner, angle, 0, 360, 255, 1, cv2.LINE_AA)
        cv2.ellipse(gap, at, axes, angle, 0, 360, 255, int(rng.integers(1, 4)), cv2.LINE_AA)
        spacing = rng.uniform(5.0, 11.0)
    else:
        corners = cv2.boxPoints((at, (2 * radius, 2 * radius * tilt), angle)).astype(np.float64)
        plate = polygon(canvas, corners)
        outline = np.rint(corners).astype(np.int32)
        cv2.polylines(gap, [outline], True, 255, int(rng.integers(2, 5)), cv2.LINE_AA)
        spacing = rng.uniform(7.0, 16.0)
    for offset in np.arange(-radius, radius, spacing):
        shift = np.deg2rad(angle)
        middle = (x - offset * np.sin(shift), y + offset * np.cos(shift))
        np.maximum(ribs, band(canvas, middle, shift, spacing * 0.35), out=ribs)
    ribs = np.minimum(ribs, plate)
    level = rng.uniform(50.0, 130.0)
    canvas.blend(plate, (level, level * 1.01, level * 1.04), 0.85)
    canvas.shade(ribs, rng.uniform(0.35, 0.7) if rng.random() < 0.6 else rng.uniform(1.2, 1.5))
    canvas.shade(soft(gap, 0.6), rng.uniform(0.2, 0.5))
    canvas.hide(plate)


def object_edge(canvas: Canvas, rng: np.random.Generator) -> None:
    """A window frame, a kerb or a verge along one side, with a dark line at the joint."""
    height, width = canvas.hw
    side = int(rng.integers(0, 4))
    depth = rng.uniform(0.06, 0.25)
    x = {0: 0.0, 1: float(width)}.get(side, width / 2.0)
    y = {2: 0.0, 3: float(height)}.get(side, height / 2.0)
    angle = (np.pi / 2.0 if side < 2 else 0.0) + rng.normal(0.0, 0.06)
    thickness = 2.0 * depth * (width if side < 2 else height)
    body = band(canvas, (x, y), angle, thickness)
    if rng.random() < 0.4:  # A verge of grass or gravel ends raggedly.
        field = fractal_noise(rng, canvas.hw, 14.0, 1.5, gain=0.8)
        ragged = smooth_step(soft(body, 3.0) / np.float32(255.0) + 0.18 * field, 0.4, 0.6)
        body = (ragged * 255.0).astype(np.uint8)
    level = rng.uniform(40.0, 225.0)
    tint = 1.0 + rng.normal(0.0, 0.05, 3)
    texture = fractal_noise(rng, canvas.hw, 12.0, 1.0, gain=0.8) * rng.uniform(0.01, 0.16)
    picture = (level * (1.0 + texture))[..., None] * tint
    contact = band(canvas, (x, y), angle, thickness + rng.uniform(3.0, 10.0))
    canvas.shade(soft(contact, rng.uniform(0.5, 3.0)), rng.uniform(0.4, 0.8))
    canvas.blend(body, picture.astype(np.float32))
    for inset in rng.uniform(0.4, 0.95, int(rng.integers(0, 3))):
        outer = band(canvas, (x, y), angle, thickness * inset)
        inner = band(canvas, (x, y), angle, thickness * inset - 3.0)
        line = np.minimum(np.asarray(cv2.subtract(outer, inner)), body)
        canvas.shade(line, rng.uniform(0.4, 0.8))
    canvas.hide(body)


def inspection_mark(canvas: Canvas, rng: np.random.Generator) -> None:
    """Numbers or ticks that an inspector wrote in chalk or spray paint."""
    x, y = random_place(canvas, rng)
    text = canvas.blank()
    words = f"{rng.integers(1, 99)}-{rng.integers(1, 9)}" if rng.random() < 0.7 else "x"
    unit = min(canvas.hw) / 300.0
    scale = rng.uniform(0.5, 1.4) * unit
    thickness = int(rng.integers(1, 4))
    at = (int(x - 20.0 * unit), int(y))
    cv2.putText(text, words, at, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)
    text = worn(soft(text, 0.6), rng, rng.uniform(0.05, 0.4), 8.0)
    colours = ((230.0, 230.0, 230.0), (40.0, 40.0, 190.0), (45.0, 45.0, 45.0), (180.0, 90.0, 30.0))
    canvas.blend(text, colours[int(rng.integers(0, 4))], rng.uniform(0.5, 0.9))


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
    """A single wheel, upright or flat, with its shadow."""
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
    """Thin dark wheels, spokes and tubes, and their shadow."""
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
