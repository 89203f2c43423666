"""The names that `import edgecrack` gives, and the example in the docstring of each."""

from __future__ import annotations

import doctest
import inspect

import numpy as np
import pytest

import edgecrack
from edgecrack.runtime.detector import CrackDetector
from tests.runtime.models import IdentityRunner

NAMES = sorted(set(edgecrack.__all__) - {"__version__"})

pytestmark = pytest.mark.usefixtures("one_demo_wall")


def test_they_are_about_ten() -> None:
    assert len(NAMES) == 10


@pytest.mark.parametrize("name", NAMES)
def test_each_has_an_example_that_runs(name: str) -> None:
    what = getattr(edgecrack, name)
    text = inspect.getdoc(what)
    assert text is not None
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert example.examples, name
    told: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=told.append)
    assert told == []


def test_a_list_of_pictures_gives_a_list() -> None:
    detector = CrackDetector(IdentityRunner((64, 64)), "bright", threshold=0.5)
    pictures = [np.zeros((70, 80, 3), np.uint8), np.zeros((90, 60, 3), np.uint8)]
    found = detector.detect(pictures)
    assert [one.mask.shape for one in found] == [(70, 80), (90, 60)]
    assert detector.detect([]) == []
