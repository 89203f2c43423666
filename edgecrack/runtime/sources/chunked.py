"""Takes the chunks of an HTTP/1.1 answer apart, without ever waiting for the next one.

The standard library's reader asks for the next chunk's head before it gives the last one's
bytes away, and hides in its buffer what has arrived. Knows bytes only: no network.
"""

from __future__ import annotations

import http.client
import re

_LONGEST_HEAD = 4096


class Dechunker:
    """Takes bytes as they come and gives those inside the chunks.

    Attributes:
        ended: the last chunk has come; nothing follows.
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """The bytes inside chunks that `data` brings; may be none.

        Raises:
            http.client.HTTPException: what has arrived is no chunk.
        """
        inside = bytearray()
        place = 0
        while place < len(data) and not self.ended:
            if self._left:
                taken = data[place : place + self._left]
                inside += taken
                self._left -= len(taken)
                place += len(taken)
            else:
                place = self._take_head(data, place)
        return bytes(inside)

    def _take_head(self, data: bytes, place: int) -> int:
        """Take the line with a chunk's length, as far as it has arrived; where it ends."""
        end = data.find(b"\n", place)
        stop = len(data) if end < 0 else end + 1
        self._head += data[place:stop]
        if len(self._head) > _LONGEST_HEAD:
            raise http.client.LineTooLong("chunk size")
        if end >= 0 and (line := bytes(self._head).strip()):  # empty: the end of the last chunk
            self._left = _length_of(line)
            self.ended = self._left == 0
        if end >= 0:
            self._head.clear()
        return stop


def _length_of(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
        raise http.client.HTTPException("the answer is not in chunks")
    return int(digits, 16)
