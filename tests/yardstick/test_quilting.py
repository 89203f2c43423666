"""Textures grown: the same tones and detail, without seams and without mirrors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgecrack.synthetic.canvas import ByteArray, FloatArray, fractal_noise
from edgecrack.yardstick.clean_surfaces import quilt


def texture(hw: tuple[int, int] = (200, 220), seed: int = 0) -> ByteArray:
    """Concrete-like, brighter to the right."""
    rng = np.random.default_rng(seed)
    field = 130.0 + 14.0 * fractal_noise(rng, hw, 12.0, 1.0, gain=0.8)
    field += np.linspace(-25.0, 25.0, hw[1])
    tint = np.array([0.95, 1.0, 1.05])
    return np.asarray(np.clip(np.rint(field[..., None] * tint), 0, 255), dtype=np.uint8)


def slopes(picture: ByteArray) -> FloatArray:
    gray = picture.mean(axis=2)
    steps = [np.abs(np.diff(gray, axis=axis)).ravel() for axis in (0, 1)]
    return np.concatenate(steps).astype(np.float32)


class TestQuilt:
    @pytest.mark.parametrize("size_px", [230, 320, 448, 700])
    def test_has_the_size_asked_and_the_picture_s_tones(self, size_px: int) -> None:
        picture = texture()
        grown = quilt(picture, size_px, np.random.default_rng(1))
        assert grown.shape == (size_px, size_px, 3)
        assert grown.dtype == np.uint8
        np.testing.assert_allclose(grown.mean(axis=(0, 1)), picture.mean(axis=(0, 1)), rtol=0.05)
        np.testing.assert_allclose(grown.std(axis=(0, 1)), picture.std(axis=(0, 1)), rtol=0.25)

    def test_has_no_steps_that_the_picture_lacks(self) -> None:
        picture = texture()
        grown = quilt(picture, 448, np.random.default_rng(1))
        assert np.quantile(slopes(grown), 0.999) < 1.15 * np.quantile(slopes(picture), 0.999)
        assert slopes(grown).mean() > 0.85 * slopes(picture).mean()  # Nor was it smoothed.

    def test_keeps_the_light_s_run_across_the_picture(self) -> None:
        grown = quilt(texture(), 448, np.random.default_rng(1)).mean(axis=2)
        assert grown[:, -80:].mean() - grown[:, :80].mean() == pytest.approx(42.0, abs=12.0)

    def test_is_no_mirror_of_itself(self) -> None:
        grown = quilt(texture(), 448, np.random.default_rng(1))[..., 1].astype(np.float32)
        detail = grown - cv2.GaussianBlur(grown, (0, 0), 8.0)
        for axis in (0, 1):
            turned = np.moveaxis(detail, axis, 0)
            for middle in range(100, 348):
                before, after = turned[middle - 60 : middle][::-1], turned[middle : middle + 60]
                alike = float(np.corrcoef(before.ravel(), after.ravel())[0, 1])
                assert alike < 0.5, middle

    def test_the_same_seed_gives_the_same_bytes(self) -> None:
        first, second, other = (
            quilt(texture(), 320, np.random.default_rng(seed)) for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, other)

    def test_rows_may_keep_their_order(self) -> None:
        """Fine above and coarse below stays so."""
        rng = np.random.default_rng(0)
        fine = rng.normal(0.0, 20.0, (200, 200))
        coarse = 5.0 * cv2.GaussianBlur(rng.normal(0.0, 20.0, (200, 200)), (0, 0), 2.5)
        share = np.linspace(0.0, 1.0, 200)[:, None]
        values = 128.0 + fine * (1.0 - share) + coarse * share
        picture = np.repeat(np.clip(values, 0, 255)[..., None], 3, axis=2).astype(np.uint8)
        grown = quilt(picture, 420, rng, keep_rows=True)
        assert slopes(grown[:100]).mean() > 2.0 * slopes(grown[-100:]).mean()
