"""Precision over recall, for one model and for groups of models, as PNG.

Knows scores; must not know files. matplotlib is imported only when a curve is drawn, so that
scoring works without it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.evaluation.image_results import CHOOSING_TOLERANCE, Evaluation
from edgecrack.extras import require
from edgecrack.metrics import ThresholdCounts, Tolerance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
            continue  # it would be labelled outside of the picture
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


GROUP_COLOURS = ("#1b6ca8", "#c4572b", "#3a9c6e", "#8157a8", "#b08a00", "#5b6770")
_FULL_RECALL = np.linspace(0, 1, 1001)


def compared_curves_png(groups: Mapping[str, Sequence[Evaluation]], title: str) -> bytes:
    """The curves of several groups of models in one picture, tolerant and strict, as PNG bytes.

    Every model is a thin line, and the mean of a group a bold one: the mean precision at equal
    recall, as far as all of the group's curves reach.

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
        # Near a good model's best point all curves look alike on the whole unit square.
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
    """Precision at recall 0, 0.001 .. 1, linear between thresholds; NaN where none reaches.

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
