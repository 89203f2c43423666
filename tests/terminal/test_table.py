"""Plain tables: columns line up, and nothing of a cell is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgecrack.terminal.table import rows_text


def test_a_table_s_first_column_stands_left_and_the_others_right() -> None:
    heads = ("precision", "ODS", "recall")
    rows = [("FP32", "88.60", "9.1"), ("INT8, all layers", "7.25", "100.00")]
    assert rows_text(heads, rows).split("\n") == [
        "precision           ODS  recall",
        "FP32              88.60     9.1",
        "INT8, all layers   7.25  100.00",
    ]


def test_a_table_without_rows_is_its_heads() -> None:
    assert rows_text(("name", "value"), []) == "name  value"


def test_an_empty_last_cell_leaves_no_blanks_behind() -> None:
    assert rows_text(("a", "b"), [("long name", "")]) == "a          b\nlong name"


words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=9)


tables = st.integers(1, 4).flatmap(
    lambda columns: st.lists(st.lists(words, min_size=columns, max_size=columns), min_size=1)
)


@given(tables)
def test_every_cell_ends_where_its_column_ends(table: list[list[str]]) -> None:
    lines = rows_text(table[0], table[1:]).split("\n")
    assert [line.split() for line in lines] == table
    assert len({len(line) for line in lines}) == 1 or len(table[0]) == 1
