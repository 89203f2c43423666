"""A crack of known width and contrast on a clean picture, with its exact mask.

    background = cv2.imread("clean_concrete.jpg")
    config = CrackConfig(width_px=3.0, contrast=0.5)
    crack = render_crack(background, config, np.random.default_rng(1))
    cv2.imwrite("cracked.png", crack.image)

The geometry is far finer than the pixels, so each pixel is darkened by exactly the share that the
crack covers. Only the crack is blurred: the background is a photograph and stays unchanged outside
the crack.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.synthetic.canvas import (
    ByteArray,
    FloatArray,
    fractal_noise,
    smooth_noise,
    smooth_step,
)
from edgecrack.synthetic.surfaces import lit_relief
from edgecrack.yardstick.geometry import (
    CrackOutline,
    Shape,
    coverage,
    draw_branch,
    draw_outline,
    exact_mask,
    scan_lines,
)

GAMMA = 2.2
NARROWEST_PX, WIDEST_PX = 0.5, 80.0
_RANGES = {
    "width_px": (NARROWEST_PX, WIDEST_PX),
    "contrast": (0.05, 0.95),
    "blur_px": (0.0, 8.0),
    "ragged": (0.0, 0.4),
    "swell": (0.0, 0.4),
    "jaggedness": (0.0, 0.9),
    "fading": (0.0, 0.6),
    "spalls": (0.0, 3.0),
}
_SMALLEST_SIDE_PX = 64
# Narrower cracks show the surface darkened, wider ones what lies inside them.
_FLAT_PX, _DEEP_PX = 4.0, 9.0
_LARGEST_NOISE = 6.0


@dataclass(frozen=True)
class CrackConfig:
    """The crack to render.

    Attributes:
        width_px: median full width within the picture, 0.5 to 80 px; at most a third of the
            picture's shorter side.
        contrast: how much darker the inside is than the surface around it, as a share of the
            surface's value in the picture (0 to 255, as stored), 0.05 to 0.95:
            the mean over the covered pixels, before the blur. See `linear_share`.
        blur_px: standard deviation of the camera's point spread function, 0 to 8 px.
        ragged: roughness of each edge as a share of the width, 0 to 0.4.
        swell: slow change of the width as a share of it, 0 to 0.4.
        jaggedness: standard deviation of the kinks, radians, 0 to 0.9; 0 is a straight crack.
        fading: how much the darkness varies along the crack, 0 to 0.6.
        spalls: chips broken off each edge per 100 px, 0 to 3; drawn for cracks wider than 4 px.
            They belong to the crack's mask and width.
        crosses: whether it runs from border to border or ends in a tip within the picture.
        branch: whether it has a thinner branch.

    Raises:
        ConfigError: a value is out of its range.
    """

    width_px: float
    contrast: float
    blur_px: float = 0.8
    ragged: float = 0.14
    swell: float = 0.25
    jaggedness: float = 0.4
    fading: float = 0.2
    spalls: float = 0.4
    crosses: bool = True
    branch: bool = False

    def __post_init__(self) -> None:
        """Validate all values."""
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}", f"give {low:g} to {high:g}")


@dataclass(frozen=True)
class RenderedCrack:
    """A picture with a crack and its exact ground truth.

    Attributes:
        image: uint8 [H, W, 3], BGR.
        mask: uint8 [H, W], 255 for crack, else 0, as `geometry.exact_mask` defines it: at least
            half of the pixel is covered or, where the crack is narrower than 1.5 px, its centre
            line passes it.
        centre_line: float32 [N, 2], x and y in pixels, all within the picture, one to three
            pixels apart; the points of a branch follow those of its crack.
        width_px: float32 [N], the true width there, from edge to edge.
        contrast_seen: how much darker the crack makes the marked pixels, as a share of their value:
            the contrast that remains after blur.
    """

    image: ByteArray
    mask: ByteArray
    centre_line: FloatArray
    width_px: FloatArray
    contrast_seen: float


def linear_share(contrast: float) -> float:
    """The share of the light that a crack of this contrast absorbs, 0 to 1.

    A pixel value is about the 2.2nd root of the light, so a value 50 % darker means 78 % less
    light; and a pixel averages light over its area.
    """
    return 1.0 - math.pow(1.0 - contrast, GAMMA)


def render_crack(
    background: ByteArray, config: CrackConfig, rng: np.random.Generator
) -> RenderedCrack:
    """Render one crack on a clean picture.

    Args:
        background: uint8 [H, W, 3], BGR, each side 64 px or more; not changed.
        config: the crack.
        rng: source of randomness; the same state gives the same bytes.

    Raises:
        ConfigError: the picture is too small for the crack, or not uint8 [H, W, 3].
    """
    check_background(background)
    hw = (background.shape[0], background.shape[1])
    if 3.0 * config.width_px > min(hw):
        raise ConfigError(
            f"width_px is {config.width_px:g} on a picture of {hw[1]}x{hw[0]} pixels",
            "give a picture at least three times as wide and high as the crack",
        )
    outlines = _draw_outlines(hw, config, rng)
    margin = _reach_px(config.blur_px)
    padded = (hw[0] + 2 * margin, hw[1] + 2 * margin)
    moved = [outline.moved(float(margin)) for outline in outlines]
    covered = coverage(moved, padded, scan_lines(outlines))
    image = _composed(background, covered, moved[0], config, rng, margin)
    inner = covered[margin : margin + hw[0], margin : margin + hw[1]]
    mask = exact_mask(inner, outlines)
    line, width_px = _within_picture(outlines, hw)
    return RenderedCrack(image, mask, line, width_px, _contrast_seen(background, image, mask))


def check_background(background: ByteArray) -> None:
    """Raise a ConfigError unless a picture is a valid background."""
    plausible = background.ndim == 3 and background.shape[2] == 3 and background.dtype == np.uint8
    if not plausible or min(background.shape[:2]) < _SMALLEST_SIDE_PX:
        raise ConfigError(
            f"a background is {background.dtype} of shape {background.shape}",
            f"give uint8 [H, W, 3] with sides of {_SMALLEST_SIDE_PX} px or more",
        )


def _draw_outlines(
    hw: tuple[int, int], config: CrackConfig, rng: np.random.Generator
) -> list[CrackOutline]:
    """The crack and, if configured, its branch."""
    spalls = config.spalls if config.width_px > _FLAT_PX else 0.0
    shape = Shape(
        config.width_px, config.ragged, config.swell, config.jaggedness, config.crosses, spalls
    )
    outlines = [draw_outline(hw, shape, rng)]
    if config.branch:
        width_px = float(np.clip(config.width_px * rng.uniform(0.35, 0.65), 0.5, 12.0))
        thinner = Shape(width_px, config.ragged, config.swell, config.jaggedness, False, 0.0)
        branch = draw_branch(outlines[0], hw, thinner, rng)
        outlines += [branch] if branch else []
    return outlines


def _reach_px(blur_px: float) -> int:
    """Where the point spread function is cut off, in whole pixels."""
    return math.ceil(4.0 * blur_px)


def blurred(field: FloatArray, blur_px: float) -> FloatArray:
    """A layer as blurred by the camera, float32 of the same shape."""
    side = 2 * _reach_px(blur_px) + 1
    if side == 1:
        return field
    return np.asarray(cv2.GaussianBlur(field, (side, side), blur_px), dtype=np.float32)


def _composed(
    background: ByteArray,
    covered: FloatArray,
    outline: CrackOutline,
    config: CrackConfig,
    rng: np.random.Generator,
    margin: int,
) -> ByteArray:
    """The picture with the crack in it, made in linear light, uint8 [H, W, 3]."""
    around = np.pad(background, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    light = _to_light(around.astype(np.float32))
    deep = float(smooth_step(np.array([config.width_px], np.float32), _FLAT_PX, _DEEP_PX)[0])
    inside = _inside(covered, outline, config, deep, rng)
    # In a crack too narrow to see into, the surface's texture remains, darkened.
    loss = blurred(covered * (1.0 - (1.0 - deep) * inside**GAMMA), config.blur_px)
    result = light * (1.0 - loss)[..., None]
    if deep > 0.0:
        fill = _smooth_surface(light, config.width_px) * (inside**GAMMA)[..., None]
        result += blurred(np.float32(deep) * covered[..., None] * fill, config.blur_px)
    picture = _to_values(result)
    grain = np.float32(deep * noise_level(background)) * blurred(covered, config.blur_px)
    picture += camera_noise(rng, covered.shape[:2]) * grain[..., None]
    picture = np.where((loss > 0.0)[..., None], np.rint(np.clip(picture, 0.0, 255.0)), around)
    height, width = background.shape[:2]
    cropped = picture[margin : margin + height, margin : margin + width]
    return np.ascontiguousarray(cropped, dtype=np.uint8)


def _to_light(values: FloatArray) -> FloatArray:
    """Convert pixel values, 0 to 255, to light, 0 to 1."""
    return np.asarray(cv2.pow(values * np.float32(1.0 / 255.0), GAMMA), dtype=np.float32)


def _to_values(light: FloatArray) -> FloatArray:
    """Convert light to pixel values, 0 to 255, not rounded."""
    root = cv2.pow(np.maximum(light, 0.0), 1.0 / GAMMA)
    return np.asarray(np.float32(255.0) * root, dtype=np.float32)


def _smooth_surface(light: FloatArray, width_px: float) -> FloatArray:
    """The surface's light without its texture, as the crack's inside has it."""
    sigma = max(6.0, 0.5 * width_px)
    size = (max(2, light.shape[1] // 4), max(2, light.shape[0] // 4))
    small = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / 4.0)
    return np.asarray(cv2.resize(small, light.shape[1::-1]), dtype=np.float32)


def _inside(
    covered: FloatArray,
    outline: CrackOutline,
    config: CrackConfig,
    deep: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Brightness of the inside relative to the surface, float32 [H, W], at least 0.02.

    Its mean over the covered pixels is `1 - contrast`.
    """
    hw = (covered.shape[0], covered.shape[1])
    fading = np.float32(config.fading * (1.0 - 0.75 * deep))
    depth = np.clip(1.0 + fading * smooth_noise(rng, hw, (45.0, 45.0)), 0.3, 1.7)
    if deep > 0.0:
        depth *= 1.0 + np.float32(deep) * (_relief(covered, outline, config, rng) - 1.0)
    return _with_mean(depth, covered, config.contrast)


def _with_mean(depth: FloatArray, covered: FloatArray, contrast: float) -> FloatArray:
    """Scale a depth so that the mean brightness of the covered pixels is `1 - contrast`."""
    weight = float(covered.sum())
    inside = np.full_like(depth, 1.0 - contrast)
    if weight <= 0.0:
        return inside
    scale = 1.0
    for _ in range(4):  # Values at the floor no longer change, so repeat.
        mean = float((np.minimum(depth * scale * contrast, 0.98) * covered).sum()) / weight
        scale *= contrast / max(mean, 1e-6)
    return np.asarray(1.0 - np.minimum(depth * scale * contrast, 0.98), dtype=np.float32)


def _relief(
    covered: FloatArray, outline: CrackOutline, config: CrackConfig, rng: np.random.Generator
) -> FloatArray:
    """How deep the inside of a wide crack looks, around 1; float32 [H, W].

    The core is dark, with some stones and dirt; the flank that faces the light is bright in
    patches, and the other one is in shadow.
    """
    hw = (covered.shape[0], covered.shape[1])
    across = _places(outline, hw)
    width = config.width_px
    across *= np.float32(rng.choice([-1.0, 1.0]))
    wave = fractal_noise(rng, hw, max(6.0, 1.6 * width), max(2.0, 0.15 * width), gain=0.55)
    bumps = fractal_noise(rng, hw, max(4.0, 0.3 * width), 1.6, gain=0.6)
    turned = across + np.float32(0.22) * wave + np.float32(0.06) * bumps
    begin = rng.uniform(0.15, 0.75)
    flank = smooth_step(turned, begin, begin + rng.uniform(0.15, 0.5))
    shadow = smooth_step(-turned, 0.2, 0.9)
    level = rng.uniform(0.4, 2.2)
    filled = fractal_noise(rng, hw, max(8.0, 1.8 * width), 2.0, gain=0.6)
    debris = smooth_step(filled + np.float32(0.6) * bumps, level, level + 0.6)
    # In a deep black crack little else is visible.
    clear = np.float32(1.0 - 0.5 * config.contrast)
    bright = np.maximum(rng.uniform(0.45, 0.8) * flank, rng.uniform(0.4, 0.7) * debris)
    light = lit_relief(bumps, rng) * (0.03 + 0.12 * bright)
    depth = 1.0 + 0.1 * shadow - clear * (bright + light)
    return np.asarray(np.clip(depth, 0.15, 1.25), dtype=np.float32)


def _places(outline: CrackOutline, hw: tuple[int, int]) -> FloatArray:
    """Position of each pixel between the edges, from -1 at the left to 1 at the right edge."""
    distances = []
    for edge in (outline.left, outline.right):
        drawn = np.full(hw, 255, dtype=np.uint8)
        cv2.polylines(drawn, [np.rint(edge).astype(np.int32)], False, 0)
        distances.append(cv2.distanceTransform(drawn, cv2.DIST_L2, 5))
    left, right = distances
    return np.asarray((left - right) / np.maximum(left + right, 1.0), dtype=np.float32)


def noise_level(background: ByteArray) -> float:
    """The camera noise in a picture's values, estimated in its smoothest parts.

    It is the first decile of the robust deviation, by the median, in 16 px blocks after a
    high-pass filter, since texture only adds to it.
    """
    gray = cv2.cvtColor(background, cv2.COLOR_BGR2GRAY).astype(np.float32)
    detail = np.abs(gray - cv2.GaussianBlur(gray, (0, 0), 1.0))
    rows, columns = (side // 16 * 16 for side in gray.shape)
    blocks = detail[:rows, :columns].reshape(rows // 16, 16, columns // 16, 16)
    medians = np.median(blocks.transpose(0, 2, 1, 3).reshape(-1, 256), axis=1)
    return min(1.4826 * float(np.quantile(medians, 0.1)) / 0.85, _LARGEST_NOISE)


def camera_noise(rng: np.random.Generator, hw: tuple[int, int]) -> FloatArray:
    """Noise of unit deviation, mostly common to the channels; float32 [H, W, 3]."""
    shared = rng.standard_normal((*hw, 1), dtype=np.float32)
    own = rng.standard_normal((*hw, 3), dtype=np.float32)
    return np.asarray(np.float32(0.9) * shared + np.float32(0.44) * own, dtype=np.float32)


def _within_picture(
    outlines: list[CrackOutline], hw: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """The centre lines' points within the picture, and their widths."""
    line = np.concatenate([outline.centre for outline in outlines])
    width_px = np.concatenate([outline.width_px for outline in outlines])
    limit = np.array([hw[1] - 0.5, hw[0] - 0.5])
    inside = ((line >= -0.5) & (line < limit)).all(axis=1)
    return line[inside], width_px[inside]


def _contrast_seen(background: ByteArray, image: ByteArray, mask: ByteArray) -> float:
    """How much darker the marked pixels became, as a share of what they were."""
    before = sum(cv2.mean(background, mask)[:3])
    after = sum(cv2.mean(image, mask)[:3])
    return 1.0 - after / max(before, 1e-6)
