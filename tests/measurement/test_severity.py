"""Severity classes: against limits written down here, and a slow reference for the odds."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.errors import ConfigError
from edgecrack.measurement.cracks import Crack
from edgecrack.measurement.severity import (
    MEASURES,
    SeverityTable,
    classify,
    severity_table,
    severity_tables,
    table_from,
)

OWN: dict[str, Any] = {
    "id": "our-bridges",
    "document": "Handbook 7",
    "purpose": "Bridge decks",
    "unit": "mm",
    "measure": "mean",
    "limits_mm": [0.1, 0.3, 1],
    "classes": ["hairline", "fine", "medium", "wide"],
}


def own(**changes: Any) -> SeverityTable:
    return table_from({**OWN, **changes}, "own.json")


@pytest.mark.parametrize(
    ("word", "limits_mm", "measure"),
    [
        ("aci-224r:dry-air", (0.41,), "percentile_95"),
        ("aci-224r:humidity", (0.30,), "percentile_95"),
        ("aci-224r:deicing-chemicals", (0.18,), "percentile_95"),
        ("aci-224r:seawater", (0.15,), "percentile_95"),
        ("aci-224r:water-retaining", (0.10,), "percentile_95"),
        ("en-1992:x0", (0.4,), "percentile_95"),
        ("en-1992:xc1", (0.4,), "percentile_95"),
        ("en-1992:xc2", (0.3,), "percentile_95"),
        ("en-1992:xc3", (0.3,), "percentile_95"),
        ("en-1992:xc4", (0.3,), "percentile_95"),
        ("en-1992:xd1", (0.3,), "percentile_95"),
        ("en-1992:xd2", (0.3,), "percentile_95"),
        ("en-1992:xd3", (0.3,), "percentile_95"),
        ("en-1992:xs1", (0.3,), "percentile_95"),
        ("en-1992:xs2", (0.3,), "percentile_95"),
        ("en-1992:xs3", (0.3,), "percentile_95"),
        ("en-1992:x0-bonded", (0.2,), "percentile_95"),
        ("en-1992:xc1-bonded", (0.2,), "percentile_95"),
        ("en-1992:xc2-bonded", (0.2,), "percentile_95"),
        ("en-1992:xc3-bonded", (0.2,), "percentile_95"),
        ("en-1992:xc4-bonded", (0.2,), "percentile_95"),
        ("bre-251", (0.1, 1.0, 5.0, 15.0, 25.0), "largest"),
        ("ltpp", (6.0, 19.0), "mean"),
        ("astm-d6433", (10.0, 75.0), "mean"),
    ],
)
def test_each_table_has_its_documents_limits(
    word: str, limits_mm: tuple[float, ...], measure: str
) -> None:
    table = severity_table(word)
    assert (table.id, table.limits_mm, table.measure) == (word, limits_mm, measure)


def test_there_are_24_tables_and_each_says_where_it_is_from_and_what_it_is_for() -> None:
    tables = severity_tables()
    assert len({table.id for table in tables}) == len(tables) == 24
    for table in tables:
        assert table.document
        assert table.edition
        assert table.clause
        assert len(table.purpose) > 100


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("aci-224r:seawater", "Not an allowable width"),
        ("en-1992:xs1", "calculated"),
        ("bre-251", "not the only criterion"),
        ("ltpp", "sealed"),
        ("astm-d6433", "filled"),
    ],
)
def test_a_table_says_what_it_does_not_say(word: str, said: str) -> None:
    assert said in severity_table(word).purpose


def test_a_measure_is_a_figure_that_a_crack_has() -> None:
    assert set(MEASURES) <= set(Crack.__dataclass_fields__)


def test_a_table_is_found_in_capitals_too() -> None:
    assert severity_table(" EN-1992:XC3 ") is severity_table("en-1992:xc3")


@pytest.mark.parametrize("word", ["", "aci-224r", "bre", "default"])
def test_an_unknown_table_is_refused_and_the_known_ones_are_named(word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        severity_table(word)
    assert repr(word) in caught.value.problem
    for table in severity_tables():
        assert table.id in caught.value.remedy


@pytest.mark.parametrize(
    ("word", "width_mm", "name"),
    [
        ("aci-224r:humidity", 0.0, "within the guide value"),
        ("aci-224r:humidity", 0.30, "within the guide value"),
        ("aci-224r:humidity", 0.31, "above the guide value"),
        ("en-1992:xc4", 0.30, "within w_max"),
        ("en-1992:xc4", 0.35, "above w_max"),
        ("bre-251", 0.05, "category 0"),
        ("bre-251", 0.5, "category 1"),
        ("bre-251", 5.0, "category 2"),
        ("bre-251", 5.1, "category 3"),
        ("bre-251", 20.0, "category 4"),
        ("bre-251", 26.0, "category 5"),
        ("ltpp", 6.0, "low"),
        ("ltpp", 6.1, "moderate"),
        ("ltpp", 19.0, "moderate"),
        ("ltpp", 19.1, "high"),
        ("astm-d6433", 9.9, "low"),
        ("astm-d6433", 10.0, "medium"),
        ("astm-d6433", 76.0, "high"),
    ],
)
def test_an_exact_width_has_one_class(word: str, width_mm: float, name: str) -> None:
    table = severity_table(word)
    found = classify(table, width_mm, 0.0)
    assert (found.name, found.probability, found.of_value) == (name, 1.0, name)
    assert found.probabilities == {each: float(each == name) for each in table.classes}


def by_summing(
    limits_mm: tuple[float, ...], width_mm: float, u_mm: float, steps: int = 200_000
) -> list[float]:
    """Probability of each class by adding up the density, which knows nothing of erf."""
    start = max(0.0, width_mm - 12 * u_mm)
    step = (width_mm + 12 * u_mm - start) / steps
    middles = start + (np.arange(steps) + 0.5) * step
    density = np.exp(-0.5 * ((middles - width_mm) / u_mm) ** 2)
    numbers = np.searchsorted(limits_mm, middles)
    parts = np.bincount(numbers, weights=density, minlength=len(limits_mm) + 1)
    return [float(part) for part in parts / parts.sum()]


@pytest.mark.parametrize("word", ["aci-224r:dry-air", "bre-251", "ltpp", "astm-d6433"])
@pytest.mark.parametrize("width_mm", [0.0, 0.05, 0.3, 1.0, 6.0, 14.0, 80.0])
@pytest.mark.parametrize("u_mm", [0.02, 0.4, 3.0, 40.0])
def test_the_odds_are_those_of_the_truncated_distribution(
    word: str, width_mm: float, u_mm: float
) -> None:
    table = severity_table(word)
    found = classify(table, width_mm, u_mm)
    expected = by_summing(table.limits_mm, width_mm, u_mm)
    assert list(found.probabilities) == list(table.classes)
    # A step of the sum may lie on either side of a limit.
    assert list(found.probabilities.values()) == pytest.approx(expected, abs=1e-4)


def test_the_odds_are_those_of_a_million_throws() -> None:
    table = own()
    throws = np.random.default_rng(7).normal(0.2, 0.15, 1_000_000)
    throws = throws[throws >= 0]
    numbers = np.digitize(throws, table.limits_mm)
    expected = np.bincount(numbers, minlength=4) / len(throws)
    found = list(classify(table, 0.2, 0.15).probabilities.values())
    assert found == pytest.approx(list(expected), abs=2e-3)


def test_on_a_limit_both_sides_are_equally_likely_and_the_values_own_class_is_named() -> None:
    up_to = SeverityTable("a", "d", "p", "mean", (5.0,), ("low", "high"), includes_limits=True)
    below = SeverityTable("a", "d", "p", "mean", (5.0,), ("low", "high"))
    for table, name in ((up_to, "low"), (below, "high")):
        found = classify(table, 5.0, 0.1)
        assert found.name == found.of_value == name
        assert found.probabilities == pytest.approx({"low": 0.5, "high": 0.5})


def test_a_narrow_class_may_hold_the_value_and_not_be_the_most_likely() -> None:
    table = own(limits_mm=[1.0, 1.1], classes=["small", "between", "large"])
    found = classify(table, 1.04, 1.0)
    assert found.of_value == "between"
    assert found.name == "large"
    assert found.probability == max(found.probabilities.values())


WIDTHS = st.floats(0, 1e3)
UNCERTAINTIES = st.one_of(st.just(0.0), st.floats(1e-6, 1e3))
TABLES = st.sampled_from(severity_tables())


@given(TABLES, st.floats(0, 1e300), st.floats(0, 1e308))
def test_probabilities_sum_to_1_and_name_is_the_most_likely(
    table: SeverityTable, width_mm: float, u_mm: float
) -> None:
    found = classify(table, width_mm, u_mm)
    assert all(0 <= each <= 1 for each in found.probabilities.values())
    assert math.isclose(sum(found.probabilities.values()), 1, abs_tol=1e-12)
    assert found.probability == found.probabilities[found.name]
    assert found.probability == max(found.probabilities.values())
    assert found.of_value == table.class_of(width_mm)


@given(TABLES, WIDTHS, WIDTHS, UNCERTAINTIES)
def test_a_wider_crack_is_never_less_likely_in_a_wider_class(
    table: SeverityTable, one_mm: float, other_mm: float, u_mm: float
) -> None:
    narrow, wide = (
        list(classify(table, width_mm, u_mm).probabilities.values())
        for width_mm in sorted((one_mm, other_mm))
    )
    for first in range(1, len(table.classes)):
        assert sum(narrow[first:]) <= sum(wide[first:]) + 1e-9


@given(TABLES, WIDTHS)
def test_a_small_uncertainty_leaves_the_class_of_the_value(
    table: SeverityTable, width_mm: float
) -> None:
    nearest = min(abs(width_mm - limit) for limit in table.limits_mm)
    if nearest > 1e-3:
        found = classify(table, width_mm, nearest / 10)
        assert found.name == found.of_value
        assert found.probability > 0.999


@given(st.floats(0, 1e3), st.floats(1e-6, 1e3))
def test_the_odds_do_not_depend_on_the_unit(width_mm: float, u_mm: float) -> None:
    table = own()
    scaled = own(limits_mm=[1000 * limit for limit in table.limits_mm])
    assert classify(table, width_mm, u_mm).probabilities == pytest.approx(
        classify(scaled, 1000 * width_mm, 1000 * u_mm).probabilities, abs=1e-9
    )


@pytest.mark.parametrize("bad", [-1e-9, -1.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("of", ["width", "standard uncertainty"])
def test_what_is_no_width_is_refused(bad: float, of: str) -> None:
    width_mm, u_mm = (bad, 0.1) if of == "width" else (0.1, bad)
    with pytest.raises(ConfigError, match=f"the {of} is {bad} mm"):
        classify(own(), width_mm, u_mm)


def test_a_table_of_ones_own() -> None:
    table = own(edition="3", clause=" 4.2 ", includes_limits=True)
    assert table == SeverityTable(
        id="our-bridges",
        document="Handbook 7",
        purpose="Bridge decks",
        measure="mean",
        limits_mm=(0.1, 0.3, 1.0),
        classes=("hairline", "fine", "medium", "wide"),
        edition="3",
        clause="4.2",
        includes_limits=True,
    )
    assert classify(table, 0.3, 0).name == "fine"
    assert classify(own(), 0.3, 0).name == "medium"


def test_a_table_may_have_come_through_json() -> None:
    assert table_from(json.loads(json.dumps(OWN)), "own.json") == own()


@pytest.mark.parametrize("field", ["document", "purpose", "unit", "measure", "limits_mm", "id"])
def test_a_missing_field_is_named(field: str) -> None:
    data = {key: value for key, value in OWN.items() if key != field}
    with pytest.raises(ConfigError, match=rf"^severity table own\.yaml: {field} missing;"):
        table_from(data, "own.yaml")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"limit_mm": [1]}, "unknown field 'limit_mm'"),
        ({3: 4}, "unknown field 3"),
        ({"id": ""}, "id is ''"),
        ({"id": "Our bridges"}, "id is 'Our bridges'"),
        ({"id": 251}, "id is 251"),
        ({"document": None}, "document is None"),
        ({"purpose": "  "}, "purpose is '  '"),
        ({"edition": 1995}, "edition is 1995"),
        ({"clause": 4.1}, "clause is 4.1"),
        ({"unit": "in"}, "unit is 'in'"),
        ({"unit": None}, "unit is None"),
        ({"measure": "median"}, "measure is 'median'"),
        ({"measure": ["mean"]}, "measure is ['mean']"),
        ({"limits_mm": 0.3}, "limits_mm is 0.3"),
        ({"limits_mm": "0.1 0.3 1"}, "limits_mm is '0.1 0.3 1'"),
        ({"limits_mm": []}, "limits_mm is empty"),
        ({"limits_mm": [0.1, "0,3", 1]}, "limits_mm has '0,3'"),
        ({"limits_mm": [0.1, True, 2]}, "limits_mm has True"),
        ({"limits_mm": [0.1, None, 2]}, "limits_mm has None"),
        ({"limits_mm": [0, 0.3, 1]}, "limits_mm has 0.0"),
        ({"limits_mm": [-0.1, 0.3, 1]}, "limits_mm has -0.1"),
        ({"limits_mm": [0.1, math.nan, 1]}, "limits_mm has nan"),
        ({"limits_mm": [0.1, 0.3, math.inf]}, "limits_mm has inf"),
        ({"limits_mm": [0.1, 0.3, 10**400]}, "limits_mm has inf"),
        ({"limits_mm": [0.3, 0.1, 1]}, "limits_mm is [0.3, 0.1, 1.0]"),
        ({"limits_mm": [0.1, 0.1, 1]}, "limits_mm is [0.1, 0.1, 1.0]"),
        ({"limits_mm": [0.1]}, "classes has 4 names for 1 limits"),
        ({"classes": "wide"}, "classes is 'wide'"),
        ({"classes": ["a", "b", "c"]}, "classes has 3 names for 3 limits"),
        ({"classes": ["a", "b", "c", False]}, "classes has False"),
        ({"classes": ["a", "b", "c", ""]}, "classes has ''"),
        ({"classes": ["a", "b", "c", "a "]}, "classes is ['a', 'b', 'c', 'a']"),
        ({"includes_limits": "yes"}, "includes_limits is 'yes'"),
        ({"includes_limits": 1}, "includes_limits is 1"),
        ({"id": "bre-251"}, "id is 'bre-251', which another table uses"),
    ],
)
def test_a_mistake_in_a_table_is_named_with_its_value(
    changes: dict[Any, Any], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        table_from({**OWN, **changes}, "own.json")
    assert caught.value.problem == f"severity table own.json: {problem}"
    assert caught.value.remedy
    assert not caught.value.remedy.endswith(".")


@pytest.mark.parametrize("data", [None, [], "bre-251", 3])
def test_what_is_no_table_is_refused(data: Any) -> None:
    with pytest.raises(ConfigError, match=r"^severity table own\.json: it is "):
        table_from(data, "own.json")


def test_limits_of_a_table_that_is_made_by_hand_are_checked_too() -> None:
    with pytest.raises(ConfigError, match="limits_mm"):
        SeverityTable("a", "d", "p", "mean", (2.0, 1.0), ("x", "y", "z"))
