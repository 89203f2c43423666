"""A survey's cracks for other programs: spreadsheets, a GIS, training."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecrack.errors import SourceError
from edgecrack.run_report.facts import RunFacts

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_CATEGORY = {"id": 1, "name": "crack", "supercategory": "defect"}
_WALL_VERSION = 1
_HALF_PX = 1.0  # of a line as a polygon, to either side


def as_csv(facts: RunFacts, *, decimal_comma: bool = False) -> str:
    """One row per crack, rejected marks last; contains no formulas."""
    names = (
        "id", "status", "element", "face", "sheet", "from_datum_mm", "angle_deg", "length_mm",
        "length_low_mm", "length_high_mm", "length_px", "width_mean_mm", "width_low_mm",
        "width_high_mm", "width_p95_mm", "width_max_mm", "width_mean_px", "class",
        "class_probability", "frames", "views", "confidence", "best_frame", "latitude_deg",
        "longitude_deg", "machine", "origin", "decision", "reason", "reviewer", "reviewed_at",
        "gauge_mm", "tags", "note",
    )  # fmt: skip
    text = io.StringIO()
    separator = ";" if decimal_comma else ","
    writer = csv.DictWriter(text, names, delimiter=separator, lineterminator="\r\n")
    writer.writeheader()
    for crack in (*facts.confirmed, *facts.unconfirmed, *facts.rejected):
        row = _row(facts, crack)
        writer.writerow({name: _cell(row.get(name), decimal_comma) for name in names})
    return text.getvalue()


def _row(facts: RunFacts, crack: Mapping[str, Any]) -> dict[str, Any]:
    place, width, own = facts.places[crack["id"]], crack["width"], crack["place"] or {}
    return {
        **crack,
        "element": None if place.element is None else place.element.code,
        "face": None if place.face is None else place.face.name,
        "from_datum_mm": _rounded(place.from_datum_mm, 1),
        "angle_deg": round(place.angle_deg, 1),
        **{f"width_{name}": width[name] for name in
           ("mean_mm", "low_mm", "high_mm", "p95_mm", "max_mm", "mean_px")},
        "class": None if crack["class"] is None else crack["class"]["name"],
        "class_probability": None if crack["class"] is None else crack["class"]["probability"],
        "frames": len(crack["frames"]),
        "best_frame": None if crack["best"] is None else crack["best"]["name"],
        "latitude_deg": own.get("latitude_deg"),
        "longitude_deg": own.get("longitude_deg"),
        **_review(crack),
    }  # fmt: skip


def _review(crack: Mapping[str, Any]) -> dict[str, Any]:
    """The reviewer's decision; empty if there is none."""
    review = crack.get("review")
    if review is None:
        return {}
    return {
        **{name: review[name] or None for name in
           ("machine", "origin", "decision", "reason", "reviewer", "note")},
        "reviewed_at": review["at"] or None,
        "gauge_mm": review["gauges"][-1]["mm"] if review["gauges"] else None,
        "tags": " ".join(review["tags"]) or None,
    }  # fmt: skip


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _cell(value: Any, decimal_comma: bool) -> Any:
    if isinstance(value, float) and decimal_comma:
        return str(value).replace(".", ",")
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return "'" + value  # a spreadsheet shows it and does not run it
    return value


def as_geojson(facts: RunFacts) -> dict[str, Any]:
    """Confirmed cracks as lines on the earth, RFC 7946: longitude, latitude, height.

    Raises:
        SourceError: no sheet is placed by GNSS.
    """
    placed = {
        sheet["number"]: sheet["placed"]
        for sheet in facts.document["sheets"]
        if sheet["placed"] is not None and sheet["placed"]["origin_deg"] is not None
    }
    features = []
    for crack in facts.confirmed:
        place = placed.get(crack["sheet"])
        if place is None:
            continue
        lines = [_on_earth(np.asarray(line, np.float64), place) for line in crack["lines"]]
        features.append(
            {
                "type": "Feature",
                "id": crack["id"],
                "geometry": {"type": "MultiLineString", "coordinates": lines},
                "properties": {
                    "id": crack["id"],
                    "length_mm": crack["length_mm"],
                    "width_mean_mm": crack["width"]["mean_mm"],
                    "width_p95_mm": crack["width"]["p95_mm"],
                    "class": None if crack["class"] is None else crack["class"]["name"],
                    "spread_m": place["spread_m"],
                    "of_camera": place["of_camera"],
                    "decision": (crack.get("review") or {}).get("decision"),
                },
            }
        )
    if not placed:
        raise SourceError(
            "no sheet has geographic coordinates, so there is nothing for GeoJSON",
            "stream with `position` and GNSS, or take another format",
        )
    return {"type": "FeatureCollection", "features": features}


def _on_earth(line: np.ndarray[Any, np.dtype[np.float64]], place: Mapping[str, Any]) -> list[Any]:
    from edgecrack.run_survey.positions import from_local

    axes, origin = np.asarray(place["axes_m_per_px"]), np.asarray(place["origin_m"])
    corners = []
    for x, y, z in (origin + line @ axes.T).tolist():
        latitude, longitude, altitude = from_local((x, y, z), tuple(place["origin_deg"]))
        corners.append([round(longitude, 9), round(latitude, 9), round(altitude, 3)])
    return corners


def as_wall_lines(facts: RunFacts) -> dict[str, Any]:
    """Confirmed cracks as lines on the wall, in millimetres from the upper left of their sheets.

    Not GeoJSON: that is longitude and latitude. y points down, as in the pictures. Places have the
    scale of the sheet on the whole, `length_mm` that at the crack.

    Raises:
        SourceError: no sheet has a scale.
    """
    if not facts.has_scale:
        raise SourceError(
            "no sheet has a scale, so there are no millimetres on the wall",
            "stream with a scale, such as `mm_per_pixel`, or take another format",
        )
    sheets = facts.document["sheets"]
    return {
        "schema_version": _WALL_VERSION,
        "unit": "mm",
        "cracks": [
            {
                "id": crack["id"],
                "sheet": crack["sheet"],
                "length_mm": crack["length_mm"],
                "lines": [_on_wall(line, sheets[crack["sheet"]]) for line in crack["lines"]],
                "gaps": [_on_wall(gap, sheets[crack["sheet"]]) for gap in crack["gaps"]],
            }
            for crack in facts.confirmed
            if sheets[crack["sheet"]]["mm_per_px"] is not None
        ],
    }


def _on_wall(line: Any, sheet: Mapping[str, Any]) -> list[list[float]]:
    places = (np.asarray(line, np.float64) - sheet["extent_px"][:2]) * sheet["mm_per_px"]
    return [[round(x, 3), round(y, 3)] for x, y in places.tolist()]


def as_coco(facts: RunFacts) -> dict[str, Any]:
    """Confirmed cracks in the pictures that show them best, as COCO: narrow polygons."""
    images: dict[str, dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    for crack in facts.confirmed:
        best = crack["best"]
        if best is None or best["picture"] is None:
            continue
        sheet = facts.document["sheets"][crack["sheet"]]
        height, width = sheet["frame_hw"]
        image = images.setdefault(
            best["picture"],
            {
                "id": len(images) + 1,
                "file_name": best["picture"],
                "width": width,
                "height": height,
            },
        )
        polygon, box, area = _ribbon(np.asarray(best["points"], np.float64))
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image["id"],
                "category_id": _CATEGORY["id"],
                "segmentation": [polygon],
                "bbox": box,
                "area": area,
                "iscrowd": 0,
                "attributes": {"crack": crack["id"]},
            }
        )
    return {
        "info": {"description": "cracks in the frames that show them best"},
        "images": list(images.values()),
        "annotations": annotations,
        "categories": [_CATEGORY],
    }


def _ribbon(
    points: np.ndarray[Any, np.dtype[np.float64]],
) -> tuple[list[float], list[float], float]:
    """A line as a polygon of two pixels' width, its box and its area."""
    along = np.gradient(points, axis=0)
    along /= np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    across = _HALF_PX * np.stack([-along[:, 1], along[:, 0]], axis=1)
    outline = np.concatenate([points + across, (points - across)[::-1]])
    low, high = outline.min(axis=0), outline.max(axis=0)
    x, y = outline.T
    area = 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
    box = [round(float(each), 1) for each in (*low, *(high - low))]
    return [round(float(each), 1) for each in outline.ravel()], box, round(area, 1)
