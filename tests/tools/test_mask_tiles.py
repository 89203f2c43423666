"""Masks drawn by the model and refined: cracks of known width on noise, copies, and doubt."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.runtime.detector import open_detector
from edgecrack.yardstick.rendering import CrackConfig, render_crack
from tools.mask_tiles import agreement_of, dark_lines, draw, refined, usable

Bytes = NDArray[np.uint8]


def surface(seed: int = 0) -> Bytes:
    generator = np.random.default_rng(seed)
    coarse = cv2.GaussianBlur(generator.normal(0, 40, (227, 227)).astype(np.float32), (0, 0), 2)
    gray = 150 + coarse + generator.normal(0, 3, (227, 227))
    return np.repeat(np.clip(gray, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("width_px", [6.0, 14.0, 30.0])
def test_a_blurred_drawing_is_cut_to_the_crack(width_px: float) -> None:
    """Whatever the model draws too wide, the picture's dark pixels say where the crack ends."""
    config = CrackConfig(width_px, 0.7, blur_px=0.6, spalls=0.0)
    made = render_crack(surface(), config, np.random.default_rng(3))
    gray = cv2.cvtColor(made.image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    drawn = np.float32(1 / 255) * cv2.dilate(made.mask, np.ones((9, 9), np.uint8))
    found = refined(gray, drawn)
    truth = made.mask > 0
    assert (found & truth).sum() / (found | truth).sum() > 0.75
    assert (drawn > 0).sum() > 1.2 * found.sum()


def test_nothing_is_drawn_on_a_bare_tile() -> None:
    with open_detector(threads=1) as detector:
        drawn = draw(detector, surface())
    assert drawn.mask is None
    assert drawn.reason in ("nothing long was found", "the two looks disagree")


def test_the_second_look_sees_a_dark_line_without_any_model() -> None:
    gray = surface()[..., 0].astype(np.float32)
    truth = np.zeros((227, 227), bool)
    truth[:, 100:108] = True
    gray[truth] -= 70
    assert agreement_of(dark_lines(gray), truth) > 0.9
    assert agreement_of(np.zeros_like(truth), truth) == 0


def test_copies_are_used_once(tmp_path: Path) -> None:
    """Published sets hold the same tile again, mirrored or turned."""
    first = surface(1)
    first[60:70] = 40
    first[:, 20:26] = 90
    tiles = [first, first[:, ::-1], np.rot90(first), surface(2)]
    paths = []
    for number, tile in enumerate(tiles):
        paths.append(tmp_path / f"{number:05d}.png")
        cv2.imwrite(str(paths[-1]), np.ascontiguousarray(tile))
    reasons = [reason for _, reason in usable(paths)]
    assert reasons == ["", "a copy of another one", "a copy of another one", ""]
