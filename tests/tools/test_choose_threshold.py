"""Temperature by least cross-entropy, threshold by both F1 scores."""

from __future__ import annotations

import numpy as np
import pytest

from tools.choose_threshold import best_temperature, level_counts


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_probabilities_too_certain_is_found(temperature: float) -> None:
    """Truth is drawn from honest probabilities, which are then sharpened or flattened."""
    generator = np.random.default_rng(0)
    logit = generator.normal(-1, 1.5, 400_000)
    truth = generator.random(logit.size) < 1 / (1 + np.exp(-logit))
    told = np.rint(255 / (1 + np.exp(-logit * temperature))).astype(np.uint8)
    counts = level_counts(told[None], truth[None])
    assert best_temperature(counts) == pytest.approx(temperature, rel=0.06)


def test_each_picture_weighs_alike() -> None:
    small = level_counts(np.full((2, 2), 9, np.uint8), np.ones((2, 2), bool))
    large = level_counts(np.full((20, 20), 9, np.uint8), np.ones((20, 20), bool))
    np.testing.assert_allclose(small, large)
    assert small.shape == (2, 256)
    assert small[1, 9] == 1
