from __future__ import annotations

import pytest

from edgecrack.runtime.web.access import (
    MOST_SESSIONS,
    SESSION_S,
    TRIES,
    TRIES_OF_ALL,
    TRIES_WINDOW_S,
    Access,
    host_is_local,
    leads_here,
    network_of,
    origin_is_ours,
)


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(clock: Clock) -> Access:
    return Access("correct-horse", clock)


def test_the_token_is_right_and_nothing_else(access: Access) -> None:
    assert access.try_token("correct-horse", "a") == "right"
    for wrong in ("", "correct-hors", "correct-horse ", "CORRECT-HORSE"):
        assert access.try_token(wrong, "a") == "wrong"
    assert access.try_token("\udcff\x00é", "b") == "wrong"


def test_too_many_wrong_tokens_are_known_for_what_they_are(access: Access, clock: Clock) -> None:
    for _ in range(TRIES):
        assert access.try_token("wrong", "a") == "wrong"
    assert access.try_token("wrong", "a") == "wait"
    assert access.try_token("wrong", "b") == "wrong"
    clock.now_s += TRIES_WINDOW_S + 1
    assert access.try_token("wrong", "a") == "wrong"


def test_nobody_can_lock_out_who_has_the_token(access: Access) -> None:
    for number in range(10 * TRIES_OF_ALL):
        for address in ("the owner's", f"address {number}"):
            assert access.try_token(f"guess {number}", address) in ("wrong", "wait")
        assert access.try_token("correct-horse", "the owner's") == "right"
        assert access.try_token("correct-horse", f"fresh {number}") == "right"


def test_many_addresses_meet_a_limit_together(access: Access, clock: Clock) -> None:
    for number in range(TRIES_OF_ALL):
        assert access.try_token("wrong", f"10.0.{number}.1") == "wrong"
    for number in range(TRIES_OF_ALL):
        assert access.try_token("wrong", f"10.1.{number}.1") == "wait"
    clock.now_s += TRIES_WINDOW_S + 1
    assert access.try_token("wrong", "10.1.0.1") == "wrong"


def test_the_addresses_of_one_customer_count_as_one(access: Access) -> None:
    for number in range(TRIES):
        assert access.try_token("wrong", f"2001:db8:0:7::{number:x}") == "wrong"
    assert access.try_token("wrong", "2001:db8:0:7:ffff:1:2:3") == "wait"
    assert access.try_token("wrong", "2001:db8:0:8::1") == "wrong"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64"),
        ("", ""), ("no address", "no address"),
    ],
)  # fmt: skip
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network


def test_addresses_are_forgotten_before_they_fill_the_memory(clock: Clock) -> None:
    access = Access("correct-horse", clock)
    for number in range(5000):
        clock.now_s += TRIES_WINDOW_S
        access.try_token("wrong", str(number))
    assert len(access._failures) <= 1024


def test_a_session_lasts_a_day(access: Access, clock: Clock) -> None:
    session = access.new_session()
    clock.now_s += SESSION_S - 1
    assert access.session_is_valid(session)
    clock.now_s += 1
    assert not access.session_is_valid(session)
    assert not access._expiries


def test_a_session_is_random_and_known_to_its_own_server_alone(clock: Clock) -> None:
    """A digest keyed with the token would let whoever sees it try tokens at home."""
    one, same_token = Access("correct-horse", clock), Access("correct-horse", clock)
    session = one.new_session()
    assert len(session) >= 43  # 256 bits
    assert session != one.new_session() != same_token.new_session()
    assert not same_token.session_is_valid(session)
    for forged in ("", session[:-1], session + "x", session.swapcase(), "\udcff", "é"):
        assert not one.session_is_valid(forged)


def test_the_sessions_that_are_used_are_kept(access: Access) -> None:
    used = access.new_session()
    first = access.new_session()
    for _ in range(3 * MOST_SESSIONS):
        newest = access.new_session()
        assert access.session_is_valid(used)
    assert access.session_is_valid(newest)
    assert not access.session_is_valid(first)
    assert len(access._expiries) == MOST_SESSIONS


def test_without_a_token_everybody_is_let_in() -> None:
    access = Access(None)
    assert access.open
    assert access.try_token("", "a") == "right"
    assert access.session_is_valid("")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8080", True), ("localhost", True), ("[::1]:8080", True), ("127.3.2.1", True),
        ("evil.example", False), ("evil.example:8080", False), ("127.0.0.1.evil.example", False),
        ("user@127.0.0.1.evil", False), ("evil.example/127.0.0.1", False), ("", False),
        (None, False), ("[::1", False), ("10.0.0.7", False), ("0.0.0.0:8080", False),
    ],
)  # fmt: skip
def test_hosts(host: str | None, expected: bool) -> None:
    assert host_is_local(host) is expected


@pytest.mark.parametrize(
    ("origin", "host", "site", "expected"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", "same-origin", True),
        ("https://robot.example", "robot.example", None, True),
        ("http://ROBOT:80", "robot:80", None, True),
        (None, "127.0.0.1:8080", None, True),
        (None, "127.0.0.1:8080", "none", True),
        ("http://evil.example", "127.0.0.1:8080", None, False),
        ("http://127.0.0.1:9090", "127.0.0.1:8080", None, False),
        ("http://127.0.0.1:9090", "127.0.0.1:8080", "same-site", False),
        (None, "127.0.0.1:8080", "cross-site", False),
        ("null", "127.0.0.1:8080", None, False),
        ("file://", "", None, False),
        ("http://", None, None, False),
        ("http://[", "[", None, False),
    ],
)  # fmt: skip
def test_origins(origin: str | None, host: str | None, site: str | None, expected: bool) -> None:
    assert origin_is_ours(origin, host, site) is expected


def test_an_encrypted_page_has_an_encrypted_origin() -> None:
    assert origin_is_ours("https://robot", "robot", None, encrypted=True)
    assert not origin_is_ours("http://robot", "robot", None, encrypted=True)


@pytest.mark.parametrize(
    ("mode", "destination", "expected"),
    [
        ("navigate", "document", True), (None, None, True), ("no-cors", "image", False),
        ("navigate", "iframe", False), ("cors", "empty", False), ("no-cors", "script", False),
    ],
)  # fmt: skip
def test_links(mode: str | None, destination: str | None, expected: bool) -> None:
    assert leads_here(mode, destination) is expected
