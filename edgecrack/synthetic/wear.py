"""Wear and marks that resemble cracks in one respect: thin, or dark, or rough-edged.

Like all markings, these lie under the cracks and touch no mask.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgecrack.synthetic.canvas import Canvas, soft, worn
from edgecrack.synthetic.litter import outline
from edgecrack.synthetic.noise import FloatArray, fractal_noise, smooth_step
from edgecrack.synthetic.shapes import band, polygon, random_place, right_angle, stroke


def crazed_paint(canvas: Canvas, rng: np.random.Generator) -> None:
    """Thick old lane paint: edges gnawed away, and a net of fine gaps within it."""
    angle = right_angle(rng)
    width = rng.uniform(0.06, 0.28) * min(canvas.hw)
    paint = band(canvas, random_place(canvas, rng), angle, width)
    gnaw = fractal_noise(rng, canvas.hw, rng.uniform(6.0, 16.0), 1.0, gain=0.8)
    inside = soft(paint, rng.uniform(1.5, 4.0)).astype(np.float32) / np.float32(255.0)
    kept = smooth_step(inside + np.float32(0.12) * gnaw, 0.4, 0.55)
    fine = fractal_noise(rng, canvas.hw, rng.uniform(7.0, 15.0), 2.0, gain=0.5)
    where = fractal_noise(rng, canvas.hw, 50.0, 4.0, gain=0.6)
    narrow = np.float32(rng.uniform(0.05, 0.12)) * smooth_step(where, -0.8, 1.4)
    kept *= smooth_step(np.abs(fine) - narrow, 0.0, 0.08)
    kept *= smooth_step(gnaw, -3.0 + rng.uniform(0.0, 2.2), -0.2)
    colour = (205.0, 210.0, 212.0) if rng.random() < 0.7 else (70.0, 165.0, 210.0)
    level = rng.uniform(0.75, 1.1)
    shade = (colour[0] * level, colour[1] * level, colour[2] * level)
    canvas.blend((kept * 255.0).astype(np.uint8), shade, rng.uniform(0.55, 0.95))


def scars(canvas: Canvas, rng: np.random.Generator) -> None:
    """Pits, spalls or drops of tar: dark lumps in a row or strewn, none joined to another."""
    size = min(canvas.hw)
    x, y = random_place(canvas, rng)
    in_row = rng.random() < 0.55
    heading = rng.uniform(0.0, np.pi)
    spread = (rng.uniform(0.3, 0.6) * size, (0.02 if in_row else 0.3) * size)
    largest = rng.uniform(2.0, 0.03 * size + 3.0)
    sun = rng.uniform(0.0, 2.0 * np.pi)
    pits = canvas.blank()
    taken: list[tuple[float, float, float]] = []
    for _ in range(int(rng.integers(8, 55))):
        along, aside = rng.uniform(-1.0, 1.0) * spread[0], rng.normal(0.0, spread[1])
        px = x + along * np.cos(heading) - aside * np.sin(heading)
        py = y + along * np.sin(heading) + aside * np.cos(heading)
        half = max(1.2, largest * rng.uniform(0.25, 1.0) ** 1.5)
        slim = rng.uniform(0.45, 1.0)
        if any(np.hypot(px - a, py - b) < 1.4 * (half + c) + 2.0 for a, b, c in taken):
            continue
        taken.append((px, py, half))
        turn = heading + rng.normal(0.0, 0.6)
        rim = outline(rng, (px, py), (half, half * slim), turn, 0.22)
        np.maximum(pits, polygon(canvas, rim), out=pits)
    lit = np.array([[1, 0, 1.5 * np.cos(sun)], [0, 1, 1.5 * np.sin(sun)]])
    moved = cv2.warpAffine(pits, lit, (canvas.hw[1], canvas.hw[0]))
    canvas.shade(soft(np.asarray(moved, np.uint8), 0.7), rng.uniform(1.0, 1.25))
    canvas.shade(soft(pits, rng.uniform(0.4, 1.3)), rng.uniform(0.3, 0.75))


def damp_spots(canvas: Canvas, rng: np.random.Generator) -> None:
    """Drops of water or oil and mould: soft dark patches of ragged outline."""
    field = fractal_noise(rng, canvas.hw, rng.uniform(14.0, 46.0), 1.5, gain=rng.uniform(0.5, 0.75))
    region = fractal_noise(rng, canvas.hw, 0.6 * min(canvas.hw), 30.0, gain=0.5)
    edge = rng.uniform(1.3, 1.9)
    spots = smooth_step(field + np.float32(0.5) * region, edge, edge + rng.uniform(0.15, 0.7))
    canvas.shade((spots * 255.0).astype(np.uint8), rng.uniform(0.45, 0.82))


def ruled_lines(canvas: Canvas, rng: np.random.Generator) -> None:
    """Straight thin lines at any angle: chalk, pencil, saw cuts, shadows of taut wires."""
    angle = rng.uniform(0.0, np.pi)
    x, y = random_place(canvas, rng)
    kind = rng.random()
    width = rng.uniform(1.0, 3.5)
    spacing = rng.uniform(6.0, 0.3 * min(canvas.hw) + 8.0)
    lines = canvas.blank()
    for number in range(int(rng.choice((1, 1, 2, 3, 4)))):
        place = (x - number * spacing * np.sin(angle), y + number * spacing * np.cos(angle))
        turn = angle + (rng.normal(0.0, 0.02) if kind < 0.7 else rng.normal(0.0, 0.3))
        np.maximum(lines, band(canvas, place, turn, width), out=lines)
    if kind < 0.35:  # A taut wire's shadow is soft, even and unbroken.
        light = rng.uniform(0.5, 0.82)
        canvas.shade(soft(lines, rng.uniform(0.5, 2.0)), (light * 1.04, light, light * 0.98))
    elif kind < 0.7:
        canvas.shade(soft(lines, rng.uniform(0.3, 0.7)), rng.uniform(0.35, 0.75))
    else:
        colours = ((225.0, 228.0, 230.0), (60.0, 190.0, 225.0), (60.0, 60.0, 195.0))
        chalk = worn(lines, rng, rng.uniform(0.2, 0.5), 8.0)
        canvas.blend(chalk, colours[int(rng.integers(0, 3))], rng.uniform(0.4, 0.9))


def seam(canvas: Canvas, rng: np.random.Generator) -> None:
    """Where two pavements meet in a smooth curve: another tone beyond it, a dirty even gap."""
    height, width = canvas.hw
    x, y = random_place(canvas, rng)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    at = np.linspace(-1.0, 1.0, 60)
    reach = float(height + width)
    straight = rng.random() < 0.5
    bow = (0.0 if straight else rng.normal(0.0, 0.25)) * reach * at**2
    along = np.array([np.cos(angle), np.sin(angle)])
    aside = np.array([-np.sin(angle), np.cos(angle)])
    line = np.array([x, y]) + np.outer(reach * at, along) + np.outer(bow, aside)
    far = line[::-1] + 2.0 * reach * aside
    beyond = polygon(canvas, np.concatenate([line, far]))
    texture: FloatArray = fractal_noise(rng, canvas.hw, 10.0, 1.0, gain=0.8)
    tone = rng.uniform(0.6, 1.5) * (1.0 + rng.uniform(0.02, 0.12) * texture)
    smooth = cv2.GaussianBlur(canvas.image, (0, 0), rng.uniform(0.8, 4.0))
    canvas.blend(beyond, (np.asarray(smooth) * tone[..., None]).astype(np.float32))
    thickness = int(rng.integers(1, 7))
    gap = stroke(canvas, line, thickness)
    dirt = stroke(canvas, line, 3 * thickness + 6)
    canvas.shade(soft(worn(dirt, rng, 0.35, 30.0), 2.0), rng.uniform(0.65, 0.95))
    canvas.shade(soft(worn(gap, rng, 0.04, 30.0), rng.uniform(0.3, 1.0)), rng.uniform(0.2, 0.7))
