"""The record of a measured frame: a line of `widths.jsonl`, also for the page and recordings.

See edgecrack/schemas/width.schema.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import ConfigError
from edgecrack.measurement.budget import Figure
from edgecrack.measurement.cracks import Crack, Statistic, measure_image
from edgecrack.measurement.fitness import assess
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.measuring.frame_scale import FoundScale, FrameScale
from edgecrack.scale.applied import CrackInMm, all_in_millimetres, middle_scale
from edgecrack.scale.quantity import COVERAGE
from edgecrack.site_check.sheet_reading import find_sheet, read_placed
from edgecrack.terminal.wording import interval

# Raised when a field is removed, renamed or changes its meaning, not when one is added.
# docs/migration.md lists the changes.
WIDTHS_SCHEMA_VERSION = 1
# A crack of this width, the smallest in codes of practice, must be at least one pixel wide for
# half of the places along it to be measurable (docs/measurement.md).
ASKED_MM, LEAST_PX = 0.3, 1.0
_DIGITS, _DIGITS_MM, _DIGITS_SCALE = 3, 4, 6
_FIGURES = ("mean", "median", "percentile_95", "largest")
_NAMED = 6


def width_record(result: FrameResult, scale: FrameScale | None = None) -> dict[str, Any]:
    """Measure a frame.

    Args:
        result: the network's findings.
        scale: finds its scale; None measures in pixels.
    """
    frame = result.frame
    found = None if scale is None else scale.of(result)
    site, sheet = (None, None) if found is None else checked_on_site(frame.image, found)
    probability = result.probability if sheet is None else np.where(sheet, 0, result.probability)
    cracks = measure_image(
        frame.image, probability.astype(np.uint8, copy=False), threshold=result.threshold
    )
    in_mm: Iterator[CrackInMm | None] = iter(())
    if found is not None and found.scale is not None:
        in_mm = iter(all_in_millimetres(cracks, found.scale))
    return {
        "schema_version": WIDTHS_SCHEMA_VERSION,
        "frame": frame.index,
        "name": frame.name,
        "capture_time_ns": frame.capture_time_ns,
        "fitness": {key: _rounded(value) for key, value in asdict(assess(frame.image)).items()},
        "scale": None if found is None else _scale_record(found, frame.hw),
        "site_check": site,
        "cracks": [_crack_record(crack, next(in_mm, None)) for crack in cracks],
    }


def checked_on_site(
    image: NDArray[np.uint8], found: FoundScale
) -> tuple[dict[str, Any] | None, NDArray[np.bool_] | None]:
    """The result of a check sheet in view, and where it is, since its cracks are not the wall's.

    Args:
        image: uint8 [H, W, 3], BGR.
        found: its scale.

    Returns:
        The check as JSON values, and bool [H, W], True on the sheet; None and None without a
        sheet or a scale.
    """
    if found.scale is None:
        return None, None
    try:
        sheet = find_sheet(image, found.camera)
    except ConfigError as error:  # such as two sheets in view
        return {"passed": False, "problems": [error.problem], "sentences": [error.problem]}, None
    if sheet is None:
        return None, None
    check = read_placed(image, sheet, found.scale)
    return {**check.to_dict(), "sentences": check.sentences()}, sheet.mask(image.shape)


def brief_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """A short form of a record for a page: the widest cracks only, as text.

    Args:
        record: of `width_record`.
    """
    scale, fitness, cracks = record["scale"], record["fitness"], record["cracks"]
    mm_per_px = None if scale is None else scale["mm_per_px"]
    return {
        "frame": record["frame"],
        "verdict": fitness["verdict"],
        "reason": fitness["reason"],
        "site": None if record["site_check"] is None else record["site_check"]["sentences"][0],
        "no_scale": "" if scale is None else scale["reason"],
        "too_fast": fitness["cause"] == "motion",
        "too_far": mm_per_px is not None and ASKED_MM / mm_per_px < LEAST_PX,
        "count": len(cracks),
        "cracks": [
            {"length": length_text(crack), "width": width_text(crack)} for crack in cracks[:_NAMED]
        ],
    }


def length_text(crack: Mapping[str, Any]) -> str:
    """Length of a crack of a record: "182 mm", or "1450 px" without a scale."""
    in_mm = crack["length_mm"]
    if in_mm is None:
        return f"{crack['length_px']:.0f} px"
    value = in_mm["value_mm"]
    return f"{value / 1000:.2f} m" if value >= 1000 else f"{value:.0f} mm"


def width_text(crack: Mapping[str, Any]) -> str:
    """Mean width of a crack of a record: "0.38 mm [0.31, 0.45]"."""
    mean_mm = None if crack["width_mm"] is None else crack["width_mm"]["mean"]
    if mean_mm is not None:
        value, low, high = (mean_mm[f"{name}_mm"] for name in ("value", "low", "high"))
        return interval(value, low, high, "mm")
    mean = crack["width"]["mean"]
    if mean is None:
        return "not measurable"
    value, low, high = (mean[f"{name}_px"] for name in ("value", "low", "high"))
    return interval(value, low, high, "px")


def _scale_record(found: FoundScale, hw: tuple[int, int]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "source": found.source,
        "mm_per_px": None,
        "spread_95_mm_per_px": None,
        "distance_m": None,
        "reason": found.reason,
    }
    if found.scale is None:
        return record
    local = middle_scale(found.scale, hw[1], hw[0])
    across, down = local.mm_per_px.tolist()
    record["mm_per_px"] = round((across * down) ** 0.5, _DIGITS_SCALE)
    if local.is_stated:
        spread = float((COVERAGE * local.relative * local.mm_per_px).max())
        record["spread_95_mm_per_px"] = round(spread, _DIGITS_SCALE)
    if found.distance_m is not None:
        record["distance_m"] = round(found.distance_m.value, _DIGITS_MM)
    return record


def _crack_record(crack: Crack, in_mm: CrackInMm | None) -> dict[str, Any]:
    figures = None if in_mm is None else in_mm.width_mm
    return {
        "box": list(crack.xyxy),
        "length_px": _rounded(crack.length_px),
        "length_mm": None if in_mm is None else _length_record(in_mm),
        "area_px": crack.area_px,
        "orientation_deg": _rounded(crack.orientation_deg),
        "confidence": _rounded(crack.confidence),
        "lines": [line.simplified().round(1).tolist() for line in crack.lines],
        "width": {name: _statistic(getattr(crack, name)) for name in _FIGURES},
        "width_mm": None
        if figures is None
        else {name: _figure(getattr(figures, name)) for name in _FIGURES},
        "budget": None
        if figures is None
        else {name: round(term, _DIGITS_MM + 1) for name, term in figures.mean.terms.items()},
        "rows": len(crack.rows),
        "refused": crack.refused,
    }


def _length_record(in_mm: CrackInMm) -> dict[str, float | None]:
    record: dict[str, float | None] = {**_figure(in_mm.length_mm)}
    # Without the scale's uncertainty an interval would be too narrow.
    return record if in_mm.is_stated else {**record, "low_mm": None, "high_mm": None}


def _figure(figure: Figure) -> dict[str, float]:
    ends = {"value": figure.value, "low": figure.low, "high": figure.high}
    return {f"{name}_mm": round(value, _DIGITS_MM) for name, value in ends.items()}


def _statistic(found: Statistic | None) -> dict[str, Any] | None:
    return None if found is None else {key: _rounded(value) for key, value in asdict(found).items()}


def _rounded(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, float) else value
