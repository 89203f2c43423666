"""The facts of a report, read from a survey's files, independent of language and layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from edgecrack.errors import SourceError
from edgecrack.outside_text import parse_json, read_json
from edgecrack.run_report.site_result import SiteResult, site_result_of_run
from edgecrack.run_report.structure import Element, Face, Structure
from edgecrack.run_review.review_state import ReviewState
from edgecrack.run_review.reviewed_document import reviewed_survey
from edgecrack.run_survey.survey_document import read_survey
from edgecrack.runtime.outputs.output_folder import LEDGER_NAME, OutputFolder


@dataclass(frozen=True)
class CrackPlace:
    """Where a crack is on a structure.

    Attributes:
        element: None where the structure does not name one.
        face: of the element.
        sheet: number of its sheet.
        from_datum_mm: of its nearest point, from the datum, in millimetres; None without a scale
            or a datum.
        to_datum_mm: of its furthest point.
        angle_deg: of its direction on the whole against the element's axis, or against the
            sheet's vertical where there is none, 0 to 90.
    """

    element: Element | None
    face: Face | None
    sheet: int
    from_datum_mm: float | None
    to_datum_mm: float | None
    angle_deg: float


@dataclass(frozen=True)
class PlaceTotal:
    """Totals of one element, face or sheet.

    Attributes:
        code: of the element; "" for a sheet.
        name: of element and face; "" for a sheet.
        sheet: its number; None for an element.
        cracks: confirmed ones.
        length_mm: of these; None without a scale.
        length_px: of these.
        area_m2: in view; None without a scale.
        classes: how many of each class.
    """

    code: str
    name: str
    sheet: int | None
    cracks: int
    length_mm: float | None
    length_px: float
    area_m2: float | None
    classes: Mapping[str, int] = field(default_factory=dict)

    @property
    def density_m_per_m2(self) -> float | None:
        """Crack length in metres per square metre."""
        if self.length_mm is None or not self.area_m2:
            return None
        return self.length_mm / 1000 / self.area_m2


@dataclass(frozen=True)
class RunFacts:
    """All facts of a report.

    Attributes:
        run: folder of the run.
        survey: folder of its survey.
        document: content of the survey's `cracks.json`.
        summary: of the run's `summary.json`; empty where that is lost.
        settings: the run was streamed with.
        structure: None where none was given.
        places: by crack's id.
        totals: by element and face, or by sheet.
        evidence: what is known of how many cracks the model misses; None for nothing.
        review: the state of the review; None if there is none.
        about: what made the results, as `run_provenance` reports it; empty for older runs.
        site: the site check; None if none was made.
        recorded_at: when the first frame was taken, ISO 8601; None if the source does not say.
    """

    run: Path
    survey: Path
    document: dict[str, Any]
    summary: dict[str, Any]
    settings: dict[str, str]
    structure: Structure | None
    places: dict[int | str, CrackPlace]
    totals: tuple[PlaceTotal, ...]
    evidence: dict[str, Any] | None
    review: ReviewState | None = None
    about: dict[str, Any] = field(default_factory=dict)
    site: SiteResult | None = None
    recorded_at: str | None = None

    @property
    def is_draft(self) -> bool:
        """Whether a reported crack has not been reviewed yet."""
        return self.review is None or not self.review.is_done

    @property
    def confirmed(self) -> list[dict[str, Any]]:
        """Confirmed cracks, longest first."""
        return _by_length(self.document["cracks"], "confirmed")

    @property
    def unconfirmed(self) -> list[dict[str, Any]]:
        """The others, longest first."""
        return _by_length(self.document["cracks"], "unconfirmed")

    @property
    def rejected(self) -> list[dict[str, Any]]:
        """Marks that a reviewer rejected, longest first."""
        return _by_length(self.document["cracks"], "rejected")

    @property
    def has_scale(self) -> bool:
        """Whether any sheet has millimetres."""
        return any(sheet["mm_per_px"] is not None for sheet in self.document["sheets"])


def _by_length(cracks: list[dict[str, Any]], status: str) -> list[dict[str, Any]]:
    chosen = [crack for crack in cracks if crack["status"] == status]
    return sorted(chosen, key=lambda crack: (-crack["length_px"], str(crack["id"])))


def read_facts(
    run: Path, structure: Structure | None = None, site: SiteResult | None = None
) -> RunFacts:
    """Read the facts of a report.

    Args:
        run: the folder of a run that was surveyed.
        structure: by which cracks are placed; None leaves them on their sheets.
        site: the site check; None looks for one in the run's own frames.

    Raises:
        SourceError: there is no survey, it is damaged, its review is of another run, or the
            structure does not fit it.
    """
    survey = run / "survey"
    reviewed = reviewed_survey(run, read_survey(run))
    document = reviewed.document
    sheets = document["sheets"]
    if structure is not None:
        _check_structure(structure, sheets)
    places = {
        crack["id"]: _place(crack, sheets[crack["sheet"]], structure)
        for crack in document["cracks"]
    }
    settings = _settings(run)
    summary = _json(run / "summary.json")
    return RunFacts(
        run,
        survey,
        document,
        summary,
        settings,
        structure,
        places,
        _totals(document, places, structure),
        _evidence(settings.get("model", "")),
        about=_about(run),
        site=site or site_result_of_run(run, summary.get("started_at")),
        review=reviewed.state,
        recorded_at=_recorded_at(survey / "track.jsonl"),
    )


def _recorded_at(track: Path) -> str | None:
    """The capture time of the first frame; not that of the processing, which may be years later."""
    try:
        with track.open("rb") as lines:
            taken_ns = parse_json(lines.readline()).get("capture_time_ns")
        taken = datetime.fromtimestamp(taken_ns / 1e9, timezone.utc)
    except (OSError, ValueError, OverflowError, TypeError, AttributeError):
        return None
    return taken.isoformat(timespec="seconds")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _settings(run: Path) -> dict[str, str]:
    """What the run's first part was streamed with."""
    if not (run / LEDGER_NAME).is_file():
        return {}
    for note in OutputFolder(run).notes():
        settings = note.get("settings")
        if isinstance(settings, dict):
            return {str(name): str(value) for name, value in settings.items()}
    return {}


def _about(run: Path) -> dict[str, Any]:
    """What made the run's first part; the programs of all its parts."""
    if not (run / LEDGER_NAME).is_file():
        return {}
    noted = [note["about"] for note in OutputFolder(run).notes() if "settings" in note and
             isinstance(note.get("about"), dict)]  # fmt: skip
    if not noted:
        return {}
    programs = dict.fromkeys(str(each["program"]) for each in noted if each.get("program"))
    return {**noted[0], "program": ", ".join(programs) or None}


def _check_structure(structure: Structure, sheets: list[dict[str, Any]]) -> None:
    known = {sheet["number"] for sheet in sheets}
    seen = {number for sheet in sheets for number in (sheet["placed"] or {}).get("markers", [])}
    for element in structure.elements:
        for face in element.faces:
            missing = [number for number in face.sheets if number not in known]
            if missing:
                raise SourceError(
                    f"the structure puts sheet {missing[0]} on {element.code}, and the survey has "
                    f"{len(known)}, from 0",
                    "see `sheets` in the survey's cracks.json",
                )
            unseen = [number for number in face.markers if number not in seen]
            if face.markers and len(unseen) == len(face.markers):
                raise SourceError(
                    f"the structure finds {element.code}, {face.name}, by marker {unseen[0]}, "
                    "which the survey did not see",
                    "survey with `markers`, or give the face's sheets",
                )


def _place(
    crack: Mapping[str, Any], sheet: Mapping[str, Any], structure: Structure | None
) -> CrackPlace:
    markers = tuple((sheet["placed"] or {}).get("markers", []))
    found = None if structure is None else structure.of_sheet(sheet["number"], markers)
    element, face = found if found is not None else (None, None)
    points = np.concatenate([np.asarray(line, np.float64) for line in crack["lines"]])
    near, far = None, None
    if face is not None and face.datum is not None and sheet["mm_per_px"] is not None:
        left, top, right, bottom = sheet["extent_px"]
        x, y = points.T
        away = {"left": x - left, "right": right - x, "top": y - top, "bottom": bottom - y}
        offsets = away[face.datum.edge] * sheet["mm_per_px"]
        near, far = float(offsets.min()), float(offsets.max())
    axis = "vertical" if element is None or element.axis is None else element.axis
    return CrackPlace(element, face, sheet["number"], near, far, _angle_deg(points, axis))


def _angle_deg(points: np.ndarray[Any, np.dtype[np.float64]], axis: str) -> float:
    """Of the direction in which the points spread most, against an axis."""
    centred = points - points.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    x, y = np.abs(vectors[:, -1])
    return math.degrees(math.atan2(x, y) if axis == "vertical" else math.atan2(y, x))


def _totals(
    document: Mapping[str, Any], places: Mapping[int | str, CrackPlace], structure: Structure | None
) -> tuple[PlaceTotal, ...]:
    confirmed = [crack for crack in document["cracks"] if crack["status"] == "confirmed"]
    groups: dict[tuple[str, str, int | None], list[int]] = {}
    for sheet in document["sheets"]:
        markers = tuple((sheet["placed"] or {}).get("markers", []))
        found = None if structure is None else structure.of_sheet(sheet["number"], markers)
        key: tuple[str, str, int | None] = ("", "", sheet["number"])
        if found is not None:
            key = found[0].code, f"{found[0].name}, {found[1].name}", None
        groups.setdefault(key, []).append(sheet["number"])
    totals = []
    for (code, name, number), sheets in groups.items():
        own = [crack for crack in confirmed if places[crack["id"]].sheet in sheets]
        areas = [document["sheets"][each]["coverage"]["seen_m2"] for each in sheets]
        if not own and number is not None and document["sheets"][number]["frame_count"] < 2:
            continue  # a frame that could not be followed, and shows no crack
        lengths = [length_mm(crack, document["sheets"][crack["sheet"]]) for crack in own]
        classes: dict[str, int] = {}
        for crack in own:
            if crack["class"] is not None:
                classes[crack["class"]["name"]] = classes.get(crack["class"]["name"], 0) + 1
        has_scale = all(area is not None for area in areas)
        totals.append(
            PlaceTotal(
                code,
                name,
                number,
                len(own),
                sum(each for each in lengths if each is not None)
                if has_scale and None not in lengths
                else None,
                sum(crack["length_px"] for crack in own),
                sum(areas) if has_scale else None,
                classes,
            )
        )
    return tuple(totals)


def length_mm(crack: Mapping[str, Any], sheet: Mapping[str, Any]) -> float | None:
    """A crack's length; by the sheet's scale on the whole where no measured frame shows the crack.

    Returns:
        None without a scale.
    """
    if crack["length_mm"] is not None:
        return float(crack["length_mm"])
    if sheet["mm_per_px"] is None:
        return None
    return float(crack["length_px"] * sheet["mm_per_px"])


def _evidence(model_sha256: str) -> dict[str, Any] | None:
    """Of the bundled model, what share of cracks the yardstick says it finds, by width."""
    models = resources.files("edgecrack") / "models"
    file = models / "edgecrack-bundled.detection.json"
    found = parse_json(file.read_text(encoding="utf-8"))
    if found["model_sha256"] != model_sha256:
        return None
    sidecar = models / "edgecrack-bundled.onnx.json"
    return {**found, "scales": parse_json(sidecar.read_text(encoding="utf-8"))["scales"]}
