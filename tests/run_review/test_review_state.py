"""What a review's actions come to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecrack.errors import ConfigError, SourceError
from edgecrack.run_review.placed_frames import placed_frames
from edgecrack.run_review.review_session import ReviewSession
from edgecrack.run_review.reviewed_document import reviewed_survey
from edgecrack.run_survey import survey_run
from edgecrack.run_survey.survey_document import read_survey
from tests.run_survey.kept_flight import keep, views
from tests.survey.small_walls import along


def acted(run: Path, *actions: dict[str, Any]) -> dict[str, Any]:
    """Do actions one after the other; what the last one changed."""
    done: dict[str, Any] = {}
    with ReviewSession(run) as session:
        for action in actions:
            done = session.act("Ann", action)
    return done


def cracks_of(run: Path) -> dict[int | str, dict[str, Any]]:
    return {each["id"]: each for each in reviewed_survey(run, read_survey(run)).document["cracks"]}


def test_without_a_review_the_survey_is_as_it_was(run: Path) -> None:
    found = reviewed_survey(run, read_survey(run))
    assert found.document == read_survey(run)
    assert found.is_draft


def test_it_is_a_draft_until_each_confirmed_crack_was_decided_on(run: Path) -> None:
    assert acted(run, {"action": "confirm", "crack": 1})["open"] == [2]
    assert reviewed_survey(run, read_survey(run)).is_draft
    assert acted(run, {"action": "reject", "crack": 2, "reason": "joint"})["done"]
    found = reviewed_survey(run, read_survey(run))
    assert not found.is_draft
    assert found.document["count"] == {"low": 1, "high": 1, "unconfirmed": 0}
    rejected = cracks_of(run)[2]
    assert rejected["status"] == "rejected"
    assert rejected["review"] | {"at": ""} == {
        "machine": "confirmed", "origin": "machine", "parents": [], "decision": "rejected",
        "reason": "joint", "reviewer": "Ann", "at": "", "gauges": [], "tags": [], "note": "",
    }  # fmt: skip
    assert acted(run, {"action": "reopen", "crack": 2})["open"] == [2]


def test_what_was_entered_stays_beside_the_machines_figures(run: Path) -> None:
    before = cracks_of(run)[1]
    acted(
        run,
        {"action": "gauge", "crack": 1, "mm": 0.4},
        {"action": "gauge", "crack": 1, "mm": 0.45},
        {"action": "tags", "crack": 1, "tags": ["rust", "wet", "rust"]},
        {"action": "note", "crack": 1, "text": "  above the <b>bearing</b>\nwet  "},
    )
    found = cracks_of(run)[1]
    assert found["width"] == before["width"]
    assert [each["mm"] for each in found["review"]["gauges"]] == [0.4, 0.45]
    assert found["review"]["tags"] == ["wet", "rust"]
    assert found["review"]["note"] == "above the <b>bearing</b>\nwet"


def test_a_drawn_crack_has_its_length_and_place(run: Path) -> None:
    document = read_survey(run)
    frame = document["key_frames"][1]
    acted(run, {"action": "draw", "frame": frame["frame"], "points": [[50, 150], [250, 150]]})
    found = cracks_of(run)["D1"]
    assert found["status"] == "confirmed"
    assert found["review"]["decision"] == "confirmed"
    assert found["length_mm"] == pytest.approx(20.0, rel=0.02)
    assert found["length_low_mm"] < found["length_mm"] < found["length_high_mm"]
    assert found["best"]["points"] == [[50, 150], [250, 150]]
    assert found["width"]["mean_mm"] is None


def test_a_split_crack_is_two_that_together_are_the_one(run: Path) -> None:
    whole = cracks_of(run)[1]
    middle = whole["lines"][0][len(whole["lines"][0]) // 2]
    done = acted(run, {"action": "split", "crack": 1, "at": middle})
    assert done["gone"] == [1]
    assert done["open"] == [2, "1a", "1b"]
    found = cracks_of(run)
    pieces = [found["1a"], found["1b"]]
    assert sum(each["length_mm"] for each in pieces) == pytest.approx(whole["length_mm"], rel=0.01)
    for piece in pieces:
        assert piece["width"]["mean_mm"] == pytest.approx(whole["width"]["mean_mm"], rel=0.05)
        assert piece["class"]["table"] == whole["class"]["table"]
        assert len(piece["best"]["points"]) > 2
        frame = placed_frames(read_survey(run))[piece["best"]["frame"]]
        shown = frame.on_sheet(np.array(piece["best"]["points"], np.float64))
        corners = np.array(piece["lines"][0])
        at = np.linspace(0, len(corners) - 1, 2000)
        along = np.stack([np.interp(at, range(len(corners)), each) for each in corners.T], axis=1)
        assert max(np.hypot(*(along - each).T).min() for each in shown) < 4
    profiles = [each["profile"]["points"] for each in pieces]
    assert len(profiles[0]) + len(profiles[1]) == len(whole["profile"]["points"])


def test_what_was_split_and_merged_again_is_as_long_and_wide_as_before(run: Path) -> None:
    whole = cracks_of(run)[1]
    acted(
        run,
        {"action": "split", "crack": 1, "at": whole["lines"][0][len(whole["lines"][0]) // 3]},
        {"action": "merge", "cracks": ["1b", "1a"]},
    )
    found = cracks_of(run)["1a+1b"]
    assert found["length_mm"] == pytest.approx(whole["length_mm"], rel=0.002)
    assert found["width"]["mean_mm"] == pytest.approx(whole["width"]["mean_mm"], rel=0.01)
    assert found["review"]["parents"] == ["1a", "1b"]
    assert found["review"]["decision"] == "confirmed"


def test_undo_takes_back_one_action_after_the_other(run: Path) -> None:
    actions: list[dict[str, Any]] = [
        {"action": "confirm", "crack": 2},
        {"action": "split", "crack": 1, "at": [200, 90]},
        {"action": "reject", "crack": "1a", "reason": ""},
    ]
    acted(run, *actions)
    assert acted(run, {"action": "undo"})["open"] == ["1a", "1b"]
    undone = acted(run, {"action": "undo"})
    assert sorted(undone["gone"]) == ["1a", "1b"]
    assert [each["id"] for each in undone["changed"]] == [1]
    acted(run, {"action": "undo"})
    assert [each["status"] for each in cracks_of(run).values()] == ["confirmed", "confirmed"]
    with pytest.raises(ConfigError, match="there are no actions yet"):
        acted(run, {"action": "undo"})
    kept = (run / "review.jsonl").read_text().splitlines()
    assert len(kept) == 1 + 6  # nothing is ever removed


def test_a_later_survey_that_changed_a_crack_asks_for_its_review_again(run: Path) -> None:
    acted(run, {"action": "confirm", "crack": 1}, {"action": "confirm", "crack": 2})
    path = run / "survey" / "cracks.json"
    document = json.loads(path.read_text())
    (run / "summary.json").write_text(json.dumps({"run": {"id": "same"}}))
    head, *rest = (run / "review.jsonl").read_text().splitlines()
    (run / "review.jsonl").write_text(
        "\n".join([json.dumps(json.loads(head) | {"review_of": "same"}), *rest]) + "\n"
    )
    document["cracks"][1]["lines"][0].pop()
    path.write_text(json.dumps(document))
    found = reviewed_survey(run, read_survey(run))
    assert found.is_draft
    assert found.state is not None
    assert found.state.open_ids == (2,)
    assert len(found.state.stale) == 1


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({}, "the action is 'None'; give confirm"),
        ({"action": ["confirm"]}, "the action is"),
        ({"action": "delete"}, "the action is 'delete'"),
        ({"action": "confirm"}, "the crack is 'None'"),
        ({"action": "confirm", "crack": 9}, "there is no crack 9"),
        ({"action": "confirm", "crack": True}, "the crack is 'True'"),
        ({"action": "confirm", "crack": "1"}, "there is no crack 1"),
        ({"action": "confirm", "crack": [1]}, "the crack is"),
        ({"action": "reject", "crack": 1, "reason": "because"}, "give joint, stain"),
        ({"action": "reopen", "crack": 9}, "there is no crack 9"),
        ({"action": "draw", "frame": 0, "points": [[1, 1]]}, "give x and y of 2 to 2000"),
        ({"action": "draw", "frame": 0, "points": [[1, 1], [2]]}, "give x and y"),
        ({"action": "draw", "frame": 0, "points": [[1, 1], [1, 2]]}, "draw a longer one"),
        ({"action": "draw", "frame": 0, "points": [[1, 1], [1, 1e308]]}, "give x and y"),
        ({"action": "draw", "frame": 0, "points": [[1, 1], [900, 1]]}, "outside the frame"),
        ({"action": "draw", "frame": 77, "points": [[1, 1], [90, 1]]}, "no kept frame 77"),
        ({"action": "draw", "frame": "0", "points": [[1, 1], [90, 1]]}, "the frame is '0'"),
        ({"action": "draw", "frame": 0, "points": [[1, 1]] * 2001}, "2001 points"),
        ({"action": "split", "crack": 1, "at": [1]}, "the place is"),
        ({"action": "split", "crack": 1, "at": [-9000, 60]}, "at an end of crack 1"),
        ({"action": "merge", "cracks": [1]}, "1 cracks are to be merged"),
        ({"action": "merge", "cracks": [1, 1]}, "2 cracks are to be merged"),
        ({"action": "merge", "cracks": "12"}, "0 cracks"),
        ({"action": "gauge", "crack": 1, "mm": 0}, "the reading is '0'"),
        ({"action": "gauge", "crack": 1, "mm": "0.4"}, "the reading is '0.4'"),
        ({"action": "gauge", "crack": 1, "mm": float("nan")}, "the reading is 'nan'"),
        ({"action": "gauge", "crack": 1, "mm": 10**400}, "the reading is"),
        ({"action": "tags", "crack": 1, "tags": ["dusty"]}, "give some of sealed"),
        ({"action": "tags", "crack": 1, "tags": "wet"}, "give some of sealed"),
        ({"action": "note", "crack": 1, "text": None}, "the note is not text"),
        ({"action": "note", "crack": 1, "text": "x" * 2001}, "at most 2000"),
        ({"action": "note", "crack": 1, "text": "\x00"}, "the note is not text"),
        ({"action": "note", "crack": 1, "text": "\ud800"}, "the note is not text"),
    ],
)
def test_what_cannot_be_done_is_said_and_not_kept(
    run: Path, action: dict[str, Any], message: str
) -> None:
    with ReviewSession(run) as session:
        before = session.review()
        with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
            session.act("Ann", action)
        assert session.review() == before
    assert len((run / "review.jsonl").read_text().splitlines()) == 1


def test_a_crack_that_became_others_tells_which(run: Path) -> None:
    acted(run, {"action": "split", "crack": 1, "at": [200, 90]})
    with pytest.raises(ConfigError, match="crack 1 became 1a and 1b; review that one"):
        acted(run, {"action": "confirm", "crack": 1})


def test_a_drawn_crack_is_rejected_and_not_reopened(run: Path) -> None:
    acted(run, {"action": "draw", "frame": 0, "points": [[50, 150], [250, 150]]})
    with pytest.raises(ConfigError, match="was drawn by a reviewer"):
        acted(run, {"action": "reopen", "crack": "D1"})
    acted(run, {"action": "reject", "crack": "D1"})
    assert cracks_of(run)["D1"]["status"] == "rejected"


def test_names_of_drawn_cracks_are_not_given_twice(run: Path) -> None:
    draw = {"action": "draw", "frame": 0, "points": [[50, 150], [250, 150]]}
    acted(run, draw, {"action": "undo"}, draw, draw)
    assert {"D1", "D2"} <= set(cracks_of(run))


def test_the_range_of_sheets_that_are_not_linked_follows_the_review(
    tmp_path: Path,
) -> None:
    first = views(along(0, 60, 60, 10))
    keep(tmp_path, [*first, *views(along(400, 440, 60, 10), first=len(first))])
    survey_run(tmp_path)
    before = read_survey(tmp_path)
    assert before["count"] == {"low": 1, "high": 2, "unconfirmed": 0}
    assert any("not linked" in note and "1 to 2" in note for note in before["notes"])
    ids = [each["id"] for each in before["cracks"]]
    acted(tmp_path, {"action": "confirm", "crack": ids[0]}, {"action": "confirm", "crack": ids[1]})
    after = reviewed_survey(tmp_path, before).document
    assert after["count"] == before["count"]
    acted(tmp_path, {"action": "merge", "cracks": ids})
    after = reviewed_survey(tmp_path, before).document
    assert (after["count"]["low"], after["count"]["high"]) == (1, 1)
    assert not any("1 to 2" in note for note in after["notes"])
    merged = next(each for each in after["cracks"] if each["id"] == f"{ids[0]}+{ids[1]}")
    assert merged["length_px"] == max(each["length_px"] for each in before["cracks"])


def test_a_run_without_cracks_is_reviewed_by_looking_it_over(tmp_path: Path) -> None:
    keep(tmp_path, views(along(0, 440, 60), []))
    survey_run(tmp_path)
    before = reviewed_survey(tmp_path, read_survey(tmp_path))
    assert before.is_draft
    assert acted(tmp_path, {"action": "looked"})["done"]
    found = reviewed_survey(tmp_path, read_survey(tmp_path))
    assert not found.is_draft
    assert found.state is not None
    assert found.state.looked is not None
    assert found.state.looked.reviewer == "Ann"
    acted(tmp_path, {"action": "undo"})
    assert reviewed_survey(tmp_path, read_survey(tmp_path)).is_draft


def tampered(run: Path, **changes: Any) -> None:
    """Change the last line of the review."""
    path = run / "review.jsonl"
    *rest, last = path.read_text().splitlines()
    line = {**json.loads(last), **changes}
    path.write_text("\n".join([*rest, json.dumps(line)]) + "\n")


def test_what_a_later_version_wrote_is_not_taken_for_something_else(run: Path) -> None:
    acted(run, {"action": "confirm", "crack": 1})
    tampered(run, action="measure")
    with pytest.raises(SourceError, match="has the action 'measure', which this version does not"):
        reviewed_survey(run, read_survey(run))
    with pytest.raises(SourceError, match="does not know"):
        ReviewSession(run)
    tampered(run, action="confirm")
    ReviewSession(run).close()  # the one that failed holds no lock


@pytest.mark.parametrize(
    ("action", "changes"),
    [
        ({"action": "gauge", "crack": 1, "mm": 1.0}, {"mm": -5}),
        ({"action": "gauge", "crack": 1, "mm": 1.0}, {"mm": None}),
        ({"action": "confirm", "crack": 1}, {"crack": [1]}),
        ({"action": "confirm", "crack": 1}, {"crack": True}),
        ({"action": "confirm", "crack": 1}, {"of": []}),
        ({"action": "confirm", "crack": 1}, {"of": {"1": 7}}),
        ({"action": "merge", "cracks": [1, 2]}, {"cracks": [1, 1]}),
        ({"action": "merge", "cracks": [1, 2]}, {"cracks": None}),
        ({"action": "split", "crack": 1, "at": [200, 90]}, {"at": "x"}),
        ({"action": "split", "crack": 1, "at": [200, 90]}, {"at": [1, 2, 3]}),
        ({"action": "draw", "frame": 0, "points": [[50, 150], [250, 150]]}, {"crack_id": 1}),
        ({"action": "draw", "frame": 0, "points": [[50, 150], [250, 150]]}, {"points": [[1]]}),
        ({"action": "tags", "crack": 1, "tags": []}, {"tags": None}),
        ({"action": "note", "crack": 1, "text": ""}, {"text": 7}),
        ({"action": "reject", "crack": 1, "reason": ""}, {"reason": "because"}),
    ],
)
def test_a_changed_entry_is_told_by_its_number(
    run: Path, action: dict[str, Any], changes: dict[str, Any]
) -> None:
    acted(run, action)
    tampered(run, **changes)
    with pytest.raises(SourceError, match="entry 1 of the review is damaged"):
        reviewed_survey(run, read_survey(run))


def test_a_second_crack_of_one_name_does_not_replace_the_first(run: Path) -> None:
    draw = {"action": "draw", "frame": 0, "points": [[50, 150], [250, 150]]}
    acted(run, draw, {**draw, "points": [[50, 160], [150, 160]]})
    tampered(run, crack_id="D1")
    found = reviewed_survey(run, read_survey(run))
    assert found.state is not None
    assert len(found.state.stale) == 1
    assert cracks_of(run)["D1"]["best"]["points"] == [[50, 150], [250, 150]]


def test_what_the_machine_found_stays_what_it_was(run: Path) -> None:
    path = run / "survey" / "cracks.json"
    document = json.loads(path.read_text())
    document["cracks"][1]["status"] = "unconfirmed"
    path.write_text(json.dumps(document))
    acted(
        run,
        {"action": "draw", "frame": 0, "points": [[50, 150], [150, 150], [250, 150]]},
        {"action": "confirm", "crack": 2},
    )
    drawn, raised = cracks_of(run)["D1"], cracks_of(run)[2]
    acted(
        run,
        {"action": "split", "crack": "D1", "at": drawn["lines"][0][1]},
        {"action": "confirm", "crack": "D1a"},
        {"action": "confirm", "crack": "D1b"},
        {"action": "split", "crack": 2, "at": np.mean(raised["lines"][0], axis=0).tolist()},
        {"action": "merge", "cracks": ["2a", "2b"]},
    )
    found = cracks_of(run)
    assert [found[each]["review"]["machine"] for each in ("D1a", "D1b", "2a+2b", 1)] == [
        None, None, "unconfirmed", "confirmed",
    ]  # fmt: skip


def changed_survey(run: Path) -> None:
    """Another course for crack 1, as a later survey may find it; the run has a name."""
    path = run / "survey" / "cracks.json"
    document = json.loads(path.read_text())
    document["cracks"][0]["lines"][0].pop()
    path.write_text(json.dumps(document))


@pytest.fixture
def named(run: Path) -> Path:
    """A run whose name does not depend on what was found."""
    (run / "summary.json").write_text(json.dumps({"run": {"id": "named"}}))
    return run


def test_a_crack_that_a_person_raised_and_a_survey_changed_keeps_it_a_draft(named: Path) -> None:
    acted(named, {"action": "confirm", "crack": 1}, {"action": "confirm", "crack": 2})
    changed_survey(named)
    document = read_survey(named)
    document["cracks"][0]["status"] = "unconfirmed"
    assert reviewed_survey(named, document).is_draft
    (named / "survey" / "cracks.json").write_text(json.dumps(document))
    assert acted(named, {"action": "reject", "crack": 1})["done"]
    assert acted(named, {"action": "undo"})["stale"] == 1
    assert acted(named, {"action": "looked"})["done"]


def test_undo_takes_back_what_the_page_shows_and_nothing_stale(named: Path) -> None:
    acted(named, {"action": "confirm", "crack": 2}, {"action": "confirm", "crack": 1})
    changed_survey(named)
    with ReviewSession(named) as session:
        assert session.progress()["actions"][-1]["crack"] == 2
        done = session.act("Ann", {"action": "undo"})
        assert done["open"] == [1, 2]
        assert done["stale"] == 1


def test_a_survey_made_while_the_page_is_open_is_noticed(run: Path) -> None:
    with ReviewSession(run) as session:
        session.act("Ann", {"action": "confirm", "crack": 1})
        changed_survey(run)
        with pytest.raises(ConfigError, match="surveyed again in the meantime"):
            session.act("Ann", {"action": "confirm", "crack": 2})


def test_a_name_of_many_cracks_stays_usable(run: Path) -> None:
    whole = cracks_of(run)[1]
    at = whole["lines"][0][len(whole["lines"][0]) // 2]
    acted(run, {"action": "split", "crack": 1, "at": at})
    with ReviewSession(run) as session:
        name = "1a"
        while len(name) < 118:
            course = cracks_of(run)[name]["lines"][0]
            middle = np.mean([course[0], course[-1]], axis=0).tolist()
            try:
                session.act("Ann", {"action": "split", "crack": name, "at": middle})
            except ConfigError:
                break
            name = f"{name}a"
        session.act("Ann", {"action": "note", "crack": name, "text": "still here"})
        assert "still here" in session.path.read_text().splitlines()[-1]
