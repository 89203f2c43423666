"""Readers slower than their camera: what they get is new, what they miss is counted."""

from __future__ import annotations

import http.client
import threading

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgecrack.errors import SourceError
from edgecrack.images.decoding import decode_image
from edgecrack.runtime.sources import mjpeg
from edgecrack.runtime.sources.http_connection import Dechunker
from edgecrack.runtime.sources.mjpeg import MjpegSource
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from tests.runtime.sources.test_mjpeg import Handler, serving
from tests.runtime.sources.test_multipart import plain
from tests.waiting import PATIENCE_S

# So small that the network never makes the camera wait: what it has sent, has arrived.
PICTURE = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()


def numbered(number: int) -> bytes:
    """A picture with its number in a comment."""
    return PICTURE[:2] + b"\xff\xfe\0\x06" + number.to_bytes(4, "big") + PICTURE[2:]


def number_of(data: bytes | None) -> int:
    assert data is not None
    return int.from_bytes(data[6:10], "big")


class Flood:
    """A camera that numbers its pictures and never waits for who reads them.

    Attributes:
        sent: pictures that are on their way.
    """

    def __init__(self, pause_s: float, chunked: bool = False) -> None:
        self._pause_s = pause_s
        self._chunked = chunked
        self._changed = threading.Condition()
        self.sent = 0

    def answer(self, handler: Handler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        if self._chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            handler.send_header("Connection", "close")
        handler.end_headers()
        while True:
            data = plain(numbered(self.sent))
            handler.send(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)
            with self._changed:
                self.sent += 1
                self._changed.notify_all()
            if self._pause_s and handler.end.wait(self._pause_s):
                return

    def wait_for_more(self, count: int) -> int:
        """Wait until `count` more are sent; how many are sent then."""
        with self._changed:
            wanted = self.sent + count
            assert self._changed.wait_for(lambda: self.sent >= wanted, PATIENCE_S)
            return self.sent


@pytest.mark.parametrize("chunked", [False, True])
def test_who_decodes_slower_than_the_camera_sends_gets_the_newest_picture(
    chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Flood(0.002, chunked)
    sent_after_decoding: list[int] = []

    def slow(data: bytes) -> NDArray[np.uint8]:
        image = decode_image(data)
        sent_after_decoding.append(camera.wait_for_more(5))
        return image

    monkeypatch.setattr(mjpeg, "decode_image", slow)
    with serving(camera.answer) as address, open_source(address) as source:
        assert isinstance(source, MjpegSource)
        frames = [source.read() for _ in range(12)]
        passed_over = source.passed_over
    numbers = [number_of(one.jpeg) for one in frames]
    # Whatever was sent before the decoder was free is not older than what comes then.
    assert all(
        number >= sent - 1 for number, sent in zip(numbers[1:], sent_after_decoding, strict=False)
    )
    assert numbers[-1] + 1 == len(frames) + passed_over
    assert [one.index for one in frames] == list(range(12))


def test_a_camera_faster_than_we_read_does_not_keep_us_from_decoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mjpeg, "MAX_PASSING_OVER_S", 60.0)
    monkeypatch.setattr(mjpeg, "MAX_PASSED_OVER", 3)
    with serving(Flood(0.0).answer) as address, open_source(address) as source:
        assert isinstance(source, MjpegSource)
        before = source.passed_over
        for _ in range(20):
            source.read()
        assert source.passed_over - before <= 3 * 20 + 1


def test_the_last_picture_before_the_end_is_delivered() -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.send(*(plain(numbered(number)) for number in range(4)))

    numbers: list[int] = []
    with serving(answer) as address, open_source(address) as source:
        assert isinstance(source, MjpegSource)
        while not numbers or numbers[-1] < 3:
            numbers.append(number_of(source.read().jpeg))
        with pytest.raises(SourceError, match="ended the stream"):
            source.read()
        assert len(numbers) + source.passed_over == 4


def test_a_turned_source_tells_what_was_passed_over() -> None:
    camera = Flood(0.002)
    with (
        serving(camera.answer) as address,
        open_source(address, SourceOptions(flip="both")) as source,
    ):
        for _ in range(3):
            source.read()
            camera.wait_for_more(5)
        source.read()
        assert source.status.passed_over > 0


@pytest.mark.parametrize("buffered", [False, True])
def test_read_after_close_says_so(buffered: bool) -> None:
    camera = Flood(0.002)
    with serving(camera.answer) as address:
        source = open_source(address)
        if not buffered:
            source.read()
        source.close()
        with pytest.raises(SourceError, match="closed"):
            source.read()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(1, 9))
def test_chunks_are_taken_apart_wherever_the_network_cuts_them(
    chunks: list[bytes], step: int
) -> None:
    sent = b"".join(b"%X; x=1\r\n%s\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"
    dechunker = Dechunker()
    taken = b"".join(dechunker.feed(sent[at : at + step]) for at in range(0, len(sent), step))
    assert taken == b"".join(chunks)
    assert dechunker.ended


def test_a_chunk_is_given_away_before_the_next_begins() -> None:
    assert Dechunker().feed(b"3\r\nabc") == b"abc"


@pytest.mark.parametrize("sent", [b"xyz\r\n", b"-1\r\n", b"1_0\r\n", b"f" * 5000])
def test_what_is_no_chunk_is_an_error(sent: bytes) -> None:
    with pytest.raises(http.client.HTTPException):
        Dechunker().feed(sent)
