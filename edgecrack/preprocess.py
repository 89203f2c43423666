"""From a camera frame to network input: the one function that training and runtime share.

It must run once per frame, never per tile: contrast limits computed on a tile would
make the same crack look different on either side of a seam.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError

Stretch = Literal["percentile", "minmax"]


@dataclass(frozen=True)
class PreprocessConfig:
    """Parameters of `preprocess`; they travel in every model file's sidecar.

    Attributes:
        clahe_clip: contrast limit of the adaptive histogram equalisation; 0 leaves it out.
        clahe_grid: the frame is split into clahe_grid x clahe_grid cells, 1 to 64.
        gamma: exponent 1/gamma brightens dark pixels when gamma > 1, 0.1 to 10.
        stretch: "percentile" maps two percentiles of the frame's gray levels to 0 and 255 and
            cuts off what lies beyond; "minmax" maps the darkest and the brightest pixel.
        low_percentile: of the level that becomes 0; 0 to 100, below `high_percentile`. Without
            effect on "minmax".
        high_percentile: of the level that becomes 255.
    """

    clahe_clip: float = 2.0
    clahe_grid: int = 8
    gamma: float = 1.2
    stretch: Stretch = "minmax"
    low_percentile: float = 1.0
    high_percentile: float = 99.0

    def __post_init__(self) -> None:
        if not 0 <= self.clahe_clip <= 100:
            raise ConfigError(f"clahe_clip is {self.clahe_clip}", "give a number from 0 to 100")
        # type(), because OpenCV takes neither 8.0 nor True.
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

    def to_dict(self) -> dict[str, float | int | str]:
        """The parameters as they stand in a sidecar."""
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


def _range(gray: NDArray[np.uint8], config: PreprocessConfig) -> tuple[float, float]:
    """The levels that become 0 and 255."""
    if config.stretch == "minmax":
        lowest, highest, _, _ = cv2.minMaxLoc(gray)
        return lowest, highest
    reached = np.cumsum(np.bincount(gray.ravel(), minlength=256))
    shares = np.array([config.low_percentile, config.high_percentile]) / 100
    low, high = np.searchsorted(reached, shares * reached[-1]).tolist()
    return low, high


def preprocess(
    frame: NDArray[np.uint8], config: PreprocessConfig | None = None
) -> NDArray[np.uint8]:
    """Turn one frame into network input.

    Gray (0.299 R + 0.587 G + 0.114 B), stretched to 0..255 over the frame, CLAHE, gamma.
    This is the paper's "histogram equalization, normalization and gamma adjustment"; it leaves
    order and values open, which are chosen here.

    Args:
        frame: uint8 [H, W, 3] in BGR order as OpenCV delivers it, or uint8 [H, W] gray.
        config: the parameters; the defaults are those of the bundled model.

    Returns:
        uint8 [H, W], a new array.

    Raises:
        ConfigError: the frame has another dtype, shape, or no pixels.
    """
    config = config or PreprocessConfig()
    if frame.dtype != np.uint8 or frame.size == 0:
        raise ConfigError(
            f"a frame is {frame.dtype} of shape {frame.shape}", "give uint8 with at least one pixel"
        )
    if frame.ndim == 3 and frame.shape[2] == 3:
        gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
    elif frame.ndim == 2:
        gray = frame
    else:
        raise ConfigError(f"a frame has shape {frame.shape}", "give [H, W, 3] (BGR) or [H, W]")
    lowest, highest = _range(gray, config)
    result = cv2.LUT(gray, _stretch_table(lowest, highest))
    if config.clahe_clip > 0:
        grid = (config.clahe_grid, config.clahe_grid)
        result = cv2.createCLAHE(clipLimit=config.clahe_clip, tileGridSize=grid).apply(result)
    if config.gamma != 1:
        result = cv2.LUT(result, _gamma_table(config.gamma))
    return np.asarray(result, dtype=np.uint8)
