"""Measurements from photos as JSON records and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from edgecrack.measurement.budget import Figure, WidthFigures, width_figures
from edgecrack.measurement.cracks import Crack
from edgecrack.measurement.fitness import Fitness
from edgecrack.measurement.severity import SeverityTable, class_record
from edgecrack.scale.applied import CrackInMm, in_millimetres, middle_scale
from edgecrack.scale.scale import Scale

CRACKS_SCHEMA_VERSION = 1
# Narrower cracks are only partly detected (docs/model-card.md, recall by width).
FOUND_PX = 1.0
_DIGITS_PX, _DIGITS_MM, _DIGITS_POINT = 3, 4, 1
_FIGURES = {"mean": "mean", "median": "median", "p95": "percentile_95", "max": "largest"}


@dataclass(frozen=True)
class MeasuredCrack:
    """A crack with its measurements.

    Attributes:
        number: number within the run, from 1.
        crack: the measured crack.
        width_px: statistics over its rows; None if none could be measured.
        in_mm: None without a scale.
        severity: its class record; None if no table was chosen.
    """

    number: int
    crack: Crack
    width_px: WidthFigures | None
    in_mm: CrackInMm | None
    severity: dict[str, Any] | None

    @property
    def width(self) -> WidthFigures | None:
        """In millimetres if there is a scale, otherwise in pixels."""
        return self.width_px if self.in_mm is None else self.in_mm.width_mm

    @property
    def reason(self) -> str:
        """Why there is no width; empty if there is one."""
        if self.width_px is not None:
            return ""
        refused = self.crack.refused
        return max(refused, key=lambda reason: refused[reason]) if refused else "it is too short"

    @property
    def note(self) -> str:
        """Why the values may not represent the whole crack; empty if they do."""
        measured = sum(row.width.measurable for row in self.crack.rows)
        if not measured or 2 * measured >= len(self.crack.rows):
            return ""
        return f"only {measured} of {len(self.crack.rows)} places could be measured"


def measured_crack(
    number: int, crack: Crack, scale: Scale | None, table: SeverityTable | None
) -> MeasuredCrack:
    """Make a crack with its statistics and class."""
    in_mm = None if scale is None else in_millimetres(crack, scale)
    width_px = width_figures([row.width for row in crack.rows])
    return MeasuredCrack(
        number,
        crack,
        width_px,
        in_mm,
        class_record(table, None if in_mm is None else in_mm.width_mm),
    )


def crack_record(found: MeasuredCrack, photo: str) -> dict[str, Any]:
    """The JSON record of a crack."""
    crack, in_mm = found.crack, found.in_mm
    lines = sorted(crack.lines, key=lambda line: -line.length_px)
    points = [np.round(line.simplified(), _DIGITS_POINT).tolist() for line in lines]
    return {
        "id": found.number,
        "photo": photo,
        "points": points[0],
        "lines": points,
        "box": list(crack.xyxy),
        "length_px": _rounded(crack.length_px, _DIGITS_PX),
        "length_mm": None if in_mm is None else _rounded(in_mm.length_mm.value, _DIGITS_MM),
        "length_low_mm": _end(in_mm, "low"),
        "length_high_mm": _end(in_mm, "high"),
        "area_px": crack.area_px,
        "orientation_deg": _rounded(crack.orientation_deg, 1),
        "confidence": _rounded(crack.confidence, 3),
        "width": {
            **_width(found.width_px, "px", _DIGITS_PX),
            **_width(None if in_mm is None else in_mm.width_mm, "mm", _DIGITS_MM),
        },
        "measurable": found.width_px is not None,
        "reason": found.reason,
        "note": found.note,
        "rows": len(crack.rows),
        "refused": crack.refused,
        "class": found.severity,
        "budget": _budget(found),
    }


def _end(in_mm: CrackInMm | None, end: str) -> float | None:
    if in_mm is None or not in_mm.is_stated:
        return None
    return _rounded(float(getattr(in_mm.length_mm, end)), _DIGITS_MM)


def _width(figures: WidthFigures | None, unit: str, digits: int) -> dict[str, float | None]:
    """Value and interval of each statistic; `low` and `high` belong to the mean."""
    record: dict[str, float | None] = {}
    for name, field in _FIGURES.items():
        figure: Figure | None = None if figures is None else getattr(figures, field)
        record[f"{name}_{unit}"] = None if figure is None else _rounded(figure.value, digits)
        prefix = "" if name == "mean" else f"{name}_"
        for end in ("low", "high"):
            value = None if figure is None else _rounded(getattr(figure, end), digits)
            record[f"{prefix}{end}_{unit}"] = value
    return record


def _budget(found: MeasuredCrack) -> dict[str, Any] | None:
    """Standard uncertainties of the mean width by source."""
    figures = found.width
    if figures is None:
        return None
    unit, digits = ("px", _DIGITS_PX) if found.in_mm is None else ("mm", _DIGITS_MM)
    return {
        "unit": unit,
        "terms": {name: _rounded(term, digits + 1) for name, term in figures.mean.terms.items()},
        "combined": _rounded(figures.mean.deviation, digits + 1),
        "scale_stated": None if found.in_mm is None else found.in_mm.is_stated,
    }


def scale_record(scale: Scale | None, hw: tuple[int, int]) -> dict[str, Any] | None:
    """The JSON record of a photo's scale: its value at the image centre, and its inputs."""
    if scale is None:
        return None
    local = middle_scale(scale, hw[1], hw[0])
    across, down = local.mm_per_px.tolist()
    spread = float((2 * local.relative * local.mm_per_px).max())
    return {
        **scale.to_dict(),
        "mm_per_px": _rounded((across * down) ** 0.5, 6),
        "mm_per_px_x": _rounded(across, 6),
        "mm_per_px_y": _rounded(down, 6),
        "spread_95_mm_per_px": _rounded(spread, 6) if local.is_stated else None,
    }


def fitness_record(fitness: Fitness) -> dict[str, Any]:
    """The JSON record of a photo's fitness."""
    return {
        key: _rounded(value, 3) if isinstance(value, float) else value
        for key, value in asdict(fitness).items()
    }


def smallest_record(
    measured_px: float | None, scale: Scale | None, hw: tuple[int, int]
) -> dict[str, float | None]:
    """The smallest widths that can be detected and measured in a photo."""
    record: dict[str, float | None] = {"found_px": FOUND_PX, "measured_px": measured_px}
    coarsest = None
    if scale is not None:
        coarsest = float(middle_scale(scale, hw[1], hw[0]).mm_per_px.max())
    for name, value in (("found", FOUND_PX), ("measured", measured_px)):
        known = coarsest is not None and value is not None
        record[f"{name}_mm"] = _rounded((coarsest or 0.0) * (value or 0.0), 3) if known else None
    return record


def only(values: Sequence[Any]) -> Any:
    """The value that all photos share; None if they differ."""
    return values[0] if values and all(value == values[0] for value in values) else None


def _rounded(value: float, digits: int) -> float:
    return round(float(value), digits)


Units = Literal["metric", "imperial"]
MM_PER_INCH = 25.4
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_LENGTHS = (
    "length", "mean", "low", "high", "median", "p95", "p95_low", "p95_high",
    "max", "max_low", "max_high",
)  # fmt: skip


def table_of(
    records: Iterable[Mapping[str, Any]],
    photos: Mapping[str, Mapping[str, Any]],
    units: Units = "metric",
    site_check: str = "",
    *,
    decimal_comma: bool = False,
) -> str:
    """The crack table.

    Args:
        records: from `crack_record`.
        photos: photo records by name.
        site_check: result of the site check, for all rows.
        units: "imperial" uses inches instead of millimetres.
        decimal_comma: 0,38 instead of 0.38.
    """
    unit = "mm" if units == "metric" else "in"
    columns = [
        "id", "photo",
        *(f"{name}_px" for name in _LENGTHS), *(f"{name}_{unit}" for name in _LENGTHS),
        "measurable", "reason", "class", "class_probability", "orientation_deg", "confidence",
        "rows", "x", "y", "note", "fitness", "fitness_reason", "scale", "scale_stated",
        "site_check",
    ]  # fmt: skip
    text = io.StringIO()
    writer = csv.DictWriter(
        text, columns, delimiter=";" if decimal_comma else ",", lineterminator="\r\n"
    )
    writer.writeheader()
    for record in records:
        row = {
            **_row(record, unit),
            **_of_photo(record, photos[record["photo"]]),
            "site_check": site_check,
        }
        writer.writerow({name: _written(row[name], decimal_comma) for name in columns})
    return text.getvalue()


def _of_photo(record: Mapping[str, Any], photo: Mapping[str, Any]) -> dict[str, Any]:
    """Columns that qualify the values in a row."""
    scale, budget = photo["scale"], record["budget"] or {}
    return {
        "note": record["note"],
        "fitness": photo["fitness"]["verdict"],
        "fitness_reason": photo["fitness"]["reason"],
        "scale": "none" if scale is None else scale["source"],
        "scale_stated": budget.get("scale_stated"),
    }


def _row(record: Mapping[str, Any], unit: str) -> dict[str, Any]:
    width, severity = record["width"], record["class"] or {}
    row: dict[str, Any] = {
        name: record[name]
        for name in (
            "id", "photo", "measurable", "reason", "orientation_deg", "confidence", "rows"
        )
    }  # fmt: skip
    for name in _LENGTHS:
        for written, source in (("px", "px"), (unit, "mm")):
            value = record[f"length_{source}"] if name == "length" else width[f"{name}_{source}"]
            if value is not None and written == "in":
                value = round(value / MM_PER_INCH, 5)
            row[f"{name}_{written}"] = value
    middle = record["points"][len(record["points"]) // 2]
    return {
        **row,
        "class": severity.get("name"),
        "class_probability": severity.get("probability"),
        "x": middle[0],
        "y": middle[1],
    }


def _written(value: Any, decimal_comma: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and decimal_comma:
        return f"{value}".replace(".", ",")
    text = str(value)
    # A spreadsheet would treat this text as a formula.
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULAS) else text
