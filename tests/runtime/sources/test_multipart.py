"""What real cameras send, what no camera should send, and any cut of both into packets."""

from __future__ import annotations

import random
import re
import time
from typing import Any

import cv2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecrack.runtime.sources import jpeg as jpeg_module
from edgecrack.runtime.sources.jpeg import JpegParts, read_head
from tests.runtime.fakes import picture
from tests.waiting import PATIENCE_S


def jpeg(index: int = 0, *settings: int) -> bytes:
    return cv2.imencode(".jpg", picture(index), list(settings))[1].tobytes()


PICTURES = [jpeg(index) for index in range(4)]
OTHER = jpeg(9)


def plain(data: bytes) -> bytes:
    """As Motion and most libraries."""
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data + b"\r\n"


def mjpg_streamer(data: bytes) -> bytes:
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\nX-Timestamp: 1.5\r\n\r\n"
    return head.encode() + data + b"\r\n--boundarydonotcross\r\n"


def esp32(data: bytes) -> bytes:
    boundary = b"\r\n--123456789000000000000987654321\r\n"
    return boundary + b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data) + data


def lengthless(data: bytes) -> bytes:
    return b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n"


def headless(data: bytes) -> bytes:
    return b"--frame\r\n\r\n" + data + b"\r\n"


def bare_line_feeds(data: bytes) -> bytes:
    return b"--frame\ncontent-length:%d\ncontent-type:image/jpeg\n\n" % len(data) + data + b"\n"


def four_dashes(data: bytes) -> bytes:
    return b"----frame\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n"


def padded(data: bytes) -> bytes:
    return plain(data + bytes(9))


def unseparated(data: bytes) -> bytes:
    return plain(data).removesuffix(b"\r\n")


def run(parts: JpegParts, stream: bytes, step: int = 1 << 30) -> list[bytes]:
    found = []
    for start in range(0, len(stream), step):
        parts.feed(stream[start : start + step])
        while (data := parts.next_jpeg()) is not None:
            found.append(data)
    return found


@pytest.mark.parametrize("step", [1, 7, 1460, 1 << 30])
@pytest.mark.parametrize(
    ("boundary", "write", "opening"),
    [
        ("frame", plain, b""),
        ("--frame", plain, b""),
        ("frame", plain, b"\r\n"),
        (None, plain, b""),
        ("", plain, b"hello\r\n"),
        ("boundarydonotcross", mjpg_streamer, b"--boundarydonotcross\r\n"),
        ("123456789000000000000987654321", esp32, b""),
        ("frame", lengthless, b""),
        ("frame", headless, b""),
        ("frame", bare_line_feeds, b""),
        ("--frame", four_dashes, b""),
        ("frame", padded, b""),
        ("frame", unseparated, b""),
    ],
)
def test_every_camera_is_understood(
    boundary: str | None, write: object, opening: bytes, step: int
) -> None:
    assert callable(write)
    parts = JpegParts(boundary)
    stream = opening + b"".join(write(data) for data in PICTURES)
    assert run(parts, stream, step) == PICTURES
    assert (parts.damaged, parts.ended) == (0, False)


@pytest.mark.parametrize("write", [plain, lengthless, mjpg_streamer, esp32])
def test_a_picture_is_given_as_soon_as_its_last_byte_is_there(write: object) -> None:
    assert callable(write)
    opening = b"--boundarydonotcross\r\n" if write is mjpg_streamer else b""
    boundary = "boundarydonotcross" if write is mjpg_streamer else None
    if write is esp32:
        boundary = "123456789000000000000987654321"
    parts = JpegParts(boundary)
    whole = opening + write(OTHER)
    end = whole.index(OTHER) + len(OTHER)
    assert run(parts, whole[: end - 1]) == []
    assert run(parts, whole[end - 1 : end]) == [OTHER]


def part(head: bytes, data: bytes) -> bytes:
    return b"--frame\r\n" + head + b"\r\n" + data + b"\r\n"


CUT = OTHER[: len(OTHER) // 2]
TYPE = b"Content-Type: image/jpeg\r\n"


@pytest.mark.parametrize("step", [1, 1460, 1 << 30])
@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (part(TYPE, CUT), 1),
        (part(TYPE + b"Content-Length: %d\r\n" % len(CUT), CUT), 1),
        (part(TYPE + b"Content-Length: %d\r\n" % len(OTHER), CUT), 1),
        (part(TYPE, b"no picture at all"), 1),
        (part(TYPE + b"Content-Length: 17\r\n", b"no picture at all"), 1),
        (part(TYPE + b"Content-Length: -5\r\n", OTHER), 1),
        (part(TYPE + b"Content-Length: many\r\n", OTHER), 1),
        (part(TYPE + b"Content-Length: 99999999999999\r\n", OTHER), 1),
        (part(TYPE + b"Content-Length: 0\r\n", OTHER), 1),
        (part(b"what is this\r\n", OTHER), 1),
        (part(b"\xff\xfe\r\n", OTHER), 1),
        (b"--frame\r\n" + TYPE, 1),
        (b"--frame\r\n" + TYPE + b"X: " + b"y" * 40_000, 1),
        (b"some noise between the parts\r\n", 0),
        (part(b"Content-Type: text/plain\r\n", b"motion detected"), 0),
    ],
)
def test_damage_is_counted_and_what_follows_is_read(damage: bytes, lost: int, step: int) -> None:
    parts = JpegParts("frame")
    stream = plain(PICTURES[0]) + damage + b"".join(map(plain, PICTURES[1:]))
    assert run(parts, stream, step) == PICTURES
    assert parts.damaged == lost


def test_a_wrong_length_does_not_lose_a_whole_picture() -> None:
    for wrong in (len(OTHER) - 5, len(OTHER) + 5000):
        parts = JpegParts("frame")
        liar = part(TYPE + b"Content-Length: %d\r\n" % wrong, OTHER)
        assert run(parts, liar + b"".join(map(plain, PICTURES)), 1460) == [OTHER, *PICTURES]
        assert parts.damaged == 0


def test_a_part_without_end_is_given_up_at_the_limit() -> None:
    parts = JpegParts("frame", max_part_bytes=50_000)
    endless = part(TYPE, PICTURES[0][:-2] + bytes(200_000))
    assert run(parts, endless + plain(OTHER), 1460) == [OTHER]
    assert parts.damaged == 1
    assert len(parts._buffer) < 50_000


def test_the_closing_boundary_ends_it() -> None:
    parts = JpegParts("frame")
    assert run(parts, plain(OTHER) + b"--frame--\r\n" + plain(OTHER)) == [OTHER]
    assert parts.ended


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.sampled_from(
                [b"--frame", b"\r\n", b"\r\n\r\n", b"--", TYPE, b"Content-Length: 9\r\n"]
            ),
            st.sampled_from([b"\xff\xd8", b"\xff\xd9", b"\xff\xda\0\2", CUT, OTHER, plain(OTHER)]),
        ),
        max_size=30,
    ),
    st.sampled_from([None, "frame", "--frame", "f", "--", "\u2713"]),
    st.integers(1, 4000),
)
def test_no_bytes_at_all_hang_or_break_it(
    pieces: list[bytes], boundary: str | None, step: int
) -> None:
    parts = JpegParts(boundary, max_part_bytes=10_000)
    for found in run(parts, b"".join(pieces), step):
        assert found.startswith(b"\xff\xd8")
        assert found.endswith(b"\xff\xd9")
    assert len(parts._buffer) < 40_000


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 5000))
def test_after_any_damage_the_stream_is_found_again(seed: int, step: int) -> None:
    random_bytes = random.Random(seed)
    stream = bytearray(b"".join(map(plain, PICTURES)))
    for _ in range(random_bytes.randrange(1, 20)):
        stream[random_bytes.randrange(len(stream))] = random_bytes.randrange(256)
    # The next part ends whatever the damage left open; those after it are whole.
    tail = b"".join(plain(OTHER) for _ in range(4))
    parts = JpegParts("frame")
    found = run(parts, bytes(stream) + tail, step)
    assert found[-3:] == [OTHER] * 3


@pytest.mark.parametrize(
    ("data", "is_plain"),
    [
        (jpeg(), True),
        (cv2.imencode(".jpg", picture()[:, :, 0])[1].tobytes(), True),
        (jpeg(0, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), False),
        (jpeg()[:2] + b"\xff\xe1\0\x0aExif\0\0\0\0" + jpeg()[2:], False),
    ],
)
def test_a_plain_picture_is_known_by_its_header(data: bytes, is_plain: bool) -> None:
    head = read_head(data)
    assert head is not None
    assert (head.hw, head.is_plain) == (picture().shape[:2], is_plain)
    assert data[head.scan : head.scan + 2] == b"\xff\xda"


@given(st.binary(max_size=300))
def test_a_header_of_any_bytes_is_read_or_refused(data: bytes) -> None:
    for start in (b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\0\x11\x08"):
        head = read_head(start + data)
        assert head is None or head.scan < len(start + data)


KIB = 1024
BOUNDARY = b"--frame\r\n"
SEGMENT = b"\xff\xfe\x00\x02"
HOSTILE = {
    "boundaries alone": (BOUNDARY * (1024 * KIB // 9), 256 * KIB),
    "boundaries with a blank line": ((BOUNDARY + b"\r\n") * (512 * KIB // 11), 256 * KIB),
    "a header byte by byte": (BOUNDARY + b"X: " + b"a" * 256 * KIB, 1),
    "header lines byte by byte": (BOUNDARY + b"X: a\r\n" * (256 * KIB // 6), 1),
    "a header of segments that never ends": (BOUNDARY + b"\r\n\xff\xd8" + SEGMENT * 512 * KIB, KIB),
    "fill bytes that never end": (BOUNDARY + b"\r\n\xff\xd8" + b"\xff" * 512 * KIB, 16),
    "a picture that never ends": (BOUNDARY + b"\r\n" + OTHER[:-2] + b"\x10" * 4096 * KIB, 16),
    "a picture byte by byte": (BOUNDARY + b"\r\n" + OTHER[:-2] + b"\x10" * 512 * KIB, 1),
    "half a boundary again and again": (BOUNDARY + b"\r\n" + b"--fram" * (1024 * KIB // 6), 64),
    "an unknown boundary before blanks": (b"\n--" + b"a " * 1024 * KIB, 64 * KIB),
    "many lines that could be a boundary": (b"\n--a" + b" " * 190 + b"b" * 20, 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_work_grows_with_what_comes_and_no_faster(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts the bytes that are looked at, whatever is sent and however it is cut."""
    stream, step = HOSTILE[name]
    looked_at = [0]

    class Counted(bytearray):
        def find(self, wanted: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
            end = len(self) if end is None else min(end, len(self))
            found = super().find(wanted, start, end)
            looked_at[0] += max(0, (end if found < 0 else found) - start) + 1
            return found

        def __getitem__(self, place: Any) -> Any:
            found = super().__getitem__(place)
            looked_at[0] += len(found) if isinstance(found, bytearray) else 1
            return found

    class Pattern:
        def __init__(self, pattern: re.Pattern[bytes]) -> None:
            self._pattern = pattern

        def search(self, data: bytearray, start: int = 0, end: int = 1 << 40) -> object:
            found = self._pattern.search(data, start, end)
            end = min(end, len(data))
            looked_at[0] += max(0, (end if found is None else found.end()) - start) + 1
            return found

    monkeypatch.setattr(jpeg_module, "_BLANK_LINE", Pattern(jpeg_module._BLANK_LINE))
    monkeypatch.setattr(jpeg_module, "_DASHES_LINE", Pattern(jpeg_module._DASHES_LINE))
    parts = JpegParts(None if "boundary before" in name or "could be" in name else "frame")
    parts._buffer = Counted()
    begun_s = time.monotonic()
    for start in range(0, len(stream), step):
        parts.feed(stream[start : start + step])
        assert parts.next_jpeg() is None
        assert time.monotonic() < begun_s + PATIENCE_S  # work that is not counted above
        assert looked_at[0] <= 300 * KIB + 64 * (start + step)
