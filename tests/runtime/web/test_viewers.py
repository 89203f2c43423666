from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from edgecrack.errors import OutputError
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.web import page_state as desk_module
from edgecrack.runtime.web.config import Patience
from edgecrack.runtime.web.page_state import page_picture
from edgecrack.runtime.web.viewers import CLOSE_FULL, CLOSE_GOING, CLOSE_SLOW
from tests.runtime.fakes import frame, result_of
from tests.runtime.web.rig import Feed, Rig, client
from tests.runtime.web.sockets import acknowledgement, mute_viewer, viewer
from tests.waiting import PATIENCE_S, wait_until

SHORT = Patience(send_s=3.0, show_s=3.0, stale_s=0.2)


def noise_result(index: int) -> FrameResult:
    """A picture of some megabytes, which no socket buffer takes."""
    generator = np.random.default_rng(index)
    return result_of(frame(index, np.asarray(generator.integers(0, 256, (900, 1280, 3)), np.uint8)))


def test_a_viewer_gets_the_newest_when_it_is_ready() -> None:
    rig = Rig()
    with rig.server() as server, viewer(server) as page:
        rig.show_bar(0)
        first = page.picture()
        assert first["frame"] == 0
        for index in range(1, 20):
            rig.show_bar(index)
        page.shown(first["number"])
        later = page.picture()
        assert later["frame"] == 19
        assert server.pictures_made == 2


def test_nothing_is_encoded_while_nobody_watches() -> None:
    rig = Rig()
    with rig.server() as server:
        for index in range(20):
            rig.show_bar(index)
        with client(server) as http:
            http.get("api/status").raise_for_status()
        assert server.pictures_made == 0


def test_each_picture_is_made_once_for_ten_viewers() -> None:
    rig = Rig()
    with ExitStack() as stack:
        server = stack.enter_context(rig.server())
        pages = [stack.enter_context(viewer(server)) for _ in range(10)]
        for index in range(12):
            rig.show_bar(index)
            headers = [page.picture() for page in pages]
            assert {header["frame"] for header in headers} == {index}
            for page, header in zip(pages, headers, strict=True):
                page.shown(header["number"])
        assert server.pictures_made == 12
        assert server.viewers == 10


def test_ten_viewers_of_a_running_stream_share_its_pictures() -> None:
    rig = Rig()
    with ExitStack() as stack:
        server = stack.enter_context(rig.server(max_fps=20))
        feed = stack.enter_context(Feed(rig))
        pages = [stack.enter_context(viewer(server)) for _ in range(10)]
        seen: list[list[int]] = [[] for _ in pages]

        def watch(place: int) -> None:
            for _ in range(10):
                header = pages[place].picture()
                seen[place].append(header["number"])
                pages[place].shown(header["number"])

        threads = [threading.Thread(target=watch, args=(place,)) for place in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert all(len(numbers) == 10 and numbers == sorted(set(numbers)) for numbers in seen)
        different = {number for numbers in seen for number in numbers}
        assert server.pictures_made <= len(different) + 2
        assert feed.shown >= 10


def test_the_stream_waits_for_no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, started = threading.Event(), threading.Event()

    def stuck(result: FrameResult) -> Any:
        started.set()
        assert go_on.wait(PATIENCE_S)
        return page_picture(result)

    monkeypatch.setattr(desk_module, "page_picture", stuck)
    rig = Rig()
    with rig.server() as server, viewer(server) as page:
        rig.show_bar(0)
        assert started.wait(PATIENCE_S)
        for index in range(1, 500):
            rig.latest.write(result_of(frame(index)))
        newest = rig.latest.newest()
        assert newest is not None
        assert newest.number == 500
        go_on.set()
        first = page.picture()
        page.shown(first["number"])
        assert (first["number"], page.picture()["number"]) == (1, 500)
        assert server.pictures_made == 2


def test_a_picture_that_cannot_be_made_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_at_first(result: FrameResult) -> Any:
        if result.frame.index < 5:
            raise OutputError("cannot be encoded", "mend it")
        return page_picture(result)

    monkeypatch.setattr(desk_module, "page_picture", fail_at_first)
    rig = Rig()
    with rig.server() as server, viewer(server) as page:
        wait_until(lambda: server.viewers == 1)
        for index in range(5):
            rig.show_bar(index)
        wait_until(lambda: "cannot show frame" in caplog.text)
        rig.show_bar(5)
        assert page.picture()["frame"] == 5
    assert caplog.text.count("cannot show frame") == 1


def test_a_viewer_that_says_nothing_gets_no_more_and_holds_up_nobody() -> None:
    rig = Rig()
    with rig.server(patience=SHORT) as server, viewer(server) as idle, Feed(rig):
        idle.picture()
        with viewer(server) as page:
            for _ in range(20):
                page.shown(page.picture()["number"])
            assert idle.closed() == (CLOSE_SLOW, "this viewer did not keep up")
            for _ in range(5):
                page.shown(page.picture()["number"])
            assert server.viewers == 1


def test_a_viewer_that_reads_nothing_is_dropped() -> None:
    rig = Rig()
    with rig.server(patience=SHORT) as server, mute_viewer(server) as raw, viewer(server) as page:
        wait_until(lambda: server.viewers == 2)
        for index in range(8):
            rig.show(noise_result(index))
            header = page.picture()
            assert header["frame"] == index
            page.shown(header["number"])
            # It says that it has shown all, but takes nothing from its socket.
            raw.sendall(acknowledgement(header["number"]))
            if server.viewers == 1:
                break
        wait_until(lambda: server.viewers == 1, "the viewer that reads nothing was kept")


def test_the_viewer_too_many_is_told_so() -> None:
    rig = Rig()
    with rig.server(max_viewers=2) as server, viewer(server) as one, viewer(server):
        one.status()
        wait_until(lambda: server.viewers == 2)
        with viewer(server) as third:
            code, reason = third.closed()
        assert code == CLOSE_FULL
        assert reason.startswith("2 viewers watch already")
        with client(server) as http:
            assert http.get("stream.mjpg").status_code == 503
        rig.show_bar(0)
        assert one.picture()["frame"] == 0
    with rig.server(max_viewers=1) as server:
        for _ in range(3):  # a seat is free again when its viewer has left
            with viewer(server) as page:
                page.picture()
            wait_until(lambda: server.viewers == 0)


@pytest.mark.parametrize("message", ["no json", "[]", '{"shown": "x"}', b"\x00", "1" * 5000])
def test_strange_messages_do_no_harm(message: str | bytes) -> None:
    rig = Rig()
    rig.show_bar(0)
    with rig.server() as server:
        with viewer(server) as page:
            page.picture()
            page.connection.send(message)
            if message != '{"shown": "x"}':
                assert page.closed()[0] in (1008, 1009)
        wait_until(lambda: server.viewers == 0)
        with viewer(server) as page:
            assert page.picture()["frame"] == 0


@pytest.mark.usefixtures("frequent_states")
def test_the_state_comes_by_itself_and_at_once_after_a_switch() -> None:
    rig = Rig()
    with rig.server() as server, viewer(server) as page, client(server) as http:
        assert page.status()["threshold"] == 0.5
        http.post("api/threshold", json={"threshold": 0.25}).raise_for_status()
        status = page.status()
        while status["threshold"] != 0.25:  # those from before the switch
            status = page.status()
        assert status["viewers"] == {"count": 1, "limit": 16}
        assert status["picture"]["age_ms"] is None


def test_the_end_sends_viewers_away() -> None:
    rig = Rig()
    server = rig.server()
    server.start()
    try:
        with viewer(server) as page:
            page.status()
            server.close()
            assert page.closed() == (CLOSE_GOING, "the robot's program has ended")
    finally:
        server.close()


def test_mjpeg_for_players() -> None:
    rig = Rig()
    with (
        rig.server(patience=Patience(stale_s=PATIENCE_S)) as server,
        client(server) as http,
        http.stream("GET", "stream.mjpg") as answer,
    ):
        assert answer.headers["content-type"].startswith("multipart/x-mixed-replace; boundary=")
        assert "content-length" not in answer.headers
        parts = answer.iter_bytes()
        got = b""
        for index in range(3):
            rig.show_bar(index)
            wait_until(lambda number=index: server.pictures_made == number + 1)  # type: ignore[misc]
            while got.count(b"\xff\xd9\r\n") <= index:
                got += next(parts)
        assert got.count(b"--edgecrack-picture\r\nContent-Type: image/jpeg\r\n") == 3
        assert server.viewers == 1
    wait_until(lambda: server.viewers == 0)


def test_what_is_too_old_is_sent_to_nobody() -> None:
    rig = Rig(max_age_ms=1000)
    with rig.server(patience=Patience()) as server, viewer(server) as late:
        with Feed(rig):
            number = late.picture()["number"]
        wait_until(lambda: rig.latest.newest() is None)
        newest = rig.stats.snapshot().frames
        late.shown(number)
        with viewer(server) as page, client(server) as http:
            assert page.status()["picture"]["age_ms"] is None
            with http.stream("GET", "stream.mjpg") as answer:
                next(answer.iter_bytes())  # a dark picture
            with Feed(rig):
                assert page.picture()["number"] > newest
                assert late.picture()["number"] > newest


def test_players_see_something_before_the_first_picture() -> None:
    with (
        Rig().server(patience=SHORT) as server,
        client(server) as http,
        http.stream("GET", "stream.mjpg") as answer,
    ):
        assert b"image/jpeg" in next(answer.iter_bytes())


def test_players_are_shown_that_a_picture_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    rig.show_bar(0)
    monkeypatch.setattr(type(rig.latest), "stale_after_ms", 50.0)
    with (
        rig.server(patience=SHORT) as server,
        client(server) as http,
        http.stream("GET", "stream.mjpg") as answer,
    ):
        got = b""
        for part in answer.iter_bytes():
            got += part
            if got.count(b"\xff\xd9\r\n") >= 3:  # the picture, then two that say it is old
                break
        assert server.pictures_made == 1
