"""The door: tokens, foreign hosts and foreign origins, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from edgecrack.runtime.web.access import TRIES
from edgecrack.runtime.web.server import LiveServer
from tests.runtime.web.rig import Rig, client
from tests.runtime.web.sockets import viewer

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
GUARDED = (
    "", "page.js", "metrics", "stream.mjpg", "api/status", "api/findings", "api/findings/1.jpg",
    "api/events", "nothing",
)  # fmt: skip
SWITCHES = ("threshold", "pause", "resume", "recording", "snapshot")


def cookie_of(server: LiveServer) -> str:
    return f"edgecrack_session_{server.port}"


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.show_crack(0)
    return rig


@pytest.fixture
def closed(rig: Rig) -> Iterator[LiveServer]:
    with rig.server(token=TOKEN) as server:
        yield server


@pytest.fixture
def local(rig: Rig) -> Iterator[LiveServer]:
    with rig.server() as server:
        yield server


@pytest.mark.parametrize("path", GUARDED)
def test_without_the_token_nothing_is_told(closed: LiveServer, path: str) -> None:
    with client(closed) as http:
        answer = http.get(path)
        assert answer.status_code == 401
        assert "test camera" not in answer.text
        assert "set-cookie" not in answer.headers
        if path:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]
        else:
            assert '<form method="post" action="/login">' in answer.text


def test_without_the_token_nothing_is_switched(closed: LiveServer, rig: Rig) -> None:
    with client(closed) as http:
        for switch in SWITCHES:
            assert http.post(f"api/{switch}", json={"threshold": 0.1}).status_code == 401
    assert rig.controls.threshold == 0.5
    with pytest.raises(InvalidStatus) as refused, viewer(closed):
        pass
    assert refused.value.response.status_code == 401
    assert closed.viewers == 0


def test_the_token_in_a_header(closed: LiveServer) -> None:
    with client(closed, headers=BEARER) as http:
        assert http.get("api/status").status_code == 200
        assert http.get("metrics").status_code == 200
        assert http.post("api/pause", json={}).status_code == 200
    with viewer(closed, additional_headers=BEARER) as page:
        assert page.status()["paused"] is True


def test_the_token_in_the_address_becomes_a_session(closed: LiveServer) -> None:
    with client(closed) as http:
        answer = http.get("", params={"token": TOKEN})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert http.get("").status_code == 200
        assert http.get("api/status").status_code == 200
        # An old bookmark: the token leaves the address again.
        assert http.get("", params={"token": TOKEN}).headers["location"] == "/"
        session = http.cookies[cookie_of(closed)]
    with viewer(closed, additional_headers={"Cookie": f"{cookie_of(closed)}={session}"}) as page:
        page.status()


def test_a_link_from_another_site_leads_on_by_a_page(closed: LiveServer) -> None:
    """A browser would send a strict cookie along with no redirect of theirs."""
    with client(closed, headers={"Sec-Fetch-Site": "cross-site"}) as http:
        answer = http.get("", params={"token": TOKEN})
    assert answer.status_code == 200
    assert 'http-equiv="refresh" content="0;url=/"' in answer.text
    assert "set-cookie" in answer.headers
    assert TOKEN not in answer.text


def test_players_may_give_the_token_in_the_address(closed: LiveServer) -> None:
    with client(closed) as http:
        with http.stream("GET", "stream.mjpg", params={"token": TOKEN}) as answer:
            assert answer.status_code == 200
        assert http.get("api/status", params={"token": TOKEN}).status_code == 401


def test_signing_in_by_the_form(closed: LiveServer) -> None:
    with client(closed, headers={"Origin": closed.url.rstrip("/")}) as http:
        assert "asks for a token" in http.get("login").text
        wrong = http.post("login", data={"token": "wrong-token"})
        assert wrong.status_code == 401
        assert "not right" in wrong.text
        assert http.post("login", data={}).status_code == 401
        assert http.post("login", content=b"token=" + b"x" * 9000).status_code == 401
        right = http.post("login", data={"token": f" {TOKEN} "})
        assert right.status_code == 303
        assert http.get("").status_code == 200


def test_a_form_with_too_many_fields_is_no_defect(closed: LiveServer) -> None:
    fields = "&".join(f"f{number}=1" for number in range(20))
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = httpx.post(f"{closed.url}login", content=fields, headers=kind)
    assert answer.status_code == 401


def test_wrong_tokens_too_many_are_told_so_and_sessions_go_on(closed: LiveServer) -> None:
    with client(closed) as known, client(closed) as guesser:
        known.get("", params={"token": TOKEN})
        for _ in range(TRIES):
            assert guesser.get("", params={"token": "guess-guess"}).status_code == 401
        answer = guesser.get("", params={"token": "guess-guess"})
        assert answer.status_code == 429
        assert "this one is wrong too" in answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert known.get("api/status").status_code == 200


@pytest.mark.parametrize("session", ["", "x", "9999999999.0", "9999999999." + "0" * 64])
def test_forged_sessions(closed: LiveServer, session: str) -> None:
    headers = {"Cookie": f"{cookie_of(closed)}={session}"}
    with client(closed, headers=headers) as http:
        assert http.get("api/status").status_code == 401


@pytest.mark.parametrize("host", ["x/healthz?", "127.0.0.1/login?", "x/page.css#", "x:y:z", "["])
def test_a_strange_host_opens_no_door(closed: LiveServer, local: LiveServer, host: str) -> None:
    """An address put together with the Host header would have another path."""
    with client(closed, headers={"Host": host}) as http:
        assert http.get("api/status").status_code in (400, 401)
    with client(local, headers={"Host": host}) as http:
        assert http.get("api/status").status_code in (400, 403)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.7:80", ""])
def test_a_name_that_was_bent_to_this_machine_is_refused(local: LiveServer, host: str) -> None:
    with client(local, headers={"Host": host}) as http:
        for path in ("", "api/status", "stream.mjpg", "metrics"):
            answer = http.get(path)
            assert answer.status_code in (400, 403)
            assert "test camera" not in answer.text
        assert http.post("api/pause", json={}).status_code in (400, 403)
    with pytest.raises(InvalidStatus), viewer(local, additional_headers={"Host": host}):
        pass


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1", "[::1]:80"])
def test_names_of_this_machine_are_ours(local: LiveServer, host: str) -> None:
    with client(local, headers={"Host": host}) as http:
        assert http.get("api/status").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_can_use_nothing(local: LiveServer, rig: Rig, headers: dict[str, str]) -> None:
    with client(local, headers=headers) as http:
        for switch in SWITCHES:
            assert http.post(f"api/{switch}", json={"threshold": 0.1}).status_code == 403
        for path in ("api/status", "api/findings/1.jpg", "stream.mjpg"):
            assert http.get(path).status_code == 403
        assert http.get("").status_code == 200  # a link to the page may stand anywhere
    assert rig.controls.threshold == 0.5
    assert not rig.controls.paused
    with pytest.raises(InvalidStatus) as refused, viewer(local, additional_headers=headers):
        pass
    assert refused.value.response.status_code == 403


def test_a_session_does_not_help_other_sites(closed: LiveServer, rig: Rig) -> None:
    with client(closed) as http:
        http.get("", params={"token": TOKEN})
        http.headers["Origin"] = "http://evil.example"
        assert http.post("api/pause", json={}).status_code == 403
        cookie = f"{cookie_of(closed)}={http.cookies[cookie_of(closed)]}"
    headers = {"Cookie": cookie, "Origin": "http://evil.example"}
    with pytest.raises(InvalidStatus), viewer(closed, additional_headers=headers):
        pass
    assert not rig.controls.paused


def test_our_own_page_may_switch(local: LiveServer, rig: Rig) -> None:
    origin = {"Origin": local.url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    with client(local, headers=origin) as http:
        assert http.post("api/pause", json={}).status_code == 200
    with viewer(local, origin=local.url.rstrip("/")) as page:
        page.status()
    assert rig.controls.paused


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_form_of_another_site_is_no_json(local: LiveServer, rig: Rig, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    with client(local) as http:
        answer = http.post("api/pause", content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert not rig.controls.paused


def test_a_header_of_a_proxy_does_not_change_who_is_asking(closed: LiveServer) -> None:
    with client(closed) as http:
        for number in range(TRIES):
            headers = {"X-Forwarded-For": f"10.0.0.{number}"}
            assert http.get("?token=guess-guess", headers=headers).status_code == 401
        headers = {"X-Forwarded-For": "10.0.0.99"}
        assert http.get("?token=guess-guess", headers=headers).status_code == 429


def check_headers(answer: httpx.Response) -> None:
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"]
    assert "server" not in answer.headers


def test_every_answer_has_the_headers(local: LiveServer, closed: LiveServer) -> None:
    for server in (local, closed):
        with client(server) as http:
            for path in ("", "page.css", "api/status", "nothing", "login", "healthz", "metrics"):
                check_headers(http.get(path))
            check_headers(http.post("api/pause", content=b"x"))
    with client(local, headers={"Host": "evil.example"}) as http:
        check_headers(http.get(""))


def test_a_page_without_token_needs_no_login(local: LiveServer) -> None:
    with client(local) as http:
        assert http.get("login").headers["location"] == "/"
        assert http.get("", params={"token": "x"}).status_code in (200, 303)
