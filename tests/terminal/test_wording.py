from __future__ import annotations

import pytest

from edgecrack.terminal.wording import all_of, counted


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("frame",), "0 frames"),
        (1, ("frame",), "1 frame"),
        (2, ("frame",), "2 frames"),
        (1, ("change of size", "changes of size"), "1 change of size"),
        (30, ("change of size", "changes of size"), "30 changes of size"),
        (1, ("stratum", "strata"), "1 stratum"),
    ],
)
def test_a_number_and_what_it_counts(count: int, words: tuple[str, ...], text: str) -> None:
    assert counted(count, *words) == text


def test_all_of_some_things() -> None:
    assert all_of(1, "mask") == "the only mask is"
    assert all_of(3, "mask") == "all 3 masks are"
    assert all_of(3, "mask", "'CFD'") == "all 3 masks of 'CFD' are"
    assert all_of(1, "mask", "'CFD'") == "the only mask of 'CFD' is"
