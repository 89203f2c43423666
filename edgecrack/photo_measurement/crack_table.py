"""`cracks.csv`: a row for each crack, for spreadsheets.

With a decimal comma the columns are parted by semicolons, as spreadsheets of those countries read
it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any, Literal

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
    """The table of the cracks.

    Args:
        records: as `records.crack_record` makes them.
        photos: records of the photos by their name.
        site_check: whether the check on site passed, for all rows.
        units: "imperial" gives inches in place of millimetres.
        decimal_comma: 0,38 in place of 0.38.
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
    """What speaks for and against a row's figures."""
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
    # A spreadsheet takes such a text for a formula.
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULAS) else text
