"""What all tests of the live page share."""

from __future__ import annotations

import pytest

from edgecrack.runtime.web import status


@pytest.fixture
def frequent_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Viewers hear of the state ten times a second, so that a test waits no second for it.

    For viewers that read all the while: others fall behind, and take ten seconds to close.
    """
    monkeypatch.setattr(status, "INTERVAL_S", 0.1)
    monkeypatch.setattr(status.StatusBoard.text, "__defaults__", (0.05,))
