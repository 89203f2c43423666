"""Plots of an evaluation: overlays, and precision over recall for one model and for groups."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.evaluation.image_results import CHOOSING_TOLERANCE, Evaluation
from edgecrack.extras import require
from edgecrack.metrics import ThresholdCounts, Tolerance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    """One prediction to compare with the truth in a picture.

    Attributes:
        probability: uint8 [H, W].
        threshold: minimum probability of a crack pixel, 0 to 1.
        title: a line above its panel, or empty.
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
    """Image, truth and prediction side by side, under a caption.

    In the third panel hits are green, false alarms red and misses blue. A predicted pixel within
    the 5x5 square around the truth is a hit; a true pixel without one in its square is a miss.

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
    """As `overlay`, with one panel for each prediction, under its title if it has one.

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
    # More panels are drawn smaller, so that their titles remain readable in one row.
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
    """The panel scaled to the common length of the longer side."""
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


_CURVE_STYLES: dict[Tolerance, tuple[str, str]] = {
    "square": ("#1b6ca8", "within the 5x5 square"),
    "euclidean": ("#3a9c6e", "within 2.0 px"),
    "strict": ("#c4572b", "strict, no tolerance"),
}


def require_matplotlib() -> None:
    """Fail early if curves cannot be drawn.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require("matplotlib", extra="train", purpose="drawing a report's curves")


def precision_recall_png(evaluation: Evaluation, title: str) -> bytes:
    """Precision over recall for each tolerance, with lines of equal F1, as PNG bytes.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure = new_figure((7.2, 6.4))
    axes = figure.add_subplot()
    _draw_equal_f1(axes)
    for tolerance in _CURVE_STYLES:
        _draw_tolerance(axes, evaluation, tolerance)
    axes.set(xlim=(0, 1.005), ylim=(0, 1.005), xlabel="recall", ylabel="precision", aspect="equal")
    images = len(evaluation.images)
    axes.set_title(f"{title}\n{images} image{'s' * (images != 1)}", fontsize=11, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", fontsize=8.5, framealpha=0.95, edgecolor="none")
    return png_bytes(figure)


def _draw_equal_f1(axes: Axes, lowest_precision: float = 0.0) -> None:
    for f1 in np.arange(1, 10) / 10:
        if f1 / (2 - f1) < lowest_precision:
            continue  # its label would be outside the picture
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
    drawn = counts.predicted > 0  # precision is undefined if nothing is predicted
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


GROUP_COLOURS = ("#1b6ca8", "#c4572b", "#3a9c6e", "#8157a8", "#b08a00", "#5b6770")
_FULL_RECALL = np.linspace(0, 1, 1001)


def compared_curves_png(groups: Mapping[str, Sequence[Evaluation]], title: str) -> bytes:
    """The curves of several groups of models in one picture, tolerant and strict, as PNG bytes.

    A thin line is a model, a bold one a group's mean precision at equal recall, as far as all of
    the group's curves extend.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure = new_figure((12, 6.2))
    shown: tuple[tuple[Tolerance, str], ...] = (
        (CHOOSING_TOLERANCE, "within the 5x5 square"),
        ("strict", "strict, no tolerance"),
    )
    for place, (tolerance, name) in enumerate(shown, start=1):
        axes = figure.add_subplot(1, 2, place)
        lowest = 1.0
        for number, (group, evaluations) in enumerate(groups.items()):
            colour = GROUP_COLOURS[number % len(GROUP_COLOURS)]
            counts = [evaluation.counts(tolerance) for evaluation in evaluations]
            best = [metrics.ods(item) for item in counts]
            lowest = min([lowest, *(min(score.precision, score.recall) for score in best)])
            _draw_group(axes, counts, colour, f"{group}: best F1 {_mean_f1(best):.3f}")
        # On the whole unit square all curves look alike near a good model's best point.
        start = max(0.0, float(np.floor((lowest - 0.15) * 10) / 10))
        _draw_equal_f1(axes, start)
        axes.set(xlim=(start, 1.002), ylim=(start, 1.002), xlabel="recall", ylabel="precision")
        axes.set(aspect="equal")
        axes.set_title(name, fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower left", fontsize=8.5, framealpha=0.95, edgecolor="none")
    figure.suptitle(title, fontsize=11, wrap=True)
    return png_bytes(figure)


def _mean_f1(scores: Sequence[metrics.Score]) -> float:
    return float(np.mean([score.f1 for score in scores]))


def _draw_group(axes: Axes, counts: Sequence[ThresholdCounts], colour: str, label: str) -> None:
    levels = [precision_at_recall(item) for item in counts]
    if len(counts) > 1:
        for item in counts:
            values, drawn = metrics.curve(item), item.predicted > 0
            recall, precision = values.recall[drawn], values.precision[drawn]
            axes.plot(recall, precision, color=colour, linewidth=0.7, alpha=0.55, zorder=2)
    mean = np.mean(levels, axis=0)
    axes.plot(_FULL_RECALL, mean, color=colour, linewidth=2.2, zorder=3, label=label)


def precision_at_recall(counts: ThresholdCounts) -> NDArray[np.float64]:
    """Precision at recall 0, 0.001 .. 1, linear between thresholds; NaN if not reached.

    Returns:
        float64 [1001].
    """
    values, drawn = metrics.curve(counts), counts.predicted > 0
    if not drawn.any():
        return np.full(_FULL_RECALL.shape, np.nan)
    recall, precision = values.recall[drawn][::-1], values.precision[drawn][::-1]
    return np.interp(_FULL_RECALL, recall, precision, left=np.nan, right=np.nan)


def new_figure(size_inch: tuple[float, float]) -> Figure:
    """An empty figure of this width and height, drawn without a screen.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_inch, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
