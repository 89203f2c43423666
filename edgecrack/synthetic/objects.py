"""Things in front of a surface, and the shadows they cast.

Painted after the cracks. Opaque things hide the cracks under them, so those pixels
leave the mask; a shadow only darkens, so a crack in a shadow stays marked.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgecrack.synthetic.canvas import Canvas, soft, worn
from edgecrack.synthetic.noise import fractal_noise, smooth_step
from edgecrack.synthetic.shapes import (
    Points,
    band,
    blob,
    polygon,
    random_place,
    right_angle,
    stroke,
)


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
    """A window frame, a kerb or a verge along one side, with the dark line where it meets."""
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
