"""What the outside of a JPEG tells without decoding it: its size, its end, how plain it is.

Sources use it to find frames in a stream of bytes and to decide whether a frame's own bytes may
be recorded as they are. Knows bytes only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

START = b"\xff\xd8"
END = b"\xff\xd9"

_MARKER_BEGINS = 0xFF
_SCAN = 0xDA
_HUFFMAN_TABLE = 0xC4
_EXIF = 0xE1
# SOF0 to SOF15 without the three codes in between that mean something else.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BASELINE = 0xC0
# Of a header, fill bytes included; the largest colour profile takes 255.
_MOST_SEGMENTS = 4096


@dataclass(frozen=True, slots=True)
class JpegHead:
    """The header of a JPEG, up to its first scan.

    Attributes:
        scan: where the first scan begins.
        hw: height and width in pixels as stored; (0, 0) where it does not say.
        is_plain: baseline, gray or YCbCr, with its own Huffman tables and no Exif block that
            could turn it: any decoder makes the same picture of it.
    """

    scan: int
    hw: tuple[int, int]
    is_plain: bool


def read_head(data: bytes | bytearray, start: int = 0) -> JpegHead | None:
    """The header of the JPEG at `start`, or None where it is not whole or no JPEG."""
    if data[start : start + 2] != START:
        return None
    hw, is_baseline, has_tables, has_exif = (0, 0), False, False, False
    for marker, place, length in _segments(data, start + 2):
        if marker == _SCAN:
            return JpegHead(place, hw, is_baseline and has_tables and not has_exif)
        body = data[place + 4 : place + 2 + length]
        if marker in _FRAMES and len(body) >= 6:
            hw = (int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"))
            is_baseline = marker == _BASELINE and body[0] == 8 and body[5] in (1, 3)
        elif marker == _HUFFMAN_TABLE:
            has_tables = True
        elif marker == _EXIF:
            has_exif |= body.startswith(b"Exif")
    return None


class ScanFinder:
    """Finds where the first scan of a JPEG begins, while its bytes arrive.

    Looks at no segment twice, however few bytes come at a time.
    """

    def __init__(self) -> None:
        self._place = len(START)
        self._steps_left = _MOST_SEGMENTS
        self._scan: int | None = None

    def look(self, data: bytes | bytearray) -> int | None:
        """Where the first scan begins; None as long as it has not come, or if this is no JPEG.

        Args:
            data: from the JPEG's first byte on; never shorter than before.
        """
        if self._scan is not None or data[: len(START)] != START:
            return self._scan
        while (
            self._steps_left
            and self._place + 4 <= len(data)
            and data[self._place] == _MARKER_BEGINS
        ):
            self._steps_left -= 1
            marker = data[self._place + 1]
            length = int.from_bytes(data[self._place + 2 : self._place + 4], "big")
            if marker == _MARKER_BEGINS:  # a fill byte
                self._place += 1
            elif marker == _SCAN:
                self._scan = self._place
                break
            elif length < 2:
                self._steps_left = 0
            else:
                self._place += 2 + length  # perhaps to where nothing has arrived yet
        return self._scan


def _segments(
    data: bytes | bytearray, place: int, most: int = _MOST_SEGMENTS
) -> Iterator[tuple[int, int, int]]:
    """Marker, place and length of each segment, up to the first scan or what is no segment."""
    for _ in range(most):
        if place + 4 > len(data) or data[place] != _MARKER_BEGINS:
            return
        marker = data[place + 1]
        if marker == _MARKER_BEGINS:  # a fill byte
            place += 1
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        yield marker, place, length
        if marker == _SCAN or length < 2:
            return
        place += 2 + length
