"""Paints non-crack objects and shadows that resemble cracks on clean pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import cv2
import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.synthetic import lettering, markings, objects, wear
from edgecrack.synthetic.camera import to_bytes
from edgecrack.synthetic.canvas import (
    ByteArray,
    Canvas,
    Points,
    band,
    polygon,
    random_place,
    smooth_sequence,
    soft,
)
from edgecrack.yardstick.rendering import blurred, camera_noise, check_background, noise_level


def pole_shadow(canvas: Canvas, rng: np.random.Generator) -> None:
    """Shadows of poles, railings or wires in the sun: straight, even, parallel."""
    angle = rng.uniform(0.0, np.pi)
    x, y = random_place(canvas, rng)
    width = rng.uniform(1.2, 0.09 * min(canvas.hw) + 2.0)
    spacing = width + rng.uniform(0.08, 0.4) * min(canvas.hw)
    shape = canvas.blank()
    for number in range(int(rng.choice((1, 1, 1, 2, 4)))):
        place = (x - number * spacing * np.sin(angle), y + number * spacing * np.cos(angle))
        np.maximum(shape, band(canvas, place, angle, width), out=shape)
    if rng.random() < 0.3:
        across = angle + np.pi / 2.0 + rng.normal(0.0, 0.15)
        np.maximum(shape, band(canvas, (x, y), across, width * rng.uniform(0.5, 1.0)), out=shape)
    _darken(canvas, rng, shape, rng.uniform(0.3, 0.3 + 0.1 * width))


def branch_shadow(canvas: Canvas, rng: np.random.Generator) -> None:
    """Shadow of a bare branch: it forks, tapers smoothly and sways; sometimes with leaves."""
    shape = canvas.blank()
    height, width = canvas.hw
    heading = rng.uniform(0.0, 2.0 * np.pi)
    middle = np.array(random_place(canvas, rng))
    outside = 0.75 * float(np.hypot(height, width))
    start = middle - outside * np.array([np.cos(heading), np.sin(heading)])
    reach = outside + rng.uniform(0.1, 0.5) * min(height, width)
    thick = rng.uniform(3.0, 0.03 * min(height, width) + 5.0)
    leaves = rng.random() < 0.4
    _grow(shape, rng, start, heading, reach, thick, 2, leaves)
    _darken(canvas, rng, shape, rng.uniform(0.4, 1.6))


def _grow(
    shape: ByteArray,
    rng: np.random.Generator,
    start: Points,
    heading: float,
    length_px: float,
    thick_px: float,
    order: int,
    leaves: bool,
) -> None:
    """Draw one limb and, from it, thinner ones of a lower order, in place."""
    count = max(6, int(length_px / 6.0))
    turns = heading + 0.18 * smooth_sequence(rng, count, 7.0)
    steps = (length_px / count) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    line = start + np.cumsum(steps, axis=0)
    taper = thick_px * np.linspace(1.0, 0.4, count)
    side = np.stack([-np.sin(turns), np.cos(turns)], axis=1) * (0.5 * taper)[:, None]
    outline = np.concatenate([line + side, (line - side)[::-1]])
    cv2.fillPoly(shape, [np.rint(outline * 16.0).astype(np.int32)], 255, cv2.LINE_AA, 4)
    for _ in range(int(rng.integers(1, 4)) if order > 0 else 0):
        at = int(rng.integers(count // 5, count))
        turn = float(turns[at]) + rng.choice([-1.0, 1.0]) * rng.uniform(0.35, 0.95)
        shorter = length_px * rng.uniform(0.25, 0.55)
        _grow(shape, rng, line[at], turn, shorter, 0.75 * float(taper[at]), order - 1, leaves)
    if leaves and order == 0:
        for x, y in line[:: max(1, count // 4)].tolist():
            axes = (int(16 * rng.uniform(2.0, 6.0)), int(16 * rng.uniform(1.0, 2.5)))
            at_xy = (int(16 * x), int(16 * y))
            tilt = float(rng.uniform(0.0, 180.0))
            cv2.ellipse(shape, at_xy, axes, tilt, 0, 360, 255, -1, cv2.LINE_AA, 4)


def robot_shadow(canvas: Canvas, rng: np.random.Generator) -> None:
    """Shadow of the robot: a body with corners at a border, and a mast, an arm or an antenna."""
    height, width = canvas.hw
    size = float(min(height, width))
    turn = rng.uniform(0.0, 2.0 * np.pi)
    outwards = np.array([np.cos(turn), np.sin(turn)])
    aside = np.array([-outwards[1], outwards[0]])
    foot = np.array([width / 2.0, height / 2.0]) + outwards * rng.uniform(0.45, 0.75) * size
    half, depth = rng.uniform(0.15, 0.4) * size, rng.uniform(0.2, 0.4) * size
    body = [foot + half * aside + size * outwards, foot + half * aside - 0.2 * depth * outwards]
    body += [foot + 0.6 * half * aside - depth * outwards, foot - half * aside - depth * outwards]
    body += [foot - half * aside + size * outwards]
    shape = polygon(canvas, np.array(body))
    for _ in range(int(rng.integers(1, 4))):
        base = foot + rng.uniform(-0.9, 0.6) * half * aside - 0.5 * depth * outwards
        lean = rng.normal(0.0, 0.35)
        tip = base - (outwards + lean * aside) * (rng.uniform(0.3, 1.1) * size)
        thick = rng.uniform(0.6, 0.02 * size + 1.0)
        limb = np.array([base + thick * aside, base - thick * aside])
        limb = np.concatenate([limb, [tip - 0.6 * thick * aside, tip + 0.6 * thick * aside]])
        np.maximum(shape, polygon(canvas, limb), out=shape)
        if rng.random() < 0.4:
            head = np.array([[-1.0, -0.6], [1.0, -0.6], [1.0, 0.6], [-1.0, 0.6]]) * 4.0 * thick
            np.maximum(shape, polygon(canvas, tip + head @ np.array([aside, outwards])), out=shape)
    _darken(canvas, rng, shape, rng.uniform(0.4, 2.0))


def _darken(canvas: Canvas, rng: np.random.Generator, shape: ByteArray, sigma_px: float) -> None:
    """Darken a shape and make it slightly bluer, as if lit by the sky alone."""
    light = rng.uniform(0.35, 0.72)
    canvas.shade(soft(shape, sigma_px), (light * 1.05, light, light * 0.96))


Painter = Callable[[Canvas, np.random.Generator], None]
NegativeKind = Literal[
    "clean",
    "joint",
    "lane paint",
    "pits",
    "cable",
    "shadow",
    "lettering",
    "target",
    "gauge",
]
NEGATIVE_KINDS: tuple[NegativeKind, ...] = get_args(NegativeKind)
# One painter of a kind is drawn for each picture, with equal probability.
_PAINTERS: dict[NegativeKind, tuple[Painter, ...]] = {
    "clean": (),
    "joint": (markings.straight_joint, markings.formwork),
    "lane paint": (markings.lane_paint,),
    "pits": (markings.bug_holes, wear.scars),
    "cable": (objects.cable, wear.wires),
    "shadow": (
        objects.shadow,
        pole_shadow,
        branch_shadow,
        robot_shadow,
    ),
    "lettering": (lettering.stencil, lettering.chalk),
    "target": (lettering.target_sheet,),
    "gauge": (lettering.gauge_card, lettering.ruler),
}
_ATTEMPTS = 20
_LEAST_CHANGE = 12.0
_LEAST_CHANGED_PX = 30


def render_negative(
    background: ByteArray, kind: NegativeKind, rng: np.random.Generator, blur_px: float = 0.7
) -> ByteArray:
    """Paint one non-crack object on a clean picture.

    Only the object is blurred, since the background is a photograph. Painters place objects at
    random, sometimes outside the border, and are called again until the object is visible: by at
    least 12 of 255 levels on 30 pixels.

    Args:
        background: uint8 [H, W, 3], BGR, each side 64 px or more; not changed.
        kind: kind of object; "clean" paints nothing.
        rng: source of randomness; the same state gives the same bytes.
        blur_px: standard deviation of the camera's point spread function, 0 to 8 px.

    Returns:
        uint8 [H, W, 3], BGR.

    Raises:
        ConfigError: the kind is unknown, the blur out of range, or the background not a picture.
    """
    if kind not in NEGATIVE_KINDS:
        raise ConfigError(f"kind is {kind!r}", f"give one of {', '.join(NEGATIVE_KINDS)}")
    if not 0.0 <= blur_px <= 8.0:
        raise ConfigError(f"blur_px is {blur_px}", "give 0 to 8")
    check_background(background)
    image = background.copy()
    painters = _PAINTERS[kind]
    for _ in range(_ATTEMPTS if painters else 0):
        image = _painted(background, painters[int(rng.integers(0, len(painters)))], rng, blur_px)
        if _shows(background, image):
            break
    return image


def _shows(background: ByteArray, image: ByteArray) -> bool:
    """Whether the object is visible."""
    change = cv2.absdiff(background, image).max(axis=2)
    return int(np.count_nonzero(change >= _LEAST_CHANGE)) >= _LEAST_CHANGED_PX


def _painted(
    background: ByteArray, painter: Painter, rng: np.random.Generator, blur_px: float
) -> ByteArray:
    """The picture with one object on it, blurred as by the camera."""
    before = background.astype(np.float32)
    # Painters of opaque objects clear the mask under them, so a full mask shows where they are.
    canvas = Canvas(before.copy(), np.full(background.shape[:2], 255, dtype=np.uint8))
    painter(canvas, rng)
    change = np.clip(canvas.image, 0.0, 255.0) - before
    opaque = blurred((canvas.mask == 0).astype(np.float32), blur_px)[..., None]
    hidden = before - blurred(before, blur_px)
    # Opaque objects hide the surface's finest texture but not the camera noise.
    result = before + blurred(change, blur_px) - opaque * hidden
    grain = np.float32(noise_level(background)) * opaque
    result += camera_noise(rng, background.shape[:2]) * grain
    touched = (np.abs(blurred(np.abs(change), blur_px)).max(axis=2) > 0.0) | (opaque[..., 0] > 0.0)
    return np.where(touched[..., None], to_bytes(result), background).astype(np.uint8)
