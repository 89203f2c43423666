"""Manhole covers with raised patterns, and drain grates.

Each is drawn from straight above and then placed on the surface at an angle.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from edgecrack.synthetic.camera import paste, seen_corners, seen_coverage
from edgecrack.synthetic.canvas import (
    ByteArray,
    Canvas,
    FloatArray,
    Points,
    far_flung_place,
    fractal_noise,
    local_brightness,
    right_angle,
    ring,
    soft,
    worn,
)


def manhole_cover(
    canvas: Canvas, rng: np.random.Generator, place_xy: tuple[float, float] | None = None
) -> None:
    """A round cover in its frame: thin rings, a dark gap around it, a raised pattern."""
    x, y = place_xy or far_flung_place(canvas, rng)
    radius = rng.uniform(0.11, 0.4) * min(canvas.hw)
    side = 2 * int(1.35 * radius) + 1
    corners = seen_corners(rng, (x, y), (side / 2.0, side / 2.0), rng.uniform(0.0, 2 * np.pi))
    if rng.random() < 0.5:  # The surface was cut open and filled again around the frame.
        collar = ring(side, radius * rng.uniform(1.08, 1.32), None)
        seen = seen_coverage(canvas, worn(collar, rng, 0.12, 10.0), corners)
        canvas.shade(soft(seen, 1.0), rng.uniform(0.75, 1.2))
    level = local_brightness(canvas, (x, y)) * rng.uniform(0.55, 1.2)
    picture = _lid(rng, side, radius, level)
    gap = rng.uniform(0.8, 1.5 + 0.012 * radius)
    seam = seen_coverage(canvas, worn(ring(side, radius + gap, None), rng, 0.08, 20.0), corners)
    canvas.shade(soft(seam, 0.5), rng.uniform(0.2, 0.65))
    canvas.hide(paste(canvas, picture, ring(side, radius, None), corners))


def _lid(rng: np.random.Generator, side: int, radius: float, level: float) -> FloatArray:
    """The iron from above, lit from one side; float32 [side, side, 3]."""
    raised = np.zeros((side, side), dtype=np.uint8)
    gaps = raised.copy()
    frame = radius * rng.uniform(0.84, 0.95)
    inner = frame * rng.uniform(0.6, 0.95)
    pattern = (_dots, _bars, _checker, _rays)[int(rng.integers(0, 4))]
    pattern(raised, rng, inner)
    if rng.random() < 0.6:
        _boxes(raised, rng, inner * rng.uniform(0.45, 0.9), inner * 0.16)
    if rng.random() < 0.6:
        _letters(raised, rng, inner * rng.uniform(0.5, 0.85), rng.uniform(0.09, 0.15) * radius)
    if rng.random() < 0.6:
        middle = inner * rng.uniform(0.15, 0.35)
        raised[ring(side, middle * 1.2, None) > 0] = 0
        np.maximum(raised, ring(side, middle, rng.uniform(1.0, 3.0)), out=raised)
    for share in rng.uniform(0.3, 1.0, int(rng.integers(0, 4))):
        thin = ring(side, inner * share, rng.uniform(1.0, 1.5 + 0.02 * radius))
        target = raised if rng.random() < 0.6 else gaps
        np.maximum(target, thin, out=target)
    np.maximum(raised, ring(side, 0.5 * (radius + frame), 0.75 * (radius - frame)), out=raised)
    np.maximum(gaps, ring(side, frame, rng.uniform(1.0, 1.5 + 0.012 * radius)), out=gaps)
    for _ in range(int(rng.integers(0, 4))):
        turn, reach = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.6, 0.95) * frame
        at = (int(side / 2 + reach * np.cos(turn)), int(side / 2 + reach * np.sin(turn)))
        cv2.circle(gaps, at, max(1, int(0.035 * radius)), 255, -1, cv2.LINE_AA)
    tone = _cast_iron(rng, raised, level)
    tone *= 1.0 - rng.uniform(0.45, 0.85) * soft(gaps, 0.4).astype(np.float32) / 255.0
    rust = rng.uniform(0.0, 0.2) if rng.random() < 0.5 else 0.0
    tint = np.array([1.0 - rust, 1.0 - 0.35 * rust, 1.03 + 0.6 * rust], dtype=np.float32)
    return np.asarray(tone[..., None] * tint, dtype=np.float32)


def _cast_iron(rng: np.random.Generator, raised: ByteArray, level: float) -> FloatArray:
    """Shade a relief: slopes bright or dark, tops polished or hollows filled with dirt."""
    height = cv2.GaussianBlur(raised.astype(np.float32) / np.float32(255.0), (0, 0), 0.6)
    turn = rng.uniform(0.0, 2.0 * np.pi)
    move = np.array([[1, 0, 1.2 * np.cos(turn)], [0, 1, 1.2 * np.sin(turn)]], dtype=np.float32)
    slope = height - cv2.warpAffine(height, move, (height.shape[1], height.shape[0]))
    grain = fractal_noise(rng, raised.shape[:2], 30.0, 1.0, gain=0.75)
    tone = 1.0 + rng.uniform(0.25, 0.9) * slope + rng.uniform(-0.15, 0.4) * height
    return np.asarray(level * tone * (1.0 + rng.uniform(0.03, 0.1) * grain), dtype=np.float32)


def _grid(rng: np.random.Generator, raised: ByteArray, inner: float) -> tuple[FloatArray, float]:
    """Points of a square grid inside a circle, float32 [N, 2], and their spacing."""
    spacing = float(rng.uniform(max(5.0, 0.06 * inner), max(8.0, 0.16 * inner)))
    steps = np.arange(-inner, inner + spacing, spacing)
    places = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    kept = places[np.hypot(places[:, 0], places[:, 1]) < inner - 0.4 * spacing]
    return (kept + raised.shape[0] / 2.0).astype(np.float32), spacing


def _dots(raised: ByteArray, rng: np.random.Generator, inner: float) -> None:
    places, spacing = _grid(rng, raised, inner)
    for x, y in np.rint(16 * places).astype(int).tolist():
        cv2.circle(raised, (x, y), int(16 * 0.28 * spacing), 255, -1, cv2.LINE_AA, 4)


def _checker(raised: ByteArray, rng: np.random.Generator, inner: float) -> None:
    """Short bars, each across its neighbours."""
    places, spacing = _grid(rng, raised, inner)
    for x, y in places.tolist():
        odd = (round(x / spacing) + round(y / spacing)) % 2
        reach = (0.38 * spacing, 0.0) if odd else (0.0, 0.38 * spacing)
        ends = [[x - reach[0], y - reach[1]], [x + reach[0], y + reach[1]]]
        _line(raised, np.array(ends), max(1, int(0.22 * spacing)))


def _bars(raised: ByteArray, rng: np.random.Generator, inner: float) -> None:
    """Parallel bars that change their direction from sector to sector."""
    middle = raised.shape[0] / 2.0
    spacing = rng.uniform(max(4.0, 0.07 * inner), max(7.0, 0.16 * inner))
    ys, xs = np.mgrid[0 : raised.shape[0], 0 : raised.shape[1]].astype(np.float32) - middle
    sectors = float(rng.choice((1.0, 4.0, 6.0, 8.0)))
    turn = np.floor((np.arctan2(ys, xs) / (2 * np.pi) + 0.5) * sectors) * (np.pi / 2.0)
    across = xs * np.cos(turn) + ys * np.sin(turn)
    on = (np.mod(across, spacing) < 0.5 * spacing) & (np.hypot(xs, ys) < inner)
    raised[on] = 255


def _rays(raised: ByteArray, rng: np.random.Generator, inner: float) -> None:
    """Radial bars between rings."""
    middle = raised.shape[0] / 2.0
    bounds = np.linspace(0.25, 1.0, int(rng.integers(2, 5))) * inner
    for first, last in itertools.pairwise(bounds.tolist()):
        count = int(rng.integers(8, 12 + int(2 * last / 6.0)))
        for turn in np.arange(count) * (2 * np.pi / count):
            ends = np.array([[first * 1.06], [last * 0.96]]) * [np.cos(turn), np.sin(turn)]
            _line(raised, ends + middle, max(1, int(0.03 * inner)))


def _boxes(raised: ByteArray, rng: np.random.Generator, radius: float, half: float) -> None:
    """Framed segments of a ring, where such covers have names and numbers."""
    count = int(rng.integers(2, 7))
    for first in np.arange(count) * (2 * np.pi / count):
        turn = np.linspace(first, first + rng.uniform(0.5, 0.85) * 2 * np.pi / count, 14)
        reach = np.concatenate([np.full(14, radius - half), np.full(14, radius + half)])
        turns = np.concatenate([turn, turn[::-1]])
        outline = np.stack([reach * np.cos(turns), reach * np.sin(turns)], axis=1)
        outline += raised.shape[0] / 2.0
        fixed = [np.rint(16 * outline).astype(np.int32)]
        cv2.fillPoly(raised, fixed, 0, cv2.LINE_AA, 4)
        cv2.polylines(raised, fixed, True, 255, int(rng.integers(1, 3)), cv2.LINE_AA, 4)


def _letters(raised: ByteArray, rng: np.random.Generator, radius: float, height: float) -> None:
    """Characters around a ring or an arc; strokes that only resemble writing."""
    band = ring(raised.shape[0], radius, 1.9 * height)
    raised[band > 0] = 0
    step = 1.1 * height / max(radius, 1.0)
    for turn in np.arange(0.0, rng.uniform(2.0, 2.0 * np.pi), step):
        if rng.random() < 0.15:
            continue
        nodes = rng.integers(0, 3, (int(rng.integers(3, 6)), 2)) / 2.0 - 0.5
        reach = radius + nodes[:, 1] * height
        turns = turn + nodes[:, 0] * 0.7 * step
        strokes = np.stack([reach * np.cos(turns), reach * np.sin(turns)], axis=1)
        _line(raised, strokes + raised.shape[0] / 2.0, max(1, int(0.2 * height)))


def _line(target: ByteArray, points: Points, thickness: int) -> None:
    fixed = [np.rint(16 * points).astype(np.int32)]
    cv2.polylines(target, fixed, False, 255, thickness, cv2.LINE_AA, 4)


def drain_grate(canvas: Canvas, rng: np.random.Generator) -> None:
    """A rectangular grate: rows of dark slots in one or more columns, in an iron frame."""
    x, y = far_flung_place(canvas, rng)
    width = int(rng.uniform(0.25, 0.9) * min(canvas.hw))
    height = int(width * rng.uniform(0.3, 1.0))
    rim = max(2, int(0.05 * height))
    raised = np.full((height + 2 * rim, width + 2 * rim), 255, dtype=np.uint8)
    slots = np.zeros_like(raised)
    columns = int(rng.integers(1, 5))
    rows = max(2, int(height / rng.uniform(max(5.0, 0.07 * height), max(9.0, 0.16 * height))))
    fill = rng.uniform(0.45, 0.75)
    pitch = (width / columns, height / rows)
    for row in range(rows):
        for column in range(columns):
            left = rim + (column + 0.07) * pitch[0]
            top = rim + (row + 0.5 - 0.5 * fill) * pitch[1]
            right, bottom = left + 0.86 * pitch[0], top + fill * pitch[1]
            corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
            fixed = np.rint(16 * corners).astype(np.int32)
            cv2.fillPoly(slots, [fixed], 255, cv2.LINE_AA, 4)
    raised[slots > 127] = 0
    level = local_brightness(canvas, (x, y)) * rng.uniform(0.4, 1.0)
    tone = _cast_iron(rng, raised, level)
    below = fractal_noise(rng, raised.shape[:2], 20.0, 1.0, gain=0.8)
    depth = np.clip(level * (rng.uniform(0.08, 0.3) + 0.08 * below), 4.0, None)
    tone += (depth - tone) * (slots.astype(np.float32) / 255.0)
    tone = np.pad(tone, 2, mode="edge")
    cv2.rectangle(tone, (0, 0), (tone.shape[1] - 1, tone.shape[0] - 1), 0.35 * level, 2)
    picture = tone[..., None] * np.array([0.98, 1.0, 1.02], dtype=np.float32)
    half = (tone.shape[1] / 2.0, tone.shape[0] / 2.0)
    quad = seen_corners(rng, (x, y), half, right_angle(rng))
    whole = np.full(tone.shape, 255, dtype=np.uint8)
    canvas.shade(soft(seen_coverage(canvas, whole, quad), 4.0), rng.uniform(0.6, 0.95))
    canvas.hide(paste(canvas, picture.astype(np.float32), whole, quad))
