"""Parses JPEG headers, and splits a multipart HTTP stream into JPEGs."""

from __future__ import annotations

import re
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
# In a header, fill bytes included; the largest colour profile takes 255.
_MOST_SEGMENTS = 4096


@dataclass(frozen=True, slots=True)
class JpegHead:
    """The header of a JPEG, up to its first scan.

    Attributes:
        scan: where the first scan begins.
        hw: height and width in pixels as stored; (0, 0) if missing.
        is_plain: baseline, gray or YCbCr, with its own Huffman tables and no Exif block that
            could rotate it: any decoder returns the same image.
    """

    scan: int
    hw: tuple[int, int]
    is_plain: bool


def read_head(data: bytes | bytearray, start: int = 0) -> JpegHead | None:
    """The header of the JPEG at `start`, or None if it is incomplete or not a JPEG."""
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
    """Finds the first scan of a JPEG while its bytes arrive; examines each segment once."""

    def __init__(self) -> None:
        self._place = len(START)
        self._steps_left = _MOST_SEGMENTS
        self._scan: int | None = None

    def look(self, data: bytes | bytearray) -> int | None:
        """Where the first scan begins; None until it arrives, or if this is not a JPEG.

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
                self._place += 2 + length  # may point past the received bytes
        return self._scan


def _segments(
    data: bytes | bytearray, place: int, most: int = _MOST_SEGMENTS
) -> Iterator[tuple[int, int, int]]:
    """Marker, place and length of each segment, up to the first scan or invalid data."""
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


MAX_PART_BYTES = 64 * 1024 * 1024
MAX_HEADER_BYTES = 16 * 1024
# Bytes that may follow an image within its part.
_PADDING = b"\r\n\0-"
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([^\r\n]*)")
_LONGEST_BLANK_LINE, _LONGEST_DASHES_LINE = 4, 256
# Blanks at the end are cut off behind: left out here, each of them would be tried as an end.
_DASHES_LINE = re.compile(rb"(?:^|\n)--([!-~][ -~\t]{0,199})\r?\n")


class JpegParts:
    """Parses JPEGs from a multipart byte stream.

        parts.feed(data)
        while (jpeg := parts.next_jpeg()) is not None: ...

    Args:
        boundary: as the Content-Type announces it; None where it does not, then the first line
            that begins with two dashes counts.
        max_part_bytes: a part that grows beyond is damaged.

    Attributes:
        damaged: parts so far that were no whole JPEG and were left out.
        ended: the closing boundary has come; nothing follows.
    """

    def __init__(self, boundary: str | None, max_part_bytes: int = MAX_PART_BYTES) -> None:
        token = (boundary or "").encode("latin-1", "replace").strip()
        self._delimiter = b"--" + token.lstrip(b"-") if token.lstrip(b"-") else b""
        self._max_part_bytes = max_part_bytes
        self._buffer = bytearray()
        self._in_part = False
        self._length: int | None = None
        self._is_picture = True
        self._searched = self._end_searched = 0
        self._scan = ScanFinder()
        self.damaged = 0
        self.ended = False

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        if not self.ended:
            self._buffer += data

    def next_jpeg(self) -> bytes | None:
        """The next whole JPEG, or None until more has arrived."""
        while not self.ended:
            if not self._in_part and not self._enter_part():
                return None
            taken, jpeg = self._leave_part()
            if not taken:
                return None
            if jpeg is not None:
                return jpeg
        return None

    @property
    def _delimiter_in_part(self) -> bytes:
        """What ends a part; a picture holds three given bytes by chance, but not seven."""
        return self._delimiter if len(self._delimiter) >= 7 else b"\n" + self._delimiter

    def _enter_part(self) -> bool:
        """Go past the next boundary and its header; False until more has arrived."""
        while self._find_delimiter():
            start = len(self._delimiter)
            tail = bytes(self._buffer[start : start + 2])
            if tail == b"--":
                self.ended = True
                return False
            limit = start + MAX_HEADER_BYTES
            # The next boundary first: looking for a blank line behind each of many boundaries
            # would go through the same bytes for each of them.
            fresh = max(start, self._searched - len(self._delimiter) - _LONGEST_BLANK_LINE)
            another = self._buffer.find(self._delimiter, fresh, limit)
            header_end = min(limit, len(self._buffer)) if another < 0 else another
            blank = _BLANK_LINE.search(self._buffer, fresh, header_end)
            if blank is None and another < 0 and len(self._buffer) <= limit:
                self._searched = len(self._buffer)
                return False
            if blank is None or not self._read_header(bytes(self._buffer[start : blank.start()])):
                self._give_up(start)
                continue
            del self._buffer[: blank.end()]
            self._in_part, self._scan = True, ScanFinder()
            self._searched = self._end_searched = 0
            return True
        return False

    def _find_delimiter(self) -> bool:
        """Drop the bytes before the next boundary; False until one arrives."""
        if not self._delimiter and (found := _DASHES_LINE.search(self._buffer)):
            self._delimiter = b"--" + found[1].rstrip().lstrip(b"-")
        place = self._buffer.find(self._delimiter) if self._delimiter else -1
        if place < 0:
            # Part of it may have arrived.
            kept = len(self._delimiter) or _LONGEST_DASHES_LINE
            del self._buffer[: max(0, len(self._buffer) - kept)]
            return False
        if place:
            del self._buffer[:place]
            self._searched = 0
        return len(self._buffer) >= len(self._delimiter) + 2

    def _read_header(self, header: bytes) -> bool:
        """Read length and type; False if this is not a header."""
        self._length, self._is_picture = None, True
        for line in header.split(b"\n"):
            if not line.strip():
                continue
            field = _HEADER_LINE.fullmatch(line.strip())
            if field is None:
                return False
            name, value = field[1].lower(), field[2].strip()
            if name == b"content-length":
                if not (value.isdigit() and len(value) < 12):
                    return False
                self._length = int(value)
                if not 0 < self._length <= self._max_part_bytes:
                    return False
            elif name == b"content-type":
                # Some cameras send text events between the images.
                self._is_picture = value.lower().startswith((b"image/", b"application/octet"))
        return True

    def _leave_part(self) -> tuple[bool, bytes | None]:
        """Whether the part has ended, and its JPEG if it held one."""
        end = self._end_by_length()
        if end is None:
            end = self._end_by_content()
        if end is None:
            if len(self._buffer) > self._max_part_bytes:
                self._give_up(len(self._buffer) - len(self._delimiter))
                return True, None
            return False, None
        jpeg = bytes(self._buffer[:end]).rstrip(_PADDING)
        is_whole = jpeg.startswith(START) and jpeg.endswith(END)
        if not is_whole and self._is_picture:
            self._give_up(end)
            return True, None
        del self._buffer[:end]
        self._in_part, self._searched = False, 0
        return True, jpeg if self._is_picture else None

    def _end_by_length(self) -> int | None:
        """The end by the header's length, if the image really ends there."""
        length = self._length
        if length is None or len(self._buffer) < length:
            return None
        if bytes(self._buffer[max(0, length - 64) : length]).rstrip(_PADDING).endswith(END):
            return length
        self._length = None
        self._searched = self._end_searched = 0  # wrong: ignore the length
        return None

    def _end_by_content(self) -> int | None:
        """The next boundary, or the end of the image if the length is unknown."""
        from_place = max(0, self._searched - len(self._delimiter) - 4)
        boundary = self._buffer.find(self._delimiter_in_part, from_place)
        self._searched = len(self._buffer)
        end = -1
        is_sought = self._length is None and self._is_picture
        if is_sought and (scan := self._scan.look(self._buffer)) is not None:
            # Bytes before the scan was found have not been searched.
            end = self._buffer.find(END, max(scan, self._end_searched - 1))
            self._end_searched = len(self._buffer)
        if end >= 0 and (boundary < 0 or end < boundary):
            return end + len(END)
        return boundary if boundary >= 0 else None

    def _give_up(self, end: int) -> None:
        """Count a damaged part and continue from `end`."""
        self.damaged += 1
        del self._buffer[:end]
        self._in_part, self._searched = False, 0
