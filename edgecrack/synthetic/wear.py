"""Litter and wear that resemble cracks in one respect: thin, dark, or rough-edged."""

from __future__ import annotations

import cv2
import numpy as np

from edgecrack.synthetic.canvas import (
    Canvas,
    FloatArray,
    Points,
    band,
    far_flung_place,
    fractal_noise,
    local_brightness,
    polygon,
    random_place,
    right_angle,
    smooth_step,
    soft,
    stroke,
    worn,
)


def outline(
    rng: np.random.Generator,
    centre_xy: tuple[float, float],
    axes_px: tuple[float, float],
    angle_rad: float,
    roughness: float,
) -> Points:
    """The outline of an irregular lump, float64 [18, 2]."""
    turns = np.linspace(0.0, 2.0 * np.pi, 18, endpoint=False)
    reach = np.exp(roughness * rng.standard_normal(18))
    across = np.stack([reach * np.cos(turns) * axes_px[0], reach * np.sin(turns) * axes_px[1]])
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    turned = np.array([[cosine, -sine], [sine, cosine]]) @ across
    return np.asarray(turned.T + centre_xy, dtype=np.float64)


def stones(canvas: Canvas, rng: np.random.Generator) -> None:
    """Pebbles or rubble, each with a lit top and a shadow to the same side."""
    x, y = random_place(canvas, rng)
    spread = rng.uniform(0.05, 0.5) * min(canvas.hw)
    largest = rng.uniform(0.008, 0.03) * min(canvas.hw) + 1.5
    sun = rng.uniform(0.0, 2.0 * np.pi)
    level = local_brightness(canvas, (x, y))
    shadows, tops, bodies = canvas.blank(), canvas.blank(), canvas.blank()
    for _ in range(int(rng.integers(2, 26))):
        at = rng.normal((x, y), spread)
        size = largest * rng.uniform(0.3, 1.0)
        shape = outline(rng, (0.0, 0.0), (size, size * rng.uniform(0.6, 1.0)), sun, 0.12)
        drop = 0.6 * size * np.array([np.cos(sun), np.sin(sun)])
        np.maximum(shadows, polygon(canvas, shape + at + drop), out=shadows)
        np.maximum(bodies, polygon(canvas, shape + at), out=bodies)
        np.maximum(tops, polygon(canvas, 0.6 * shape + at - 0.3 * drop), out=tops)
    canvas.shade(soft(shadows, 0.6), rng.uniform(0.3, 0.65))
    tone = level * rng.uniform(0.7, 1.35)
    canvas.blend(bodies, (tone * 0.97, tone, tone * 1.02), 0.85)
    canvas.shade(soft(tops, 0.7), rng.uniform(1.05, 1.35))
    canvas.hide(bodies)


def scraps(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paper, wrappers and bags: smooth bright or dark patches with folds and a shadow."""
    for _ in range(int(rng.integers(1, 4))):
        place = far_flung_place(canvas, rng)
        size = rng.uniform(0.015, 0.11) * min(canvas.hw)
        turn = rng.uniform(0.0, np.pi)
        rim = outline(rng, place, (size, size * rng.uniform(0.4, 1.0)), turn, 0.1)
        shape = polygon(canvas, rim)
        canvas.shade(soft(polygon(canvas, rim + 0.2 * size), 0.1 * size + 0.5), 0.55)
        bright = rng.random() < 0.6
        level = rng.uniform(175.0, 235.0) if bright else rng.uniform(25.0, 90.0)
        tint = rng.normal(1.0, 0.12, 3)
        canvas.blend(soft(shape, 0.4), (level * tint[0], level * tint[1], level * tint[2]))
        for _ in range(int(rng.integers(1, 5))):
            ends = rng.normal(place, 0.7 * size, (2, 2))
            fold = np.minimum(stroke(canvas, ends, int(rng.integers(1, 3))), shape)
            canvas.shade(soft(fold, 0.6), rng.choice((0.6, 0.75, 1.2)))
        canvas.hide(shape)


def verge(canvas: Canvas, rng: np.random.Generator) -> None:
    """Grass that grows in from one border, blade by blade."""
    height, width = canvas.hw
    sideways = rng.random() < 0.5
    length, across = (height, width) if sideways else (width, height)
    depth = rng.uniform(0.04, 0.2) * min(height, width)
    count = int(min(60 + 1.2 * length, 3000))
    blades = canvas.blank()
    foot = np.stack([rng.uniform(0, length, count), rng.uniform(-4.0, depth, count)], axis=1)
    tip = foot + rng.normal((0.0, 0.35 * depth), 0.3 * depth + 2.0, (count, 2))
    bend = 0.5 * (foot + tip) + rng.normal(0.0, 1.5, (count, 2))
    points = np.stack([foot, bend, tip], axis=1)
    if rng.random() < 0.5:
        points[..., 1] = across - points[..., 1]
    if sideways:
        points = points[..., ::-1]
    fixed = list(np.rint(points * 16).astype(np.int32))
    cv2.polylines(blades, fixed, False, 255, 1, cv2.LINE_AA, 4)
    canvas.shade(soft(blades, 2.5), rng.uniform(0.45, 0.8))
    tone = 1.0 + 0.4 * fractal_noise(rng, canvas.hw, 6.0, 1.0, gain=0.8)
    colour = (50.0, 120.0, 95.0) if rng.random() < 0.6 else (85.0, 140.0, 160.0)
    paint = np.maximum(tone, 0.25)[..., None] * np.array(colour) * rng.uniform(0.6, 1.2)
    canvas.blend(blades, paint.astype(np.float32))
    # A crack between the blades would be invisible.
    tuft = cv2.morphologyEx(blades, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    canvas.hide(np.asarray(tuft, dtype=np.uint8))


def wires(canvas: Canvas, rng: np.random.Generator) -> None:
    """Thin cords in smooth curves, one or a bundle, with highlights or a shadow."""
    height, width = canvas.hw
    at = np.linspace(-1.0, 1.0, 70)
    heading = rng.uniform(0.0, np.pi)
    level = rng.uniform(12.0, 60.0) if rng.random() < 0.7 else rng.uniform(160.0, 225.0)
    for _ in range(int(rng.integers(1, 4))):
        x, y = random_place(canvas, rng)
        turn = heading + rng.normal(0.0, 0.25)
        reach = rng.uniform(0.3, 1.0) * max(height, width)
        bow = rng.normal(0.0, 0.3) * (1.0 - at**2) + rng.normal(0.0, 0.1) * np.sin(3.0 * at)
        xs = x + reach * (at * np.cos(turn) - bow * np.sin(turn))
        ys = y + reach * (at * np.sin(turn) + bow * np.cos(turn))
        line = np.stack([xs, ys], axis=1)
        thickness = int(rng.integers(1, 4))
        drop = rng.uniform(1.0, 3.0) * thickness + 1.0
        canvas.shade(soft(stroke(canvas, line + drop, thickness), 1.2), rng.uniform(0.6, 0.85))
        body = stroke(canvas, line, thickness)
        canvas.blend(body, (level, level, level * 1.03))
        if thickness > 1:
            gleam = (level + 55.0, level + 55.0, level + 55.0)
            canvas.blend(stroke(canvas, line - 0.4, 1), gleam, 0.6)
        canvas.hide(body)


def crazed_paint(canvas: Canvas, rng: np.random.Generator) -> None:
    """Thick old lane paint with eroded edges and a net of fine gaps."""
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
    """Pits, spalls or drops of tar: separate dark lumps in a row or scattered."""
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
    """Drops of water or oil, and mould: soft dark patches with ragged outlines."""
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
    """A smooth curved joint of two pavements of different tone, with an even, dirty gap."""
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
