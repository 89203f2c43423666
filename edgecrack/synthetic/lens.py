"""What the camera and the light add: all that changes pixels but moves none.

Nothing here shifts the picture, so the mask stays exact.
"""

from __future__ import annotations

import cv2
import numpy as np

from edgecrack.synthetic.noise import ByteArray, FloatArray, smooth_noise


def to_bytes(image: FloatArray) -> ByteArray:
    """Clip to 0..255 and round; float32 [H, W, 3] to uint8 of the same shape."""
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0.0)), dtype=np.uint8)


def photograph(image: FloatArray, rng: np.random.Generator) -> ByteArray:
    """Take a picture of a surface with a random camera in random light.

    Args:
        image: float32 [H, W, 3] BGR, 0 to 255; changed in place.
        rng: source of randomness.

    Returns:
        uint8 [H, W, 3] BGR.
    """
    if rng.random() < 0.7:
        image *= _illumination((image.shape[0], image.shape[1]), rng)[..., None]
    if rng.random() < 0.4:
        image *= (1.0 + rng.normal(0.0, 0.045, 3)).astype(np.float32)
    _expose(image, rng)
    image = _optics(image, rng)
    low_light = rng.random() < 0.08
    if low_light:
        image *= np.float32(rng.uniform(0.35, 0.6))
    if rng.random() < 0.8:
        add_noise(image, rng, rng.uniform(2.5, 7.0) if low_light else rng.uniform(0.4, 4.0))
    picture = to_bytes(image)
    if rng.random() < 0.6:
        picture = compress(picture, int(rng.integers(45, 96)))
    return picture


def _expose(image: FloatArray, rng: np.random.Generator) -> None:
    """Bring the mean brightness, in place, to where an automatic exposure would."""
    mean = float(np.mean(cv2.mean(image)[:3]))
    wanted = float(np.clip(mean, rng.uniform(70.0, 100.0), rng.uniform(140.0, 175.0)))
    image *= np.float32(wanted / max(mean, 1.0))


def _illumination(hw: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """A gradient, a soft pool of light and a vignette; float32 [H, W] around 1."""
    height, width = hw
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    slope = rng.normal(0.0, 0.1, 2).astype(np.float32)
    light = 1.0 + slope[0] * x + slope[1] * y
    if rng.random() < 0.4:
        light = light - np.float32(rng.uniform(0.05, 0.18)) * (x * x + y * y)
    if rng.random() < 0.3:
        light = light + np.float32(0.06) * smooth_noise(rng, hw, (height / 2.0, width / 2.0))
    return np.asarray(np.clip(light, 0.15, 1.8), dtype=np.float32)


def _optics(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Defocus or motion blur, or a sharpening camera; most pictures get one of them."""
    draw = rng.random()
    if draw < 0.35:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 1.1)))
    elif draw < 0.45:
        image = motion_blur(image, rng.uniform(2.0, 4.5), rng.uniform(0.0, np.pi))
    elif draw < 0.65:
        blurred = cv2.GaussianBlur(image, (0, 0), 1.0)
        image = np.asarray(cv2.addWeighted(image, 1.6, blurred, -0.6, 0.0))
    return image.astype(np.float32, copy=False)


def motion_blur(image: FloatArray, length_px: float, angle_rad: float) -> FloatArray:
    """Smear along a line whose middle stays in place."""
    size = 2 * int(np.ceil(length_px / 2.0)) + 1
    kernel = np.zeros((size, size), dtype=np.float32)
    middle = (size - 1) / 2.0
    reach = 0.5 * (length_px - 1.0) * np.array([np.cos(angle_rad), np.sin(angle_rad)])
    begin = np.rint((middle - reach) * 16).astype(int)
    end = np.rint((middle + reach) * 16).astype(int)
    cv2.line(kernel, begin.tolist(), end.tolist(), 1.0, 1, cv2.LINE_8, 4)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), dtype=np.float32)


def add_noise(image: FloatArray, rng: np.random.Generator, sigma: float) -> None:
    """Sensor noise in place: fine in brightness, coarser and weaker in colour."""
    hw = (image.shape[0], image.shape[1])
    image += rng.standard_normal(hw, dtype=np.float32)[..., None] * np.float32(sigma)
    chroma = smooth_noise(rng, hw, (2.0, 2.0)) * np.float32(0.5 * sigma)
    image[..., 0] += chroma
    image[..., 2] -= chroma


def compress(picture: ByteArray, quality: int) -> ByteArray:
    """Through JPEG and back; `quality` from 1 to 100."""
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
