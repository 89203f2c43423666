"""A survey as its review leaves it: what a report is made of.

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


@dataclass(frozen=True)
class ReviewedSurvey:
    """A survey with its review.

    Attributes:
        document: as the review leaves it; the survey's own where there is no review.
        state: of the review; None where nobody has begun one.
    """

    document: dict[str, Any]
    state: ReviewState | None

    @property
    def is_draft(self) -> bool:
        """Whether a crack that is reported has not been looked at by a person."""
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
    return {**document, "cracks": cracks, "count": _count(document, state)}


def _record(crack: ReviewedCrack) -> dict[str, Any]:
    return {**crack.record, "status": crack.status, "review": review_of(crack)}


def review_of(crack: ReviewedCrack) -> dict[str, Any]:
    """What a review says of a crack, as plain values."""
    return {
        "machine": None if crack.origin == "drawn" else crack.record["status"],
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

    At most as many may be there twice as before, and each that the review added on a structure of
    several sheets.
    """
    before = document["count"]
    reported = [crack for crack in state.cracks.values() if crack.status == "confirmed"]
    several = len({crack.record["sheet"] for crack in reported}) > 1
    added = [crack for crack in reported if crack.record["status"] != "confirmed"]
    added += [crack for crack in reported if crack.origin == "drawn"]
    twice = before["high"] - before["low"] + (len(added) if several else 0)
    high = len(reported)
    return {
        "low": max(min(1, high), high - twice),
        "high": high,
        "unconfirmed": sum(crack.status == "unconfirmed" for crack in state.cracks.values()),
    }
