"""What a person should know of a survey: each note by a key with values, and as a sentence.

Reports say the same in their own languages: their words have a key for each of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecrack.run_survey.survey_findings import SurveyFindings


@dataclass(frozen=True)
class SurveyNote:
    """A note.

    Attributes:
        key: what it is about.
        sentence: in English.
        values: that it holds, plain JSON ones; `count` is what its plural goes by.
    """

    key: str
    sentence: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"key": self.key, "values": dict(self.values)}


def survey_notes(findings: SurveyFindings) -> tuple[SurveyNote, ...]:
    """All that a person should know of a survey."""
    return (*_of_the_run(findings), *_of_the_sheets(findings))


def _of_the_run(findings: SurveyFindings) -> list[SurveyNote]:
    kept = findings.kept
    notes = []
    if kept.note:
        notes.append(SurveyNote("older_run", kept.note))
    if count := kept.damaged_lines:
        what = "line of the run was" if count == 1 else "lines of the run were"
        notes.append(
            SurveyNote("damaged_lines", f"{count} damaged {what} passed over", {"count": count})
        )
    lost = sum(
        frame.picture is not None and not _is_there(frame.picture) for frame in kept.frames.values()
    )
    if lost:
        what = "picture of a key frame is" if lost == 1 else "pictures of key frames are"
        notes.append(
            SurveyNote(
                "lost_pictures", f"{lost} {what} lost, and white on the map", {"count": lost}
            )
        )
    return notes


def _of_the_sheets(findings: SurveyFindings) -> list[SurveyNote]:
    kept, sheets, count = findings.kept, findings.sheets.sheets, findings.inventory.confirmed
    notes = []
    if len(kept.frames) == 1:
        notes.append(
            SurveyNote("one_frame", "the run has one frame: no crack can be confirmed by others")
        )
    elif len(sheets) == 1 and len(sheets[0].key_frames) == 1:
        notes.append(SurveyNote("still", "the camera did not move: all frames show the same place"))
    if len(sheets) > 1:
        notes.append(not_linked(len(sheets), count.low, count.high))
    for number, placed in findings.places.items():
        if left_out := placed.place.left_out:
            what = "position jumps, and does" if left_out == 1 else "positions jump, and do"
            notes.append(
                SurveyNote(
                    "jumps",
                    f"sheet {number}: {left_out} {what} not count",
                    {"sheet": number, "count": left_out},
                )
            )
    untracked = sum(len(sheet.frames) == 1 for sheet in sheets)
    if untracked > len(kept.frames) / 2 and len(kept.frames) > 2:
        notes.append(
            SurveyNote(
                "untracked",
                "most frames could not be followed from the one before: drive more slowly, take "
                "more frames a second, or light the wall better",
            )
        )
    return notes


def not_linked(sheets: int, low: int, high: int) -> SurveyNote:
    """That sheets are not linked, and how many confirmed cracks they show between them."""
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
