"""Waiting for what another thread or process does, on however slow a machine."""

from __future__ import annotations

import time
from collections.abc import Callable

# Nothing takes so long but a hang.
PATIENCE_S = 600.0


def wait_until(condition: Callable[[], object], what: str = "it stayed false") -> None:
    """Poll until the condition is true.

    Args:
        condition: looked at again and again, in this thread.
        what: what was waited for, for the failure.

    Raises:
        AssertionError: it has not come after `PATIENCE_S`.
    """
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {PATIENCE_S:g} s: {what}"
        time.sleep(0.005)
