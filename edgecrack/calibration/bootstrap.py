"""How far a drop may lie above what was measured, given how few images it was measured on.

A bootstrap over images: an image's tiles show the same wall in the same light, so the image is
what is drawn, and not the tile. Both files are scored on the same draws, so that what is common to
both cancels out. Knows counts alone.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
CONFIDENCE = 0.95
# With 5 the bound of thin cracks holds in 61 to 75 of 100 draws in place of 95, with 8 in 70 to
# 75, with 20 in 83 to 87; the others hold in 83 and more from 8 on (benchmarks/gate_bound.py).
LEAST_IMAGES = 8


def draw_images(images: int, seed: int, draws: int = DRAWS) -> NDArray[np.int64]:
    """How often each image is in each draw of as many images, with replacement.

    Returns:
        int64 [draws, images]; each row adds up to `images`.
    """
    even = np.full(images, 1.0 / images)
    return np.random.default_rng(seed).multinomial(images, even, size=draws)


def upper_bound(values: NDArray[np.float64], images: int) -> float:
    """What a value does not exceed, with a one-sided confidence of 95 %.

    The expanded percentile of Hesterberg, "What Teachers Should Know About the Bootstrap", The
    American Statistician 69 (2015): a plain 95th percentile is too low where there
    are few images.

    Args:
        values: float64 [draws].
        images: how many were drawn from, 2 or more.
    """
    wider = math.sqrt(images / (images - 1)) * _student_quantile(images - 1)
    level = NormalDist().cdf(wider)
    return float(np.quantile(values, level, method="higher"))


def _student_quantile(freedom: int) -> float:
    """The 95 % quantile of Student's distribution, by its expansion about the normal one.

    Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5, to the third power.
    """
    z = NormalDist().inv_cdf(CONFIDENCE)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))
