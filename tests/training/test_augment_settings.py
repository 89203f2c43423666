"""What may be asked of augmentation, and how much of an image it takes."""

from __future__ import annotations

from typing import Any

import pytest

from edgecrack.errors import ConfigError
from edgecrack.training.config import ROBOT_AUGMENT, AugmentConfig


@pytest.mark.parametrize(
    ("config", "resamples"),
    [
        (AugmentConfig(), False),
        (AugmentConfig(geometry=True, tone=0.5, noise_levels=9), False),
        (AugmentConfig(scale_range=(1.0, 1.5)), True),
        (AugmentConfig(rotation_deg=1), True),
        (ROBOT_AUGMENT, True),
    ],
)
def test_what_interpolates_pixels(config: AugmentConfig, resamples: bool) -> None:
    assert config.resamples is resamples


@pytest.mark.parametrize(
    ("low", "largest"), [(1.0, 48), (0.6, 80), (0.25, 192)], ids=["as it is", "robot", "least"]
)
def test_largest_cut_is_that_of_the_lowest_scale(low: float, largest: int) -> None:
    assert AugmentConfig(scale_range=(low, 2.0)).largest_cut_px(48) == largest


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"scale_range": (0.1, 1.0)},
            r"`scale_range` is \(0.1, 1.0\); give two numbers, 0.25 to 1",
        ),
        ({"scale_range": (1.2, 1.5)}, "`scale_range` is"),
        ({"scale_range": (0.5, 0.9)}, "`scale_range` is"),
        ({"scale_range": (1.0, 5.0)}, "`scale_range` is"),
        ({"tone": -0.1}, "`tone` is -0.1"),
        ({"tone": 1.0}, "`tone` is 1.0"),
        ({"blur_probability": 2.0}, "`blur_probability` is 2.0"),
        ({"invert_probability": -1.0}, "`invert_probability` is -1.0"),
        ({"noise_levels": 65.0}, "`noise_levels` is 65.0"),
        ({"noise_levels": float("nan")}, "`noise_levels` is nan"),
        ({"rotation_deg": -1.0}, "`rotation_deg` is -1.0.*0 to 180"),
        ({"motion_blur_px": 32}, "`motion_blur_px` is 32.*0 to 31"),
        ({"shadow_darkness": 1.0}, "`shadow_darkness` is 1.0"),
        ({"jpeg_quality": (0, 50)}, r"`jpeg_quality` is \(0, 50\)"),
        ({"jpeg_quality": (60, 50)}, r"`jpeg_quality` is \(60, 50\)"),
    ],
)
def test_bad_configurations(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        AugmentConfig(**values)
