"""When a site check passes, and what it says where it does not."""

from __future__ import annotations

import json

import pytest

from edgecrack.measurement.budget import Figure
from edgecrack.scale.quantity import Quantity
from edgecrack.site_check.verdict import CrackReading, ScaleCheck, SiteCheck

SURE = ScaleCheck(Quantity(0.002, 0.005), is_stated=True, is_bar_measured=False)
# Widths of ten cracks, all of them too narrow to tell of the scale.
NARROW = tuple(0.1 + 0.01 * number for number in range(10))


def reading(stated_mm: float, score: float | None) -> CrackReading:
    """A crack that is read with this En: its U is 0.04, that of both is 0.05."""
    true = Quantity(stated_mm, 0.015)
    if score is None:
        return CrackReading(stated_mm, true, False, None, "it is out of view")
    value = stated_mm + score * 0.05
    figure = Figure(value, value - 0.04, value + 0.04, {"noise": 0.02})
    return CrackReading(stated_mm, true, False, figure)


def check(scores: list[float | None], scale: ScaleCheck = SURE) -> SiteCheck:
    cracks = tuple(map(reading, NARROW, scores))
    return SiteCheck(1, (44, 45), cracks, scale, "given")


@pytest.mark.parametrize(
    ("scores", "passed"),
    [
        ([0.0] * 10, True),
        ([0.9] * 10, True),
        ([0.0] * 9 + [1.2], True),
        ([0.0] * 9 + [-1.6], False),
        ([0.0] * 8 + [1.2, -1.2], False),
        ([0.0] * 8 + [1.2, None], False),
        ([0.0] * 3 + [None] * 7, True),
        ([0.0] * 2 + [None] * 8, False),
        ([None] * 10, False),
    ],
)
def test_enough_cracks_are_read_right(scores: list[float | None], passed: bool) -> None:
    assert check(scores).passed is passed


def test_an_error_that_all_cracks_share_is_found_though_each_agrees() -> None:
    figures = [Figure(1.04, 1.0, 1.08, {"noise": 0.02})] * 6
    cracks = tuple(CrackReading(1.0, Quantity(1.0, 0.005), True, figure) for figure in figures)
    shared = SiteCheck(1, (44, 45), cracks, SURE, "given")
    assert max(abs(crack.score or 0.0) for crack in cracks) < 1
    assert shared.problems == (
        "cracks of 0.3 mm and more were read 4.0% too wide on average, +-1.7%",
    )


def test_an_uncertainty_that_all_cracks_share_does_not_average_out() -> None:
    figures = [Figure(1.04, 0.98, 1.1, {"model": 0.03})] * 6
    cracks = tuple(CrackReading(1.0, Quantity(1.0, 0.0), True, figure) for figure in figures)
    assert SiteCheck(1, (44, 45), cracks, SURE, "given").passed


@pytest.mark.parametrize(
    ("deviation", "bar", "words"),
    [
        (0.031, False, "3.1% larger .* +-1.0%: the sheet was printed at another size"),
        (-0.02, False, "2.0% smaller .* the distance is wrong"),
        (0.031, True, "3.1% larger .* +-1.0%: the distance or the camera's calibration is wrong"),
    ],
)
def test_scales_that_contradict_each_other(deviation: float, bar: bool, words: str) -> None:
    scale = ScaleCheck(Quantity(deviation, 0.005), is_stated=True, is_bar_measured=bar)
    failed = check([0.0] * 10, scale)
    assert not failed.passed
    before, _, after = words.partition(" .* ")
    assert before in failed.problems[0]
    assert after in failed.problems[0]


def test_what_it_says_of_a_crack() -> None:
    figure = Figure(0.38, 0.33, 0.43, {"noise": 0.015, "model": 0.02})
    crack = CrackReading(0.4, Quantity(0.4, 0.01), False, figure)
    assert crack.sentence() == "0.40 mm: read 0.38 +- 0.05"
    assert crack.score == pytest.approx(-0.02 / (2 * (0.015**2 + 0.02**2 + 0.01**2) ** 0.5))
    assert reading(0.1, 1.3).sentence().endswith("too wide (En 1.3)")
    assert reading(0.1, None).sentence() == "0.10 mm: not read, it is out of view"


def test_it_is_plain_json() -> None:
    document = json.loads(json.dumps(check([0.0] * 9 + [None]).to_dict()))
    assert document["passed"] is True
    assert document["scale"]["agrees"] is True
    assert document["cracks"][9]["read_mm"] is None
    assert document["cracks"][9]["reason"] == "it is out of view"
