"""Which pictures of a video are damaged: those that lost data, and those predicted from them.

A decoder conceals what is missing and hands the picture out as good; the ones after it repeat the
damage until one comes that was encoded without others. Knows numbers only, no pictures.
"""

from __future__ import annotations

from collections import deque

# A stream that refreshes its picture in stripes has no key frames. By then all stripes were sent.
LONGEST_DAMAGE_FRAMES = 300
_REMEMBERED = 4096


class DamageRecord:
    """Follows the packets of one video track as they are decoded.

    Packets are numbered in the order of decoding; a picture has its packet's number. Pictures
    come in the order of display.

    Args:
        starts_clean: the first packet needs none before it.
    """

    def __init__(self, starts_clean: bool = True) -> None:
        self._open: list[int] = [] if starts_clean else [-1]
        self._damaged: deque[int] = deque(maxlen=_REMEMBERED)
        self._entries: deque[int] = deque(maxlen=_REMEMBERED)

    def note_damage(self, number: int) -> None:
        """The packet is damaged, or something before it is missing."""
        if not self._open or self._open[-1] != number:
            self._open.append(number)
            self._damaged.append(number)

    def note_entry(self, number: int) -> None:
        """The container calls the packet a place where decoding can begin."""
        self._entries.append(number)

    def is_damaged(self, number: int) -> bool:
        """Whether the packet itself is."""
        return number in self._damaged

    def is_sound(self, number: int, is_key: bool) -> bool:
        """Whether a picture shows what was filmed; to be asked once per picture, as they come.

        Args:
            number: of the picture's packet.
            is_key: it was encoded without others.
        """
        before = [damaged for damaged in self._open if damaged <= number]
        if not before:
            return True
        if number in self._damaged or not self._is_over(before[-1], number, is_key):
            return False
        self._open = [damaged for damaged in self._open if damaged > number]
        return True

    def _is_over(self, damaged: int, number: int, is_key: bool) -> bool:
        if is_key or number - damaged >= LONGEST_DAMAGE_FRAMES:
            return True
        # Where the picture is refreshed in stripes, a whole round lies between two entries.
        entries = [entry for entry in self._entries if damaged < entry <= number]
        return len(entries) >= 2
