"""Draw cracks with their measurements on the photo, and plot the width along each crack."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.extras import require
from edgecrack.measurement.fitness import Fitness
from edgecrack.photo_measurement.crack_records import MM_PER_INCH, MeasuredCrack, Units
from edgecrack.scale.applied import middle_scale
from edgecrack.scale.scale import Scale
from edgecrack.terminal.wording import interval


def width_text(found: MeasuredCrack, units: Units = "metric") -> str:
    """A crack's mean width with its 95 % interval, or "not measured"."""
    figures = found.width
    if figures is None:
        return "not measured"
    mean, unit, factor = figures.mean, "px", 1.0
    if found.in_mm is not None:
        unit, factor = ("in", 1 / MM_PER_INCH) if units == "imperial" else ("mm", 1.0)
    return interval(factor * mean.value, factor * mean.low, factor * mean.high, unit)


def length_text(found: MeasuredCrack, units: Units = "metric") -> str:
    """A crack's length."""
    if found.in_mm is None:
        return f"{found.crack.length_px:.0f} px"
    value = found.in_mm.length_mm.value
    return f"{value / MM_PER_INCH:.1f} in" if units == "imperial" else f"{value:.0f} mm"


LINE, EDGE, REFUSED = (0, 255, 255), (40, 40, 255), (255, 120, 0)
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FRACTION_BITS = 4
_MOST_LABELS = 40
_MOST_TEXTS = 12
# Mantissas of scale bar lengths.
_ROUND = (1.0, 2.0, 5.0)
# Small photos are enlarged up to this size.
_SHORTEST_SIDE_PX, _LONGEST_SIDE_PX = 480, 4000
Image = NDArray[np.uint8]


def draw_measured(
    image: Image,
    cracks: Sequence[MeasuredCrack],
    scale: Scale | None,
    fitness: Fitness,
    units: Units = "metric",
) -> Image:
    """Draw cracks on a copy of a photo.

    Centre lines are yellow, edges red where the width could be measured; blue dots show where it
    could not. Small photos are enlarged so that the numbers are legible.

    Args:
        image: uint8 [H, W, 3] in BGR order.
        cracks: longest first.
        scale: for the scale bar; None draws one in pixels.
        fitness: what the photo is fit for.
        units: of the texts.

    Returns:
        uint8 [H, W, 3], the photo's size or an integer multiple of it.
    """
    factor = max(1, round(_SHORTEST_SIDE_PX / min(image.shape[:2])))
    factor = max(1, min(factor, _LONGEST_SIDE_PX // max(image.shape[:2])))
    shown = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    canvas = np.ascontiguousarray(shown, np.uint8)
    thick = max(1, round(min(canvas.shape[:2]) / 900))
    for found in cracks:
        _draw_crack(canvas, found, factor, thick)
    taken: list[tuple[int, int, int, int]] = []
    for number, found in enumerate(cracks[:_MOST_LABELS]):
        text = str(found.number)
        if number < _MOST_TEXTS and found.width is not None:
            text += f": {width_text(found, units)}"
        _draw_label(canvas, text, _middle(found) * factor, thick, taken)
    _draw_bar(canvas, scale, image.shape[:2], factor, thick, units)
    if fitness.verdict != "measure":
        _draw_note(canvas, f"not fit to measure: {fitness.reason}", thick)
    return canvas


def _draw_crack(canvas: Image, found: MeasuredCrack, factor: int, thick: int) -> None:
    lines = [
        np.round(line.xy * factor * 2**_FRACTION_BITS).astype(np.int32)
        for line in found.crack.lines
    ]
    cv2.polylines(canvas, lines, False, LINE, thick, cv2.LINE_AA, _FRACTION_BITS)
    for row in found.crack.rows:
        at = np.array(row.xy)
        if row.width.width_px is None:
            cv2.circle(canvas, _pixel(at * factor), thick + 1, REFUSED, -1, cv2.LINE_AA)
            continue
        for side in (-0.5, 0.5):
            edge = at + side * row.width.width_px * np.array(row.normal)
            cv2.circle(canvas, _pixel(edge * factor), thick, EDGE, -1, cv2.LINE_AA)


def _middle(found: MeasuredCrack) -> NDArray[np.float64]:
    line = max(found.crack.lines, key=lambda each: each.length_px)
    return np.asarray(line.xy[len(line.xy) // 2], np.float64)


def _pixel(xy: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))


def _text_size(text: str, thick: int) -> tuple[float, int, int, int]:
    size = 0.5 * max(1.0, thick * 0.9)
    (width, height), below = cv2.getTextSize(text, _FONT, size, thick)
    return size, width, height, below


def _draw_label(
    canvas: Image,
    text: str,
    at: NDArray[np.float64],
    thick: int,
    taken: list[tuple[int, int, int, int]],
) -> None:
    """Draw text on a dark background beside a point, avoiding other labels."""
    size, width, height, below = _text_size(text, thick)
    margin = 3 * thick
    full = (width + 2 * margin, height + below + 2 * margin)
    limit = (canvas.shape[1] - full[0], canvas.shape[0] - full[1])
    x, y = _pixel(at)
    away = 10 * thick
    places = [
        (x + dx, y + dy)
        for step in range(1, 9)
        for dx, dy in (
            (away * step, -full[1] - away * step), (away * step, away * step),
            (-full[0] - away * step, -full[1] - away * step), (-full[0] - away * step, away * step),
        )
    ]  # fmt: skip
    inside = [
        (min(max(left, 0), max(limit[0], 0)), min(max(top, 0), max(limit[1], 0)))
        for left, top in places
    ]
    left, top = next((place for place in inside if _is_free(place, full, taken)), inside[0])
    taken.append((left, top, left + full[0], top + full[1]))
    corner = (min(max(x, left), left + full[0]), min(max(y, top), top + full[1]))
    cv2.line(canvas, (x, y), corner, _WHITE, thick, cv2.LINE_AA)
    _plate(canvas, left, top, full)
    place = (left + margin, top + margin + height)
    cv2.putText(canvas, text, place, _FONT, size, _WHITE, thick, cv2.LINE_AA)


def _is_free(
    place: tuple[int, int], size: tuple[int, int], taken: list[tuple[int, int, int, int]]
) -> bool:
    left, top, right, bottom = place[0], place[1], place[0] + size[0], place[1] + size[1]
    return all(
        right <= other[0] or left >= other[2] or bottom <= other[1] or top >= other[3]
        for other in taken
    )


def _plate(canvas: Image, left: int, top: int, size: tuple[int, int]) -> None:
    part = canvas[max(top, 0) : top + size[1], max(left, 0) : left + size[0]]
    cv2.convertScaleAbs(part, dst=part, alpha=0.3)


def _draw_bar(
    canvas: Image,
    scale: Scale | None,
    hw: tuple[int, ...],
    factor: int,
    thick: int,
    units: Units,
) -> None:
    """Draw a scale bar of round length at the lower left, valid at the image centre."""
    unit_px, unit = float(factor), "px"
    if scale is not None:
        mm_per_px = float(middle_scale(scale, hw[1], hw[0]).mm_per_px[0])
        unit_px, unit = factor / mm_per_px, "mm"
        if units == "imperial":
            unit_px, unit = MM_PER_INCH * unit_px, "in"
    wanted = canvas.shape[1] / 5 / unit_px
    power = 10.0 ** np.floor(np.log10(wanted))
    length = float(power * max(each for each in _ROUND if each * power <= wanted))
    bar_px = round(length * unit_px)
    text = f"{length:g} {unit}"
    size, width, height, _ = _text_size(text, thick)
    margin = 8 * thick
    full = (max(bar_px, width) + 2 * margin, height + 4 * margin)
    top = canvas.shape[0] - full[1]
    _plate(canvas, 0, top, full)
    right, bottom = margin + bar_px, canvas.shape[0] - margin
    cv2.rectangle(canvas, (margin, bottom - margin // 2), (right, bottom), _WHITE, -1)
    cv2.putText(canvas, text, (margin, bottom - margin), _FONT, size, _WHITE, thick, cv2.LINE_AA)


def _draw_note(canvas: Image, text: str, thick: int) -> None:
    text = text.encode("ascii", "replace").decode("ascii")
    size, width, height, below = _text_size(text, thick)
    margin = 4 * thick
    _plate(canvas, 0, 0, (width + 2 * margin, height + below + 2 * margin))
    cv2.putText(canvas, text, (margin, margin + height), _FONT, size, _WHITE, thick, cv2.LINE_AA)


_PURPOSE = "a plot of widths"


def plot_widths(found: MeasuredCrack, scale: Scale | None, units: Units = "metric") -> bytes:
    """Plot the width along a crack's longest line, with the interval of each row, as a PNG.

    Args:
        found: a crack with at least one row.
        scale: scale of the photo; None plots pixels.
        units: units of the axes.

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
    """Unit factors across each row and along the crack, and the unit."""
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
