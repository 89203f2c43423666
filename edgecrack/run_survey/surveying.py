"""Surveys a run: sheets, inventory, coverage and map, and their files.

out/cracks.json            edgecrack/schemas/survey.schema.json
out/cracks.csv             a row for each crack
out/map.png                the largest sheet with its cracks; map-2.png and so on for others
out/map.pgw                its world file
out/map_tiles/             tiles at full size, if the map had to be reduced
out/coverage.png           how well each part of the sheet was seen
out/strip.png              each confirmed crack in its best picture
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack import __version__
from edgecrack.errors import OutputError
from edgecrack.files import write_atomic, write_png
from edgecrack.measurement.severity import SeverityTable
from edgecrack.outside_text import read_json
from edgecrack.run_survey.camera_mount import Mount
from edgecrack.run_survey.kept_lines import KeptFrames, chosen_frames, read_kept
from edgecrack.run_survey.map_files import (
    MapFiles,
    draw_strip,
    ignored_in,
    read_gray,
    read_picture,
    write_map,
)
from edgecrack.run_survey.older_run import is_older_run, read_older_run
from edgecrack.run_survey.positions import KnownMarkers, PlacedSheet, place_sheet
from edgecrack.run_survey.survey_findings import (
    SurveyFindings,
    frame_scales,
    ids_with,
    read_ids,
    sentences,
    survey_notes,
    write_ids,
)
from edgecrack.run_survey.survey_record import crack_table, survey_document
from edgecrack.runtime.outputs.output_folder import LEDGER_NAME, SUMMARY_NAME, OutputFolder
from edgecrack.runtime.tracking.kept_run import SURVEY_NAME, TRACK_NAME
from edgecrack.survey.coverage import Coverage, FrameLook, coverage_of
from edgecrack.survey.inventory import FrameCracks, Inventory, InventoryKeeper
from edgecrack.survey.repeatability import repeatability
from edgecrack.survey.sheets import Sheet, SheetBuilder, Sheets

CRACKS_NAME, TABLE_NAME, STRIP_NAME = "cracks.json", "cracks.csv", "strip.png"
_PATTERNS = (
    CRACKS_NAME,
    TABLE_NAME,
    STRIP_NAME,
    "map*.png",
    "map*.jpg",
    "map*.pgw",
    "coverage*.png",
    "map_tiles*/*.png",
)
# Most inspected frames used between two key frames.
_MOST_PER_KEY = 12
# A frame with a larger uninspected share counts as not inspected.
_MOST_MISSED = 0.02
# Most sheets with a map.
_MOST_MAPS = 12


@dataclass(frozen=True)
class SurveyConfig:
    """How a run is surveyed.

    Attributes:
        out: folder of the survey; None uses `survey` in the run's folder.
        table: severity classes, or None.
        unconfirmed: whether the map shows unconfirmed cracks, too.
        mount: the camera's pose on the robot; None puts it at the robot's base.
        markers: known markers.
    """

    out: Path | None = None
    table: SeverityTable | None = None
    unconfirmed: bool = False
    mount: Mount | None = None
    markers: KnownMarkers | None = None


@dataclass(frozen=True)
class Surveyed:
    """The result of a survey.

    Attributes:
        folder: of its files.
        inventory: the cracks.
        sheets: the planes that they are on.
        coverages: of each sheet.
        maps: the files of each map.
        notes: notes for the user, as sentences.
        document: the content of `cracks.json`.
    """

    folder: Path
    inventory: Inventory
    sheets: Sheets
    coverages: tuple[Coverage, ...]
    maps: tuple[MapFiles, ...]
    notes: tuple[str, ...]
    document: dict[str, Any] = field(repr=False)


def is_run(path: Path) -> bool:
    """Whether a folder contains a run's results, rather than photos."""
    names = (LEDGER_NAME, f"{SURVEY_NAME}/{TRACK_NAME}")
    try:
        return any((path / name).is_file() for name in names)
    except (OSError, ValueError):
        return False


def survey_run(
    run: Path,
    config: SurveyConfig | None = None,
    on_progress: Callable[[str], None] = lambda text: None,
) -> Surveyed:
    """Survey a recorded run and write the results.

    Args:
        run: the folder of its results.
        config: None uses the defaults.
        on_progress: receives progress messages.

    Raises:
        SourceError: the folder has no data for a survey.
        OutputError: a file cannot be written.
    """
    config = config or SurveyConfig()
    kept = read_older_run(run) if is_older_run(run) else read_kept(run)
    folder = OutputFolder(config.out or run / SURVEY_NAME)
    try:
        return _survey(run, kept, _emptied(folder), config, on_progress)
    finally:
        folder.unlock()


def _emptied(folder: OutputFolder) -> OutputFolder:
    """Lock a survey's folder and remove the files of an earlier survey.

    Raises:
        OutputError: another survey is writing there, or other files are in the way.
    """
    if folder.lock() == "busy":
        raise OutputError(
            f"another survey is writing to {folder.path}", "give another `out`, or wait for it"
        )
    try:
        folder.clear_own(_PATTERNS)
    except OutputError:
        folder.unlock()
        raise
    return folder


def _survey(
    run: Path,
    kept: KeptFrames,
    folder: OutputFolder,
    config: SurveyConfig,
    on_progress: Callable[[str], None],
) -> Surveyed:
    out = folder.path
    on_progress(f"laying out {len(kept.frames)} frames")
    sheets = _sheets(kept, on_progress)
    on_progress("identifying cracks")
    known = read_ids(run)
    keeper = InventoryKeeper(ids_with(known, kept.live_ids), max(known.values(), default=0) + 1)
    chosen = set(chosen_frames(kept, _MOST_PER_KEY))

    def found_on(sheet: Sheet) -> list[FrameCracks]:
        return [found_in(kept, number) for number in sheet.frames if number in chosen]

    inventory = keeper.update_by_sheet(sheets, found_on)
    on_progress("comparing odd and even frames")
    agreement = repeatability(sheets, inventory, found_on)
    coverages = tuple(coverage_of(sheets, sheet, _looks(kept)) for sheet in sheets.sheets)
    places = _places(kept, sheets, config)
    findings = SurveyFindings(
        kept, sheets, inventory, coverages, frame_scales(kept), config.table, places, agreement
    )
    on_progress("drawing the map")
    maps = _maps(folder, findings, config)
    notes = survey_notes(findings)
    document = survey_document(findings, maps, notes, _model(run))
    document["created"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
    document["program"] = f"edgecrack {__version__}"
    strip = draw_strip(findings)
    if strip is not None:
        write_png(folder.claim(STRIP_NAME), strip)
    write_atomic(folder.claim(TABLE_NAME), "\ufeff" + crack_table(document))
    write_ids(run, {each.id: each.sightings for each in inventory.cracks})
    # Last, so that all files exist once this one does.
    text = json.dumps(document, indent=1, allow_nan=False)
    write_atomic(folder.claim(CRACKS_NAME), text + "\n")
    return Surveyed(out, inventory, sheets, coverages, maps, sentences(notes), document)


def _sheets(kept: KeptFrames, on_progress: Callable[[str], None]) -> Sheets:
    builder = SheetBuilder()
    for done, frame in enumerate(kept.frames.values(), 1):
        builder.add(frame.step, read_gray(frame.picture, frame.step.hw))
        if done % 2000 == 0:
            on_progress(f"laid out {done} of {len(kept.frames)} frames")
    return builder.finish()


def _places(kept: KeptFrames, sheets: Sheets, config: SurveyConfig) -> dict[int, PlacedSheet]:
    def gray_of(number: int) -> NDArray[np.uint8] | None:
        frame = kept.frames[number]
        return read_gray(frame.picture, frame.step.hw)

    found = {
        sheet.number: place_sheet(kept, sheets, sheet, gray_of, config.mount, config.markers)
        for sheet in sheets.sheets
    }
    return {number: placed for number, placed in found.items() if placed is not None}


def found_in(kept: KeptFrames, number: int) -> FrameCracks:
    """The cracks of a frame, with widths if it was measured."""
    sighting, widths = kept.sightings[number], kept.widths.get(number)
    if not sighting.is_fit:
        return FrameCracks(number, sighting.cracks, "unfit")
    ignored = ignored_in(sighting.ignored, kept.frames[number].step.hw)
    if widths is None:
        return FrameCracks(number, sighting.cracks, "detect", ignored=ignored)
    # Both list cracks longest first; among cracks with equal boxes, each entry is used once.
    left = list(range(len(widths.boxes)))
    cracks, scales = [], []
    for crack in sighting.cracks:
        place = next((each for each in left if widths.boxes[each] == crack.xyxy), None)
        if place is not None:
            left.remove(place)
        rows = () if place is None else widths.rows[place]
        mm = None if place is None else widths.mm_per_px[place]
        cracks.append(crack.with_rows(rows))
        scales.append(np.zeros(0) if mm is None and not rows else mm)
    has_scale = bool(scales) and all(each is not None for each in scales)
    return FrameCracks(
        number,
        cracks,
        widths.verdict,
        [each for each in scales if each is not None] if has_scale else None,
        widths.terms if has_scale else None,
        ignored,
    )


def _looks(kept: KeptFrames) -> Iterator[FrameLook]:
    """How each frame was inspected; frames that were not measured are at most fit to detect.

    A frame whose ignored part is unknown counts as not inspected.
    """
    for number, look in kept.looks.items():
        ignored = ignored_in(look.ignored, kept.frames[number].step.hw)
        is_known = ignored is not None or look.ignored_ratio <= _MOST_MISSED
        if look.missed_ratio <= _MOST_MISSED and is_known:
            verdict = (look.verdict or "detect") if look.is_fit else "unfit"
            yield FrameLook(number, verdict, ignored)


def _maps(
    folder: OutputFolder, findings: SurveyFindings, config: SurveyConfig
) -> tuple[MapFiles, ...]:
    kept = findings.kept

    def picture_of(frame: int) -> NDArray[np.uint8] | None:
        path = kept.frames[frame].picture
        return None if path is None else read_picture(path)

    largest = sorted(
        (each for each in findings.sheets.sheets if len(each.frames) > 1),
        key=lambda each: -findings.coverages[each.number].seen_px,
    )
    chosen = largest[:_MOST_MAPS] or list(findings.sheets.sheets[:1])
    return tuple(
        write_map(folder, place, findings, sheet, picture_of, shows_all=config.unconfirmed)
        for place, sheet in enumerate(chosen, 1)
    )


def _model(run: Path) -> dict[str, Any]:
    try:
        summary = read_json(run / SUMMARY_NAME)
    except (OSError, ValueError):
        summary = {}
    if not isinstance(summary, dict):
        summary = {}
    found = {}
    for name in ("model", "threshold", "source", "started_at"):
        value = summary.get(name)
        is_finite = not isinstance(value, float) or math.isfinite(value)
        found[name] = value if isinstance(value, (str, int, float)) and is_finite else None
    return found
