"""Converts a camera frame to network input, in training and at runtime alike.

It must run once per frame, never per tile: contrast limits computed on a tile would
make the same crack look different on either side of a seam.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.images.decoding import to_8_bits
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.images.nodata import (
    blur_nodata,
    fill_nodata,
    find_nodata,
    find_text,
    masked_pixels,
    with_mask,
)

Stretch = Literal["percentile", "minmax"]
_LIMITS = np.zeros(256, dtype=np.uint8)
_LIMITS[[0, 255]] = 255
# How far the blocks of lossy formats spread a sharp edge.
_AROUND_LIMITS_PX = 8
# If fewer pixels would be left, those at the limits count, too.
_LEAST_COUNTED = 0.5


@dataclass(frozen=True)
class PreprocessConfig:
    """Parameters of `preprocess`, stored in every model file's sidecar.

    Attributes:
        clahe_clip: contrast limit of the adaptive histogram equalisation; 0 disables it.
        clahe_grid: the frame is split into clahe_grid x clahe_grid cells, 1 to 64.
        gamma: exponent 1/gamma brightens dark pixels when gamma > 1, 0.1 to 10.
        stretch: "percentile" takes the range between two percentiles of the frame's gray levels,
            widens it, maps it to 0..255 and clips values outside; "minmax" maps the darkest
            pixel to 0 and the brightest to 255, and ignores the next three.
        low_percentile: lower percentile, 0 to 100.
        high_percentile: upper percentile, above `low_percentile`, at most 100.
        stretch_margin: how much the range is widened at each end, as a multiple of it, 0 to 10;
            a thin crack has fewer pixels than a percentile and is darker.
    """

    clahe_clip: float = 2.0
    clahe_grid: int = 8
    gamma: float = 1.2
    stretch: Stretch = "percentile"
    low_percentile: float = 0.2
    high_percentile: float = 99.8
    stretch_margin: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.clahe_clip <= 100:
            raise ConfigError(f"clahe_clip is {self.clahe_clip}", "give a number from 0 to 100")
        # type(), because OpenCV accepts neither 8.0 nor True.
        if type(self.clahe_grid) is not int or not 1 <= self.clahe_grid <= 64:
            raise ConfigError(f"clahe_grid is {self.clahe_grid}", "give 1 to 64 cells per side")
        if not 0.1 <= self.gamma <= 10:
            raise ConfigError(f"gamma is {self.gamma}", "give a number from 0.1 to 10")
        if self.stretch not in get_args(Stretch):
            raise ConfigError(
                f"stretch is {self.stretch!r}", f"give one of: {', '.join(get_args(Stretch))}"
            )
        if not 0 <= self.low_percentile < self.high_percentile <= 100:
            raise ConfigError(
                f"the percentiles are {self.low_percentile} and {self.high_percentile}",
                "give two numbers from 0 to 100, the lower one first",
            )
        if not 0 <= self.stretch_margin <= 10:
            raise ConfigError(
                f"stretch_margin is {self.stretch_margin}", "give a number from 0 to 10"
            )

    def to_dict(self) -> dict[str, float | int | str]:
        """The parameters as stored in a sidecar."""
        return asdict(self)


@lru_cache(maxsize=8)
def _gamma_table(gamma: float) -> NDArray[np.uint8]:
    levels = np.arange(256) / 255.0
    return np.rint(levels ** (1.0 / gamma) * 255.0).astype(np.uint8)


def _stretch_table(lowest: float, highest: float) -> NDArray[np.uint8]:
    """256-entry table that maps lowest..highest to 0..255 (all zero for a flat frame)."""
    levels = np.arange(256, dtype=np.float64)
    span = max(highest - lowest, 1.0)
    return np.clip(np.rint((levels - lowest) * (255.0 / span)), 0, 255).astype(np.uint8)


def preprocess(
    frame: NDArray[np.uint8] | NDArray[np.uint16], config: PreprocessConfig | None = None
) -> NDArray[np.uint8]:
    """Turn one frame into network input.

    Gray (0.299 R + 0.587 G + 0.114 B), stretched to 0..255 over the frame, CLAHE, gamma.
    This is the paper's "histogram equalization, normalization and gamma adjustment"; the paper
    does not give their order and values.

    Args:
        frame: [H, W, 3] in BGR order as OpenCV delivers it, or [H, W] gray; uint8, or uint16,
            which `to_8_bits` converts first. A masked array if it has transparent pixels.
        config: the parameters; the defaults are those of the preset `paper`.

    Returns:
        uint8 [H, W], a new array.

    Raises:
        ConfigError: the frame has another dtype, shape, or no pixels.
    """
    return np.asarray(prepare(frame, config))


def prepare(
    frame: NDArray[np.uint8] | NDArray[np.uint16],
    config: PreprocessConfig | None = None,
    ignored: IgnoredPixels | None = None,
) -> NDArray[np.uint8]:
    """As `preprocess`, and mark where the frame shows nothing.

    With the percentile stretch, transparent pixels, constant margins and burnt-in text are
    excluded from statistics: the rest of the frame is mirrored into them and blurred. Ignored
    pixels are treated in the same way with either stretch, so the result does not depend on them.

    Args:
        frame: as in `preprocess`.
        config: as in `preprocess`.
        ignored: pixels to ignore; None for none.

    Returns:
        uint8 [H, W], a new array; a `numpy.ma.MaskedArray`, masked where the frame shows nothing
        or is ignored, if there is such a part.

    Raises:
        ConfigError: as `preprocess`, or `ignored` has another size.
    """
    config = config or PreprocessConfig()
    gray = _gray_of(frame)
    hidden = None
    if ignored is not None:
        gray, hidden = ignored.filled(gray), ignored.mask
    if config.stretch == "minmax":
        lowest, highest, _, _ = cv2.minMaxLoc(gray)
    else:
        if (nodata := _nodata_of(frame, gray, hidden)) is not None:
            hidden = nodata if hidden is None else nodata | hidden
            gray = fill_nodata(gray, hidden)
        lowest, highest = _percentile_range(gray, hidden, config)
    result = _equalized(cv2.LUT(gray, _stretch_table(lowest, highest)), config)
    return result if hidden is None else with_mask(blur_nodata(result, hidden), hidden)


def without_nodata(
    probability: NDArray[np.uint8], prepared: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Crack probability uint8 [H, W], set to 0 where `prepare` found that a frame shows nothing.

    Args:
        probability: uint8 [H, W]; changed in place.
        prepared: the result of `prepare`.
    """
    nodata = masked_pixels(prepared)
    if nodata is not None:
        probability[nodata] = 0
    return probability


def _gray_of(frame: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    if frame.dtype not in (np.uint8, np.uint16) or frame.size == 0:
        raise ConfigError(
            f"a frame is {frame.dtype} of shape {frame.shape}",
            "give uint8 or uint16 with at least one pixel",
        )
    if frame.ndim != 2 and (frame.ndim != 3 or frame.shape[2] != 3):
        raise ConfigError(f"a frame has shape {frame.shape}", "give [H, W, 3] (BGR) or [H, W]")
    pixels: NDArray[Any] = np.asarray(frame)
    if pixels.dtype == np.uint16:
        pixels = to_8_bits(pixels)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return np.asarray(pixels, dtype=np.uint8)


def _nodata_of(
    frame: NDArray[np.uint8] | NDArray[np.uint16],
    gray: NDArray[np.uint8],
    ignored: NDArray[np.bool_] | None,
) -> NDArray[np.bool_] | None:
    """Margins, burnt-in text and transparent pixels of a frame, bool [H, W]; None for none."""
    parts = [find_nodata(gray, ignored), find_text(gray), masked_pixels(frame)]
    found = [part for part in parts if part is not None]
    return np.logical_or.reduce(found) if found else None


def _percentile_range(
    gray: NDArray[np.uint8], hidden: NDArray[np.bool_] | None, config: PreprocessConfig
) -> tuple[float, float]:
    """The levels that become 0 and 255, from the pixels that count."""
    counts = cv2.calcHist([gray], [0], _counted(gray, hidden), [256], [0, 256])
    reached = np.cumsum(np.asarray(counts).ravel(), dtype=np.float64)
    shares = np.array([config.low_percentile, config.high_percentile]) / 100
    low, high = np.searchsorted(reached, np.maximum(1, shares * reached[-1])).tolist()
    if low == high:
        levels = np.flatnonzero(counts)  # nearly all pixels have one level: use the others
        low, high = int(levels[0]), int(levels[-1])
    widened = config.stretch_margin * (high - low)
    return low - widened, high + widened


def _counted(gray: NDArray[np.uint8], hidden: NDArray[np.bool_] | None) -> NDArray[np.uint8] | None:
    """255 where a pixel counts in the percentiles; None where all do.

    Pixels at 0 and 255 are dead, overexposed or part of a burnt-in clock, and there may be more of
    them than a percentile allows. They and their surroundings, which lossy compression alters, do
    not represent the frame's contrast.
    """
    shown = np.full(gray.shape, 255, dtype=np.uint8)
    if hidden is not None and not hidden.all():
        shown[hidden] = 0
    limits = cv2.LUT(gray, _LIMITS)
    cv2.bitwise_and(limits, shown, dst=limits)
    if not cv2.countNonZero(limits):
        return None if hidden is None else shown
    needed = cv2.countNonZero(shown) * _LEAST_COUNTED
    # Arrays are reused, since each is large for a large frame.
    surfaces = cv2.morphologyEx(limits, cv2.MORPH_OPEN, _box(2))  # single pixels do no harm
    around = cv2.dilate(surfaces, _box(2 * _AROUND_LIMITS_PX + 1), dst=surfaces)
    for left_out in (cv2.bitwise_or(limits, around, dst=around), limits):
        counted = cv2.bitwise_not(left_out, dst=left_out)
        cv2.bitwise_and(shown, counted, dst=counted)
        if cv2.countNonZero(counted) >= needed:
            return np.asarray(counted, dtype=np.uint8)
    return shown


def _box(side_px: int) -> NDArray[np.uint8]:
    return np.ones((side_px, side_px), dtype=np.uint8)


def _equalized(gray: NDArray[Any], config: PreprocessConfig) -> NDArray[np.uint8]:
    """Local contrast and gamma of a stretched frame, uint8 [H, W]."""
    if config.clahe_clip > 0:
        grid = (config.clahe_grid, config.clahe_grid)
        gray = cv2.createCLAHE(clipLimit=config.clahe_clip, tileGridSize=grid).apply(gray)
    if config.gamma != 1:
        gray = cv2.LUT(gray, _gamma_table(config.gamma))
    return np.asarray(gray, dtype=np.uint8)
