"""One line of the doctor's report, and the wrapper that keeps a failing check from ending it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "missing", "warning", "not needed here"]


@dataclass(frozen=True)
class Check:
    """What was found about one thing.

    Attributes:
        name: what was looked at, as in "OpenCV".
        status: "missing" also stands for what is there but cannot be used.
        found: a clause without a final full stop; one line of printable characters.
        remedy: the command that mends it, ready to be pasted into a shell, or, where there is
            none, what to do; empty where nothing is to be done. A hint where the status is "ok"
            or "not needed here".
    """

    name: str
    status: Status
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        # A camera's name or a library's error may hold anything, control codes included.
        object.__setattr__(self, "found", _one_line(self.found))
        object.__setattr__(self, "remedy", _one_line(self.remedy))

    @property
    def usable(self) -> bool:
        """Whether what the check is about can be used."""
        return self.status in ("ok", "warning")


def guarded(name: str, look: Callable[[], Sequence[Check]]) -> list[Check]:
    """The lines of a check; of one that fails, a line that says so.

    Args:
        name: what is looked at, for that line.
        look: gives the lines.
    """
    try:
        return list(look())
    except Exception as error:  # a damaged machine is what the doctor is for
        return [Check(name, "warning", f"could not be checked ({type(error).__name__}: {error})")]


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
