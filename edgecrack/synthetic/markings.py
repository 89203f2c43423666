"""Flat things on a surface that are not cracks: joints, stains, streaks, paint, pits.

Each painter draws one object of random place and size, before the cracks, which continue over
all of them. None of them changes the mask.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgecrack.synthetic.canvas import (
    Canvas,
    band,
    blob,
    polygon,
    random_place,
    right_angle,
    soft,
    stroke,
    worn,
)


def straight_joint(canvas: Canvas, rng: np.random.Generator) -> None:
    """A construction or expansion joint: straight, even in width, often soft-edged."""
    width = rng.uniform(1.2, 9.0)
    place, angle = random_place(canvas, rng), right_angle(rng)
    joint = band(canvas, place, angle, width)
    if rng.random() < 0.4:
        joint = worn(joint, rng, rng.uniform(0.1, 0.35), 40.0)
    if rng.random() < 0.4:
        shifted = (place[0] + width, place[1] + width)
        canvas.shade(soft(band(canvas, shifted, angle, 2.0), 0.7), rng.uniform(1.1, 1.3))
    canvas.shade(soft(joint, rng.uniform(0.4, 1.4)), rng.uniform(0.3, 0.75))


def formwork(canvas: Canvas, rng: np.random.Generator) -> None:
    """Board marks: parallel lines with a step in brightness, sometimes with tie holes."""
    height, width = canvas.hw
    angle = float(rng.integers(0, 2) * np.pi / 2.0 + rng.normal(0.0, 0.015))
    spacing = rng.uniform(40.0, 200.0)
    x, y = random_place(canvas, rng)
    for count in range(int(rng.integers(1, 5))):
        place = (x - np.sin(angle) * spacing * count, y + np.cos(angle) * spacing * count)
        line = soft(band(canvas, place, angle, rng.uniform(1.0, 3.0)), 0.6)
        canvas.shade(line, rng.uniform(0.72, 0.95) if rng.random() < 0.7 else 1.15)
        if rng.random() < 0.5:
            side = rng.uniform(20.0, spacing)
            beside = (place[0] - np.sin(angle) * side / 2, place[1] + np.cos(angle) * side / 2)
            canvas.shade(soft(band(canvas, beside, angle, side), 1.0), rng.uniform(0.93, 1.06))
    if rng.random() < 0.4:
        radius = int(rng.integers(3, 9))
        hole = canvas.blank()
        for _ in range(int(rng.integers(1, 4))):
            at = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
            cv2.circle(hole, at, radius, 255, -1, cv2.LINE_AA)
        canvas.shade(soft(hole, 0.8), rng.uniform(0.15, 0.5))


def stain(canvas: Canvas, rng: np.random.Generator) -> None:
    """A damp patch, rust, soot or lime bloom, some with the dark rim of a dried puddle."""
    radius = rng.uniform(0.06, 0.35) * min(canvas.hw)
    patch = blob(canvas, rng, radius, rng.uniform(0.12, 0.5))
    kind = rng.random()
    colour = (0.72, 0.74, 0.76) if kind < 0.45 else (0.55, 0.75, 0.92)
    if kind > 0.75:
        colour = (1.3, 1.28, 1.25)
    strength = rng.uniform(0.4, 1.1)
    factor = tuple(1.0 + strength * (channel - 1.0) for channel in colour)
    canvas.shade(soft(patch, rng.uniform(0.6, 6.0)), (factor[0], factor[1], factor[2]))
    if rng.random() < 0.35:
        inner = cv2.erode(patch, np.ones((3, 3), np.uint8), iterations=2)
        rim = cv2.subtract(patch, np.asarray(inner))
        canvas.shade(soft(np.asarray(rim, dtype=np.uint8), 0.9), rng.uniform(0.75, 0.92))


def drips(canvas: Canvas, rng: np.random.Generator) -> None:
    """Water streaks down a wall from an edge, dark or pale, fading downwards."""
    height, width = canvas.hw
    top = rng.uniform(-0.1, 0.6) * height
    left = rng.uniform(0.0, 0.9) * width
    spread = rng.uniform(0.05, 0.5) * width
    factor = rng.uniform(0.55, 0.88) if rng.random() < 0.75 else rng.uniform(1.1, 1.3)
    streaks = canvas.blank()
    for _ in range(int(rng.integers(1, 9))):
        x = left + rng.uniform(0.0, spread)
        length = rng.uniform(0.15, 0.9) * height
        half = rng.uniform(0.7, 7.0)
        ys = np.linspace(0.0, 1.0, 12)
        sway = np.cumsum(rng.normal(0.0, 0.5, 12))
        profile = half * np.sqrt(np.maximum(1.0 - ys, 0.02))
        left_side = np.stack([x + sway - profile, top + ys * length], axis=1)
        right_side = np.stack([x + sway + profile, top + ys * length], axis=1)
        one = polygon(canvas, np.concatenate([left_side, right_side[::-1]]))
        np.maximum(streaks, one, out=streaks)
    fade = np.clip(1.0 - (np.arange(height) - top) / (0.95 * height), 0.0, 1.0)
    fade = fade * np.clip((np.arange(height) - top) / (0.08 * height), 0.0, 1.0)
    faded = (soft(streaks, rng.uniform(0.8, 3.0)) * fade[:, None]).astype(np.uint8)
    canvas.shade(faded, factor)


def lane_paint(canvas: Canvas, rng: np.random.Generator) -> None:
    """A painted line, white or yellow, solid or dashed, worn down to the surface."""
    angle = right_angle(rng)
    place = random_place(canvas, rng)
    width = rng.uniform(0.04, 0.22) * min(canvas.hw)
    paint = band(canvas, place, angle, width)
    if rng.random() < 0.3:
        gap = band(canvas, place, angle + np.pi / 2.0, rng.uniform(1.0, 4.0) * width)
        paint = np.asarray(cv2.subtract(paint, gap), dtype=np.uint8)
    paint = worn(paint, rng, rng.uniform(0.05, 0.6), rng.uniform(5.0, 30.0))
    colour = (205.0, 210.0, 212.0) if rng.random() < 0.65 else (70.0, 170.0, 215.0)
    level = rng.uniform(0.75, 1.1)
    shade = (colour[0] * level, colour[1] * level, colour[2] * level)
    canvas.blend(soft(paint, 0.5), shade, rng.uniform(0.35, 0.95))


def bug_holes(canvas: Canvas, rng: np.random.Generator) -> None:
    """Pits left by air bubbles: small dark ellipses with one lit edge."""
    height, width = canvas.hw
    count = int(rng.uniform(4, 45) * max(1.0, height * width / 90_000.0))
    largest = rng.uniform(1.0, 5.0)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    pits, lit = canvas.blank(), canvas.blank()
    offset = (1.2 * np.cos(angle), 1.2 * np.sin(angle))
    for x, y, size in rng.uniform(0.0, 1.0, (count, 3)).tolist():
        radius = 0.5 + largest * size**3
        axes = (int(16 * radius), int(16 * radius * (0.6 + 0.4 * size)))
        at = (int(16 * x * width), int(16 * y * height))
        beside = (at[0] + int(16 * offset[0]), at[1] + int(16 * offset[1]))
        cv2.ellipse(lit, beside, axes, 90 * size, 0, 360, 255, -1, cv2.LINE_AA, 4)
        cv2.ellipse(pits, at, axes, 90 * size, 0, 360, 255, -1, cv2.LINE_AA, 4)
    canvas.shade(lit, rng.uniform(1.0, 1.25))
    canvas.shade(pits, rng.uniform(0.3, 0.8))


def scratches(canvas: Canvas, rng: np.random.Generator) -> None:
    """Thin straight or slightly bent scrapes, mostly paler than the surface."""
    factor = rng.uniform(1.15, 1.6) if rng.random() < 0.7 else rng.uniform(0.55, 0.8)
    heading = rng.uniform(0.0, np.pi)
    lines = canvas.blank()
    for _ in range(int(rng.integers(1, 8))):
        x, y = random_place(canvas, rng)
        length = rng.uniform(0.05, 0.5) * min(canvas.hw)
        angle = heading + rng.normal(0.0, 0.2)
        turn = rng.normal(0.0, 0.25)
        at = np.linspace(-0.5, 0.5, 10)
        xs = x + length * at * np.cos(angle + turn * at)
        ys = y + length * at * np.sin(angle + turn * at)
        thickness = 1 if rng.random() < 0.65 else 2
        np.maximum(lines, stroke(canvas, np.stack([xs, ys], axis=1), thickness), out=lines)
    canvas.shade(worn(lines, rng, rng.uniform(0.0, 0.3), 10.0), factor)


def smooth_patch(canvas: Canvas, rng: np.random.Generator) -> None:
    """A repair: a smooth tar or mortar patch with clear edges, square-cut or free."""
    height, width = canvas.hw
    if rng.random() < 0.5:
        patch = blob(canvas, rng, rng.uniform(0.08, 0.3) * min(height, width), 0.15)
    else:
        x, y = random_place(canvas, rng)
        size = (rng.uniform(0.1, 0.6) * width, rng.uniform(0.1, 0.6) * height)
        corners = cv2.boxPoints(((x, y), size, rng.normal(0.0, 6.0)))
        patch = polygon(canvas, np.asarray(corners, dtype=np.float64))
    smooth = cv2.GaussianBlur(canvas.image, (0, 0), rng.uniform(1.5, 4.0))
    canvas.blend(patch, np.asarray(smooth, dtype=np.float32), rng.uniform(0.5, 0.95))
    canvas.shade(soft(patch, 0.7), rng.uniform(0.5, 0.9) if rng.random() < 0.75 else 1.2)
