"""The width along a crack as a drawing, for the page and for the PDF."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecrack.run_report.report_words import Words

Point = tuple[float, float]

PLOT_WIDTH, PLOT_HEIGHT = 640, 170
_LEFT, _RIGHT, _BOTTOM, _TOP = 52, 10, 24, 24
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_TICKS = 5
# Further apart than this, as a multiple of the usual step, and nothing was measured between.
_GAP = 3.0


@dataclass(frozen=True)
class WidthPlot:
    """The width along a crack, laid out in a frame of 640 by 170 with y downwards.

    Attributes:
        unit: of both axes.
        rules: ends of the horizontal rules, (x, y) each.
        texts: x, y of the baseline, "start", "middle" or "end", and the text.
        bands: outlines of the 95 % interval, one for each piece that was measured.
        lines: of the width, one for each piece.
    """

    unit: str
    rules: tuple[tuple[Point, Point], ...]
    texts: tuple[tuple[float, float, str, str], ...]
    bands: tuple[tuple[Point, ...], ...]
    lines: tuple[tuple[Point, ...], ...]

    def svg(self, label: str) -> str:
        """As an SVG element."""
        parts = [
            f'<svg class="plot" viewBox="0 0 {PLOT_WIDTH} {PLOT_HEIGHT}" role="img" '
            f'aria-label="{html.escape(label)}">'
        ]
        for (x1, y1), (x2, y2) in self.rules:
            parts.append(f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>')
        for x, y, anchor, text in self.texts:
            parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>')
        for name, shapes in (("polygon", self.bands), ("polyline", self.lines)):
            for shape in shapes:
                corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape)
                parts.append(f'<{name} points="{corners}"/>')
        return "".join([*parts, "</svg>"])


def plot_widths(profile: Mapping[str, Any], words: Words) -> WidthPlot | None:
    """The width along a crack's longest line with its 95 % interval.

    Args:
        profile: as the survey's `cracks.json` has it.
        words: for figures and units.

    Returns:
        None of fewer than two places.
    """
    points = sorted(profile["points"])
    if len(points) < 2:
        return None
    unit = "px"
    if profile["unit"] == "mm":
        unit = words.small_unit
        points = [[words.in_small_unit(each) for each in point] for point in points]
    end, top = points[-1][0], max(point[3] for point in points)
    if end <= 0 or top <= 0:
        return None
    ticks_x, ticks_y = _ticks(end), _ticks(top)
    scale_x = (PLOT_WIDTH - _LEFT - _RIGHT) / max(end, ticks_x[-1])
    scale_y = (PLOT_HEIGHT - _BOTTOM - _TOP) / max(top, ticks_y[-1])

    def at(along: float, value: float) -> Point:
        return _LEFT + along * scale_x, PLOT_HEIGHT - _BOTTOM - value * scale_y

    texts = [(_LEFT - 6.0, 12.0, "end", unit)]
    rules = []
    for tick in ticks_y:
        _, y = at(0, tick)
        rules.append(((float(_LEFT), y), (float(PLOT_WIDTH - _RIGHT), y)))
        texts.append((_LEFT - 6.0, y + 4, "end", words.number(tick, _digits(ticks_y))))
    for tick in ticks_x:
        text, x, anchor = words.number(tick, _digits(ticks_x)), at(tick, 0)[0], "middle"
        if tick == ticks_x[-1]:
            text, x, anchor = f"{text} {unit}", PLOT_WIDTH - 2.0, "end"
        texts.append((x, PLOT_HEIGHT - 5.0, anchor, text))
    bands, lines = [], []
    for piece in _pieces(points):
        upper = [at(point[0], point[3]) for point in piece]
        lower = [at(point[0], point[2]) for point in reversed(piece)]
        bands.append((*upper, *lower))
        lines.append(tuple(at(point[0], point[1]) for point in piece))
    return WidthPlot(unit, tuple(rules), tuple(texts), tuple(bands), tuple(lines))


def _ticks(end: float) -> list[float]:
    """Round values from 0 to just beyond the end."""
    power = 1e-4
    while True:
        for step in _STEPS:
            if end / (step * power) <= _MOST_TICKS:
                count = int(end / (step * power)) + 1
                return [number * step * power for number in range(count + 1)]
        power *= 10


def _digits(ticks: Sequence[float]) -> int:
    step = ticks[1] - ticks[0]
    return next((digits for digits in range(6) if _is_whole(step * 10**digits)), 6)


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-6


def _pieces(points: Sequence[Sequence[float]]) -> list[list[Sequence[float]]]:
    """Places that follow each other, without those between which nothing was measured."""
    steps = sorted(after[0] - before[0] for before, after in itertools.pairwise(points))
    usual = max(steps[len(steps) // 2], 1e-9)
    pieces = [[points[0]]]
    for before, after in itertools.pairwise(points):
        if after[0] - before[0] > _GAP * usual:
            pieces.append([])
        pieces[-1].append(after)
    return pieces
