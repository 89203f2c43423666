"""Real sockets: an MJPEG server, a camera that hangs, ports where nobody listens."""

from __future__ import annotations

import gc
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecrack.errors import SourceError
from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.http_connection import _TimedBytes
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from tests.runtime.fakes import (
    HW,
    BrightDetector,
    ListSink,
    picture,
    stream_threads,
    write_video,
)
from tests.runtime.ffmpeg_program import make_video, require_ffmpeg
from tests.waiting import PATIENCE_S

# What FFmpeg waits for where nobody tells it.
FFMPEG_PATIENCE_S = 30


PAGES = {
    "/": ("text/html; charset=utf-8", b"<!doctype html><title>Camera</title>"),
    "/api": ("application/json", b"{}"),
    "/snapshot": ("image/jpeg", b"\xff\xd8"),
    "/odd": ("application/octet-stream", b"<!doctype html><title>Camera</title>" * 50),
}


class Camera(http.server.ThreadingHTTPServer):
    """Serves MJPEG at /live; /short ends after 8 frames, and /hangs falls silent after them."""

    daemon_threads = True
    frames = 1000  # ten seconds and more, so that a busy machine sees enough of them
    end = threading.Event()
    recording = b""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Camera

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/recording.avi":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.recording)))
            self.end_headers()
            self.wfile.write(self.server.recording)
            return
        if self.path in PAGES:
            kind, content = PAGES[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)
            return
        if not self.path.startswith(("/live", "/short", "/hangs")):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with suppress(OSError):  # the viewer may leave
            self._send_frames()

    def _send_frames(self) -> None:
        for index in range(self.server.frames):
            if self.path == "/hangs" and index == 8:
                self.server.end.wait(PATIENCE_S)
                return
            if self.path == "/short" and index == 8:
                return
            data = cv2.imencode(".jpg", picture(index))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")
            self.server.end.wait(0.01)


@contextmanager
def camera(recording: bytes = b"") -> Iterator[str]:
    server = Camera(("127.0.0.1", 0), Handler)
    server.end = threading.Event()
    server.recording = recording
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://bob:hunter2@127.0.0.1:{server.server_port}"
    finally:
        server.end.set()
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def read_until_error(source: Source) -> SourceError | None:
    for _ in range(1000):
        try:
            source.read()
        except SourceError as error:
            return error
    return None


def test_an_mjpeg_stream_is_live_and_its_frames_come_in_order() -> None:
    with camera() as address, open_source(f"{address}/live?token=hunter2") as source:
        assert (source.live, source.frame_count) == (True, None)
        frames = [source.read() for _ in range(10)]
    taken = [one for one in frames if one is not None]
    assert [one.index for one in taken] == list(range(10))
    assert all(one.live and one.image.shape == (*HW, 3) for one in taken)
    lengths = [int((one.image[12, :, 1] > 128).sum()) for one in taken]
    assert lengths == sorted(lengths)
    assert "hunter2" not in source.name + taken[0].source


def test_a_closed_stream_leaves_no_buffer_to_the_collector() -> None:
    def buffers() -> int:
        # Asking proxies of other libraries for their class makes some of them warn.
        return sum(type(each) is _TimedBytes for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        with camera() as url, open_source(f"{url}/live") as source:
            assert source.read() is not None
            assert buffers() == 1
        assert buffers() == 0
    finally:
        gc.enable()


def test_a_stream_through_the_pipeline(tmp_path: Path) -> None:
    with camera() as address, open_source(f"{address}/live") as source:
        sink = ListSink()
        summary = run_pipeline(source, BrightDetector(), [sink], PipelineConfig(max_frames=5))
    assert summary.stats.frames == 5 == len(sink.results)
    assert "hunter2" not in str(summary.to_dict())
    assert stream_threads() == []


@pytest.mark.parametrize("path", ["short", "hangs"])
def test_a_stream_that_stops_is_an_error_within_the_timeout_and_can_be_opened_again(
    path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with camera() as address:
        for _ in range(2):
            started_s = time.monotonic()
            with open_source(f"{address}/{path}", SourceOptions(timeout_ms=2000)) as source:
                caught = read_until_error(source)
            assert time.monotonic() - started_s < FFMPEG_PATIENCE_S
            assert "stopped delivering" in str(caught)
            assert "hunter2" not in str(caught)
    assert capfd.readouterr().err == ""


def test_a_recording_over_http_is_not_live(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", [picture(index) for index in range(9)], "MJPG")
    count = 0
    with camera(path.read_bytes()) as address, open_source(f"{address}/recording.avi") as source:
        assert (source.live, source.frame_count) == (False, 9)
        while source.read() is not None:
            count += 1
    assert count == 9


def test_a_page_that_is_no_video_is_refused() -> None:
    with camera() as address, pytest.raises(SourceError, match="does not deliver video"):
        open_source(f"{address}/nothing", SourceOptions(timeout_ms=1000))


@pytest.mark.parametrize(
    ("path", "what"),
    [("/", "web page"), ("/api", "data"), ("/snapshot", "single picture"), ("/odd", "web page")],
)
def test_what_answers_without_video_is_said(path: str, what: str) -> None:
    with camera() as address, pytest.raises(SourceError, match=what) as caught:
        open_source(f"{address}{path}", SourceOptions(timeout_ms=3000))
    assert f"http://***@{address.partition('@')[2]}{path}" in caught.value.problem
    assert "hunter2" not in str(caught.value)


def test_a_number_sign_in_an_address_is_named_in_the_remedy() -> None:
    with pytest.raises(SourceError, match="does not deliver video") as caught:
        open_source("rtsp://bob:hunter#2@127.0.0.1:9/live", SourceOptions(timeout_ms=700))
    assert "%23" in caught.value.remedy
    assert "hunter" not in str(caught.value)


def test_a_delay_dates_pictures_back_that_have_no_time_of_their_own() -> None:
    with camera() as address, open_source(f"{address}/live") as plain:
        taken = plain.read()
    assert taken is not None
    assert (taken.time_source, taken.capture_time_ns) == ("arrival", taken.read_time_ns)
    late = SourceOptions(capture_delay_ms=250)
    with camera() as address, open_source(f"{address}/live", late) as delayed:
        taken = delayed.read()
        assert delayed.live
    assert taken is not None
    assert taken.capture_time_ns == taken.read_time_ns - 250_000_000
    assert time.monotonic_ns() - taken.monotonic_ns >= 250_000_000


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
@pytest.mark.parametrize("answers", [False, True])
def test_nobody_or_a_silent_camera_is_an_error_within_the_timeout(
    scheme: str, answers: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(4)
        port = silent.getsockname()[1] if answers else closed_port()
        started_s = time.monotonic()
        with pytest.raises(SourceError) as caught:
            open_source(
                f"{scheme}://bob:hunter2@127.0.0.1:{port}/live", SourceOptions(timeout_ms=700)
            )
        assert time.monotonic() - started_s < FFMPEG_PATIENCE_S
    assert f"{scheme}://***@127.0.0.1:{port}/live" in caught.value.problem
    assert "hunter2" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_frames_of_a_stream_are_the_served_pictures() -> None:
    with camera() as address, open_source(f"{address}/live") as source:
        taken = source.read()
    assert taken is not None
    assert min(np.abs(taken.image.astype(int) - picture(n)).mean() for n in range(20)) < 5


class FilmServer(http.server.BaseHTTPRequestHandler):
    """Serves one film: /plain without a length, /ranges with parts as they are asked for."""

    film = b""
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        with suppress(OSError):  # the viewer may leave
            self._answer()

    def _answer(self) -> None:
        if self.path == "/plain":
            self.close_connection = True
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(self.film)
            return
        start, _, end = self.headers.get("Range", "bytes=0-").partition("=")[2].partition("-")
        part = self.film[int(start) : int(end or len(self.film) - 1) + 1]
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        last = int(start) + len(part) - 1
        self.send_header("Content-Range", f"bytes {start}-{last}/{len(self.film)}")
        self.end_headers()
        self.wfile.write(part)


@contextmanager
def film(content: bytes) -> Iterator[str]:
    handler = type("Handler", (FilmServer,), {"film": content})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)


FILM = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25", "-bf", "0")
PATIENT = SourceOptions(timeout_ms=int(1000 * PATIENCE_S))


def test_what_has_no_length_and_ends_gives_its_newest_frame_first(tmp_path: Path) -> None:
    """It may be a camera; its old frames are passed over, and none is called damaged."""
    require_ffmpeg("libx264")
    content = make_video(tmp_path / "film.ts", *FILM, seconds=3).read_bytes()
    with film(content) as address, open_source(f"{address}/plain", PATIENT) as source:
        assert source.live
        assert source.read() is not None
        error = read_until_error(source)
        assert source.corrupt_frames == 0
    assert "stopped delivering" in str(error)


def test_a_film_that_knows_how_long_it_is_is_read_whole_without_a_length(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    content = make_video(tmp_path / "film.flv", *FILM, seconds=3).read_bytes()
    with film(content) as address, open_source(f"{address}/plain", PATIENT) as source:
        assert not source.live
        count = 0
        while source.read() is not None:
            count += 1
        assert (count, source.corrupt_frames) == (75, 0)
        assert not source.status.is_cut_short


def test_a_film_whose_index_is_at_its_end_is_read_whole_by_parts(tmp_path: Path) -> None:
    require_ffmpeg("libx264")
    options = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25", "-bf", "2")
    content = make_video(tmp_path / "film.mp4", *options, seconds=4).read_bytes()
    assert content.index(b"moov") > content.index(b"mdat")
    with film(content) as address, open_source(f"{address}/ranges") as source:
        times = []
        while (taken := source.read()) is not None:
            times.append(taken.media_time_ms)
        assert not source.live
        assert not source.status.is_cut_short
    assert times == pytest.approx([40.0 * index for index in range(100)], abs=1)
