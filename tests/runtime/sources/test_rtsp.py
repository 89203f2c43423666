"""A real RTSP camera: opened, read, frozen, switched off, and on again with another size."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress

import pytest

from edgecrack.errors import SourceError
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.network_stream import SenderClock
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from tests.runtime.rtsp import BITS, RtspServer, age_ms, read_numbers
from tests.waiting import PATIENCE_S

PATIENT = SourceOptions(timeout_ms=int(1000 * PATIENCE_S))


def read_until_error(source: Source) -> SourceError:
    while True:
        try:
            source.read()
        except SourceError as error:
            return error


def test_frames_are_new_from_the_first_on_and_in_order() -> None:
    with RtspServer(rate_hz=25) as server:
        server.start(320, 240)
        with open_source(server.url, PATIENT) as source:
            assert (source.live, source.frame_count) == (True, None)
            frames = [source.read()]
            before = source.status.passed_over
            frames += [source.read() for _ in range(19)]
            passed_over = source.status.passed_over - before
            paused_ns = time.monotonic_ns()
            threading.Event().wait(1.0)
            resumed = source.read()
    taken = [one for one in frames if one is not None]
    assert [one.index for one in taken] == list(range(20))
    assert {one.hw for one in taken} == {(240, 320)}
    numbers = [read_numbers(one.image)[0] for one in taken]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] - numbers[0] + 1 == 20 + passed_over
    # A second's frames were waiting; a backlog would have given one from before the pause.
    assert resumed is not None
    assert resumed.monotonic_ns - 10**6 * age_ms(resumed) > paused_ns
    assert resumed.index == 20


@pytest.mark.slow
def test_who_is_slower_than_the_camera_does_not_fall_behind() -> None:
    with RtspServer(rate_hz=25) as server:
        server.start(320, 240)
        with open_source(server.url, PATIENT) as source:
            ages, numbers = [], []
            for _ in range(20):
                taken = source.read()
                assert taken is not None
                ages.append(age_ms(taken))
                numbers.append(read_numbers(taken.image)[0])
                threading.Event().wait(0.2)  # five frame times; fewer where the camera is slow
            passed_over = source.status.passed_over
    # In 20 reads a backlog would grow by 80 pictures, which is 3200 ms.
    assert sorted(ages[-9:])[4] < sorted(ages[:9])[4] + 1000
    left_out = numbers[-1] - numbers[0] + 1 - len(numbers)
    assert 20 <= left_out <= passed_over


def test_a_camera_that_freezes_is_an_error_within_the_timeout() -> None:
    with RtspServer() as server:
        server.start()
        with open_source(server.url, SourceOptions(timeout_ms=4000)) as source:
            source.read()
            server.freeze()
            error = read_until_error(source)  # otherwise it would not return
            server.thaw()
    assert "stopped delivering" in error.problem


def test_a_camera_comes_back_on_the_same_port_with_another_size() -> None:
    options = PATIENT
    with RtspServer() as server:
        sizes = []
        for width, height in ((320, 240), (640, 360), (160, 120)):
            server.start(width, height)
            address = server.url
            with open_source(address, options) as source:
                taken = source.read()
                assert taken is not None
                sizes.append(taken.hw)
                server.stop()
                read_until_error(source)
            with pytest.raises(SourceError, match="does not deliver video"):
                open_source(address, options)
    assert sizes == [(240, 320), (360, 640), (120, 160)]


def test_a_picture_larger_than_full_hd_is_read() -> None:
    with RtspServer(rate_hz=10) as server:
        server.start(2560, 1440)
        with open_source(server.url, PATIENT) as source:
            taken = source.read()
    assert taken is not None
    assert taken.hw == (1440, 2560)


def test_the_cameras_own_clock_dates_the_pictures_once_it_is_sent() -> None:
    with RtspServer(rate_hz=25) as server:
        server.start(320, 240)
        with open_source(server.url, PATIENT) as source:
            taken = source.read()
            assert taken is not None
            assert (taken.time_source, taken.capture_time_ns) == ("arrival", taken.read_time_ns)
            deadline_s = time.monotonic() + PATIENCE_S
            while taken.time_source != "sender" and time.monotonic() < deadline_s:
                taken = source.read()
                assert taken is not None
    assert taken.time_source == "sender"
    assert taken.capture_time_ns is not None
    assert taken.capture_time_ns <= taken.read_time_ns
    # The picture tells when it was made: the clock is right, and counts nothing twice.
    off_ms = (age_ms(taken) + 1000) % (1 << BITS) - 1000
    assert abs(off_ms) < 500


def test_a_clock_that_cannot_be_right_is_not_believed() -> None:
    arrival_ns = 1_700_000_000 * 10**9
    for wrong_ns in (0, arrival_ns - 3600 * 10**9, arrival_ns + 10**9):
        clock = SenderClock()
        assert clock.taken_ns(wrong_ns, arrival_ns) is None
        assert clock.taken_ns(arrival_ns - 10**6, arrival_ns) is None  # nor ever after
    clock = SenderClock()
    assert clock.taken_ns(None, arrival_ns) is None
    assert clock.taken_ns(arrival_ns - 80 * 10**6, arrival_ns) == arrival_ns - 80 * 10**6
    # Two clocks that are both set differ a little: nothing is taken after it has arrived.
    assert clock.taken_ns(arrival_ns + 10**6, arrival_ns) == arrival_ns


@pytest.mark.parametrize(
    ("variable", "options"),
    [
        ("EDGECRACK_FFMPEG_OPTIONS", "rtsp_transport=udp"),
        ("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;udp"),
    ],
)
def test_the_users_own_options_of_ffmpeg_stay(
    variable: str, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RtspServer() as server:
        server.start()
        monkeypatch.delenv(variable, raising=False)
        with open_source(server.url, PATIENT) as source:
            assert source.read() is not None
        assert variable not in os.environ
        monkeypatch.setenv(variable, options)
        with open_source(server.url, PATIENT) as source:
            assert source.read() is not None
        assert os.environ[variable] == options


@pytest.mark.parametrize("sent", [b"x", b"RTSP/1.0 200 OK\r\n" * 500, b"$\x00\x00\x00" * 5000])
@pytest.mark.parametrize("begins", [b"", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nX: "])
def test_what_drips_or_floods_is_an_error_within_the_timeout(begins: bytes, sent: bytes) -> None:
    ended = threading.Event()

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            connection, _ = listening.accept()
            with connection:
                connection.sendall(begins)
                while not ended.wait(0.02):
                    connection.sendall(sent)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        try:
            with pytest.raises(SourceError, match="does not deliver video"):  # else it hangs
                open_source(
                    f"rtsp://127.0.0.1:{listening.getsockname()[1]}/live",
                    SourceOptions(timeout_ms=1000),
                )
        finally:
            ended.set()
    thread.join(PATIENCE_S)
