"""Builds the content of a survey's `cracks.json`; see edgecrack/schemas/survey.schema.json.

Points are in pixels of the sheet, lengths and widths in its pixels and, where frames had a scale,
in millimetres; unknown values are null.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecrack.measurement.budget import WITHIN_95, Figure, WidthFigures
from edgecrack.measurement.severity import class_record
from edgecrack.run_survey.map_files import MapFiles
from edgecrack.run_survey.positions import PlacedSheet
from edgecrack.run_survey.survey_findings import LengthScale, SurveyFindings, SurveyNote, sentences
from edgecrack.survey.coverage import SEEN, Coverage
from edgecrack.survey.inventory import SurveyCrack
from edgecrack.survey.plane_geometry import Points, middle_of
from edgecrack.survey.repeatability import (
    CrackAgreement,
    Repeatability,
    WidthDifference,
    width_difference,
)
from edgecrack.survey.sheets import Sheet

SURVEY_SCHEMA_VERSION = 1
_FIGURES = {"mean": "mean", "median": "median", "p95": "percentile_95", "max": "largest"}
# Standard uncertainties of a centre line: of its length, as a share, and of its ends.
_LINE_SHARE, _ENDS_PX = 0.02, 3.0
_IN_TABLE = ("mean_mm", "low_mm", "high_mm", "max_mm", "mean_px")


def survey_document(
    findings: SurveyFindings,
    maps: Sequence[MapFiles],
    notes: Sequence[SurveyNote],
    model: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of `cracks.json`."""
    inventory = findings.inventory
    return {
        "schema_version": SURVEY_SCHEMA_VERSION,
        "cracks": [_crack(findings, crack) for crack in inventory.cracks],
        "sheets": [_sheet(findings, sheet, maps) for sheet in findings.sheets.sheets],
        "key_frames": [
            _key_frame(findings, number, sheet.number)
            for sheet in findings.sheets.sheets
            for number in sheet.key_frames
        ],
        "count": {
            "low": inventory.confirmed.low,
            "high": inventory.confirmed.high,
            "unconfirmed": inventory.unconfirmed,
        },
        "coverage": _coverage_of_all(findings),
        "blur_px": _blur(findings.kept.blurs_px),
        "repeatability": _repeatability(findings.repeatability),
        "notes": list(sentences(notes)),
        "noted": [note.to_dict() for note in notes],
        "model": dict(model),
    }


def _crack(findings: SurveyFindings, crack: SurveyCrack) -> dict[str, Any]:
    scale = findings.length_scale(crack)
    length = None if scale is None else _length(crack, scale)
    width_mm = None if crack.width is None else crack.width.mm
    lines = [_simple(line) for line in crack.lines]
    best = _best(findings, crack)
    return {
        "id": crack.id,
        "status": "confirmed" if crack.confirmed else "unconfirmed",
        "sheet": crack.sheet,
        "points": lines[0],
        "lines": lines,
        "gaps": [_simple(gap) for gap in crack.bridges],
        "length_px": round(crack.length_px, 1),
        "length_mm": None if length is None else _rounded(length.value),
        "length_low_mm": _end(length, scale, "low"),
        "length_high_mm": _end(length, scale, "high"),
        "width": {
            **_width(None if crack.width is None else crack.width.px, "px"),
            **_width(width_mm, "mm"),
            "places": 0 if crack.width is None else crack.width.places,
            "frames": [] if crack.width is None else list(crack.width.frames),
        },
        "budget": None
        if width_mm is None
        else {name: _rounded(term) for name, term in width_mm.mean.terms.items()},
        "profile": _profile(crack, scale),
        "class": class_record(findings.table, width_mm),
        "frames": list(crack.frames),
        "views": crack.views,
        "confidence": round(crack.confidence, 3),
        "best": best,
        "position": None if best is None else best.pop("position"),
        "place": _place(findings, crack),
    }


def _profile(crack: SurveyCrack, scale: LengthScale | None) -> dict[str, Any] | None:
    """The width along the crack's longest line: distance along it, value, low and high."""
    if crack.width is None:
        return None
    places = [each for each in crack.width.profile if each.line == 0]
    in_mm = scale is not None and all(each.mm is not None for each in places)
    factor = scale.mm_per_px if scale is not None and in_mm else 1.0
    points = [
        [
            _rounded(each.along_px * factor),
            *map(_rounded, each.mm if in_mm and each.mm else each.px),
        ]
        for each in places
    ]
    return {"unit": "mm" if in_mm else "px", "points": points}


def _place(findings: SurveyFindings, crack: SurveyCrack) -> dict[str, Any] | None:
    """The position of a crack's midpoint in space."""
    placed = findings.places.get(crack.sheet)
    return None if placed is None else placed.of(middle_of(crack.lines[0]))


def _length(crack: SurveyCrack, scale: LengthScale) -> Figure:
    value = crack.length_px * scale.mm_per_px
    terms = {
        "scale": value * scale.relative,
        "line": math.hypot(_LINE_SHARE * value, _ENDS_PX * scale.mm_per_px),
    }
    spread = WITHIN_95 * math.sqrt(sum(term**2 for term in terms.values()))
    return Figure(value, max(0.0, value - spread), value + spread, terms)


def _end(length: Figure | None, scale: LengthScale | None, end: str) -> float | None:
    # Without the scale's uncertainty, an interval would be too narrow.
    if length is None or scale is None or not scale.is_stated:
        return None
    return _rounded(float(getattr(length, end)))


def _width(figures: WidthFigures | None, unit: str) -> dict[str, float | None]:
    """Each figure's value and interval; `low` and `high` are the mean's."""
    record: dict[str, float | None] = {}
    for name, member in _FIGURES.items():
        figure: Figure | None = None if figures is None else getattr(figures, member)
        record[f"{name}_{unit}"] = None if figure is None else _rounded(figure.value)
        prefix = "" if name == "mean" else f"{name}_"
        for end in ("low", "high"):
            value = None if figure is None else _rounded(getattr(figure, end))
            record[f"{prefix}{end}_{unit}"] = value
    return record


def _best(findings: SurveyFindings, crack: SurveyCrack) -> dict[str, Any] | None:
    """The frame that shows most of a crack; frames with a picture are preferred."""
    kept = findings.kept

    def worth(sighting: tuple[int, int]) -> tuple[bool, float]:
        frame, place = sighting
        has_picture = kept.frames[frame].picture is not None
        return has_picture, kept.sightings[frame].cracks[place].length_px

    if not crack.sightings:
        return None
    most = max(kept.sightings[f].cracks[p].length_px for f, p in crack.sightings)
    large = [each for each in crack.sightings if worth(each)[1] >= 0.6 * most]
    frame, place = max(large, key=worth)
    shown, sighting = kept.frames[frame], kept.sightings[frame]
    longest = max(sighting.cracks[place].lines, key=lambda line: line.length_px)
    view = kept.views.get(crack.id)
    return {
        "frame": frame,
        "name": shown.name,
        "points": longest.xy.round(1).tolist(),
        "picture": None if shown.picture is None else _relative(shown.picture, kept.root),
        "view": None if view is None else _relative(view, kept.root),
        "position": None if sighting.position is None else sighting.position.to_dict(),
    }


def _relative(path: Path, root: Path) -> str:
    """A path relative to the run's folder."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _sheet(findings: SurveyFindings, sheet: Sheet, maps: Sequence[MapFiles]) -> dict[str, Any]:
    drawn = next((each for each in maps if each.sheet == sheet.number), None)
    metres = findings.metres_per_px(sheet.number)
    coverage = findings.coverages[sheet.number]
    return {
        "number": sheet.number,
        "frames": [sheet.frames[0], sheet.frames[-1]],
        "frame_hw": list(findings.sheets.placements[sheet.reference_frame].hw),
        "frame_count": len(sheet.frames),
        "key_frames": list(sheet.key_frames),
        "reference_frame": sheet.reference_frame,
        "begins": sheet.begins,
        "registration_px": round(sheet.sigma_px, 3),
        "drift_px": round(sheet.drift_px, 1),
        "mm_per_px": None if metres is None else round(1000 * metres, 6),
        "doubtful": [list(pair) for pair in sheet.doubtful],
        "placed": _placed(findings.places.get(sheet.number)),
        "coverage": _coverage(coverage, metres),
        "extent_px": _extent(coverage),
        "map": None
        if drawn is None
        else {
            "picture": drawn.picture,
            "undrawn": drawn.undrawn,
            "coverage": drawn.coverage,
            "world_file": drawn.world,
            "tiles": drawn.tiles,
            "from_sheet": drawn.from_sheet.round(9).tolist(),
        },
    }


def _key_frame(findings: SurveyFindings, number: int, sheet: int) -> dict[str, Any]:
    """A key frame, with the homography from its pixels to the sheet's."""
    kept, placement = findings.kept.frames[number], findings.sheets.placements[number]
    return {
        "frame": number,
        "name": kept.name,
        "picture": None if kept.picture is None else _relative(kept.picture, findings.kept.root),
        "sheet": sheet,
        "hw": list(placement.hw),
        "to_sheet": placement.homography.round(9).tolist(),
    }


def _placed(placed: PlacedSheet | None) -> dict[str, Any] | None:
    if placed is None:
        return None
    place = placed.place
    return {
        "by": placed.by,
        "origin_m": place.origin_m.round(4).tolist(),
        "axes_m_per_px": place.axes_m.round(9).tolist(),
        "origin_deg": None if placed.origin_deg is None else list(placed.origin_deg),
        "spread_m": round(place.spread_m, 4),
        "used": place.used,
        "left_out": place.left_out,
        "of_camera": placed.of_camera,
        "along_only": place.along_only,
        "markers": list(placed.markers),
    }


def _extent(coverage: Coverage) -> list[float]:
    """Left, top, right and bottom of the area in view, in the sheet's pixels."""
    height, width = coverage.best.shape
    left, top = coverage.origin_xy
    right, bottom = left + width * coverage.cell_px, top + height * coverage.cell_px
    return [round(each, 1) for each in (left, top, right, bottom)]


def _coverage(coverage: Coverage, metres_per_px: float | None) -> dict[str, Any]:
    square_metres = None if metres_per_px is None else coverage.seen_px * metres_per_px**2
    return {
        "seen_px": round(coverage.seen_px),
        "seen_m2": None if square_metres is None else round(square_metres, 4),
        "shares": {name: round(coverage.share(name), 4) for name in SEEN},
    }


def _coverage_of_all(findings: SurveyFindings) -> dict[str, Any]:
    """Sums over all sheets; areas shown by several sheets count in each."""
    total = {name: sum(each.area_px[name] for each in findings.coverages) for name in SEEN}
    seen = sum(total.values())
    metres = [findings.metres_per_px(each.sheet) for each in findings.coverages]
    areas = [
        each.seen_px * value**2
        for each, value in zip(findings.coverages, metres, strict=True)
        if value is not None
    ]
    return {
        "seen_px": round(seen),
        "seen_m2": round(sum(areas), 4) if areas and len(areas) == len(metres) else None,
        "shares": {name: round(area / seen, 4) if seen else 0.0 for name, area in total.items()},
    }


def _blur(blurs_px: Sequence[float]) -> float | None:
    return round(statistics.median(blurs_px), 3) if blurs_px else None


def _repeatability(found: Repeatability | None) -> dict[str, Any] | None:
    """Agreement of odd and even frames; lists of two have the odd ones first."""
    if found is None:
        return None
    return {
        "frames": list(found.frames),
        "confirmed": [{"low": count.low, "high": count.high} for count in found.confirmed],
        "compared": len(found.known),
        "in_both": found.in_both,
        "length_ratio": _maybe_rounded(found.length_ratio),
        "width_px": _difference(found.width_px),
        "width_mm": _difference(found.width_mm),
        "cracks": [_agreement(crack) for crack in found.cracks],
    }


def _agreement(crack: CrackAgreement) -> dict[str, Any]:
    in_mm = None if crack.apart_mm is None else width_difference([crack.apart_mm])
    return {
        "id": crack.id,
        "compared": crack.is_known,
        "views": list(crack.views),
        "confirmed": list(crack.confirmed),
        "length_px": [round(length, 1) for length in crack.length_px],
        "length_ratio": _maybe_rounded(crack.length_ratio),
        "width_mean_px": [_maybe_rounded(mean) for mean in crack.mean_px],
        "width_mean_mm": [_maybe_rounded(mean) for mean in crack.mean_mm],
        "width_px": _difference(width_difference([crack.apart_px])),
        "width_mm": _difference(in_mm),
    }


def _difference(found: WidthDifference | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "median": _rounded(found.median),
        "p95": _rounded(found.percentile_95),
        "places": found.places,
    }


def crack_table(document: Mapping[str, Any]) -> str:
    """CSV with a row for each crack."""
    text = io.StringIO()
    names = (
        "id", "status", "sheet", "length_mm", "length_px", "width_mean_mm", "width_low_mm",
        "width_high_mm", "width_max_mm", "width_mean_px", "class", "frames", "views", "confidence",
        "best_frame",
    )  # fmt: skip
    writer = csv.DictWriter(text, names, lineterminator="\r\n")
    writer.writeheader()
    for crack in document["cracks"]:
        width = crack["width"]
        writer.writerow(
            {
                **{name: crack[name] for name in names if name in crack and name != "frames"},
                "class": None if crack["class"] is None else crack["class"]["name"],
                "frames": len(crack["frames"]),
                "best_frame": None if crack["best"] is None else crack["best"]["name"],
                **{f"width_{name}": width[name] for name in _IN_TABLE},
            }
        )
    return text.getvalue()


def _simple(line: Points) -> list[list[float]]:
    return [[round(float(x), 1), round(float(y), 1)] for x, y in line]


def _maybe_rounded(value: float | None) -> float | None:
    return None if value is None else _rounded(value)


def _rounded(value: float) -> float:
    return round(float(value), 4)
