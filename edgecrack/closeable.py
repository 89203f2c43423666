"""Base class of sources, runners and detectors: the `with` statement."""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import TypeVar

Self_ = TypeVar("Self_", bound="Closeable")


class Closeable:
    """Adds the `with` statement to a class with `close`."""

    @abstractmethod
    def close(self) -> None:
        """Release all resources; may be called twice."""

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
