"""Attacks on both pages over real sockets: nobody gets in, and nobody locks the operator out."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from edgecrack.runtime.web import access, page_state, viewers
from edgecrack.runtime.web.access import TRIES, TRIES_OF_ALL
from edgecrack.runtime.web.config import ServeConfig
from tests.runtime.web.guarded_pages import (
    BEARER,
    KINDS,
    TOKEN,
    GuardedPage,
    guarded_page,
    reviewed_run,
)
from tests.runtime.web.rig import Feed, Rig
from tests.runtime.web.sockets import mute_viewer, viewer
from tests.waiting import PATIENCE_S, wait_until

PICTURE_OF_ANOTHER_SITE = {
    "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image",
    "Referer": "http://evil.example/", "Accept": "image/avif,image/*",
}  # fmt: skip
FRAME_OF_ANOTHER_SITE = {
    "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe",
}  # fmt: skip
# By plain HTTP to another machine's address a browser says nothing of where it comes from.
SILENT_BROWSER = {"Accept": "image/avif,image/*"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reviewed_run(tmp_path_factory.mktemp("wall"))


def run_for(request: pytest.FixtureRequest) -> Path | None:
    """Made for the review page alone."""
    return request.getfixturevalue("run") if request.param == "review" else None


@pytest.fixture(params=KINDS)
def page(request: pytest.FixtureRequest) -> Iterator[GuardedPage]:
    with guarded_page(request.param, run_for(request), ServeConfig(port=0, token=TOKEN)) as page:
        yield page


@pytest.fixture(params=KINDS)
def open_page(request: pytest.FixtureRequest) -> Iterator[GuardedPage]:
    with guarded_page(request.param, run_for(request), ServeConfig(port=0)) as page:
        yield page


@pytest.fixture(autouse=True)
def no_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "HOLD_S", 0.0)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (PICTURE_OF_ANOTHER_SITE, {403}),
        (FRAME_OF_ANOTHER_SITE, {403}),
        (SILENT_BROWSER, {401, 429}),
    ],
)
def test_a_picture_on_another_site_locks_out_nobody(
    page: GuardedPage, headers: dict[str, str], status: set[int]
) -> None:
    """<img src="http://robot:8080/?token=x">, as often as an evil page likes."""
    with page.client() as operator, page.client(headers=headers) as evil:
        page.sign_in(operator)
        for number in range(4 * TRIES):
            answer = evil.get("", params={"token": f"x{number}"})
            assert answer.status_code in status
            assert "set-cookie" not in answer.headers
        assert operator.get(page.secret).status_code == 200
        # A browser that has no session yet, at the same address.
        with page.client() as another:
            page.sign_in(another)


def test_even_the_right_token_opens_nothing_in_a_picture(page: GuardedPage) -> None:
    with page.client(headers=PICTURE_OF_ANOTHER_SITE) as evil:
        answer = evil.get("", params={"token": TOKEN})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


def test_a_program_with_wrong_tokens_does_not_stop_one_with_the_right_one(
    page: GuardedPage,
) -> None:
    with page.client() as wrong, page.client(headers=BEARER) as right:
        for number in range(3 * TRIES):
            headers = {"Authorization": f"Bearer guess-{number}"}
            answer = wrong.get(page.secret, headers=headers)
            assert answer.status_code == (401 if number < TRIES else 429)
            assert right.get(page.secret).status_code == 200


def test_guesses_from_many_addresses_have_one_limit_that_stops_nobody_else(
    page: GuardedPage,
) -> None:
    def ask(source: str, token: str) -> int:
        with page.connect(source) as raw:
            raw.sendall(
                b"GET /%b HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer %b\r\n"
                b"Connection: close\r\n\r\n" % (page.secret.encode(), page.host, token.encode())
            )
            return int(raw.makefile("rb").readline().split()[1])

    answers = [ask(f"127.0.1.{number + 1}", f"guess-{number}") for number in range(80)]
    assert answers == [401] * TRIES_OF_ALL + [429] * (80 - TRIES_OF_ALL)
    for source in ("127.0.1.1", "127.0.1.200"):
        assert ask(source, TOKEN) == 200


def test_the_session_is_for_this_page_and_for_no_script(page: GuardedPage) -> None:
    with page.client() as http:
        page.sign_in(http)
        name, session = next(iter(http.cookies.items()))
        # Other pages of this host have sessions, too, and a browser gives them to all ports.
        assert name == f"edgecrack_session_{page.server.port}"
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", session)
        again = http.post("login", data={"token": TOKEN})
        cookie = again.headers["set-cookie"].lower()
        assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.split("; "))
        assert "secure" not in cookie  # by plain HTTP a browser would throw it away
        assert http.cookies[name] != session
        behind_proxy = http.post(
            "login", data={"token": TOKEN}, headers={"Origin": "https://127.0.0.1"}
        )
        assert behind_proxy.status_code == 403  # that is another origin than the Host
        headers = {"Origin": "https://robot.example", "Host": "robot.example"}
        behind_proxy = http.post("login", data={"token": TOKEN}, headers=headers)
        assert "secure" in behind_proxy.headers["set-cookie"].lower()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "x@127.0.0.1", "a b"])
def test_a_name_that_was_bent_to_this_machine(open_page: GuardedPage, host: str) -> None:
    with open_page.client(headers={"Host": host}) as http:
        for path in ("", open_page.secret, "login"):
            assert http.get(path).status_code in (400, 403)


def test_other_sites_use_nothing(page: GuardedPage) -> None:
    with page.client() as http:
        page.sign_in(http)
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert http.get(page.secret, headers=headers).status_code == 403
            assert http.post("login", data={"token": TOKEN}, headers=headers).status_code == 403


# What a slow or silent client sends before it does nothing more.
SILENT = {
    "nothing": b"",
    "half a header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A",
    "a body that does not come": b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Length: 4000\r\n\r\ntoken=",
    "a request, kept alive": b"GET /page.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a handshake of a WebSocket": b"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: web",
    "requests whose answers are not read": b"GET /page.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    * 90,
}


@pytest.mark.parametrize(
    ("kind", "sources"), [*((kind, 1) for kind in SILENT), ("nothing", 100), ("half a header", 100)]
)
def test_five_hundred_idle_connections_take_the_page_from_nobody(
    page: GuardedPage, kind: str, sources: int
) -> None:
    with contextlib.ExitStack() as stack, page.client() as operator:
        page.sign_in(operator)
        crowd = []
        for number in range(500):
            source = f"127.0.{2 + number % sources}.1" if sources > 1 else "127.0.0.1"
            crowd.append(stack.enter_context(page.connect(source)))
            with contextlib.suppress(OSError):  # it had to go already
                crowd[-1].sendall(SILENT[kind])
        # A probe, the operator's browser, another one, and a program: each with a new connection.
        for _ in range(3):
            with page.client() as probe:
                assert probe.get("healthz").text == "ok\n"
        assert operator.get(page.secret).status_code == 200
        with page.client() as another:
            page.sign_in(another)
        with page.client(headers=BEARER) as program:
            assert program.get(page.secret).status_code == 200
        assert page.server._server is not None
        connections = page.server._server.open_connections
        assert len(connections) <= connections.limits.total


def test_who_has_signed_in_stays_connected(page: GuardedPage) -> None:
    """The very connection, not another one that the client opens unasked."""
    request = b"GET /%b HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer %b\r\n\r\n" % (
        page.secret.encode(),
        page.host,
        TOKEN.encode(),
    )
    with contextlib.ExitStack() as stack:
        operator = stack.enter_context(page.connect())
        for round_number in range(4):
            operator.sendall(request)
            assert read_answer(operator) == 200, round_number
            for _ in range(60):
                stack.enter_context(page.connect())


def read_answer(raw: socket.socket) -> int:
    """The status; the answer is read to its end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        got = raw.recv(1)
        assert got, "the connection was dropped"
        head += got
    (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
    left = int(length)
    while left:
        left -= len(raw.recv(left))
    return int(head.split()[1])


def mute_player(stack: contextlib.ExitStack, port: int) -> None:
    """A player of MJPEG that reads nothing."""
    raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
    raw.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port)


@pytest.mark.parametrize("kind", ["WebSocket", "MJPEG"])
def test_viewers_that_read_nothing_give_way(kind: str) -> None:
    rig = Rig()
    with rig.server() as server, Feed(rig), contextlib.ExitStack() as stack:
        for _ in range(40):
            if kind == "MJPEG":
                mute_player(stack, server.port)
            else:
                stack.enter_context(mute_viewer(server))
        wait_until(lambda: server.viewers == 16)

        def gets_a_picture() -> bool:
            with viewer(server) as page, contextlib.suppress(ConnectionClosed):
                page.picture()
                return True
            return False

        wait_until(gets_a_picture, "the seats are taken for good")


def test_viewers_that_do_keep_up_are_not_displaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_state, "OWES_S", PATIENCE_S)
    rig = Rig()
    with rig.server(max_viewers=1) as server, viewer(server) as page:
        page.status()
        with viewer(server) as another:
            assert another.closed()[0] == viewers.CLOSE_FULL
        rig.show_bar(0)
        assert page.picture()["frame"] == 0


def test_one_address_does_not_keep_all_seats() -> None:
    rig = Rig()
    rig.show_bar(0)
    with rig.server(max_viewers=4) as server, contextlib.ExitStack() as stack:
        greedy = [stack.enter_context(viewer(server)) for _ in range(4)]
        for each in greedy:
            each.picture()
        for _ in range(2):
            another = stack.enter_context(viewer(server, source_address=("127.0.0.9", 0)))
            assert another.picture()["frame"] == 0
        for each in greedy[:2]:
            assert each.closed()[0] == viewers.CLOSE_SLOW
        third = stack.enter_context(viewer(server, source_address=("127.0.0.9", 0)))
        assert third.closed()[0] == viewers.CLOSE_FULL


STRANGE_HEADS = [
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nContent-Length: " + "9" * 5000 + "\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "POST /login HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n" + "f" * 40,
    "POST /login HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\nx",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip\r\n\r\n",
    "GET {page} HTTP/1.1\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n",
    "GET {page} HTTP/9.9\r\nHost: {host}\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nX: a\x00b\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\n: x\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\n folded\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\n" + "X: y\r\n" * 4000 + "\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nX: " + "y" * 70_000 + "\r\n\r\n",
    "GET /" + "a" * 70_000 + " HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "GET {page}?" + "token=x&" * 1500 + " HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "GET {page}?token=%ff%00%zz&token[]=1 HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "GET {page}?token=" + "9" * 5000 + " HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "GET http://evil.example/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "GET  HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "\r\n\r\n\r\nnonsense\r\n\r\n",
    "CONNECT evil.example:443 HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "TRACE / HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "OPTIONS / HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "DELETE {page} HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "QWERTZ {page} HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "g\u00e9t {page} HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "GET /\u00e9 HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer \u00e9\u00ff\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nAuthorization: " + "Bearer " * 2000 + "\r\n\r\n",
    'GET {page} HTTP/1.1\r\nHost: {host}\r\nCookie: edgecrack_session="\\377\\u"; a=\u00e9\r\n\r\n',
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nCookie: " + "a=b; " * 3000 + "\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: [{host}\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: 127.0.0.1:" + "9" * 5000 + "\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://[\r\nSec-Fetch-Site: \u00e9\r\n\r\n",
    "GET {page} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    "POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n\r\ntoken=%ff",
    "POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000\r\n\r\n" + "&" * 5000,
]
UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
STRANGE_HEADS += [
    f"GET /api/live HTTP/1.1\r\nHost: {{host}}\r\n{UPGRADE}{more}\r\n"
    for more in (
        "",
        "Sec-WebSocket-Key: x\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: " + "a" * 12_000 + "\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + "X: y\r\n" * 300,
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 5\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: \u00e9\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 99\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: ;;;\r\n",
    )
] + [
    f"POST /api/live HTTP/1.1\r\nHost: {{host}}\r\n{UPGRADE}\r\n",
    f"GET /nothing HTTP/1.0\r\nHost: {{host}}\r\n{UPGRADE}\r\n",
    "GET /api/live HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
]


def refuse_records(caplog: pytest.LogCaptureFixture) -> None:
    told = [each for each in caplog.records if each.levelno >= logging.INFO]
    assert [each for each in told if not each.name.startswith("http")] == []


@pytest.mark.parametrize("signed_in", [False, True])
def test_strange_requests_are_refused_and_fill_no_log(
    page: GuardedPage, caplog: pytest.LogCaptureFixture, signed_in: bool
) -> None:
    for head in STRANGE_HEADS:
        text = head.replace("{page}", f"/{page.secret}").replace("{host}", page.host.decode())
        if signed_in:
            text = text.replace("\r\n", f"\r\nAuthorization: Bearer {TOKEN}\r\n", 1)
        with page.connect() as raw:
            with contextlib.suppress(OSError):
                raw.sendall(text.encode("latin-1"))
                raw.shutdown(socket.SHUT_WR)
            got = b""
            with contextlib.suppress(ConnectionResetError):
                while more := raw.recv(65536):
                    got += more
        status = int(got.split()[1]) if got else None
        lets_in = signed_in and b"Bearer" in text.encode("latin-1")
        assert status is None or 400 <= status < 500 or (lets_in and status in (101, 200)), text[
            :99
        ]
    with page.client() as http:
        page.sign_in(http)
    refuse_records(caplog)


@pytest.mark.parametrize(
    "number",
    ["9" * 13, "9" * 400, "9" * 5000, "0" * 5000, "-1", "1e9", "1.5", "%31%32%ff", "0x10", "1_0",
     "%D9%A1", "%00", "..%2f..%2fetc%2fpasswd", "+1", "%20 1"],
)  # fmt: skip
def test_absurd_numbers_in_addresses(
    page: GuardedPage, caplog: pytest.LogCaptureFixture, number: str
) -> None:
    with page.client(headers=BEARER) as http:
        answer = http.get(page.numbered.format(number))
        assert answer.status_code == 404
        assert answer.json() == {"error": "Not Found"}
    refuse_records(caplog)


@pytest.mark.parametrize(
    "value", ["9" * 5000, "1e999", "-0", "[" * 9000, '"' + "\\ud800" * 9 + '"']
)
def test_absurd_values_in_bodies(
    page: GuardedPage, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    headers = {**BEARER, "Content-Type": "application/json"}
    with page.client(headers=headers) as http:
        for path, body in (
            ("api/threshold", f'{{"threshold": {value}}}'),
            ("api/actions", f'{{"reviewer": "A", "action": "confirm", "crack": {value}}}'),
            ("api/actions", f'{{"reviewer": "A", "action": {value}, "revision": {value}}}'),
            ("api/actions", f'{{"reviewer": {value}, "action": "gauge", "crack": 1, "mm": 1}}'),
        ):
            answer = http.post(path, content=body)
            assert 400 <= answer.status_code < 500, (path, body[:99], answer.text[:200])
    refuse_records(caplog)


def test_a_client_that_leaves_in_the_middle_is_no_defect(
    page: GuardedPage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for path in (b"/login", b"/api/pause", b"/api/actions"):
        with page.connect() as raw:
            raw.sendall(
                b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n"
                b"Authorization: Bearer %b\r\nContent-Length: 99\r\n\r\n{"
                % (path, page.host, TOKEN.encode())
            )
    assert page.server._server is not None
    wait_until(lambda: not page.server._server.server_state.tasks)  # type: ignore[union-attr]
    refuse_records(caplog)


FEW_FILES = """
import resource, sys, pathlib
resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))
from tests.runtime.web.rig import Rig
rig = Rig()
with rig.server(token="correct-horse-battery") as server:
    print(server.port, flush=True)
    for line in sys.stdin:
        opened = [open(sys.executable, "rb") for _ in range(60)]
        [each.close() for each in opened]
        print("opened 60", flush=True)
"""


def test_sockets_leave_room_for_the_files_of_the_stream() -> None:
    root = Path(__file__).resolve().parents[3]
    with (
        subprocess.Popen(
            [sys.executable, "-c", FEW_FILES],
            cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as child,
        contextlib.ExitStack() as stack,
    ):  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        watchdog = threading.Timer(PATIENCE_S, child.kill)
        watchdog.start()
        try:
            port = int(child.stdout.readline())
            for _ in range(300):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
            for _ in range(3):
                answer = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE_S)
                assert answer.status_code == 200
                child.stdin.write("\n")
                child.stdin.flush()
                assert child.stdout.readline() == "opened 60\n"
        finally:
            watchdog.cancel()
            child.stdin.close()
