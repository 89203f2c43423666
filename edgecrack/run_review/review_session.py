"""A run's review while it is being made: what it shows, and each action kept before it counts."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgecrack.closeable import Closeable
from edgecrack.errors import ConfigError
from edgecrack.run_review.placed_frames import PlacedFrame, placed_frames
from edgecrack.run_review.review_actions import REASONS, TAGS, CrackId
from edgecrack.run_review.review_log import Entry, ReviewLog, now, reviewer_name
from edgecrack.run_review.review_state import ReviewedCrack, Reviewing
from edgecrack.run_review.reviewed_document import review_of
from edgecrack.run_survey.survey_document import read_survey, survey_state
from edgecrack.runtime.tracking.kept_run import SURVEY_NAME

_SHOWN = (
    "id", "sheet", "lines", "gaps", "length_px", "length_mm", "length_low_mm", "length_high_mm",
    "class", "views", "confidence",
)  # fmt: skip
_LAST_ACTIONS = 20


class ReviewSession(Closeable):
    """The review of a run, open for writing.

    Args:
        run: folder of a run that was surveyed.
        clock: returns the time as text; tests may replace it.

    Raises:
        SourceError: there is no survey, or its review cannot be used.
        OutputError: the review cannot be written, or is open elsewhere.
    """

    def __init__(self, run: Path, clock: Callable[[], str] = now) -> None:
        self.run = run
        self._survey_state = survey_state(run)
        self._document = read_survey(run)
        self._frames = placed_frames(self._document)
        self._views = _views(self._document)
        self._view_urls = {name: f"/views/{crack}.jpg" for crack, name in self._views.items()}
        self._reviewing = Reviewing(self._document, self._frames)
        self._log = ReviewLog(run, self._document, clock)
        try:
            self._state = self._reviewing.state_after(self._log.entries)
        except BaseException:
            self._log.close()
            raise
        self._one_at_a_time = threading.Lock()

    def close(self) -> None:
        """Release the review for others; may be called twice."""
        self._log.close()

    @property
    def path(self) -> Path:
        """The review's file."""
        return self._log.path

    def survey(self) -> dict[str, Any]:
        """What does not change while a review is made."""
        document = self._document
        return {
            "run": self.run.resolve().name,
            "report_command": f"edgecrack report {shlex.quote(str(self.run))}",
            "source": document["model"].get("source"),
            "started_at": document["model"].get("started_at"),
            "notes": document["notes"],
            "tags": list(TAGS),
            "reasons": list(REASONS),
            "sheets": [self._sheet(each) for each in document["sheets"]],
            "frames": [_frame(each) for each in self._frames.values() if each.picture is not None],
        }

    def review(self) -> dict[str, Any]:
        """Where the review stands: all cracks, and how far it has come."""
        cracks = [self._crack(each) for each in self._state.cracks.values()]
        return {"cracks": cracks, **self.progress()}

    def progress(self) -> dict[str, Any]:
        """How far the review has come, and its last actions."""
        state = self._state
        return {
            "open": list(state.open_ids),
            "done": state.is_done,
            "reviewers": list(state.reviewers),
            "stale": len(state.stale),
            "actions": [_told(each) for each in state.standing[-_LAST_ACTIONS:]],
            "revision": len(self._log.entries),
        }

    def act(self, reviewer: Any, action: Mapping[str, Any], revision: Any = None) -> dict[str, Any]:
        """Perform an action; it is on the disk when this returns.

        Args:
            reviewer: who does it.
            action: as `review_actions.py` describes them.
            revision: of the review that the reviewer saw, where the action depends on it; None
                for any.

        Returns:
            The cracks that changed or are new, ids of those that are gone, and `progress`.

        Raises:
            ConfigError: it cannot be done; nothing has changed.
            OutputError: it cannot be written; nothing has changed.
        """
        with self._one_at_a_time:
            self._refuse_another_survey()
            if revision not in (None, len(self._log.entries)):
                raise ConfigError(
                    "the review has changed in the meantime", "check it and try again"
                )
            clean = self._reviewing.checked(self._state, action)
            self._log.append(reviewer_name(reviewer), clean)
            before, self._state = self._state, self._reviewing.state_after(self._log.entries)
            now_there = self._state.cracks
            changed = [
                self._crack(crack)
                for number, crack in now_there.items()
                if before.cracks.get(number) != crack
            ]
            gone: list[CrackId] = [each for each in before.cracks if each not in now_there]
            return {"changed": changed, "gone": gone, **self.progress()}

    def _refuse_another_survey(self) -> None:
        """The cracks that the page shows are those of the survey that it was opened with."""
        if survey_state(self.run) != self._survey_state:
            raise ConfigError(
                "the run was surveyed again in the meantime", "end this review and start it again"
            )

    def picture(self, frame: int) -> Path | None:
        """The file of a kept frame; None where there is none."""
        found = self._frames.get(frame)
        return None if found is None or found.picture is None else self.run / found.picture

    def view_picture(self, crack: int) -> Path | None:
        """The file of what was cut out around a crack of the survey's; None where there is none."""
        name = self._views.get(crack)
        return None if name is None else self.run / name

    def map_picture(self, sheet: int) -> Path | None:
        """The file of a sheet's map; None where there is none."""
        for each in self._document["sheets"]:
            if each["number"] == sheet and each["map"] is not None:
                return self.run / SURVEY_NAME / Path(each["map"]["picture"]).name
        return None

    def _sheet(self, sheet: Mapping[str, Any]) -> dict[str, Any]:
        drawn = sheet["map"]
        return {
            "number": sheet["number"],
            "mm_per_px": sheet["mm_per_px"],
            "frame_count": sheet["frame_count"],
            "map": None
            if drawn is None
            else {"url": f"/maps/{sheet['number']}.png", "from_sheet": drawn["from_sheet"]},
        }

    def _crack(self, crack: ReviewedCrack) -> dict[str, Any]:
        record = crack.record
        return {
            **{name: record[name] for name in _SHOWN},
            "best": self._best(record["best"]),
            "width": {name: record["width"][name] for name in _WIDTHS},
            "frames": len(record["frames"]),
            "status": crack.status,
            "is_open": crack.is_open,
            "review": review_of(crack),
        }

    def _best(self, best: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if best is None:
            return None
        return {
            **{name: best[name] for name in ("frame", "name", "points")},
            "view": self._view_urls.get(best["view"]),
        }


_WIDTHS = tuple(
    f"{name}_{unit}" for name in ("mean", "low", "high", "p95", "max") for unit in ("mm", "px")
)


def _views(document: Mapping[str, Any]) -> dict[int, str]:
    """What was cut out of the best frame of each crack, relative to the run's folder."""
    found = {}
    for crack in document["cracks"]:
        name = (crack["best"] or {}).get("view")
        if name is not None and not Path(name).is_absolute() and ".." not in Path(name).parts:
            found[crack["id"]] = name
    return found


def _frame(frame: PlacedFrame) -> dict[str, Any]:
    return {
        "number": frame.number,
        "name": frame.name,
        "sheet": frame.sheet,
        "hw": list(frame.hw),
        "to_sheet": frame.to_sheet.tolist(),
        "url": f"/frames/{frame.number}.jpg",
    }


def _told(entry: Entry) -> dict[str, Any]:
    action = {
        name: value for name, value in entry.action.items() if name not in ("of", "points", "at")
    }
    return {"number": entry.number, "at": entry.at, "reviewer": entry.reviewer, **action}
