"""Values with their uncertainty, as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.errors import ConfigError
from edgecrack.scale.quantity import parse_length_mm, parse_quantity


@pytest.mark.parametrize(
    ("text", "value", "deviation"),
    [
        ("1.5", 1.5, None),
        ("1.5m", 1.5, None),
        ("1.5 m", 1.5, None),
        ("1.5+-0.02", 1.5, 0.01),
        ("1.5+-0.02m", 1.5, 0.01),
        ("1.5m+-0.02m", 1.5, 0.01),
        ("1.5 m +/- 0.02 m", 1.5, 0.01),
        ("1.5±2%", 1.5, 0.015),
        (".5+-.1", 0.5, 0.05),
        ("1e-1+-1e-2", 0.1, 0.005),
        ("1.5+-0", 1.5, 0.0),
    ],
)
def test_what_is_written_is_read(text: str, value: float, deviation: float | None) -> None:
    found = parse_quantity(text, "the distance", ("", "m"))
    assert found.value == pytest.approx(value)
    assert found.deviation == (None if deviation is None else pytest.approx(deviation))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the distance is ''"),
        ("wide", "the distance is 'wide'"),
        ("0", "the distance is 0"),
        ("-1", "the distance is -1"),
        ("nan", "the distance is 'nan'"),
        ("1e999", "the distance is inf"),
        ("1.5ft", "the unit 'ft'"),
        ("1.5+-0.1ft", "the unit 'ft'"),
        ("1.5+-2", "is not smaller than its value"),
        ("1.5+-100%", "is not smaller than its value"),
        ("1.5+--0.1", "the uncertainty of the distance is -0.1"),
        ("1.5+-0.1+-0.2", "the distance is"),
        ("11", "the distance is 11"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_quantity(text, "the distance", ("", "m"), most=10.0)
    assert said in str(caught.value)


def test_a_unit_may_be_needed() -> None:
    with pytest.raises(ConfigError, match="without a unit"):
        parse_quantity("50", "the side", ("mm",))
    assert parse_quantity("50mm", "the side", ("mm",)).value == 50


@given(
    value=st.floats(0.001, 1000),
    share=st.floats(0, 0.9),
)
def test_what_is_shown_is_read_again(value: float, share: float) -> None:
    text = f"{value!r}+-{value * share!r}"
    found = parse_quantity(text, "it")
    again = parse_quantity(str(found), "it")
    assert math.isclose(again.value, found.value, rel_tol=1e-4)
    assert math.isclose(again.spread or 0, found.spread or 0, rel_tol=1e-4)


def test_a_decimal_comma_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'0,12', with a comma; write a decimal point"):
        parse_quantity("0,12", "the scale")


@pytest.mark.parametrize(
    ("text", "value", "deviation"),
    [
        ("25mm", 25.0, None),
        ("2.5cm", 25.0, None),
        ("2.5+-0.02cm", 25.0, 0.1),
        ("1in", 25.4, None),
        ('2"', 50.8, None),
        ("1inch+-1%", 25.4, 0.127),
    ],
)
def test_lengths_in_other_units(text: str, value: float, deviation: float | None) -> None:
    found = parse_length_mm(text, "the side")
    assert found.value == pytest.approx(value)
    assert found.deviation == (None if deviation is None else pytest.approx(deviation))
