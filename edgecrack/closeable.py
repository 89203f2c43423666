"""The context manager half of sources, runners and detectors, written once."""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import TypeVar

Self_ = TypeVar("Self_", bound="Closeable")


class Closeable:
    """Gives a class with `close` the `with` statement."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is held; may be called twice."""

    def __enter__(self: Self_) -> Self_:
        """The object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
