"""MJPEG from a real server that misbehaves in every way that cameras do."""

from __future__ import annotations

import base64
import hashlib
import http.server
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import cv2
import numpy as np
import pytest

from edgecrack.errors import SourceError
from edgecrack.images.decoding import decode_image
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from tests.runtime.fakes import HW
from tests.runtime.sources.test_multipart import jpeg, plain
from tests.waiting import PATIENCE_S

Answer = Callable[["Handler"], None]


class Handler(http.server.BaseHTTPRequestHandler):
    answer: Answer
    end: threading.Event

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        with suppress(OSError):  # the viewer may leave
            type(self).answer(self)

    def begin(self, content_type: str = "multipart/x-mixed-replace;boundary=frame") -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.wfile.write(part)
            self.wfile.flush()

    def wait(self) -> None:
        self.end.wait(PATIENCE_S)


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Address of a server that answers every request so."""
    ended = threading.Event()
    kind = type("OneHandler", (Handler,), {"answer": staticmethod(answer), "end": ended})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/video"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)


def endless(handler: Handler) -> None:
    handler.begin()
    for index in range(100_000):
        handler.send(plain(jpeg(index % 20)))
        if handler.end.wait(0.01):
            return


def refused(address: str, timeout_ms: int = 60_000) -> SourceError:
    with pytest.raises(SourceError) as caught:
        open_source(address, SourceOptions(timeout_ms=timeout_ms))
    return caught.value


def test_a_frame_carries_the_cameras_own_bytes_and_the_time_of_their_arrival() -> None:
    data = jpeg(7)
    pause = threading.Event()

    def answer(handler: Handler) -> None:
        handler.begin()
        handler.send(plain(data))
        pause.wait(PATIENCE_S)
        handler.send(plain(data))
        handler.wait()

    with serving(answer) as address, open_source(address) as source:
        first = source.read()
        released_ns = time.monotonic_ns()
        pause.set()
        second = source.read()
    assert first is not None
    assert second is not None
    assert first.jpeg == second.jpeg == data
    assert np.array_equal(second.image, decode_image(data))
    assert first.monotonic_ns < released_ns <= second.monotonic_ns
    assert (second.index, second.name, second.live) == (1, "000001", True)
    assert second.source == address


def test_damaged_pictures_are_counted_and_left_out() -> None:
    cut = jpeg(3)[: len(jpeg(3)) // 2]
    huge = bytearray(jpeg(3))
    place = huge.index(b"\xff\xc0") + 5
    huge[place : place + 4] = b"\xff\xff\xff\xff"
    gigabytes = bytearray(jpeg(3))
    gigabytes[place : place + 4] = b"\x3f\xff\x3f\xff"
    not_decodable = b"\xff\xd8\xff\xda\0\2 what \xff\xd9"

    opened: list[Source] = []
    bad = [plain(one) for one in (cut, b"text", bytes(huge), bytes(gigabytes), not_decodable)]
    bad.append(b"--frame\r\nContent-Length: -1\r\n\r\n")

    def answer(handler: Handler) -> None:
        handler.begin()
        handler.send(plain(jpeg(1)))
        for number, part in enumerate(bad, 1):
            handler.send(part, b"--frame")  # what ends a part is the next one
            while not opened or opened[0].corrupt_frames < number:
                if handler.end.wait(0.002):
                    return
            handler.send(plain(jpeg(1)).removeprefix(b"--frame"))
        handler.wait()

    with serving(answer) as address, open_source(address) as source:
        opened.append(source)
        frames = [source.read()]
        while source.corrupt_frames < len(bad):
            frames.append(source.read())
    assert [one.index for one in frames if one is not None] == list(range(len(frames)))
    assert {one.jpeg for one in frames if one is not None} == {jpeg(1)}


def test_a_turned_picture_is_turned_and_its_bytes_are_not_passed_on() -> None:
    exif = b"\xff\xe1\0\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    data = jpeg()

    def answer(handler: Handler) -> None:
        handler.begin()
        handler.send(plain(data[:2] + exif + data[2:]))
        handler.wait()

    with serving(answer) as address, open_source(address) as source:
        taken = source.read()
    assert taken is not None
    assert taken.hw == (HW[1], HW[0])
    assert taken.jpeg is None


def test_only_damaged_pictures_are_an_error_within_the_timeout() -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        while not handler.end.wait(0.01):
            handler.send(plain(b"no picture"))

    with serving(answer) as address:
        error = refused(address, timeout_ms=500)
    assert "stopped delivering frames after 0" in error.problem


@pytest.mark.parametrize("inside", ["head", "body"])
def test_a_camera_that_drips_is_an_error_within_the_timeout(inside: str) -> None:
    def answer(handler: Handler) -> None:
        if inside == "body":
            handler.begin()
        else:
            handler.send(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        while not handler.end.wait(0.05):
            handler.send(b"x")

    with serving(answer) as address:
        error = refused(address, timeout_ms=500)  # otherwise it would not return
    assert "0.5 s" in error.problem


def in_chunks(data: bytes) -> bytes:
    return b"".join(b"1\r\n%c\r\n" % byte for byte in data)


FLOODS = {
    "boundaries": (b"", b"--frame\r\n" * 20_000),
    "boundaries with a blank line": (b"", b"--frame\r\n\r\n" * 20_000),
    "a header": (b"", b"--frame\r\nX: " + b"a" * 200_000),
    "a picture that never ends": (b"--frame\r\n\r\n" + jpeg()[:-2], b"\x10" * 200_000),
    "segments": (b"--frame\r\n\r\n\xff\xd8", b"\xff\xfe\x00\x02" * 50_000),
    "chunks of one byte": (b"", in_chunks(b"--frame\r\n" * 2_000)),
    "chunks of no byte's head": (b"", b"\r\n" * 50_000),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_camera_that_floods_is_an_error_within_the_timeout(name: str) -> None:
    begins, goes_on = FLOODS[name]

    def answer(handler: Handler) -> None:
        if name.startswith("chunks"):
            handler.protocol_version = "HTTP/1.1"
            handler.send_response(200)
            handler.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
        else:
            handler.begin()
        handler.send(begins)
        while not handler.end.is_set():
            handler.send(goes_on)

    with serving(answer) as address:
        # Long enough for a busy machine to begin the answer; without it, this would not return.
        error = refused(address, timeout_ms=2000)
    assert "stopped delivering frames after 0" in error.problem


@pytest.mark.parametrize(
    ("stream", "reason"),
    [(b"--frame--\r\n", "ended the stream"), (b"", "ended the stream")],
)
def test_a_camera_that_ends_the_stream_says_so(stream: bytes, reason: str) -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.send(plain(jpeg(1)) + stream)
        if stream:
            handler.wait()

    with serving(answer) as address, open_source(address) as source:
        source.read()
        with pytest.raises(SourceError, match=reason):
            source.read()


def test_a_chunked_answer_is_read_without_waiting_for_the_next_chunk() -> None:
    asked = threading.Semaphore(1)

    def answer(handler: Handler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=--frame")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for index in range(5):
            data = plain(jpeg(index))
            asked.acquire(timeout=PATIENCE_S)
            handler.send(b"%x\r\n" % len(data) + data + b"\r\n")
        handler.wait()

    with serving(answer) as address, open_source(address) as source:
        frames = [source.read()]
        for _ in range(4):
            asked.release()
            frames.append(source.read())
    assert [one.jpeg for one in frames if one is not None] == [jpeg(index) for index in range(5)]


def test_a_reader_who_pauses_gets_a_picture_from_after_the_pause() -> None:
    sent = [0]

    def answer(handler: Handler) -> None:
        handler.begin()
        while not handler.end.wait(0.01):
            handler.send(plain(jpeg(0, cv2.IMWRITE_JPEG_QUALITY, 95 - sent[0] % 2)))
            sent[0] += 1

    with serving(answer) as address, open_source(address) as source:
        source.read()
        threading.Event().wait(0.6)
        resumed_ns = time.monotonic_ns()
        after = source.read()
        source_is_current = source.read()
    assert after is not None
    assert source_is_current is not None
    assert after.monotonic_ns >= resumed_ns
    assert (after.index, source_is_current.index) == (1, 2)


def test_close_ends_a_read_in_another_thread() -> None:
    def answer(handler: Handler) -> None:
        handler.begin()
        handler.send(plain(jpeg(0)))
        handler.wait()

    caught: list[BaseException] = []
    with serving(answer) as address:
        source = open_source(address, SourceOptions(timeout_ms=60_000))
        source.read()

        def read() -> None:
            try:
                source.read()
            except SourceError as error:
                caught.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        source.close()
        reader.join(PATIENCE_S)
        assert not reader.is_alive()
    assert "closed" in str(caught)


def basic(handler: Handler) -> bool:
    wanted = "Basic " + base64.b64encode(b"b@b:pa/ss:1").decode()
    return str(handler.headers.get("Authorization")) == wanted


def digest(handler: Handler) -> bool:
    given = dict(re.findall(r'(\w+)="?([^",]*)"?', handler.headers.get("Authorization", "")))
    if "response" not in given:
        return False

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    user, asked = md5("b@b", "cam", "pa/ss:1"), md5("GET", handler.path)
    wanted = md5(user, "abc", given["nc"], given["cnonce"], "auth", asked)
    return bool(given["response"] == wanted)


@pytest.mark.parametrize(
    ("is_allowed", "challenge"),
    [
        (basic, 'Basic realm="cam"'),
        (digest, 'Digest realm="cam", nonce="abc", qop="auth", algorithm=MD5'),
    ],
)
def test_user_and_password_of_the_address_are_used_and_not_shown(
    is_allowed: Callable[[Handler], bool], challenge: str
) -> None:
    def answer(handler: Handler) -> None:
        if is_allowed(handler):
            endless(handler)
            return
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", challenge)
        handler.end_headers()

    with serving(answer) as address:
        secret = address.replace("//", "//b%40b:pa%2Fss%3A1@")
        with open_source(secret) as source:
            taken = source.read()
            assert taken is not None
            assert "pa" not in source.name + taken.source
        for wrong in (address, address.replace("//", "//bob:hunter2@")):
            error = refused(wrong)
            assert "401" in error.problem
            assert "password" in error.remedy
            assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    ("target", "is_followed"),
    [("/other", True), ("file:///etc/passwd", False), ("ftp://127.0.0.1/x", False)],
)
def test_redirects_lead_to_http_only(target: str, is_followed: bool) -> None:
    def answer(handler: Handler) -> None:
        if handler.path == "/other":
            endless(handler)
            return
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    with serving(answer) as address:
        if is_followed:
            with open_source(address) as source:
                assert source.read() is not None
        else:
            assert "not http" in refused(address).problem


def test_credentials_do_not_follow_to_another_host() -> None:
    seen: list[str | None] = []

    def other(handler: Handler) -> None:
        seen.append(handler.headers.get("Authorization"))
        handler.send_response(401)
        handler.send_header("WWW-Authenticate", 'Basic realm="cam"')
        handler.end_headers()

    with serving(other) as elsewhere:

        def answer(handler: Handler) -> None:
            handler.send_response(302)
            handler.send_header("Location", elsewhere)
            handler.end_headers()

        with serving(answer) as address:
            assert "401" in refused(address.replace("//", "//bob:hunter2@")).problem
    assert seen == [None]


@pytest.mark.parametrize(
    "address",
    [
        "http://bob:hunter2/x@127.0.0.1/y",
        "http://[::1/x",
        "http://127.0.0.1:port/hunter2?password=hunter2",
        "http://127.0.0.1:1/\x01?token=hunter2",
        "http://",
        "http://127.0.0.1:1/\u00fc",
    ],
)
def test_a_wrong_address_is_refused_without_showing_a_password(address: str) -> None:
    error = refused(address, timeout_ms=500)
    assert "does not deliver video" in error.problem
    assert "hunter2@" not in str(error)
    assert "=hunter2" not in str(error)


@pytest.mark.parametrize("hello", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 70_000])
def test_what_is_no_web_server_is_refused(hello: bytes) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(4)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    viewer = listener.accept()[0]
                    with viewer, suppress(OSError):
                        viewer.sendall(hello)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        error = refused(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_ms=3000)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE_S)
    assert "does not deliver video" in error.problem
