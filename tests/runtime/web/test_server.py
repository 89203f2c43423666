from __future__ import annotations

import builtins
import contextlib
import http.client
import json
import logging
import os
import re
import socket
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecrack.errors import ConfigError, MissingDependencyError, OutputError
from edgecrack.runtime.telemetry.stats import SourceHealth
from edgecrack.runtime.web import uvicorn_server
from edgecrack.runtime.web.config import ServeConfig
from edgecrack.runtime.web.page_state import Broadcast
from edgecrack.runtime.web.server import LiveServer
from edgecrack.runtime.web.status import Shown
from tests.runtime.fakes import stream_threads
from tests.runtime.web.rig import Feed, Rig, client
from tests.runtime.web.sockets import mute_viewer, viewer
from tests.waiting import PATIENCE_S, wait_until

STATIC = (
    "", "page.css", "page.js", "picture.js", "link.js", "findings.js", "format.js", "icon.svg"
)  # fmt: skip


def test_the_page_and_its_files_need_nothing_from_elsewhere() -> None:
    with Rig().server() as server, client(server) as http:
        for name in STATIC:
            answer = http.get(name)
            assert answer.status_code == 200
            text = answer.text.replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", text)
            if name == "":
                # The policy forbids both, so they would do nothing.
                assert "style=" not in text
                assert not re.search(r"<script(?! type=\"module\" src=)| on[a-z]+=", text)


def test_status_says_everything() -> None:
    rig = Rig()
    rig.show_crack(3)
    rig.events.emit("source.lost", "gone", "warning")
    with rig.server() as server, client(server) as http:
        status = http.get("api/status").json()
        assert status["about"]["source"] == "test camera"
        assert status["stats"]["frames"] == 1
        assert status["machine"]["threads"] > 0
        assert status["recording"] == asdict(rig.recorder.status())
        assert status["picture"]["age_ms"] >= 0
        assert status["findings"]["count"] == 1
        assert status["events"]["count"] == 1
        assert status["saves_snapshots"] is False
        events = http.get("api/events").json()["events"]
        assert [event["kind"] for event in events] == ["source.lost"]


def test_findings_and_their_thumbnails() -> None:
    rig = Rig()
    rig.show_crack(7)
    with rig.server() as server, client(server) as http:
        answer = http.get("api/findings").json()
        assert answer["count"] == 1
        assert answer["findings"][0]["id"] == 1
        picture = http.get("api/findings/1.jpg")
        assert picture.headers["content-type"] == "image/jpeg"
        decoded = cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        for missing in ("2", "0", "x", "-1", "1.5", "9" * 400):
            assert http.get(f"api/findings/{missing}.jpg").status_code == 404


def test_switches_reach_the_stream(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with rig.server() as server, client(server) as http:
        assert http.post("api/threshold", json={"threshold": 0.4}).json()["threshold"] == 0.4
        assert rig.controls.threshold == 0.4
        assert http.post("api/pause", json={}).json()["paused"] is True
        assert rig.controls.paused
        assert http.post("api/resume", json={}).json()["paused"] is False
        assert http.post("api/recording", json={"active": True}).json()["recording"]["active"]
        assert rig.recorder.active
        assert not http.post("api/recording", json={"active": False}).json()["recording"]["active"]
        assert rig.events.counts() == {
            "threshold.changed": 1, "stream.paused": 1, "stream.resumed": 1
        }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("threshold", b'{"threshold": 0}', 400),
        ("threshold", b'{"threshold": 1}', 400),
        ("threshold", b'{"threshold": NaN}', 400),
        ("threshold", b'{"threshold": ' + b"9" * 400 + b"}", 400),
        ("threshold", b"[" * 4000, 400),
        ("threshold", b'{"threshold": true}', 400),
        ("threshold", b'{"threshold": "0.4"}', 400),
        ("threshold", b'{"threshold": null}', 400),
        ("threshold", b"{}", 400),
        ("threshold", b"", 400),
        ("threshold", b"[]", 400),
        ("threshold", b"{", 400),
        ("threshold", b"\xff", 400),
        ("threshold", b'{"threshold": 0.4, "x": "' + b"x" * 5000 + b'"}', 413),
        ("recording", b'{"active": 1}', 400),
        ("recording", b"{}", 400),
        ("pause", b"null", 400),
    ],
)
def test_wrong_requests_are_refused_in_a_sentence(path: str, body: bytes, status: int) -> None:
    rig = Rig()
    headers = {"Content-Type": "application/json"}
    with rig.server() as server, client(server) as http:
        answer = http.post(f"api/{path}", content=body, headers=headers)
        assert answer.status_code == status
        assert len(answer.json()["error"]) > 10
        assert rig.controls.threshold == 0.5
        assert not rig.controls.paused
        assert not rig.recorder.active


def test_a_stream_that_records_nothing_says_so() -> None:
    rig = Rig()
    rig.controls.recorder = None
    with rig.server() as server, client(server) as http:
        answer = http.post("api/recording", json={"active": True})
        assert answer.status_code == 409
        assert "--record FILE" in answer.json()["error"]
        assert http.get("api/status").json()["recording"] is None


def test_snapshots_are_written_by_the_stream_and_answered_with(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with rig.server() as server, client(server) as http:
        assert http.post("api/snapshot", json={}).status_code == 409
        rig.show_bar(5)
        answer = http.post("api/snapshot", json={})
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["content-disposition"] == 'attachment; filename="snapshot_1.jpg"'
        assert answer.content == (tmp_path / "snapshot 1.jpg").read_bytes()


def test_without_a_folder_a_snapshot_is_only_shown() -> None:
    rig = Rig()
    with rig.server() as server, client(server) as http:
        assert http.post("api/snapshot", json={}).status_code == 409
        rig.show_bar(5)
        assert http.post("api/snapshot", json={}).content.startswith(b"\xff\xd8")


def test_a_disk_that_fails_is_told_to_whoever_asked(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.show_bar(0)

    def fail() -> None:
        raise OutputError("cannot write a.jpg: disk full", "free some space")

    rig.recorder.start = fail  # type: ignore[method-assign]
    with rig.server() as server, client(server) as http:
        answer = http.post("api/recording", json={"active": True})
        assert answer.status_code == 500
        assert answer.json()["error"] == "cannot write a.jpg: disk full; free some space."


def test_a_defect_is_logged_and_the_page_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig()

    def fail(count: int = 0) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(rig.book, "recent", fail)
    with rig.server() as server, client(server) as http:
        answer = http.get("api/findings")
        assert answer.status_code == 500
        assert "internal error" in answer.json()["error"]
        assert http.get("api/events").status_code == 200
    assert "ZeroDivisionError: a defect" in caplog.text


@pytest.mark.parametrize(
    ("state", "status"), [("live", 200), ("lost", 503), ("connecting", 503), ("ended", 503)]
)
def test_health_says_only_whether_frames_come(state: Any, status: int) -> None:
    rig = Rig()
    rig.stats.set_state(SourceHealth(state=state), "nothing", False)
    with rig.server(token="correct-horse") as server, client(server) as http:
        answer = http.get("healthz")
        assert answer.status_code == status
        assert answer.text == ("ok\n" if status == 200 else "no frames\n")


def raw_get(server: LiveServer, target: str) -> tuple[int, bytes]:
    """The target as it is: clients mend `..` on their own."""
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    ) as connection:
        connection.putrequest("GET", target, skip_host=True)
        connection.putheader("Host", f"127.0.0.1:{server.port}")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize(
    "target",
    [
        "/static/../../etc/passwd", "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd", "//etc/passwd", "/page.css/../../server.py",
        "/page.css%00.py", "/server.py", "/static/page.css", "/static/login.html", "/login.html",
        "/index.html", "/api/findings/..%2f..%2fetc%2fpasswd.jpg", "/api/findings/", "/api",
        "/page.css/", "/%c3%a9", "/%ff", "/etc/passwd?x=/page.css",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(target: str) -> None:
    with Rig().server() as server:
        status, body = raw_get(server, target)
        assert status in (400, 404)
        assert b"root:" not in body
        assert b"import" not in body


def test_other_methods_are_refused() -> None:
    with Rig().server() as server, client(server) as http:
        assert http.get("api/pause").status_code == 405
        assert http.post("api/status", json={}).status_code == 405
        assert http.get("api/live").status_code == 404


def test_a_taken_port_is_an_error_at_once() -> None:
    with Rig().server() as server:
        second = Rig().server(port=server.port)
        with pytest.raises(ConfigError, match=r"cannot serve on 127.*in use.*another port"):
            second.start()
        second.close()
        with client(server) as http:
            assert http.get("healthz").status_code == 200


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_a_foreign_address_is_an_error_at_once(host: str) -> None:
    server = LiveServer(ServeConfig(host, 0, "correct-horse"), Rig().context)
    with pytest.raises(ConfigError, match="cannot serve on") as caught:
        server.start()
    assert "correct-horse" not in str(caught.value)
    server.close()
    assert not stream_threads()


def test_a_port_for_root_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ConfigError, match="give a port from 1024 on"):
        Rig().server(port=80).start()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_uvicorn(name: str, *arguments: Any, **settings: Any) -> Any:
        if name == "uvicorn":
            raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
        return real_import(name, *arguments, **settings)

    import importlib

    monkeypatch.setattr(
        importlib, "import_module", lambda name: without_uvicorn(name, fromlist=["x"])
    )
    with pytest.raises(MissingDependencyError, match=r"the live page needs uvicorn.*\[serve\]"):
        Rig().server().start()


def test_closing_leaves_nothing_behind_with_viewers_of_all_kinds() -> None:
    rig = Rig()
    server = rig.server()
    server.start()
    port = server.port
    with (
        viewer(server) as page,
        mute_viewer(server),
        client(server) as one,
        client(server) as two,
        socket.create_connection(("127.0.0.1", port), 5) as silent,
        Feed(rig),
    ):
        one.get("api/status").raise_for_status()  # kept alive
        with two.stream("GET", "stream.mjpg") as stream:
            next(stream.iter_bytes())
            silent.sendall(b"GET / HTTP/1.1\r\n")  # and never ends
            page.picture()
            closing = threading.Thread(target=server.close)
            closing.start()
            closing.join(PATIENCE_S)
            assert not closing.is_alive()
            with contextlib.suppress(Exception):
                stream.read()
    server.close()
    assert not stream_threads()
    with Rig().server(port=port):
        pass


def test_a_page_is_served_again_on_the_same_port() -> None:
    rig = Rig()
    with rig.server() as server:
        port = server.port
        with client(server) as http:
            assert http.get("").status_code == 200
    with rig.server(port=port) as server, client(server) as http:
        assert http.get("").status_code == 200


def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn_server, "IDLE_S", 1.0)
    rig = Rig()
    with rig.server() as server, viewer(server) as page:
        for start in (b"", b"GET / HTTP/1.1\r\nHost: "):
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as idle:
                idle.sendall(start)
                with contextlib.suppress(ConnectionResetError):
                    assert idle.recv(1000) == b""
        page.status()  # a viewer that only waits for a picture is not idle
        assert server.viewers == 1


def test_nothing_is_logged_for_ordinary_and_broken_requests(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig()
    rig.show_bar(0)
    with rig.server(token="correct-horse") as server, client(server) as http:
        http.get("?token=correct-horse")
        http.get("nothing")
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as raw:
            raw.sendall(b"\x16\x03\x01 no http\r\n\r\n")
            raw.recv(100)
        with contextlib.suppress(Exception), viewer(server):
            pass
    ours = [record for record in caplog.records if not record.name.startswith("http")]
    assert not ours
    assert capfd.readouterr().err == ""


def test_a_page_that_breaks_down_says_so_and_the_stream_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_down(self: Broadcast[Any], shown: Shown) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Broadcast, "_make_one", break_down)
    rig = Rig()
    with rig.server() as server, viewer(server) as page:
        rig.show_bar(0)
        assert page.closed()[0] == 1001
        wait_until(lambda: rig.events.counts().get("page.failed"))
        rig.show_bar(1)
        wait_until(lambda: not stream_threads())
    assert "ZeroDivisionError: a defect" in caplog.text


def test_a_page_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(self: uvicorn_server.PageServer, *arguments: Any) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(uvicorn_server.PageServer, "__init__", break_down)
    with pytest.raises(ConfigError, match=r"did not start on http.*a defect"):
        Rig().server().start()
    wait_until(lambda: not stream_threads())


def test_the_address_shown_holds_no_token() -> None:
    with Rig().server(token="correct-horse") as server:
        assert server.url == f"http://127.0.0.1:{server.port}/"
    everywhere = LiveServer(ServeConfig("0.0.0.0", 0, "correct-horse"), Rig().context)
    with everywhere as server:
        assert server.url == f"http://127.0.0.1:{server.port}/"
        with client(server) as http:
            assert http.get("healthz").status_code == 200


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 on this machine")  # noqa: PTH110
def test_ipv6() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("no IPv6 loopback on this machine")
    with LiveServer(ServeConfig("::1", 0), Rig().context) as server, client(server) as http:
        assert server.url.startswith("http://[::1]:")
        assert http.get("api/status").status_code == 200
        assert json.loads(http.get("api/findings").text)["count"] == 0
