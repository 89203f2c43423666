"""What an image is fit for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.measurement import assess

FINER = 4


def scene(blur_px: float, noise: float = 2.0, seed: int = 0) -> NDArray[np.uint8]:
    """Shapes with sharp edges, blurred by a known amount, pixels included."""
    rng = np.random.default_rng(seed)
    side = 256 * FINER
    big = np.full((side, side), 180, np.uint8)
    for _ in range(12):
        corner = rng.integers(0, side, 2)
        size = rng.integers(15 * FINER, 75 * FINER, 2)
        gray = int(rng.integers(40, 220))
        cv2.rectangle(big, corner.tolist(), (corner + size).tolist(), gray, -1)
        middle, radius = rng.integers(0, side, 2).tolist(), int(rng.integers(40, 200))
        cv2.circle(big, middle, radius, int(rng.integers(40, 220)), -1)
    blurred = cv2.GaussianBlur(big.astype(np.float32), (0, 0), blur_px * FINER)
    small = cv2.resize(blurred, (256, 256), interpolation=cv2.INTER_AREA)
    noisy = small + rng.normal(0, noise, small.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


@pytest.mark.parametrize("blur_px", [0.7, 1.0, 1.5, 2.0])
def test_blur_is_read_from_edges(blur_px: float) -> None:
    found = assess(scene(blur_px))
    expected = np.hypot(blur_px, np.sqrt(1 / 12))  # a pixel blurs, too
    assert found.blur_px == pytest.approx(expected, abs=0.25)
    assert found.motion_ratio is not None
    assert found.motion_ratio < 1.4
    assert (found.verdict, found.reason) == ("measure", "")


def test_a_blurred_image_is_fit_to_detect_alone() -> None:
    found = assess(scene(3.5))
    assert found.verdict == "detect"
    assert "blurred by" in found.reason


def test_motion_is_told_from_blur() -> None:
    kernel = np.zeros((15, 15), np.float32)
    kernel[7] = 1 / 15
    found = assess(np.asarray(cv2.filter2D(scene(0.8, 0.5), -1, kernel), np.uint8))
    assert found.verdict == "detect"
    assert found.cause == "motion"
    assert "by motion" in found.reason


@pytest.mark.parametrize("shape", [(0, 9), (9,), (9, 9, 4)])
def test_what_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="cannot be assessed"):
        assess(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("image", "verdict", "reason"),
    [
        (np.zeros((90, 90), np.uint8), "unfit", "nearly black"),
        (np.full((90, 90, 3), 255, np.uint8), "unfit", "100% of it is overexposed"),
        (np.full((90, 90), 120, np.uint8), "unfit", "no contrast"),
        (np.clip(scene(1.0).astype(int) // 9, 0, 255).astype(np.uint8), "detect", "dark"),
        (np.vstack([np.full((20, 256), 255, np.uint8), scene(1.0)]), "detect", "overexposed"),
        (scene(1.0)[:12, :12], "detect", "no edges"),
    ],
)
def test_what_spoils_an_image(image: NDArray[np.uint8], verdict: str, reason: str) -> None:
    found = assess(image)
    assert found.verdict == verdict
    assert reason in found.reason
