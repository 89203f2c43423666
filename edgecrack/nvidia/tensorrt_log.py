"""Collects what TensorRT says while it works, for the error or the result to repeat.

Prints nothing. What TensorRT passes in comes from any of its threads.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

Made = TypeVar("Made")
_SHOWN_ERRORS = 3
_KEPT_MESSAGES = 64
_SHOWN_CHARACTERS = 400


@dataclass
class BuildLog:
    """Messages of TensorRT, each once, in order; of too many the oldest go.

    Attributes:
        errors: of severity ERROR and INTERNAL_ERROR.
        warnings: of severity WARNING.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, messages: list[str], text: str) -> None:
        """Add a message to one of the lists, on one line."""
        line = " ".join(text.split())
        if line and line not in messages:
            messages.append(line)
            del messages[:-_KEPT_MESSAGES]

    def clear(self) -> None:
        """Forget all, so that the next failure is not explained by an earlier one."""
        self.errors.clear()
        self.warnings.clear()

    def reason(self) -> str:
        """The first errors as a clause, for an exception; never empty."""
        shown = [_shorten(message) for message in self.errors[:_SHOWN_ERRORS]]
        more = len(self.errors) - len(shown)
        shown += [f"and {more} more messages"] if more > 0 else []
        return "; ".join(shown) or "TensorRT gave no reason"


def make_logger(trt: Any) -> tuple[Any, BuildLog]:
    """A TensorRT logger and the log that it fills.

    Args:
        trt: the TensorRT module.
    """
    log = BuildLog()

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity == trt.ILogger.WARNING:
                log.add(log.warnings, message)
            elif severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                log.add(log.errors, message)

    return Logger(), log


def construct(factory: Callable[[Any], Made], logger: Any) -> Made:
    """Make a Builder or Runtime while Python's cycle collector rests.

    TensorRT calls the logger while it holds a lock of its own. If the collector runs in that call
    and finds an older Builder or Runtime that was left in a cycle, as by an exception that
    somebody kept, its end waits for the same lock, for ever.

    Args:
        factory: `trt.Builder` or `trt.Runtime`.
        logger: its only argument.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return factory(logger)
    finally:
        if was_enabled:
            gc.enable()


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
