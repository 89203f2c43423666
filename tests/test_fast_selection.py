"""`make test-fast`: which failures count as a missing library."""

from __future__ import annotations

import importlib

import pytest

from edgecrack.extras import require
from tests.conftest import missing_library


def error_of(module: str) -> BaseException:
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(module)
    return caught.value


def test_a_library_that_is_not_installed_is_named() -> None:
    assert missing_library(error_of("no_such_library.part")) == "no_such_library"


def test_the_cause_of_our_own_error_counts() -> None:
    with pytest.raises(Exception, match="no_such_library") as caught:
        require("no_such_library", extra="train", purpose="training")
    assert missing_library(caught.value) == "no_such_library"


@pytest.mark.parametrize("module", ["edgecrack.no_such_module", "tests.no_such_module"])
def test_a_missing_module_of_this_project_is_a_failure(module: str) -> None:
    assert missing_library(error_of(module)) is None


def test_other_errors_are_failures() -> None:
    assert missing_library(AssertionError("wrong")) is None
    assert missing_library(None) is None
