"""A result file that is complete after every row, so an interruption costs only one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.machine import write_result


class Rows:
    """Rows of a benchmark, each in the file when it has been measured.

    Args:
        name: of the result file.
        facts: what stands before the rows.
        packages: whose versions the figures depend on.
    """

    def __init__(self, name: str, facts: dict[str, Any], *packages: str) -> None:
        self._name, self._figures, self._packages = name, dict(facts), packages

    def add(self, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Measure a row and write the file.

        Args:
            key: the row's name.
            measure: gives its figures; what it raises, but for Ctrl-C, is the row's error.
        """
        try:
            row = measure()
        except (Exception, SystemExit) as error:
            row = {"error": f"{type(error).__name__}: {error}"}
        self._figures[key] = row
        write_result(self._name, self._figures, *self._packages, quiet=True)
        print(key, row, flush=True)
        return row
