"""Cells, strata, means and the worst, against loops over pictures and thresholds."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack import metrics
from edgecrack.errors import DataError
from edgecrack.evaluation.strata.item_result import STRICT, TOLERANT, ItemResult
from edgecrack.evaluation.strata.stratum_scores import (
    DIMENSIONS,
    FEWEST_IMAGES,
    StrataScores,
    best_of,
    mean_f1_curve,
)
from edgecrack.metrics import THRESHOLDS, Tolerance, threshold_index, uint8_level
from edgecrack.yardstick.manifest import Origin
from edgecrack.yardstick.strata import CONTRAST_CLASSES, SURFACE_KINDS, WIDTH_CLASSES
from tests.evaluation.strata.results import HW, drawn, line_crack, random_pair, scored

ORIGINS: tuple[Origin, ...] = ("labelled", "outlined", "rendered", "generated")


def random_results(seed: int, count: int = 14) -> list[ItemResult]:
    """Pictures of three surfaces and all origins; the last two are without any crack."""
    rng = np.random.default_rng(seed)
    results = []
    for number in range(count):
        truth, seen = random_pair(rng)
        surface = ("concrete", "asphalt", "tunnel")[int(rng.integers(3))]
        origin = ORIGINS[int(rng.integers(len(ORIGINS)))]
        results.append(scored(drawn(f"i{number}", truth, seen, origin=origin, surface=surface)))
    for number, kind in enumerate(("clean", "joint")):
        seen = random_pair(rng)[1]
        none = np.zeros(HW, bool)
        results.append(scored(drawn(f"n{number}", none, seen, kind=kind, origin="photo")))
    return results


def slow_f1(results: list[ItemResult], tolerance: Tolerance, place: int) -> float:
    """Mean over cells of the F1 of their pooled pixels, from the pixels themselves."""
    cells: dict[Any, list[ItemResult]] = {}
    for result in results:
        cells.setdefault((result.item.surface, result.width_class), []).append(result)
    scores = []
    for cell in cells.values():
        predicted = matched = truth_px = truth_found = 0
        for result in cell:
            truth = result.item.mask() > 0
            flagged = result.item.image()[:, :, 0] >= uint8_level(float(THRESHOLDS[place]))
            predicted += int(np.count_nonzero(flagged))
            matched += int(np.count_nonzero(flagged & metrics.dilate(truth, tolerance)))
            truth_px += int(np.count_nonzero(truth))
            truth_found += int(np.count_nonzero(truth & metrics.dilate(flagged, tolerance)))
        precision = matched / predicted if predicted else 1.0
        recall = truth_found / truth_px
        scores.append(2 * precision * recall / (precision + recall) if truth_found else 0.0)
    return float(np.mean(scores))


@pytest.mark.parametrize("tolerance", [TOLERANT, STRICT])
def test_a_mean_over_cells_is_that_of_a_loop(tolerance: Tolerance) -> None:
    results = random_results(3)[:-2]
    curve = mean_f1_curve(results, tolerance)
    for place in range(0, 99, 7):
        assert curve[2, place] == pytest.approx(slow_f1(results, tolerance, place))


@pytest.mark.parametrize("seed", [1, 2])
def test_mean_and_worst_are_those_of_a_loop(seed: int) -> None:
    results = random_results(seed)
    scores = StrataScores(tuple(results), 0.4)
    place = threshold_index(0.4)
    strata: dict[tuple[bool, str], list[ItemResult]] = {}
    for result in results[:-2]:
        real = result.item.origin in ("labelled", "outlined", "photo")
        assert result.width_class is not None
        keys = [WIDTH_CLASSES[result.width_class], result.item.surface]
        if result.contrast_class is not None:
            keys.append(CONTRAST_CLASSES[result.contrast_class])
        for key in keys:
            strata.setdefault((real, key), []).append(result)
    for tolerance in (TOLERANT, STRICT):
        found = {
            key: slow_f1(own, tolerance, place)
            for key, own in strata.items()
            if len(own) >= FEWEST_IMAGES
        }
        halves = [[f1 for (real, _), f1 in found.items() if real == kind] for kind in (True, False)]
        expected = np.mean([np.mean(half) for half in halves if half])
        assert scores.mean(tolerance).f1 == pytest.approx(expected)
        worst = scores.worst(tolerance)
        assert worst.at(tolerance, 0.4).f1 == pytest.approx(min(found.values()))
        assert found[worst.real, worst.value] == pytest.approx(min(found.values()))
        assert scores.best(tolerance).f1 >= scores.mean(tolerance).f1


@settings(max_examples=5)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_pictures_does_not_matter(seed: int) -> None:
    results = random_results(seed % 7)
    shuffled = random.Random(seed).sample(results, len(results))
    one, other = (StrataScores(tuple(items), 0.5).to_dict() for items in (results, shuffled))
    for document in (one, other):
        document["false_alarms"].sort(key=lambda row: (row["kind"], row["surface"]))
    for part in ("strata", "mean", "recall_by_width", "false_alarms", "calibration"):
        assert json.dumps(rounded(one[part])) == json.dumps(rounded(other[part])), part
    assert rounded(one["worst"]) == rounded(other["worst"])


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def test_a_surface_with_twice_the_pictures_weighs_no_more() -> None:
    results = random_results(4)[:-2]
    doubled = results + [result for result in results if result.item.surface == "asphalt"]
    assert len(doubled) > len(results)
    for tolerance in (TOLERANT, STRICT):
        np.testing.assert_allclose(
            mean_f1_curve(doubled, tolerance), mean_f1_curve(results, tolerance)
        )


def four_widths(seen: str, origin: Origin = "labelled") -> list[ItemResult]:
    """Three pictures of each of four widths, on two surfaces; what is seen of each."""
    results = []
    for width_px in (2, 4, 7, 10):
        for number in range(3):
            truth = line_crack(width_px, row=20 + number)
            maps: dict[str, NDArray[np.uint8]] = {
                "all": np.where(truth, 255, 0).astype(np.uint8),
                "nothing": np.zeros(HW, np.uint8),
                "wide only": np.where(truth & (width_px > 3), 255, 0).astype(np.uint8),
            }
            surface = ("concrete", "asphalt")[number % 2]
            item = drawn(f"{width_px}-{number}", truth, maps[seen], origin=origin, surface=surface)
            results.append(scored(item))
    return results


@pytest.mark.parametrize("threshold", [0.01, 0.5, 0.99])
def test_a_perfect_predictor_has_everything(threshold: float) -> None:
    scores = StrataScores((*four_widths("all"), *four_widths("all", "rendered")), threshold)
    document = scores.to_dict()
    for tolerance in (TOLERANT, STRICT):
        assert scores.mean(tolerance).f1 == scores.best(tolerance).f1 == 1
        assert document["worst"][tolerance]["f1"] == 1
    for kind in ("real", "made"):
        rows = document["recall_by_width"][kind]
        assert {row["recall"] for row in rows} == {1.0, None}
        assert [row["recall"] is None for row in rows] == [row["pixels"] == 0 for row in rows]
        assert document["calibration"][kind]["expected_calibration_error"] == 0


def test_an_empty_one_has_nothing() -> None:
    document = StrataScores(tuple(four_widths("nothing")), 0.5).to_dict()
    for tolerance in (TOLERANT, STRICT):
        shipped = document["mean"][tolerance]["shipped"]
        assert (shipped["f1"], shipped["recall"], shipped["precision"]) == (0, 0, 1)
    assert {row["recall"] for row in document["recall_by_width"]["real"]} == {0.0, None}
    assert document["calibration"]["all"]["expected_calibration_error"] is None
    json.dumps(document, allow_nan=False)


def test_the_hairlines_that_are_missed_are_the_worst_stratum() -> None:
    scores = StrataScores(tuple(four_widths("wide only")), 0.5)
    assert scores.worst(TOLERANT).name == "real, 1-3 px"
    assert scores.worst(TOLERANT).at(TOLERANT, 0.5).f1 == 0
    by_name = {stratum.name: stratum for stratum in scores.averaged}
    # A surface is the mean over its four widths, whichever has most pixels.
    assert by_name["real, concrete"].at(TOLERANT, 0.5).f1 == pytest.approx(0.75)
    recalls = {row["width"]: row["recall"] for row in scores.recall_by_width(real=True)}
    assert (recalls["1-3 px"], recalls["5-8 px"], recalls["40-80 px"]) == (0.0, 1.0, None)


def test_made_pictures_weigh_half_however_many_strata_they_have() -> None:
    real, made = four_widths("all")[:3], four_widths("nothing", "generated")
    scores = StrataScores((*real, *made), 0.5)
    assert scores.mean(TOLERANT).f1 == pytest.approx(0.5)
    assert StrataScores(tuple(real), 0.5).mean(TOLERANT).f1 == 1


def test_two_pictures_are_shown_and_count_for_nothing() -> None:
    results = [*four_widths("all"), *four_widths("nothing", "rendered")[:2]]
    scores = StrataScores(tuple(results), 0.5)
    shown = [stratum for stratum in scores.strata if not stratum.real and stratum.results]
    assert {len(stratum.results) for stratum in shown} <= {1, 2}
    assert not any(stratum.counts_in_mean for stratum in shown)
    assert scores.mean(TOLERANT).f1 == 1
    assert scores.worst(TOLERANT).real
    rows = {(row["kind"], row["value"]): row for row in scores.to_dict()["strata"]}
    assert rows["made", "1-3 px"]["in_mean"] is False
    assert rows["made", "1-3 px"][TOLERANT]["shipped"]["f1"] == 0
    assert TOLERANT not in rows["made", "40-80 px"]


def test_all_strata_are_listed_with_and_without_pictures() -> None:
    results = four_widths("all")
    odd = drawn("odd", line_crack(3), np.zeros(HW, np.uint8), surface="tunnel")
    scores = StrataScores((*results, scored(odd)), 0.5)
    expected = len(WIDTH_CLASSES) + len(SURFACE_KINDS) + 1 + len(CONTRAST_CLASSES)
    assert len(scores.strata) == 2 * expected
    assert {stratum.by for stratum in scores.strata} == set(DIMENSIONS)
    assert len({stratum.name for stratum in scores.strata}) == len(scores.strata)
    assert all(not stratum.results for stratum in scores.missing)
    assert "made, 1-3 px" in {stratum.name for stratum in scores.missing}


def test_photos_are_counted_once() -> None:
    results = [
        scored(drawn(f"{n}", line_crack(4), np.zeros(HW, np.uint8), photo="same")) for n in range(4)
    ]
    concrete = next(item for item in StrataScores(tuple(results), 0.5).averaged)
    assert (len(concrete.results), concrete.photos) == (4, 1)


def test_false_alarms_are_shares_of_pixels_and_of_pictures() -> None:
    none = np.zeros(HW, bool)
    speck, blot = np.zeros(HW, np.uint8), np.zeros(HW, np.uint8)
    speck[3, :10] = 200  # ten pixels: flagged and not published
    blot[10:20, 10:30] = 200
    free = [
        scored(drawn("a", none, speck, kind="joint", origin="photo", surface="concrete")),
        scored(drawn("b", none, blot, kind="joint", origin="photo", surface="masonry")),
        scored(drawn("c", none, np.zeros(HW, np.uint8), kind="clean", origin="photo")),
    ]
    rows = StrataScores((*four_widths("all"), *free), 0.5).false_alarms()
    found = {(row.kind, row.surface): row for row in rows}
    assert list(found)[:2] == [("joint", ""), ("clean", "")]
    pixels = HW[0] * HW[1]
    joint = found["joint", ""]
    assert joint.images == 2
    assert joint.flagged == pytest.approx(210 / (2 * pixels))
    assert joint.published == pytest.approx(200 / (2 * pixels))
    assert joint.images_flagged == 0.5
    assert found["joint", "concrete"].flagged == pytest.approx(10 / pixels)
    assert found["joint", "masonry"].images_flagged == 1
    assert (found["clean", ""].flagged, found["clean", ""].images_flagged) == (0, 0)


def test_of_several_best_thresholds_the_middle_one() -> None:
    curve = np.zeros((3, 99))
    curve[2, 40:44] = 0.7
    assert best_of(curve).threshold == 0.42
    curve[2, 40:45] = 0.7
    assert best_of(curve).threshold == 0.43


def test_no_crack_at_all_and_too_few() -> None:
    none = scored(drawn("a", np.zeros(HW, bool), np.zeros(HW, np.uint8), kind="clean"))
    with pytest.raises(DataError, match="no picture of the yardstick has a crack"):
        StrataScores((none,), 0.5)
    few = StrataScores(tuple(four_widths("all")[:2]), 0.5)
    with pytest.raises(DataError, match="no stratum of the yardstick has 3 pictures"):
        few.to_dict()
