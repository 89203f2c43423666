"""The findings of a survey: scales, crack ids across surveys, and notes for the user."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgecrack.files import write_atomic
from edgecrack.measurement.severity import SeverityTable
from edgecrack.outside_text import read_json
from edgecrack.run_survey.kept_lines import KeptFrames
from edgecrack.run_survey.positions import PlacedSheet
from edgecrack.runtime.tracking.kept_run import IDS_NAME, SURVEY_NAME
from edgecrack.survey.coverage import Coverage
from edgecrack.survey.inventory import Inventory, SurveyCrack
from edgecrack.survey.plane_geometry import Points, inverse, local_scale, middle_of, moved
from edgecrack.survey.repeatability import Repeatability
from edgecrack.survey.sheets import Sheets


@dataclass(frozen=True, eq=False)
class LengthScale:
    """The scale of the sheet's pixels at a crack.

    Attributes:
        mm_per_px: median over the measured frames that show it.
        relative: relative standard uncertainty, from the scale's own and the frames' spread.
        is_stated: whether the scale's own uncertainty is known.
    """

    mm_per_px: float
    relative: float
    is_stated: bool


@dataclass(frozen=True)
class FrameScaleFound:
    """The scale of a measured frame.

    Attributes:
        mm_per_px: median over its rows, in the frame's pixels.
        relative: relative standard uncertainty.
        is_stated: whether the uncertainty is known.
    """

    mm_per_px: float
    relative: float
    is_stated: bool


def frame_scales(kept: KeptFrames) -> dict[int, FrameScaleFound]:
    """Scales of the measured frames that have one, by frame number."""
    found = {}
    for number, widths in kept.widths.items():
        values = [mm for mm in widths.mm_per_px if mm is not None and mm.size]
        if not values and widths.in_middle is not None:
            found[number] = FrameScaleFound(*widths.in_middle)
        elif values:
            found[number] = FrameScaleFound(
                float(np.median(np.concatenate(values))),
                math.sqrt(sum(term**2 for term in widths.terms.values())),
                widths.is_stated is True,
            )
    return found


@dataclass(frozen=True, eq=False)
class SurveyFindings:
    """All findings of a survey.

    Attributes:
        kept: the run's survey data.
        sheets: the planes.
        inventory: the cracks.
        coverages: of each sheet.
        scales: by frame number, for frames that have one.
        table: severity classes, or None.
        places: by sheet number, for sheets whose position in space is known.
        repeatability: comparison of two halves of the frames; None if not done.
    """

    kept: KeptFrames
    sheets: Sheets
    inventory: Inventory
    coverages: tuple[Coverage, ...]
    scales: Mapping[int, FrameScaleFound] = field(repr=False)
    table: SeverityTable | None = None
    places: Mapping[int, PlacedSheet] = field(default_factory=dict)
    repeatability: Repeatability | None = None

    def metres_per_px(self, sheet: int) -> float | None:
        """Median scale of a whole sheet; None without a scale."""
        placements = self.sheets.placements
        own = [each for each in self.scales if placements[each].sheet == sheet]
        scale = self._scale_of(own, None)
        return None if scale is None else scale.mm_per_px / 1000

    def length_scale(self, crack: SurveyCrack) -> LengthScale | None:
        """Scale at a crack; None if no measured frame that shows it has one."""
        middle = middle_of(crack.lines[0])[None]
        return self._scale_of([each for each in crack.frames if each in self.scales], middle)

    def _scale_of(self, frames: Sequence[int], at: Points | None) -> LengthScale | None:
        if not frames:
            return None
        factors = []
        for frame in frames:
            placement = self.sheets.placements[frame]
            height, width = placement.hw
            middle = np.array([[width / 2, height / 2]])
            place = moved(middle, placement.homography) if at is None else at
            fineness = float(local_scale(inverse(placement.homography), place)[0])
            factors.append(self.scales[frame].mm_per_px * fineness)
        factor = float(np.median(factors))
        spread = 1.4826 * float(np.median(np.abs(np.array(factors) - factor)))
        squares = [self.scales[frame].relative ** 2 for frame in frames]
        relative = math.hypot(
            math.sqrt(float(np.mean(squares))), spread / factor / math.sqrt(len(factors))
        )
        stated = all(self.scales[frame].is_stated for frame in frames)
        return LengthScale(factor, relative, stated)


Place = tuple[int, int]  # frame number, and index of a crack in that frame
_VERSION = 1


def read_ids(run: Path) -> dict[Place, int]:
    """Crack numbers of the last survey, by sighting; empty if there was none."""
    try:
        document = read_json(run / SURVEY_NAME / IDS_NAME)
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict) or document.get("schema_version") != _VERSION:
        return {}
    found = {}
    for each in document.get("cracks") or []:
        if not isinstance(each, list) or len(each) != 2 or not isinstance(each[1], list):
            return {}
        number, sightings = each
        for place in sightings:
            is_place = isinstance(place, list) and len(place) == 2
            if not is_place or not all(isinstance(one, int) for one in (number, *place)):
                return {}
            found[place[0], place[1]] = number
    return found


def ids_with(known: Mapping[Place, int], live: Mapping[Place, int]) -> dict[Place, int]:
    """The numbers of the last survey, completed by those of the stream for new sightings.

    A number of the stream that the last survey gave to another crack is not used.
    """
    if not known:
        return dict(live)
    taken = set(known.values())
    same = {live[place] for place, number in known.items() if live.get(place) == number}
    fresh = {
        place: number
        for place, number in live.items()
        if place not in known and (number not in taken or number in same)
    }
    return {**fresh, **known}


def write_ids(run: Path, sightings: Mapping[int, Sequence[Place]]) -> None:
    """Write the sightings of each crack number.

    Raises:
        OutputError: the file cannot be written.
    """
    folder = run / SURVEY_NAME
    if not folder.is_dir():
        return
    cracks = [[number, [list(place) for place in places]] for number, places in sightings.items()]
    document = {"schema_version": _VERSION, "cracks": cracks}
    write_atomic(folder / IDS_NAME, json.dumps(document) + "\n")


@dataclass(frozen=True)
class SurveyNote:
    """A note for the user.

    Attributes:
        key: its topic, for translation.
        sentence: in English.
        values: JSON values in the sentence; `count` selects singular or plural.
    """

    key: str
    sentence: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"key": self.key, "values": dict(self.values)}


def survey_notes(findings: SurveyFindings) -> tuple[SurveyNote, ...]:
    """Notes on a survey that the user should read."""
    return (*_of_the_run(findings), *_of_the_sheets(findings))


def _of_the_run(findings: SurveyFindings) -> list[SurveyNote]:
    kept = findings.kept
    notes = []
    if kept.note:
        notes.append(SurveyNote("older_run", kept.note))
    if count := kept.damaged_lines:
        what = "line of the run was" if count == 1 else "lines of the run were"
        notes.append(
            SurveyNote("damaged_lines", f"{count} damaged {what} skipped", {"count": count})
        )
    lost = sum(
        frame.picture is not None and not _is_there(frame.picture) for frame in kept.frames.values()
    )
    if lost:
        what = "picture of a key frame is" if lost == 1 else "pictures of key frames are"
        notes.append(
            SurveyNote(
                "lost_pictures", f"{lost} {what} lost and left white on the map", {"count": lost}
            )
        )
    return notes


def _of_the_sheets(findings: SurveyFindings) -> list[SurveyNote]:
    kept, sheets, count = findings.kept, findings.sheets.sheets, findings.inventory.confirmed
    notes = []
    if len(kept.frames) == 1:
        notes.append(
            SurveyNote("one_frame", "the run has one frame, so no crack can be confirmed by others")
        )
    elif len(sheets) == 1 and len(sheets[0].key_frames) == 1:
        notes.append(SurveyNote("still", "the camera did not move: all frames show the same place"))
    if len(sheets) > 1:
        notes.append(not_linked(len(sheets), count.low, count.high))
    for number, placed in findings.places.items():
        if left_out := placed.place.left_out:
            what = "position jumps and is" if left_out == 1 else "positions jump and are"
            notes.append(
                SurveyNote(
                    "jumps",
                    f"sheet {number}: {left_out} {what} ignored",
                    {"sheet": number, "count": left_out},
                )
            )
    untracked = sum(len(sheet.frames) == 1 for sheet in sheets)
    if untracked > len(kept.frames) / 2 and len(kept.frames) > 2:
        notes.append(
            SurveyNote(
                "untracked",
                "most frames could not be tracked from the previous one: drive more slowly, use a "
                "higher frame rate, or light the wall better",
            )
        )
    return notes


def not_linked(sheets: int, low: int, high: int) -> SurveyNote:
    """The note that sheets are not linked, with the range of confirmed cracks."""
    if not high:
        return SurveyNote("apart", f"{sheets} sheets are not linked", {"count": sheets})
    counted = str(high) if low == high else f"{low} to {high}"
    return SurveyNote(
        "not_linked",
        f"{sheets} sheets are not linked, so the same crack may be on several: {counted}",
        {"count": sheets, "low": low, "high": high},
    )


def sentences(notes: Sequence[SurveyNote]) -> tuple[str, ...]:
    """The notes in English."""
    return tuple(note.sentence for note in notes)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
