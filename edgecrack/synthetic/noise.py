"""Seeded random fields: smooth noise and fractal noise at any size.

Knows nothing of walls or cracks. Every function takes the generator that it draws
from, so the same generator state always gives the same field.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

# Bicubic interpolation keeps about this share of white noise's standard deviation.
_CUBIC_STD = 0.77


def smooth_noise(
    rng: np.random.Generator, hw: tuple[int, int], scale_hw_px: tuple[float, float]
) -> FloatArray:
    """Noise of one scale, about zero mean and unit standard deviation.

    Args:
        rng: source of randomness.
        hw: height and width of the field, in pixels.
        scale_hw_px: how far apart, down and across, values are independent; at least 1.

    Returns:
        float32 [H, W].
    """
    height, width = hw
    rows = max(2, math.ceil(height / scale_hw_px[0]) + 1)
    columns = max(2, math.ceil(width / scale_hw_px[1]) + 1)
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    field = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field / _CUBIC_STD, dtype=np.float32)


def fractal_noise(
    rng: np.random.Generator,
    hw: tuple[int, int],
    coarsest_px: float,
    finest_px: float = 1.0,
    gain: float = 0.6,
) -> FloatArray:
    """Sum of noises, each half the scale and `gain` times the strength of the one before.

    Each octave is added at its own resolution and then enlarged, so the whole costs
    little more than the finest octave alone.

    Args:
        rng: source of randomness.
        hw: height and width of the field, in pixels.
        coarsest_px: scale of the first octave.
        finest_px: no octave is finer than this.
        gain: strength of an octave relative to the one before it, in (0, 1].

    Returns:
        float32 [H, W] with zero mean and unit standard deviation.
    """
    height, width = hw
    octaves = max(1, 1 + int(math.log2(max(coarsest_px / finest_px, 1.0))))
    field: FloatArray | None = None
    for octave in range(octaves):
        scale_px = coarsest_px / 2**octave
        rows = max(2, math.ceil(height / scale_px) + 1)
        columns = max(2, math.ceil(width / scale_px) + 1)
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        if field is None:
            field = grid
            continue
        enlarged = cv2.resize(field, (columns, rows), interpolation=cv2.INTER_CUBIC)
        field = np.asarray(cv2.scaleAdd(grid, gain**octave, enlarged), dtype=np.float32)
    full = cv2.resize(np.asarray(field), (width, height), interpolation=cv2.INTER_LINEAR)
    result = np.asarray(full, dtype=np.float32)
    mean, deviation = cv2.meanStdDev(result)
    result -= np.float32(mean.item())
    result /= np.float32(max(deviation.item(), 1e-6))
    return result


def smooth_sequence(rng: np.random.Generator, length: int, scale: float) -> FloatArray:
    """One-dimensional smooth noise, float32 [length], about unit standard deviation."""
    knots = max(2, math.ceil(length / max(scale, 1.0)) + 2)
    values = rng.standard_normal(knots).astype(np.float32)
    at = np.linspace(0.0, knots - 1.0, length, dtype=np.float32)
    left = np.minimum(at.astype(np.int64), knots - 2)
    part = at - left
    part = part * part * (3.0 - 2.0 * part)
    sequence = values[left] * (1.0 - part) + values[left + 1] * part
    return np.asarray(sequence * 1.15, dtype=np.float32)


def smooth_step(field: FloatArray, low: float, high: float) -> FloatArray:
    """0 below `low`, 1 above `high`, a smooth ramp between; float32, shape of `field`."""
    ramp = np.clip((field - np.float32(low)) * np.float32(1.0 / (high - low)), 0.0, 1.0)
    return np.asarray(ramp * ramp * (3.0 - 2.0 * ramp), dtype=np.float32)
