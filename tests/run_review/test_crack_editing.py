"""Splitting, merging and drawing keep what is known of a crack, and make up nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgecrack.errors import ConfigError, SourceError
from edgecrack.run_review.crack_editing import (
    drawn_record,
    line_length,
    merged_record,
    split_record,
)
from edgecrack.run_review.placed_frames import PlacedFrame, placed_frames

WIDTHS = [
    f"{name}{end}_{unit}"
    for unit in ("px", "mm")
    for name, end in (
        ("mean", ""), ("low", ""), ("high", ""), ("median", ""), ("median", "_low"),
        ("median", "_high"), ("p95", ""), ("p95", "_low"), ("p95", "_high"), ("max", ""),
        ("max", "_low"), ("max", "_high"),
    )
]  # fmt: skip
SHEET: dict[str, Any] = {"mm_per_px": 0.5, "placed": None}


def record(number: int, *lines: list[list[float]], scale: float | None = 0.5) -> dict[str, Any]:
    """A crack of 2 px, 1 mm, measured each 10 px along its first line."""
    length = sum(line_length(np.array(line, float)) for line in lines)
    along = line_length(np.array(lines[0], float))
    return {
        "id": number, "status": "confirmed", "sheet": 0, "points": lines[0], "lines": list(lines),
        "gaps": [], "length_px": length,
        "length_mm": None if scale is None else length * scale,
        "length_low_mm": None if scale is None else length * scale * 0.9,
        "length_high_mm": None if scale is None else length * scale * 1.1,
        "width": {
            **{name: 2.0 if name.endswith("px") else 1.0 for name in WIDTHS},
            "places": 10, "frames": [0],
        },
        "budget": {"noise": 0.1}, "class": None, "frames": [0], "views": 1, "confidence": 0.9,
        "best": None, "position": None, "place": None,
        "profile": {"unit": "mm", "points": [
            [at * 0.5, 1.0, 0.8, 1.2] for at in np.arange(5, along, 10).tolist()]},
    }  # fmt: skip


def placed(scale: float = 1.0) -> PlacedFrame:
    return PlacedFrame(3, "3.png", "key/3.jpg", 0, (200, 300), np.diag([scale, scale, 1.0]))


@given(
    st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500)), min_size=2, max_size=8, unique=True),
    st.floats(0.05, 0.95),
)
def test_pieces_are_together_as_long_as_the_whole(
    corners: list[tuple[float, float]], share: float
) -> None:
    line = np.array(corners, float)
    steps = np.hypot(*np.diff(line, axis=0).T)
    assume(steps.min() >= 8)
    whole = record(1, line.tolist())
    way = np.concatenate([[0], np.cumsum(steps)])
    at = np.array([np.interp(share * way[-1], way, line[:, axis]) for axis in (0, 1)])
    try:
        pieces = split_record(whole, at, ("1a", "1b"), {}, SHEET)
    except ConfigError:  # near an end, or where the line crosses itself there
        assume(False)
        raise
    total = sum(each["length_px"] for each in pieces)
    assert total == pytest.approx(whole["length_px"], abs=0.2 + 0.15 * len(corners))
    rows = [row for each in pieces for row in each["profile"]["points"]]
    assert len(rows) == len(whole["profile"]["points"])
    for each in pieces:
        assert all(0 <= row[0] <= each["length_mm"] + 1 for row in each["profile"]["points"])


def test_branches_go_with_the_half_that_they_hang_on() -> None:
    whole = record(
        1, [[0, 0], [100, 0]], [[20, 0], [20, 30]], [[20, 30], [60, 32]], [[80, 0], [80, -40]]
    )
    one, other = split_record(whole, np.array([50.0, 3.0]), ("1a", "1b"), {}, SHEET)
    assert [50.0, 0.0] in one["lines"][0]
    assert {len(one["lines"]), len(other["lines"])} == {3, 2}
    # The second branch passes nearer to the other half, but hangs on the first branch.
    assert [[20, 30], [60, 32]] in one["lines"]


def test_a_cut_through_a_branch_leaves_the_longest_line_its_widths() -> None:
    whole = record(1, [[0, 0], [100, 0]], [[50, 0], [50, 60]])
    one, other = split_record(whole, np.array([50.0, 30.0]), ("1a", "1b"), {}, SHEET)
    tip, rest = sorted((one, other), key=lambda each: float(each["length_px"]))
    for name in ("mean_mm", "max_mm", "p95_mm", "places"):
        assert rest["width"][name] == whole["width"][name], name
    assert tip["width"]["mean_mm"] is None
    assert tip["profile"] is None
    assert (tip["length_px"], rest["length_px"]) == (30.0, 130.0)


def test_the_interval_of_a_piece_is_no_narrower_than_its_share() -> None:
    whole = record(1, [[0, 0], [400, 0]])
    one, _ = split_record(whole, np.array([100.0, 0.0]), ("1a", "1b"), {}, SHEET)
    share = one["length_mm"] / whole["length_mm"]
    spread = whole["length_high_mm"] - whole["length_mm"]
    assert one["length_high_mm"] - one["length_mm"] >= 0.99 * share * spread


def test_merged_widths_count_by_their_places_and_keep_the_largest() -> None:
    one, other = record(1, [[0, 0], [100, 0]]), record(2, [[120, 0], [150, 0]])
    other["width"] |= {"mean_mm": 3.0, "max_mm": 5.0, "p95_mm": 4.0, "places": 5}
    merged = merged_record([one, other], "1+2", [SHEET])
    assert merged["length_px"] == 130.0
    assert merged["width"]["mean_mm"] == pytest.approx((10 * 1 + 5 * 3) / 15, abs=1e-4)
    assert (merged["width"]["max_mm"], merged["width"]["p95_mm"]) == (5.0, 4.0)
    assert merged["width"]["places"] == 15
    assert merged["budget"] is None


def test_the_same_crack_on_another_sheet_adds_no_length() -> None:
    one, other = record(1, [[0, 0], [100, 0]]), record(2, [[0, 0], [60, 0]])
    other["sheet"] = 1
    merged = merged_record([one, other], "1+2", [SHEET, SHEET])
    assert (merged["length_px"], merged["sheet"]) == (100.0, 0)
    assert merged["width"] == one["width"]


def test_what_was_not_measured_stays_unknown() -> None:
    one, other = (record(each, [[0, 0], [100, 0]], scale=None) for each in (1, 2))
    for each in (one, other):
        each["width"] |= {**dict.fromkeys(WIDTHS), "places": 0, "frames": []}
        each["profile"] = None
    merged = merged_record([one, other], "1+2", [SHEET])
    assert merged["length_mm"] is None
    assert merged["width"]["mean_px"] is None
    piece, _ = split_record(merged, np.array([50.0, 0.0]), ("a", "b"), {}, SHEET)
    assert piece["width"]["mean_mm"] is None
    assert piece["length_mm"] is None


def test_a_drawn_line_lies_where_the_frame_lies_on_the_sheet() -> None:
    drawn = drawn_record("D1", placed(2.0), np.array([[10.0, 20.0], [110.0, 20.0]]), SHEET, [])
    assert drawn["lines"] == [[[20.0, 40.0], [220.0, 40.0]]]
    assert (drawn["length_px"], drawn["length_mm"]) == (200.0, 100.0)
    assert drawn["length_low_mm"] is None  # nobody knows how sure the scale is


def test_frames_of_a_survey_that_did_not_place_them_are_refused() -> None:
    with pytest.raises(
        SourceError, match="does not record where its frames are; run edgecrack surv"
    ):
        placed_frames({"sheets": []})
    frame = {"frame": 0, "name": "0", "picture": "../x.jpg", "sheet": 0, "hw": [4, 4]}
    document: dict[str, Any] = {
        "sheets": [{}],
        "key_frames": [{**frame, "to_sheet": np.eye(3).tolist()}],
    }
    assert placed_frames(document)[0].picture is None  # it leads outside
    for bad in ([[1]], np.zeros((3, 3)).tolist(), None, [["a"] * 3] * 3):
        document["key_frames"][0]["to_sheet"] = bad
        with pytest.raises(SourceError, match="key frames are damaged"):
            placed_frames(document)


def of_width(record: dict[str, Any], mm: float) -> dict[str, Any]:
    """A crack of another width, 2 px a millimetre."""
    for name in WIDTHS:
        record["width"][name] = mm * 2 if name.endswith("px") else mm
    for row in record["profile"]["points"]:
        row[1:] = [mm, 0.9 * mm, 1.1 * mm]
    return record


@pytest.mark.parametrize("longer", [1, 2])
def test_each_piece_of_a_merged_crack_has_the_widths_of_its_own_lines(longer: int) -> None:
    thin = record(1, [[0, 0], [400 if longer == 1 else 200, 0]])
    wide = of_width(record(2, [[0, 50], [300, 50]]), 5.0)
    merged = merged_record([thin, wide], "1+2", [SHEET])
    assert merged["width"]["max_mm"] == 5.0
    one, other = split_record(merged, np.array([150.0, 50.0]), ("a", "b"), {}, SHEET)
    for piece in (one, other):
        has_thin = any(line[0][1] == 0 for line in piece["lines"])
        has_wide = any(line[0][1] == 50 for line in piece["lines"])
        assert has_wide
        assert piece["width"]["max_mm"] == 5.0
        if not has_thin:
            assert piece["width"]["mean_mm"] == 5.0
    one, other = split_record(merged, np.array([100.0, 0.0]), ("a", "b"), {}, SHEET)
    with_wide, without = sorted((one, other), key=lambda each: -len(each["lines"]))
    assert with_wide["width"]["max_mm"] == 5.0
    assert without["width"]["max_mm"] == 1.0


def test_a_line_whose_own_widths_are_unknown_makes_no_figure_too_small() -> None:
    whole = record(1, [[0, 0], [100, 0]], [[20, 0], [20, 30]])
    whole["width"] |= {"max_mm": 9.0, "p95_mm": 7.0}
    one, other = split_record(whole, np.array([50.0, 0.0]), ("a", "b"), {}, SHEET)
    branched, plain = sorted((one, other), key=lambda each: -len(each["lines"]))
    assert (branched["width"]["max_mm"], branched["width"]["p95_mm"]) == (9.0, 7.0)
    assert (plain["width"]["max_mm"], plain["width"]["p95_mm"]) == (1.0, 1.0)
