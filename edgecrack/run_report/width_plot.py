"""The width along a crack as a drawing that needs no other file: SVG, of numbers alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from edgecrack.run_report.report_words import Words

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 170, 52, 30, 10
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_TICKS = 5
# Further apart than this, as a multiple of the usual step, and nothing was measured between.
_GAP = 3.0


def plot_widths(profile: Mapping[str, Any], words: Words) -> str:
    """The width along a crack's longest line with its 95 % interval.

    Args:
        profile: as the survey's `cracks.json` has it.
        words: for the axes.

    Returns:
        An SVG element; "" of fewer than two places.
    """
    points = sorted(profile["points"])
    if len(points) < 2:
        return ""
    unit = "px"
    if profile["unit"] == "mm":
        unit = words.small_unit
        points = [[words.in_small_unit(each) for each in point] for point in points]
    end, top = points[-1][0], max(point[3] for point in points)
    if end <= 0 or top <= 0:
        return ""
    ticks_x, ticks_y = _ticks(end), _ticks(top)
    scale_x = (_WIDTH - _LEFT - 10) / max(end, ticks_x[-1])
    scale_y = (_HEIGHT - _BOTTOM - _TOP) / max(top, ticks_y[-1])

    def at(along: float, value: float) -> str:
        return f"{_LEFT + along * scale_x:.1f},{_HEIGHT - _BOTTOM - value * scale_y:.1f}"

    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{words("width")}">'
    ]
    for tick in ticks_y:
        y = _HEIGHT - _BOTTOM - tick * scale_y
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = words.number(tick, _digits(ticks_y))
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for tick in ticks_x:
        x = _LEFT + tick * scale_x
        text = words.number(tick, _digits(ticks_x))
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{text}</text>')
    for piece in _pieces(points):
        upper = " ".join(at(point[0], point[3]) for point in piece)
        lower = " ".join(at(point[0], point[2]) for point in reversed(piece))
        middle = " ".join(at(point[0], point[1]) for point in piece)
        parts.append(f'<polygon points="{upper} {lower}"/><polyline points="{middle}"/>')
    parts.append(f'<text x="2" y="{_TOP + 8}">{unit}</text>')
    parts.append(f'<text x="{_WIDTH - 2}" y="{_HEIGHT - 1}" text-anchor="end">{unit}</text></svg>')
    return "".join(parts)


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
