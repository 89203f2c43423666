"""The state of a review: its actions (`review_actions.py`) applied to the survey's cracks.

An action names its cracks and a digest of each one's course. Where a later survey gives a number
to another course, the actions on it do not count, and it is to be reviewed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from edgecrack.errors import ConfigError
from edgecrack.run_review.crack_editing import drawn_record, merged_record, split_record
from edgecrack.run_review.placed_frames import PlacedFrame
from edgecrack.run_review.review_actions import (
    LONGEST_ID,
    LONGEST_NOTE,
    TAGS,
    CrackId,
    clean_action,
    named_cracks,
    whole_entry,
)
from edgecrack.run_review.review_log import Entry

Decision = Literal["confirmed", "rejected"]
Origin = Literal["machine", "drawn", "split", "merged"]


@dataclass(frozen=True)
class GaugeReading:
    """A width that a person read on the structure.

    Attributes:
        mm: in millimetres.
        reviewer: who.
        at: when it was entered.
    """

    mm: float
    reviewer: str
    at: str


@dataclass(frozen=True)
class ReviewedCrack:
    """A crack, and what was decided of it.

    Attributes:
        record: as `cracks.json` has it, or put together from such; its status is what the crack
            counts as until somebody decides.
        machine: what the machine said of it, or of what it was made of: "confirmed",
            "unconfirmed", or None where it did not find it.
        origin: where it comes from.
        parents: the cracks that it was made of.
        decision: None until it is decided.
        reason: for which it was rejected; "" for none given.
        reviewer: who decided.
        at: when.
        gauges: readings, oldest first.
        tags: some of `TAGS`.
        note: "" for none.
    """

    record: Mapping[str, Any] = field(repr=False)
    machine: str | None
    origin: Origin = "machine"
    parents: tuple[CrackId, ...] = ()
    decision: Decision | None = None
    reason: str = ""
    reviewer: str = ""
    at: str = ""
    gauges: tuple[GaugeReading, ...] = ()
    tags: tuple[str, ...] = ()
    note: str = ""

    @property
    def id(self) -> CrackId:
        """A number of the survey's, or a name of the review's."""
        found: CrackId = self.record["id"]
        return found

    @property
    def status(self) -> str:
        """The reviewer's decision, else the machine's: confirmed, unconfirmed or rejected."""
        return str(self.decision or self.record["status"])

    @property
    def is_open(self) -> bool:
        """Whether it counts as a crack and is not decided yet."""
        return self.decision is None and self.record["status"] == "confirmed"


@dataclass(frozen=True)
class ReviewState:
    """Where a review stands.

    Attributes:
        cracks: those that there are now, by id.
        made_into: of those that were split or merged, what they became.
        standing: actions that count, oldest first.
        stale: actions on cracks that a later survey changed.
    """

    cracks: Mapping[CrackId, ReviewedCrack]
    made_into: Mapping[CrackId, tuple[CrackId, ...]] = field(default_factory=dict)
    standing: tuple[Entry, ...] = ()
    stale: tuple[Entry, ...] = ()

    @property
    def open_ids(self) -> tuple[CrackId, ...]:
        """Undecided cracks that would be reported."""
        return tuple(number for number, crack in self.cracks.items() if crack.is_open)

    @property
    def is_done(self) -> bool:
        """Whether somebody reviewed, and each crack that is reported has been decided on.

        Actions that a later survey made stale are to be made again first.
        """
        return bool(self.standing) and not self.open_ids and not self.stale

    @property
    def looked(self) -> Entry | None:
        """Where somebody said that they looked over the surface for what was missed, too."""
        found = [each for each in self.standing if each.action["action"] == "looked"]
        return found[-1] if found else None

    @property
    def reviewers(self) -> tuple[str, ...]:
        """Who took part, in the order of their first action that stands."""
        return tuple(dict.fromkeys(each.reviewer for each in self.standing))


class Reviewing:
    """Applies actions to a survey's cracks.

    Args:
        document: content of the survey's `cracks.json`.
        frames: its kept frames, by number; may be empty where nothing is drawn or split.
    """

    def __init__(self, document: Mapping[str, Any], frames: Mapping[int, PlacedFrame]) -> None:
        self._sheets, self._frames = document["sheets"], frames
        self._machine = {
            each["id"]: ReviewedCrack(each, each["status"]) for each in document["cracks"]
        }

    def state_after(self, entries: Sequence[Entry]) -> ReviewState:
        """Where the review stands after all its entries; what does not fit any more is stale.

        Raises:
            SourceError: an entry is damaged, or of a version that this one does not know.
        """
        state = ReviewState(self._machine)
        stale = []
        for entry in _standing([whole_entry(each) for each in entries]):
            try:
                state = self._played(state, entry)
            except ConfigError:
                stale.append(entry)
        return replace(state, stale=_unsettled(stale, state.standing))

    def checked(self, state: ReviewState, action: Mapping[str, Any]) -> dict[str, Any]:
        """An action as the review's file is to have it.

        Args:
            state: of the review before it.
            action: as it came, say from the page.

        Raises:
            ConfigError: it cannot be done; nothing has changed.
        """
        kind = action.get("action")
        if kind == "undo":
            if not state.standing:
                raise ConfigError("there are no actions yet", "there is nothing to undo")
            return {"action": "undo", "undoes": state.standing[-1].number}
        clean = clean_action(action)
        if kind == "draw":
            drawn = (*state.standing, *state.stale)
            number = 1 + sum(each.action["action"] == "draw" for each in drawn)
            clean["crack_id"] = f"D{number}"
        clean["of"] = {
            str(each): digest(state.cracks[each].record)
            for each in named_cracks(clean)
            if each in state.cracks
        }
        self._played(state, Entry(0, "", "", clean))
        return clean

    def _played(self, state: ReviewState, entry: Entry) -> ReviewState:
        cracks, made_into = dict(state.cracks), dict(state.made_into)
        action = entry.action
        for number in named_cracks(action):
            if number not in cracks:
                raise ConfigError(*_gone(number, made_into))
            expected = action.get("of", {}).get(str(number))
            if expected is not None and expected != digest(cracks[number].record):
                raise ConfigError(f"crack {number} is another one now", "review it again")
        kind = str(action["action"])
        if kind == "draw":
            self._draw(cracks, entry)
        elif kind == "split":
            self._split(cracks, made_into, entry)
        elif kind == "merge":
            self._merge(cracks, made_into, entry)
        elif kind != "looked":
            crack = cracks[action["crack"]]
            cracks[crack.id] = _marked(crack, kind, entry)
        return ReviewState(cracks, made_into, (*state.standing, entry))

    def _draw(self, cracks: dict[CrackId, ReviewedCrack], entry: Entry) -> None:
        number = entry.action["frame"]
        if number not in self._frames:
            raise ConfigError(f"there is no kept frame {number}", "draw in one of the survey's")
        if entry.action["crack_id"] in cracks:
            raise ConfigError(f"there is a crack {entry.action['crack_id']}", "draw another one")
        frame = self._frames[number]
        points = np.asarray(entry.action["points"], np.float64)
        peers = [each.record for each in cracks.values()]
        record = drawn_record(
            entry.action["crack_id"], frame, points, self._sheets[frame.sheet], peers
        )
        cracks[record["id"]] = ReviewedCrack(
            record, None, "drawn", (), "confirmed", "", entry.reviewer, entry.at
        )

    def _split(
        self,
        cracks: dict[CrackId, ReviewedCrack],
        made_into: dict[CrackId, tuple[CrackId, ...]],
        entry: Entry,
    ) -> None:
        crack = cracks[entry.action["crack"]]
        ids = (f"{crack.id}a", f"{crack.id}b")
        place = np.asarray(entry.action["at"], np.float64)
        sheet = self._sheets[crack.record["sheet"]]
        pieces = split_record(crack.record, place, ids, self._frames, sheet)
        cracks.pop(crack.id)
        made_into[crack.id] = ids
        for piece in pieces:
            # What was entered for the whole may be of either piece, and is asked for again.
            record = {
                **piece,
                "status": "confirmed" if crack.status == "confirmed" else "unconfirmed",
            }
            cracks[piece["id"]] = ReviewedCrack(
                record, crack.machine, "split", (crack.id,), tags=crack.tags, note=crack.note
            )

    def _merge(
        self,
        cracks: dict[CrackId, ReviewedCrack],
        made_into: dict[CrackId, tuple[CrackId, ...]],
        entry: Entry,
    ) -> None:
        parts = [cracks[each] for each in entry.action["cracks"]]
        name = "+".join(str(each.id) for each in parts)
        if len(name) > LONGEST_ID:
            raise ConfigError(
                f"the crack would be called {name[:40]}... with {len(name)} characters",
                "merge fewer at a time",
            )
        record = merged_record([each.record for each in parts], name, self._sheets)
        for each in parts:
            cracks.pop(each.id)
            made_into[each.id] = (name,)
        said = [each.machine for each in parts]
        cracks[name] = ReviewedCrack(
            record,
            next((word for word in ("confirmed", "unconfirmed") if word in said), None),
            "merged",
            tuple(each.id for each in parts),
            "confirmed",
            reviewer=entry.reviewer,
            at=entry.at,
            gauges=tuple(reading for each in parts for reading in each.gauges),
            tags=tuple(tag for tag in TAGS if any(tag in each.tags for each in parts)),
            note="\n".join(each.note for each in parts if each.note)[:LONGEST_NOTE],
        )


def digest(record: Mapping[str, Any]) -> str:
    """A short digest that identifies a crack's course."""
    course = json.dumps([record["sheet"], record["lines"]])
    return hashlib.sha256(course.encode()).hexdigest()[:16]


def _standing(entries: Sequence[Entry]) -> list[Entry]:
    """Actions that were not taken back."""
    standing: list[Entry] = []
    for entry in entries:
        if entry.action["action"] != "undo":
            standing.append(entry)
            continue
        number = entry.action.get("undoes")
        standing = [each for each in standing if each.number != number]
    return standing


def _unsettled(stale: Sequence[Entry], standing: Sequence[Entry]) -> tuple[Entry, ...]:
    """Stale actions that were not made again.

    They are settled by a later action on the same crack, or by looking over the surface again.
    """

    def is_settled(entry: Entry) -> bool:
        later = [each for each in standing if each.number > entry.number]
        named = {number for each in later for number in named_cracks(each.action)}
        own = set(named_cracks(entry.action))
        return any(each.action["action"] == "looked" for each in later) or (
            bool(own) and own <= named
        )

    return tuple(each for each in stale if not is_settled(each))


def _gone(number: CrackId, made_into: Mapping[CrackId, tuple[CrackId, ...]]) -> tuple[str, str]:
    if number in made_into:
        became = " and ".join(str(each) for each in made_into[number])
        return f"crack {number} became {became}", "review that one"
    return f"there is no crack {number}", "give one of the survey's"


def _marked(crack: ReviewedCrack, kind: str, entry: Entry) -> ReviewedCrack:
    action = entry.action
    if kind == "gauge":
        reading = GaugeReading(action["mm"], entry.reviewer, entry.at)
        return replace(crack, gauges=(*crack.gauges, reading))
    if kind == "tags":
        return replace(crack, tags=tuple(action["tags"]))
    if kind == "note":
        return replace(crack, note=action["text"])
    if kind == "reopen":
        if crack.origin == "drawn":
            raise ConfigError(f"crack {crack.id} was drawn by a reviewer", "reject it, or undo")
        return replace(crack, decision=None, reason="", reviewer="", at="")
    decision: Decision = "confirmed" if kind == "confirm" else "rejected"
    return replace(
        crack,
        decision=decision,
        reason=action.get("reason", ""),
        reviewer=entry.reviewer,
        at=entry.at,
    )
