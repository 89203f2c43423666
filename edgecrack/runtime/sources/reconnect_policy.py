"""How long a live source is waited for, and when it is tried again."""

from __future__ import annotations

from dataclasses import dataclass

from edgecrack.errors import ConfigError

_WAITS = {
    "open_timeout_s": "the time for opening a source",
    "stall_timeout_s": "the time after which a silent source is opened again",
    "first_delay_s": "the first wait for a lost source",
    "longest_delay_s": "the longest wait for a lost source",
}


@dataclass(frozen=True)
class ReconnectPolicy:
    """How long to wait for what.

    Attributes:
        open_timeout_s: an attempt to open that takes longer is given up.
        stall_timeout_s: an open source that delivers nothing for so long counts as lost.
        first_delay_s: wait before the second attempt; doubles with each further one.
        longest_delay_s: the wait never grows beyond this.
        give_up_after_s: end with an error after being lost for so long; None never does.
        wait_for_first: also keep trying where the source has never been open.
        max_stuck: calls that may hang in a driver at once before the run ends with an error, so
            that whoever supervises the process starts it afresh.
    """

    open_timeout_s: float = 8.0
    stall_timeout_s: float = 5.0
    first_delay_s: float = 0.5
    longest_delay_s: float = 10.0
    give_up_after_s: float | None = None
    wait_for_first: bool = False
    max_stuck: int = 4

    def __post_init__(self) -> None:
        """Refuse waits that make no sense."""
        for name, words in _WAITS.items():
            value = getattr(self, name)
            if not 0 < value <= 3600:
                raise ConfigError(f"{words} is {value} s", "give seconds above 0, at most 3600")
        if self.give_up_after_s is not None and not self.give_up_after_s >= 0:
            raise ConfigError(
                f"the time to keep trying is {self.give_up_after_s} s", "give 0 or more"
            )

    def delay_s(self, failures: int) -> float:
        """The wait after so many failures in a row."""
        return min(self.longest_delay_s, self.first_delay_s * 2.0 ** min(failures - 1, 16))
