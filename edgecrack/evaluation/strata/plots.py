"""The figures of a yardstick report: scores by width, detection probability, calibration.

matplotlib is imported only when a figure is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecrack.evaluation.curves import GROUP_COLOURS, new_figure, png_bytes
from edgecrack.yardstick.strata import WIDTH_CLASSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_REAL_STYLE = {"real": ("o-", "photos"), "made": ("s--", "rendered and generated")}


def recall_png(models: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> bytes:
    """Recall by crack width, a colour for each model, photos and made pictures apart; PNG bytes.

    Args:
        models: `StrataScores.recall_by_width` by model name and "real" or "made".

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure = new_figure((8.4, 4.6))
    axes = figure.add_subplot()
    places = np.arange(len(WIDTH_CLASSES))
    for number, (name, kinds) in enumerate(models.items()):
        colour = GROUP_COLOURS[number % len(GROUP_COLOURS)]
        for kind, (style, label) in _REAL_STYLE.items():
            recalls = [row["recall"] for row in kinds.get(kind, ())]
            values = np.array([np.nan if item is None else 100 * item for item in recalls])
            if values.size and not np.isnan(values).all():
                text = f"{_plain(name)}, {label}" if len(models) > 1 else label
                axes.plot(places, values, style, color=colour, label=text, markersize=5)
    axes.set_xticks(places, [name.removesuffix(" px") for name in WIDTH_CLASSES])
    axes.set(ylim=(-2, 102), xlabel="crack width, px", ylabel="recall within 2 px, %")
    _finish(axes)
    return png_bytes(figure)


def detection_png(documents: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Detection probability over width in mm, with the lower bound, for each model; PNG bytes.

    Args:
        documents: `detection_document` by model name.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure = new_figure((8.4, 4.6))
    axes = figure.add_subplot()
    for number, (name, document) in enumerate(documents.items()):
        colour = GROUP_COLOURS[number % len(GROUP_COLOURS)]
        rows = document["widths"]
        middles = [float(np.sqrt(np.prod(row["width_mm"]))) for row in rows]
        found = [100 * row["probability"] for row in rows]
        bounds = [100 * row["lower_95"] for row in rows]
        axes.plot(middles, found, "o-", color=colour, markersize=5, label=_plain(name))
        axes.fill_between(middles, bounds, found, color=colour, alpha=0.12, linewidth=0)
        axes.plot(middles, bounds, ":", color=colour, label="lower 95 % bound over photos")
    first = next(iter(documents.values()))
    axes.axhline(100 * first["target"], color="#8a8a8a", linewidth=0.8)
    blur = "" if first["blur_px"] is None else f", cracks blurred by {first['blur_px']:g} px"
    axes.set_title(f"at {first['mm_per_px']:g} mm/px{blur}", fontsize=10)
    axes.set(xscale="log", ylim=(-2, 102), xlabel="crack width, mm", ylabel="found, %")
    ticks = sorted({edge for row in first["widths"] for edge in row["width_mm"]})
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axes.minorticks_off()
    _finish(axes)
    return png_bytes(figure)


def calibration_png(models: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Share of crack over predicted probability, for each model; PNG bytes.

    Args:
        models: the "calibration" part of `StrataScores.to_dict` by model name.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    figure = new_figure((8.4, 4.6))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#b5b5b5", linewidth=1)
    for number, (name, found) in enumerate(models.items()):
        error = found["all"]["expected_calibration_error"]
        rows = [row for row in found["all"]["bins"] if row["pixels"]]
        axes.plot(
            [row["mean_probability"] for row in rows],
            [row["crack_share"] for row in rows],
            "o-",
            color=GROUP_COLOURS[number % len(GROUP_COLOURS)],
            markersize=5,
            label=_plain(name) if error is None else f"{_plain(name)}: expected error {error:.3f}",
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set(xlabel="predicted probability", ylabel="share that is crack")
    _finish(axes)
    axes.legend(fontsize=8.5, edgecolor="none", loc="upper left", bbox_to_anchor=(1.02, 1.0))
    return png_bytes(figure)


def _plain(name: str) -> str:
    """A name that matplotlib shows as it is: not as a formula, and not hidden from the legend."""
    return name.replace("$", r"\$").lstrip("_") or "model"


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8.5, framealpha=0.9, edgecolor="none")
