"""Whether an image is fit for measuring crack widths, for detecting cracks only, or for neither.

The blur is estimated from the edges in the image: when re-blurred by two known amounts, sharper
edges lose more of their gradient (S. Zhuo and T. Sim, "Defocus map estimation from a single image",
Pattern Recognition 44, 2011, doi 10.1016/j.patcog.2011.03.009; two known blurs instead of one
reduce the effect of noise).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError

Verdict = Literal["measure", "detect", "unfit"]
Cause = Literal["", "light", "contrast", "blur", "motion"]
# Sigmas of the two re-blurs, in pixels.
_WEAK_PX, _STRONG_PX = 1.0, 2.0
# Variance added by differences two pixels apart.
_OF_SCHARR = 1 / 3
_STEEPER_SHARE = 0.3  # of the edges, which show the blur best
_LEAST_EDGES = 60
_LEAST_STEEPNESS = 2.0  # grey values per pixel; weaker edges are noise
_DIRECTIONS = 4
# Largest blur that the width estimate covers.
MOST_BLUR_PX = 2.3
_HOPELESS_BLUR_PX = 6.0
_MOTION_RATIO, _MOTION_PX = 1.7, 2.0
_CLIPPED, _MOST_CLIPPED = 0.05, 0.5
_DARK, _BLACK = 25.0, 8.0
_FLAT = 1.0


@dataclass(frozen=True, slots=True)
class Fitness:
    """What an image is fit for, and the reason.

    Attributes:
        verdict: "measure", "detect" (cracks are found, but widths are unreliable) or "unfit".
        cause: what makes it unfit to measure, for programs; "" if it is fit.
        reason: the cause as a clause; "" if it is fit.
        blur_px: sigma of the point spread function, from the sharper edges; None without edges.
        motion_ratio: ratio of the largest to the smallest directional blur, 1 or more; None without
            edges in several directions.
        overexposed_share: of pixels at 255, 0 to 1.
        mean_level: mean grey value.
    """

    verdict: Verdict
    cause: Cause
    reason: str
    blur_px: float | None
    motion_ratio: float | None
    overexposed_share: float
    mean_level: float


def assess(image: NDArray[np.uint8]) -> Fitness:
    """Decide what an image is fit for.

        >>> assess(np.zeros((64, 64), np.uint8)).reason
        'it is nearly black'

    Args:
        image: uint8 [H, W] or [H, W, 3] in BGR order, as the camera delivered it.

    Raises:
        ConfigError: the image has an unsupported type or shape.
    """
    if (
        image.dtype != np.uint8
        or image.ndim not in (2, 3)
        or not image.size
        or (image.ndim == 3 and image.shape[-1] != 3)
    ):
        raise ConfigError(
            f"an image of {image.dtype} {image.shape} cannot be assessed",
            "give uint8 [height, width] or [height, width, 3]",
        )
    gray = image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    over, mean = float((gray >= 255).mean()), float(gray.mean())
    blur_px, ratio, worst_px = _blur(np.asarray(gray, np.float32))
    moved = ratio is not None and ratio > _MOTION_RATIO and worst_px > _MOTION_PX
    judged = _verdict(float(gray.std()), over, mean, blur_px, ratio if moved else None)
    return Fitness(*judged, blur_px, ratio, over, mean)


def _verdict(
    spread: float, over: float, mean: float, blur_px: float | None, moved: float | None
) -> tuple[Verdict, Cause, str]:
    if mean < _BLACK:
        return "unfit", "light", "it is nearly black"
    if over > _MOST_CLIPPED:
        return "unfit", "light", f"{over:.0%} of it is overexposed"
    if spread < _FLAT:
        return "unfit", "contrast", "it has no contrast"
    if blur_px is not None and blur_px > _HOPELESS_BLUR_PX:
        return "unfit", "blur", f"it is blurred by {blur_px:.1f} px"
    if over > _CLIPPED:
        return "detect", "light", f"{over:.0%} of it is overexposed"
    if mean < _DARK:
        return "detect", "light", "it is dark"
    if blur_px is None:
        return "detect", "contrast", "it has no edges to judge the sharpness by"
    if moved is not None:
        return (
            "detect",
            "motion",
            f"it is blurred {moved:.1f} times as much in one direction, by motion",
        )
    if blur_px > MOST_BLUR_PX:
        return "detect", "blur", f"it is blurred by {blur_px:.1f} px"
    return "measure", "", ""


def _blur(gray: NDArray[np.float32]) -> tuple[float | None, float | None, float]:
    """Sigma in pixels, ratio of the largest to the smallest directional sigma, and the largest."""
    if min(gray.shape) < 24:
        return None, None, 0.0
    weak, strong = (_gradient(gray, sigma) for sigma in (_WEAK_PX, _STRONG_PX))
    steepness = np.hypot(*weak)
    edges = _is_ridge(steepness, weak) & (steepness >= _LEAST_STEEPNESS)
    edges[:8] = edges[-8:] = edges[:, :8] = edges[:, -8:] = False
    if np.count_nonzero(edges) < _LEAST_EDGES:
        return None, None, 0.0
    steep = steepness[edges]
    # After a blur by sigma, the gradient of a step of blur s is proportional to
    # 1 / sqrt(s^2 + sigma^2).
    lost = steep / np.maximum(np.hypot(*strong)[edges], 1e-6)
    squared = np.clip(lost, 1.0001, None) ** 2
    variances = (_STRONG_PX**2 - squared * _WEAK_PX**2) / (squared - 1) - _OF_SCHARR
    sigmas = np.sqrt(np.maximum(variances, 0.0))
    sharper = steep >= np.quantile(steep, 1 - _STEEPER_SHARE)
    angles = np.arctan2(weak[1][edges], weak[0][edges]) % np.pi
    sector = (angles / np.pi * _DIRECTIONS + 0.5).astype(int) % _DIRECTIONS
    each = [_across(sigmas[sector == one], steep[sector == one]) for one in range(_DIRECTIONS)]
    known = [one for one in each if one is not None]
    blur_px = float(np.quantile(sigmas[sharper], 0.3))
    if len(known) < 2:
        return blur_px, None, 0.0
    return blur_px, max(1.0, max(known) / max(min(known), 0.4)), max(known)


def _across(sigmas: NDArray[Any], steep: NDArray[Any]) -> float | None:
    """Blur across the steeper edges of one direction; None if there are too few."""
    if len(steep) < _LEAST_EDGES / 2:
        return None
    return float(np.median(sigmas[steep >= np.quantile(steep, 1 - _STEEPER_SHARE)]))


def _gradient(gray: NDArray[np.float32], sigma_px: float) -> tuple[Any, Any]:
    smooth = cv2.GaussianBlur(gray, (0, 0), sigma_px)
    return cv2.Scharr(smooth, cv2.CV_32F, 1, 0) / 32, cv2.Scharr(smooth, cv2.CV_32F, 0, 1) / 32


def _is_ridge(steepness: NDArray[np.float32], gradient: tuple[Any, Any]) -> NDArray[np.bool_]:
    """Non-maximum suppression: at least as steep as one pixel away on both sides."""
    unit = [each / np.maximum(steepness, 1e-6) for each in gradient]
    rows, columns = np.indices(steepness.shape, np.float32)
    beside = [
        cv2.remap(steepness, columns + sign * unit[0], rows + sign * unit[1], cv2.INTER_LINEAR)
        for sign in (-1, 1)
    ]
    return np.asarray((steepness >= beside[0]) & (steepness >= beside[1]))
