"""Whether a network camera's clock tells when a picture was taken.

Cameras send the time of their own clock along. Where nobody set it, it may be years or minutes off.
Knows times only.
"""

from __future__ import annotations

# From light to the last byte here, at most; and the clocks' own difference where both are set.
LONGEST_JOURNEY_NS = 2_000_000_000
CLOCKS_DIFFER_NS = 20_000_000


class SenderClock:
    """Believes a clock as long as its pictures arrive shortly after they were taken.

    Once it has said what cannot be, it is not believed any more: its other times are no better.
    """

    def __init__(self) -> None:
        self._is_wrong = False

    def taken_ns(self, sender_ns: int | None, arrival_ns: int) -> int | None:
        """When a picture was taken, or None where that is not known.

        Args:
            sender_ns: by the sender's clock, in ns since 1970; None where it did not say.
            arrival_ns: when it arrived here, by our clock.
        """
        if sender_ns is None or self._is_wrong:
            return None
        journey_ns = arrival_ns - sender_ns
        if not -CLOCKS_DIFFER_NS <= journey_ns <= LONGEST_JOURNEY_NS:
            self._is_wrong = True
            return None
        return min(sender_ns, arrival_ns)
