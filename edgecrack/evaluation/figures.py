"""The pictures of a report: predictions beside the truth.

Knows arrays; must not know files or how predictions were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.evaluation.image_results import CHOOSING_TOLERANCE

HIT_BGR = (70, 190, 60)
FALSE_ALARM_BGR = (50, 50, 230)
MISS_BGR = (235, 130, 20)
TRUTH_BGR = (0, 215, 255)

_PANEL_LONG_SIDE_PX = 480
_GAP_PX = 8
_CAPTION_PX = 34
_TITLE_PX = 26
_PAPER_BGR = (255, 255, 255)
_INK_BGR = (40, 40, 40)


@dataclass(frozen=True, eq=False)
class PredictedImage:
    """One prediction to be judged in a picture.

    Attributes:
        probability: uint8 [H, W].
        threshold: from which it counts as crack, 0 to 1.
        title: a line above its panel, or nothing.
    """

    probability: NDArray[np.uint8]
    threshold: float
    title: str = ""


def overlay(
    image: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    probability: NDArray[np.uint8],
    threshold: float,
    caption: str,
) -> NDArray[np.uint8]:
    """Image, truth and judged prediction side by side, under a caption.

    In the third panel hits are green, false alarms red and misses blue. A pixel within the
    5x5 square of the truth is a hit, and a true pixel within it of the prediction no miss.

    Args:
        image: uint8 [H, W, 3] BGR.
        truth: bool [H, W].
        probability: uint8 [H, W].
        threshold: the prediction's threshold, 0 to 1.
        caption: one line; characters outside ASCII are shown as `?`.

    Returns:
        uint8 [h, w, 3] BGR.
    """
    return overlays(image, truth, [PredictedImage(probability, threshold)], caption)


def overlays(
    image: NDArray[np.uint8],
    truth: NDArray[np.bool_],
    predictions: Sequence[PredictedImage],
    caption: str,
) -> NDArray[np.uint8]:
    """As `overlay`, with one judged panel for each prediction, titled where one has a title.

    Args:
        image: uint8 [H, W, 3] BGR.
        truth: bool [H, W].
        predictions: maps of the image's size.
        caption: one line; characters outside ASCII are shown as `?`.

    Returns:
        uint8 [h, w, 3] BGR.
    """
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    lighter = cv2.addWeighted(gray, 0.55, np.full_like(gray, 255), 0.15, 0)
    faded: NDArray[np.uint8] = np.asarray(lighter, np.uint8)
    marked_truth = faded.copy()
    marked_truth[truth] = TRUTH_BGR
    judged = [_judge(faded, truth, prediction) for prediction in predictions]
    # More panels are smaller ones, so that their titles can be read where all share a line.
    long_side_px = _PANEL_LONG_SIDE_PX * 3 // (2 + max(1, len(judged)))
    panels = [_fit(panel, long_side_px) for panel in (image, marked_truth, *judged)]
    titles = ["", "", *(prediction.title for prediction in predictions)]
    top = _CAPTION_PX + (_TITLE_PX if any(titles) else 0)
    height, width = panels[0].shape[:2]
    canvas_hw = (top + height + _CAPTION_PX + _GAP_PX, len(panels) * (width + _GAP_PX) + _GAP_PX)
    canvas = np.full((*canvas_hw, 3), _PAPER_BGR, np.uint8)
    for number, (panel, title) in enumerate(zip(panels, titles, strict=True)):
        left = _GAP_PX + number * (width + _GAP_PX)
        canvas[top : top + height, left : left + width] = panel
        _write(canvas, title, left=left, baseline=top - 9, width=width)
        legend = _LEGENDS[min(number, len(_LEGENDS) - 1)]
        _write_legend(canvas[top + height :, left : left + width], legend)
    _write(canvas, caption, left=_GAP_PX, baseline=23, width=canvas.shape[1] - 2 * _GAP_PX)
    return canvas


def _judge(
    faded: NDArray[np.uint8], truth: NDArray[np.bool_], prediction: PredictedImage
) -> NDArray[np.uint8]:
    """The faded image with hits, false alarms and misses in colour."""
    predicted = metrics.binarize(prediction.probability, prediction.threshold)
    near_truth = metrics.dilate(truth, CHOOSING_TOLERANCE)
    near_predicted = metrics.dilate(predicted, CHOOSING_TOLERANCE)
    judged = faded.copy()
    judged[truth & ~near_predicted] = MISS_BGR
    judged[predicted & ~near_truth] = FALSE_ALARM_BGR
    judged[predicted & near_truth] = HIT_BGR
    return judged


_Legend = tuple[tuple[str, tuple[int, int, int] | None], ...]
_LEGENDS: tuple[_Legend, ...] = (
    (("image", None),),
    (("truth", TRUTH_BGR),),
    (("hit", HIT_BGR), ("false alarm", FALSE_ALARM_BGR), ("miss", MISS_BGR)),
)


def _fit(panel: NDArray[Any], long_side_px: int) -> NDArray[np.uint8]:
    """The panel with its longer side at the common length, so that every report looks alike."""
    height, width = panel.shape[:2]
    scale = long_side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(panel, size, interpolation=method), np.uint8)


def _write_legend(strip: NDArray[np.uint8], legend: _Legend) -> None:
    left = 0
    for label, colour in legend:
        if colour is not None:
            cv2.rectangle(strip, (left, 11), (left + 13, 24), colour, cv2.FILLED)
            left += 20
        left += _write(strip, label, left=left, baseline=23, width=strip.shape[1] - left) + 18


def _write(canvas: NDArray[Any], text: str, *, left: int, baseline: int, width: int) -> int:
    """Write one line in place, shrunk to `width`; returns its width in pixels."""
    if width <= 0 or not text:
        return 0
    face, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.52
    line = text.encode("ascii", "replace").decode("ascii")
    (natural, _), _ = cv2.getTextSize(line, face, scale, 1)
    scale *= min(1.0, width / max(natural, 1))
    cv2.putText(canvas, line, (left, baseline), face, scale, _INK_BGR, 1, cv2.LINE_AA)
    return min(natural, width)
