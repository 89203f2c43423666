"""A survey with its review applied, as the report uses it.

The form is that of `cracks.json`. Each crack has a `review` more, with what was decided, by whom
and when, beside what the machine said; ids of cracks that a review made are text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecrack.run_review.placed_frames import placed_frames
from edgecrack.run_review.review_log import read_review
from edgecrack.run_review.review_state import ReviewedCrack, Reviewing, ReviewState
from edgecrack.run_survey.survey_findings import not_linked


@dataclass(frozen=True)
class ReviewedSurvey:
    """A survey with its review.

    Attributes:
        document: as the review leaves it; the survey's own where there is no review.
        state: of the review; None if there is none.
    """

    document: dict[str, Any]
    state: ReviewState | None

    @property
    def is_draft(self) -> bool:
        """Whether a reported crack has not been reviewed yet."""
        return self.state is None or not self.state.is_done


def reviewed_survey(run: Path, document: dict[str, Any]) -> ReviewedSurvey:
    """Apply a run's review to its survey.

    Args:
        run: folder of the run.
        document: content of its survey's `cracks.json`.

    Raises:
        SourceError: the review cannot be read, is damaged, or is of another run.
    """
    entries = read_review(run, document)
    if not entries:
        return ReviewedSurvey(document, None)
    state = Reviewing(document, placed_frames(document)).state_after(entries)
    return ReviewedSurvey(_applied(document, state), state)


def _applied(document: dict[str, Any], state: ReviewState) -> dict[str, Any]:
    cracks = [_record(crack) for crack in state.cracks.values()]
    count = _count(document, state)
    return {**document, **_notes(document, count), "cracks": cracks, "count": count}


def _notes(document: Mapping[str, Any], count: Mapping[str, int]) -> dict[str, Any]:
    """The survey's notes, of which one says how many confirmed cracks there are."""
    notes, noted = list(document["notes"]), list(document.get("noted") or [])
    for place, each in enumerate(noted):
        if each["key"] == "not_linked" and len(noted) == len(notes):
            note = not_linked(each["values"]["count"], count["low"], count["high"])
            notes[place], noted[place] = note.sentence, {"key": note.key, "values": note.values}
    return {"notes": notes, "noted": noted}


def _record(crack: ReviewedCrack) -> dict[str, Any]:
    return {**crack.record, "status": crack.status, "review": review_of(crack)}


def review_of(crack: ReviewedCrack) -> dict[str, Any]:
    """What a review says of a crack, as plain values."""
    return {
        "machine": crack.machine,
        "origin": crack.origin,
        "parents": list(crack.parents),
        "decision": crack.decision,
        "reason": crack.reason,
        "reviewer": crack.reviewer,
        "at": crack.at,
        "gauges": [
            {"mm": each.mm, "reviewer": each.reviewer, "at": each.at} for each in crack.gauges
        ],
        "tags": list(crack.tags),
        "note": crack.note,
    }


def _count(document: Mapping[str, Any], state: ReviewState) -> dict[str, int]:
    """How many cracks there are: a range as long as sheets may show the same ones.

    At most as many may be there twice as before, less those that the reviewer put together, and
    each that the review added where there are several sheets.
    """
    before = document["count"]
    reported = [crack for crack in state.cracks.values() if crack.status == "confirmed"]
    several = len({crack.record["sheet"] for crack in reported}) > 1
    added = [crack for crack in reported if crack.machine != "confirmed"]
    linked = sum(len(crack.record.get("elsewhere", [])) for crack in reported)
    twice = max(0, before["high"] - before["low"] - linked) + (len(added) if several else 0)
    high = len(reported)
    return {
        "low": max(min(1, high), high - twice),
        "high": high,
        "unconfirmed": sum(crack.status == "unconfirmed" for crack in state.cracks.values()),
    }
