"""Both gates: which scores they judge, bounds against a slow reference, limits, and refusals."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.calibration.accuracy import (
    DRAWS,
    ImageCounts,
    count_images,
    draw_images,
    measure_accuracy,
    scores_of,
    upper_bound,
)
from edgecrack.calibration.gate import FLAGGED, Gate, Judged, Kind, Verdict, refusal
from edgecrack.errors import ConfigError

KINDS: tuple[Kind, ...] = ("labels", "agreement")
THRESHOLD = 0.6
LEVEL = 153
NAN = math.nan
Byte = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def walls(images: int, seed: int = 0, side: int = 24) -> tuple[Byte, Mask, NDArray[np.int64]]:
    """Two tiles of each image: one with a thin crack that FP32 mostly finds, one without."""
    generator = np.random.default_rng(seed)
    truth = np.zeros((2 * images, side, side), np.bool_)
    truth[::2, 11] = True
    output = np.where(truth, 200, 20) + generator.normal(0, 40, truth.shape)
    return np.clip(output, 0, 255).astype(np.uint8), truth, np.repeat(np.arange(images), 2)


def blind(output: Byte, rows: int) -> Byte:
    """The output of a file that finds nothing in the last columns of a tile."""
    changed = output.copy()
    changed[..., -rows:] = 0
    return changed


def judge(
    kind: Kind, before: Byte, after: Byte, truth: Mask, image: NDArray[np.int64], gate: Gate | None
) -> Verdict:
    counts = [count_images(output, truth, THRESHOLD, image) for output in (before, after)]
    return (gate or Gate()).judge(kind, counts[0], counts[1], 3, len(truth))


def of(verdict: Verdict, score: str) -> Judged:
    return next(item for item in verdict.judged if item.score == score)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 50), images=st.integers(2, 12))
@settings(max_examples=15, deadline=None)
def test_identical_outputs_pass_even_a_gate_that_allows_nothing(
    kind: Kind, seed: int, images: int
) -> None:
    output, truth, image = walls(images, seed)
    verdict = judge(kind, output, output, truth, image, Gate(0, 0))
    assert verdict.passed
    assert all(item.drop == item.upper == 0 for item in verdict.judged)


@pytest.mark.parametrize("kind", KINDS)
@given(images=st.integers(2, 12), rows=st.integers(5, 12))
@settings(max_examples=15, deadline=None)
def test_a_drop_that_every_image_shares_is_its_own_upper_bound(
    kind: Kind, images: int, rows: int
) -> None:
    tile, mask, _ = walls(1)
    output, truth = np.tile(tile, (images, 1, 1)), np.tile(mask, (images, 1, 1))
    verdict = judge(kind, output, blind(output, rows), truth, np.repeat(np.arange(images), 2), None)
    assert of(verdict, "thin_recall").drop > 0
    for item in verdict.judged:
        assert item.upper == pytest.approx(item.drop, abs=1e-9)


def test_the_bounds_equal_those_of_images_pooled_draw_by_draw() -> None:
    """Every draw scored anew from its images' tiles, as plain as it can be."""
    output, truth, image = walls(5, 2)
    after = output.copy()
    after[:4] = blind(output[:4], 7)  # two images of five
    counts = [count_images(item, truth, THRESHOLD, image) for item in (output, after)]
    drawn = draw_images(5, 3)[:40]
    slow: dict[str, list[float]] = {
        "ods": [],
        "strict_f1": [],
        "tolerant_f1": [],
        "thin_recall": [],
    }
    for weights in drawn.tolist():
        tiles = [
            tile
            for number, times in enumerate(weights)
            for _ in range(times)
            for tile in np.flatnonzero(image == number).tolist()
        ]
        before, own = (
            measure_accuracy(item[tiles], truth[tiles], THRESHOLD) for item in (output, after)
        )
        for name, drops in slow.items():
            drops.append(getattr(before, name) - getattr(own, name))
    fast = [scores_of(item.summed(drawn)) for item in counts]
    for name, drops in slow.items():
        np.testing.assert_allclose(fast[0][name] - fast[1][name], drops, atol=1e-9)
    everything = Gate().judge("labels", counts[0], counts[1], 3, len(truth))
    every = draw_images(5, 3)
    fast = [scores_of(item.summed(every)) for item in counts]
    for name in ("ods", "strict_f1", "thin_recall"):
        expected = upper_bound(fast[0][name] - fast[1][name], 5)
        assert of(everything, name).upper == pytest.approx(expected)
        assert of(everything, name).upper > of(everything, name).drop > 0


@pytest.mark.parametrize(
    ("kind", "scores", "limits"),
    [
        ("labels", ("ods", "strict_f1", "thin_recall", FLAGGED), (1.0, 1.0, 1.0)),
        ("agreement", ("tolerant_f1", "thin_recall", FLAGGED), (1.0, 5.0)),
    ],
)
def test_each_gate_judges_its_own_scores(
    kind: Kind, scores: tuple[str, ...], limits: tuple[float, ...]
) -> None:
    output, truth, image = walls(4)
    verdict = judge(kind, output, blind(output, 2), truth, image, None)
    assert tuple(item.score for item in verdict.judged) == scores
    assert tuple(item.limit for item in verdict.judged[:-1]) == limits
    assert (verdict.kind, verdict.tiles, verdict.images) == (kind, 8, 4)
    given = judge(kind, output, blind(output, 2), truth, image, Gate(7.5))
    assert {item.limit for item in given.judged[:-1]} == {7.5}


def test_agreement_counts_both_ways_and_forgives_two_pixels() -> None:
    """What INT8 finds beyond FP32 counts as much as what it misses; a shift of 2 px does not."""
    found = np.zeros((4, 24, 24), np.uint8)
    found[:, 10] = 255
    truth, image = found > 0, np.arange(4)
    moved, more, less = np.roll(found, 2, axis=1), found.copy(), found.copy()
    more[:, 20] = 255
    less[:, :, :12] = 0
    drops = [
        of(judge("agreement", found, own, truth, image, None), "tolerant_f1").drop
        for own in (found, moved, more, less)
    ]
    assert drops[:2] == [0, 0]
    assert drops[2] == pytest.approx(100 / 3)  # precision 1/2, recall 1
    assert 10 < drops[3] < 40


def test_a_change_for_the_better_is_no_loss_by_labels() -> None:
    output, truth, image = walls(6)
    better = np.where(truth, 255, 0).astype(np.uint8)
    verdict = judge("labels", output, better, truth, image, Gate(0))
    assert verdict.passed
    assert all(item.drop <= item.upper <= 0 for item in verdict.judged)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_flags_bare_wall_is_refused_whatever_its_other_scores(kind: Kind) -> None:
    truth = np.zeros((20, 24, 24), np.bool_)
    truth[::2, 4:20] = True
    output = np.where(truth, 255, 0).astype(np.uint8)
    flags = output.copy()
    flags[1::2, 0, :3] = 255  # 3 of 576 pixels: 0.52 %
    image = np.repeat(np.arange(10), 2)
    verdict = judge(kind, output, flags, truth, image, Gate(100))
    area = of(verdict, FLAGGED)
    assert area.before == 0
    assert area.after == pytest.approx(100 * 3 / 576)
    assert area.drop == area.upper == pytest.approx(area.after)
    assert area.limit == 0.05
    assert not verdict.passed
    assert verdict.excess == pytest.approx(area.after - 0.05)
    assert judge(kind, output, flags, truth, image, Gate(100, 0.6)).passed


def test_a_tenth_of_what_fp32_flags_is_allowed_on_top() -> None:
    truth = np.zeros((8, 20, 20), np.bool_)
    output = np.zeros(truth.shape, np.uint8)
    output[:, :4] = 255  # a fifth
    more = output.copy()
    more[:, 4, :8] = 255  # a tenth of that beyond it
    image = np.arange(8)
    for flagged, passed in ((0.0, True), (100.0, True)):
        assert judge("labels", output, more, truth, image, Gate(100, flagged)).passed is passed
    more[:, 5, 0] = 255
    verdict = judge("labels", output, more, truth, image, Gate(100, 0.2))
    assert of(verdict, FLAGGED).limit == pytest.approx(0.2 + 2.0)
    assert not verdict.passed


def test_what_the_tiles_do_not_show_is_said_not_to_be_judged() -> None:
    truth = np.zeros((4, 40, 40), np.bool_)
    truth[:, 5:25] = True  # wide, and in every tile
    output = np.where(truth, 255, 0).astype(np.uint8)
    verdict = judge("labels", output, output, truth, np.arange(4), None)
    assert [item.score for item in verdict.judged] == ["ods", "strict_f1"]
    assert verdict.missing == ("thin_recall", FLAGGED)
    assert verdict.to_dict()["not_judged"] == ["thin_recall", FLAGGED]


def test_images_with_one_crack_pixel_or_none_have_finite_bounds() -> None:
    truth = np.zeros((12, 16, 16), np.bool_)
    truth[0, 5, 5] = True
    output = np.zeros(truth.shape, np.uint8)
    verdict = judge("labels", output, output, truth, np.arange(12), None)
    assert all(math.isfinite(item.upper) for item in verdict.judged)
    found = np.where(truth, 255, 0).astype(np.uint8)
    lost = judge("labels", found, output, truth, np.arange(12), None)
    # Most draws hold the one image that matters, once or more often.
    assert of(lost, "thin_recall").upper == 100
    assert not lost.passed


def judged(drop: float, upper: float, limit: float = 1.0, score: str = "ods") -> Judged:
    return Judged(score, 90.0, 90.0 - drop, drop, upper, limit)


@pytest.mark.parametrize(
    ("upper", "limit", "passes"),
    [
        (0.0, 0.0, True),
        (0.5, 0.5, True),
        (86.86 - 86.36, 0.5, True),  # 0.5 and a hair, in floats
        (0.501, 0.5, False),
        (-3.0, 0.0, True),
        (0.001, 0.0, False),
        (100.0, 100.0, True),
    ],
)
def test_the_upper_bound_is_what_the_limit_is_held_against(
    upper: float, limit: float, passes: bool
) -> None:
    verdict = Verdict("labels", 20, 9, (judged(-5.0, upper, limit), judged(-9.0, -9.0)))
    assert verdict.passed is passes
    assert (verdict.excess <= 0) is passes


def test_the_excess_is_of_the_worst_score() -> None:
    verdict = Verdict("labels", 20, 9, (judged(0.2, 1.4), judged(3.0, 5.5, 2.0), judged(0, 0.1)))
    assert verdict.excess == pytest.approx(3.5)


def test_a_refusal_has_the_figures_of_what_exceeds_its_limit_and_the_gate() -> None:
    scores = (
        judged(2.0, 3.456),
        judged(0.1, 0.2, score="strict_f1"),
        judged(4, 5, 2, "thin_recall"),
    )
    error = refusal(Verdict("labels", 192, 62, scores), "34 of 33 mixes tried")
    for words in (
        "INT8 loses too much by the labels",
        "ODS 90.00 -> 88.00 (+2.00, at most +3.46, 1 allowed)",
        "recall on thin cracks 90.00 -> 86.00 (+4.00, at most +5.00, 2 allowed)",
        "192 tiles of 62 images",
        "34 of 33 mixes tried",
    ):
        assert words in error.problem
    assert "strict F1" not in error.problem
    for words in ("`method`", "`max_drop`", "`precision` fp16"):
        assert words in error.remedy
    assert "`max_flagged`" not in error.remedy


def test_a_refusal_without_labels_says_what_stood_in_for_them() -> None:
    verdict = Verdict("agreement", 192, 62, (judged(2, 3, 1, "tolerant_f1"),))
    assert "INT8 differs too much from FP32, which replaces the labels" in str(refusal(verdict, ""))


def test_few_images_are_named_where_only_the_bound_exceeds_the_limit() -> None:
    verdict = Verdict("labels", 60, 9, (judged(0.4, 1.7),))
    remedy = refusal(verdict, "").remedy
    assert "give more images: the measured drop is within the limit" in remedy
    assert "bound of 9 images" in remedy
    assert "`max_drop`" in remedy
    both = Verdict("labels", 60, 9, (judged(0.4, 1.7), judged(2, 3)))
    assert "within the limit" not in refusal(both, "").remedy


def test_the_option_that_would_let_it_through_is_named() -> None:
    area = judged(0.4, 0.5, 0.05, FLAGGED)
    assert "`max_flagged`" in refusal(Verdict("labels", 60, 9, (area,)), "").remedy
    both = refusal(Verdict("labels", 60, 9, (area, judged(3, 4))), "").remedy
    assert "`max_drop` and `max_flagged`" in both


def test_other_refusals_say_what_failed() -> None:
    verdict = Verdict("labels", 60, 9, (judged(3, 4),))
    assert (
        "tiles that were not used to choose them" in refusal(verdict, "", confirming=True).problem
    )
    few = refusal(verdict, "", choosable=False).remedy
    assert "16 held-out images or more" in few


def test_a_verdict_stands_in_a_sidecar_with_all_its_figures() -> None:
    verdict = Verdict("labels", 60, 9, (judged(0.41234, 0.5),), (FLAGGED,))
    assert json.loads(json.dumps(verdict.to_dict())) == {
        "kind": "labels",
        "tiles": 60,
        "images": 9,
        "passed": True,
        "confidence": 0.95,
        "draws": DRAWS,
        "scores": {
            "ods": {"fp32": 90.0, "int8": 89.5877, "drop": 0.4123, "upper": 0.5, "limit": 1.0}
        },
        "not_judged": [FLAGGED],
    }


@pytest.mark.parametrize("limit", [-0.01, -1, 100.5, math.inf, -math.inf, NAN])
def test_a_limit_out_of_range_is_refused(limit: float) -> None:
    expected = f"`max_drop` is {re.escape(str(limit))}; give a number from 0 to 100"
    with pytest.raises(ConfigError, match=expected):
        Gate(limit)
    expected = f"`max_flagged` is {re.escape(str(limit))}; give a number from 0 to 100"
    with pytest.raises(ConfigError, match=expected):
        Gate(max_flagged=limit)


def test_counts_of_images_add_up() -> None:
    output, truth, image = walls(4)
    counts = count_images(output, truth, THRESHOLD, image)
    apart = [count_images(output[image == one], truth[image == one], THRESHOLD) for one in range(4)]
    for field in fields(ImageCounts):
        expected = [getattr(part.pooled(), field.name)[0] for part in apart]
        np.testing.assert_array_equal(getattr(counts, field.name), expected)
