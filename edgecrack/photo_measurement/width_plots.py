"""Plots of the width along a crack, by matplotlib."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from edgecrack.extras import require
from edgecrack.photo_measurement.crack_records import MeasuredCrack
from edgecrack.photo_measurement.crack_table import MM_PER_INCH, Units
from edgecrack.scale.scale import Scale

_PURPOSE = "a plot of widths"


def plot_widths(found: MeasuredCrack, scale: Scale | None, units: Units = "metric") -> bytes:
    """The width along a crack's longest line with the interval of each row, as a PNG.

    Args:
        found: with at least one row.
        scale: of the photo; None plots pixels.
        units: of the axes.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require("matplotlib", extra="measure", purpose=_PURPOSE)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    crack = found.crack
    longest = int(np.argmax([line.length_px for line in crack.lines]))
    rows = [row for row in crack.rows if row.line == longest]
    across, along, unit = _factors(rows, scale, units)
    places = np.array([row.along_px for row in rows]) * along
    known = np.array([row.width.measurable for row in rows], bool)
    value, low, high = (
        np.array([getattr(row.width, name) or np.nan for row in rows], np.float64) * across
        for name in ("width_px", "low_px", "high_px")
    )
    low[known & np.isnan(low)] = 0.0
    figure = Figure(figsize=(8, 3), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    axes.errorbar(
        places[known], value[known],
        np.maximum([value[known] - low[known], high[known] - value[known]], 0.0),
        fmt="o", markersize=3.5, linewidth=0.8, color="tab:red", label="row, 95 %",
    )  # fmt: skip
    axes.plot(
        places[~known], np.zeros(int((~known).sum())), "x", color="tab:blue",
        label="not measurable", clip_on=False,
    )  # fmt: skip
    if found.width is not None:
        factor = 1 / MM_PER_INCH if unit == "in" else 1.0
        mean = found.width.mean
        axes.axhspan(mean.low * factor, mean.high * factor, color="gray", alpha=0.2)
        axes.axhline(mean.value * factor, color="gray", label="mean of the crack, 95 %")
    axes.set(
        title=f"Crack {found.number}", xlabel=f"along the crack, {unit}", ylabel=f"width, {unit}",
        xlim=(0, float(crack.lines[longest].length_px * along)), ylim=(0, None),
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.22), frameon=False)
    stored = io.BytesIO()
    figure.savefig(stored, format="png", dpi=110)
    return stored.getvalue()


def _factors(rows: Any, scale: Scale | None, units: Units) -> tuple[Any, float, str]:
    """Across each row, along the crack, and the unit."""
    if scale is None:
        return np.ones(len(rows)), 1.0, "px"
    normals = np.array([row.normal for row in rows])
    at = [row.xy for row in rows]
    across = scale.local(at, normals, across=True).mm_per_px
    tangents = np.stack([normals[:, 1], -normals[:, 0]], axis=1)
    along = float(scale.local(at, tangents).mm_per_px.mean())
    if units == "imperial":
        return across / MM_PER_INCH, along / MM_PER_INCH, "in"
    return across, along, "mm"
