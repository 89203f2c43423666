"""Camera effects on a surface: perspective, lens, light and noise."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np

from edgecrack.synthetic.canvas import ByteArray, Canvas, FloatArray, Points, smooth_noise


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
    """Set the mean brightness, in place, as an automatic exposure would."""
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
    """Blur along a line that is centred on each pixel."""
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
    """Encode as JPEG and decode again; `quality` from 1 to 100."""
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


_Layer = TypeVar("_Layer", FloatArray, ByteArray)
_OVERSAMPLING = 2
_STRIP_ROWS = 128
_THINNEST_PX = 0.5


def seen_corners(
    rng: np.random.Generator,
    centre_xy: tuple[float, float],
    half_xy: tuple[float, float],
    angle_rad: float,
) -> Points:
    """The corners of a flat rectangle as seen by a camera at an oblique angle.

    Args:
        rng: source of randomness.
        centre_xy: its centre, pixels.
        half_xy: half of the width and of the height, pixels.
        angle_rad: rotation of the rectangle on the ground.

    Returns:
        float64 [4, 2], x and y, in the order top left, top right, bottom right, bottom left.
    """
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * half_xy
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    turned = corners @ np.array([[cosine, sine], [-sine, cosine]])
    turned[:, 1] *= rng.uniform(0.42, 1.0)
    # Distant parts, higher in the picture, are narrower.
    turned *= 1.0 + rng.uniform(0.0, 0.16) * turned[:, 1:] / max(half_xy)
    if rng.random() < 0.2:  # The camera itself was rotated by 90 degrees.
        turned = turned[:, ::-1] * [1.0, -1.0]
    return np.asarray(turned + centre_xy, dtype=np.float64)


def paste(
    canvas: Canvas, picture: FloatArray, coverage: ByteArray, corners: Points, opacity: float = 1.0
) -> ByteArray:
    """Paste a drawing on the canvas.

    Args:
        canvas: painted on.
        picture: float32 [h, w, 3] BGR.
        coverage: uint8 [h, w], where the drawing is opaque.
        corners: where its corners appear, from `seen_corners`.
        opacity: 0 to 1.

    Returns:
        The coverage on the canvas, uint8 [H, W].
    """
    matrix = _matrix(coverage.shape, corners)
    size = (canvas.hw[1], canvas.hw[0])
    seen = np.asarray(cv2.warpPerspective(coverage, matrix, size), dtype=np.uint8)
    paint = cv2.warpPerspective(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    canvas.blend(seen, np.asarray(paint, dtype=np.float32), opacity)
    return seen


def seen_coverage(canvas: Canvas, coverage: ByteArray, corners: Points) -> ByteArray:
    """A flat drawing's coverage map as it appears on the canvas; uint8 [H, W]."""
    size = (canvas.hw[1], canvas.hw[0])
    warped = cv2.warpPerspective(coverage, _matrix(coverage.shape, corners), size)
    return np.asarray(warped, dtype=np.uint8)


def _matrix(shape: tuple[int, ...], corners: Points) -> Points:
    height, width = shape
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(source.astype(np.float32), corners.astype(np.float32))
    return np.asarray(matrix, dtype=np.float64)


def ground_view(canvas: Canvas, hw: tuple[int, int], rng: np.random.Generator) -> Canvas:
    """View a flat surface obliquely, as a survey camera views a road.

    Args:
        canvas: the surface from straight above; preferably somewhat larger than `hw`.
        hw: height and width of the picture to take, pixels.
        rng: source of randomness for strength and direction; the far end is mostly at the top.

    Returns:
        A new canvas of `hw`. Its mask is binary; cracks less than half a pixel wide in the new
        picture are removed from it, and thin ones are about a pixel wide.
    """
    height, width = canvas.hw
    inset = rng.uniform(0.06, 0.32) * width
    shift = rng.uniform(-0.8, 0.8) * inset
    quad = [[0, 0], [width, 0], [width - inset + shift, height], [inset + shift, height]]
    corners = np.array(quad, dtype=np.float32)
    if rng.random() < 0.2:
        sideways = [[width, 0], [width, height], [0, height - 0.5 * inset], [0, 0.5 * inset]]
        corners = np.array(sideways, dtype=np.float32)[[3, 0, 1, 2]]
    image = np.empty((*hw, 3), dtype=np.float32)
    share = np.empty(hw, dtype=np.uint8)
    # Strip by strip, so that the oversampled picture of a large wall fits into memory.
    for top in range(0, hw[0], _STRIP_ROWS):
        rows = slice(top, min(top + _STRIP_ROWS, hw[0]))
        size = (hw[1], rows.stop - rows.start)
        image[rows] = _seen_strip(canvas.image, corners, hw, top, size)
        share[rows] = _seen_strip(canvas.mask, corners, hw, top, size)
    return Canvas(image, thin_mask(share))


def _seen_strip(
    source: _Layer,
    corners: FloatArray,
    hw: tuple[int, int],
    top: int,
    size: tuple[int, int],
) -> _Layer:
    """Some rows of the picture in which the source's `corners` are those of the frame."""
    fine = _OVERSAMPLING
    frame = np.array([[0, 0], [hw[1], 0], [hw[1], hw[0]], [0, hw[0]]], np.float32)
    frame = (frame - np.array([0, top], np.float32)) * fine - 0.5
    matrix = cv2.getPerspectiveTransform(corners - np.float32(0.5), frame.astype(np.float32))
    fine_size = (size[0] * fine, size[1] * fine)
    seen = cv2.warpPerspective(source, matrix, fine_size, borderMode=cv2.BORDER_REPLICATE)
    strip: _Layer = np.asarray(cv2.resize(seen, size, interpolation=cv2.INTER_AREA), source.dtype)
    return strip


def thin_mask(share: ByteArray) -> ByteArray:
    """Convert the crack share of each pixel, uint8 0 to 255, to a mask of 0 and 255.

    A pixel is crack if half of it is. The middle of every line at least half a pixel wide is
    crack, too, even if it is spread over two pixels.
    """
    value = share.astype(np.float32) * np.float32(1.0 / 255.0)
    width_px = cv2.boxFilter(value, -1, (3, 3), normalize=False) / 3.0
    padded = np.pad(value, 1)
    inner = slice(1, -1)
    across = (value > padded[inner, :-2]) & (value >= padded[inner, 2:])
    down = (value > padded[:-2, inner]) & (value >= padded[2:, inner])
    ridge = (across | down) & (value >= 0.25) & (width_px >= _THINNEST_PX)
    return np.asarray(((value >= 0.5) & (width_px >= _THINNEST_PX)) | ridge, np.uint8) * 255
