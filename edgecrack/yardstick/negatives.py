"""What is no crack but may be taken for one, painted on clean pictures, by kind.

    image = render_negative(background, "joint", np.random.default_rng(1))

There is no mask, for there is no crack: whatever a model marks is a false alarm, and the kind
says what it is on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import cv2
import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.synthetic import gauges, lettering, litter, markings, objects, targets, wear
from edgecrack.synthetic.canvas import Canvas
from edgecrack.synthetic.lens import to_bytes
from edgecrack.synthetic.noise import ByteArray
from edgecrack.yardstick import shadows
from edgecrack.yardstick.rendering import blurred, camera_noise, check_background, noise_level

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

# One painter of a kind is drawn for each picture, all alike often.
_PAINTERS: dict[NegativeKind, tuple[Painter, ...]] = {
    "clean": (),
    "joint": (markings.straight_joint, markings.formwork),
    "lane paint": (markings.lane_paint,),
    "pits": (markings.bug_holes, wear.scars),
    "cable": (objects.cable, litter.wires),
    "shadow": (
        objects.shadow,
        shadows.pole_shadow,
        shadows.branch_shadow,
        shadows.robot_shadow,
    ),
    "lettering": (lettering.stencil, lettering.chalk),
    "target": (targets.target_sheet,),
    "gauge": (gauges.gauge_card, gauges.ruler),
}
_ATTEMPTS = 20
_LEAST_CHANGE = 12.0
_LEAST_CHANGED_PX = 30


def render_negative(
    background: ByteArray, kind: NegativeKind, rng: np.random.Generator, blur_px: float = 0.7
) -> ByteArray:
    """Paint one thing that is no crack on a clean picture.

    What was painted passes the camera's blur; the background was photographed already. Painters
    place things at random, at times beyond the border: they try again until the thing shows, by
    at least 12 of 255 levels on 30 pixels.

    Args:
        background: uint8 [H, W, 3], BGR, each side 64 px or more; not changed.
        kind: what to paint; "clean" paints nothing.
        rng: source of randomness; the same state gives the same bytes.
        blur_px: standard deviation of the camera's point spread, 0 to 8 px.

    Returns:
        uint8 [H, W, 3], BGR.

    Raises:
        ConfigError: the kind is unknown, the blur out of range, or the background no picture.
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
    """Whether a thing is there to be seen."""
    change = cv2.absdiff(background, image).max(axis=2)
    return int(np.count_nonzero(change >= _LEAST_CHANGE)) >= _LEAST_CHANGED_PX


def _painted(
    background: ByteArray, painter: Painter, rng: np.random.Generator, blur_px: float
) -> ByteArray:
    """The picture with one thing on it, blurred as the camera does."""
    before = background.astype(np.float32)
    # Painters of opaque things unmark what they hide: a full mask shows where they are.
    canvas = Canvas(before.copy(), np.full(background.shape[:2], 255, dtype=np.uint8))
    painter(canvas, rng)
    change = np.clip(canvas.image, 0.0, 255.0) - before
    opaque = blurred((canvas.mask == 0).astype(np.float32), blur_px)[..., None]
    hidden = before - blurred(before, blur_px)
    # The surface's finest texture is not seen through an opaque thing; the camera's noise is.
    result = before + blurred(change, blur_px) - opaque * hidden
    grain = np.float32(noise_level(background)) * opaque
    result += camera_noise(rng, background.shape[:2]) * grain
    touched = (np.abs(blurred(np.abs(change), blur_px)).max(axis=2) > 0.0) | (opaque[..., 0] > 0.0)
    return np.where(touched[..., None], to_bytes(result), background).astype(np.uint8)
