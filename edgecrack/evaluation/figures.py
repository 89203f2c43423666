"""The pictures of a report: the precision-recall curve, and predictions beside the truth.

Knows arrays and scores; must not know files. matplotlib is imported only when a curve is
drawn, so that scoring works without it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.evaluation.results import CHOOSING_TOLERANCE, Evaluation
from edgecrack.extras import require
from edgecrack.metrics import Tolerance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HIT_BGR = (70, 190, 60)
FALSE_ALARM_BGR = (50, 50, 230)
MISS_BGR = (235, 130, 20)
TRUTH_BGR = (0, 215, 255)

_PANEL_LONG_SIDE_PX = 480
_GAP_PX = 8
_CAPTION_PX = 34
_PAPER_BGR = (255, 255, 255)
_INK_BGR = (40, 40, 40)
_CURVE_STYLES: dict[Tolerance, tuple[str, str]] = {
    "square": ("#1b6ca8", "within the 5x5 square"),
    "euclidean": ("#3a9c6e", "within 2.0 px"),
    "strict": ("#c4572b", "strict, no tolerance"),
}


def require_matplotlib() -> None:
    """Fail early where curves cannot be drawn.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require("matplotlib", extra="train", purpose="drawing a report's curves")


def precision_recall_png(evaluation: Evaluation, title: str) -> bytes:
    """Precision over recall for each tolerance, with lines of equal F1, as PNG bytes.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 6.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_equal_f1(axes)
    for tolerance in _CURVE_STYLES:
        _draw_tolerance(axes, evaluation, tolerance)
    axes.set(xlim=(0, 1.005), ylim=(0, 1.005), xlabel="recall", ylabel="precision", aspect="equal")
    images = len(evaluation.images)
    axes.set_title(f"{title}\n{images} image{'s' * (images != 1)}", fontsize=11, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", fontsize=8.5, framealpha=0.95, edgecolor="none")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_equal_f1(axes: Axes) -> None:
    for f1 in np.arange(1, 10) / 10:
        recall = np.linspace(f1 / (2 - f1), 1, 200)
        precision = f1 * recall / (2 * recall - f1)
        axes.plot(recall, precision, color="#d9d9d9", linewidth=0.8, zorder=1)
        axes.annotate(
            f"F1 {f1:.1f}",
            (1, f1 / (2 - f1)),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color="#8a8a8a",
            annotation_clip=False,
        )


def _draw_tolerance(axes: Axes, evaluation: Evaluation, tolerance: Tolerance) -> None:
    colour, label = _CURVE_STYLES[tolerance]
    counts = evaluation.counts(tolerance)
    values = metrics.curve(counts)
    drawn = counts.predicted > 0  # nothing predicted has no precision to draw
    best = metrics.ods(counts)
    axes.plot(
        values.recall[drawn],
        values.precision[drawn],
        color=colour,
        linewidth=2,
        zorder=2,
        label=f"{label}: best F1 {best.f1:.3f} at {best.threshold:.2f}",
    )
    axes.plot(best.recall, best.precision, "o", color=colour, markersize=7, zorder=4)
    used = evaluation.score_at(tolerance, evaluation.operating_threshold)
    if used.threshold != best.threshold:
        axes.plot(
            used.recall,
            used.precision,
            "D",
            markerfacecolor="white",
            markeredgecolor=colour,
            markersize=6,
            zorder=3,
            label=f"   at threshold {used.threshold:.2f}: F1 {used.f1:.3f}",
        )


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
    predicted = metrics.binarize(probability, threshold)
    near_truth = metrics.dilate(truth, CHOOSING_TOLERANCE)
    near_predicted = metrics.dilate(predicted, CHOOSING_TOLERANCE)
    faded = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    faded = cv2.addWeighted(faded, 0.55, np.full_like(faded, 255), 0.15, 0)
    marked_truth, judged = np.asarray(faded).copy(), np.asarray(faded).copy()
    marked_truth[truth] = TRUTH_BGR
    judged[truth & ~near_predicted] = MISS_BGR
    judged[predicted & ~near_truth] = FALSE_ALARM_BGR
    judged[predicted & near_truth] = HIT_BGR
    panels = [_fit(panel) for panel in (image, marked_truth, judged)]
    height, width = panels[0].shape[:2]
    canvas = np.full(
        (height + 2 * _CAPTION_PX + _GAP_PX, 3 * width + 4 * _GAP_PX, 3), _PAPER_BGR, np.uint8
    )
    for number, panel in enumerate(panels):
        left = _GAP_PX + number * (width + _GAP_PX)
        canvas[_CAPTION_PX : _CAPTION_PX + height, left : left + width] = panel
        _write_legend(canvas[_CAPTION_PX + height :, left : left + width], number)
    _write(canvas, caption, left=_GAP_PX, baseline=23, width=canvas.shape[1] - 2 * _GAP_PX)
    return canvas


_LEGENDS: tuple[tuple[tuple[str, tuple[int, int, int] | None], ...], ...] = (
    (("image", None),),
    (("truth", TRUTH_BGR),),
    (("hit", HIT_BGR), ("false alarm", FALSE_ALARM_BGR), ("miss", MISS_BGR)),
)


def _fit(panel: NDArray[Any]) -> NDArray[np.uint8]:
    """The panel with its longer side at the common length, so that every report looks alike."""
    height, width = panel.shape[:2]
    scale = _PANEL_LONG_SIDE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(panel, size, interpolation=method), np.uint8)


def _write_legend(strip: NDArray[np.uint8], panel: int) -> None:
    left = 0
    for label, colour in _LEGENDS[panel]:
        if colour is not None:
            cv2.rectangle(strip, (left, 11), (left + 13, 24), colour, cv2.FILLED)
            left += 20
        left += _write(strip, label, left=left, baseline=23, width=strip.shape[1] - left) + 18


def _write(canvas: NDArray[Any], text: str, *, left: int, baseline: int, width: int) -> int:
    """Write one line in place, shrunk to `width`; returns its width in pixels."""
    if width <= 0:
        return 0
    face, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.52
    line = text.encode("ascii", "replace").decode("ascii")
    (natural, _), _ = cv2.getTextSize(line, face, scale, 1)
    scale *= min(1.0, width / max(natural, 1))
    cv2.putText(canvas, line, (left, baseline), face, scale, _INK_BGR, 1, cv2.LINE_AA)
    return min(natural, width)
