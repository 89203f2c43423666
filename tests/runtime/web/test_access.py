from __future__ import annotations

import pytest

from edgecrack.runtime.web.access import (
    SESSION_S,
    TRIES,
    TRIES_OF_ALL,
    TRIES_WINDOW_S,
    Access,
    host_is_local,
    origin_is_ours,
)


class Clock:
    now_s = 1_700_000_000.0

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


def test_too_many_wrong_tokens_have_to_wait(access: Access, clock: Clock) -> None:
    for _ in range(TRIES):
        assert access.try_token("wrong", "a") == "wrong"
    assert access.try_token("wrong", "a") == "wait"
    # Otherwise guessing could go on.
    assert access.try_token("correct-horse", "a") == "wait"
    assert access.try_token("correct-horse", "b") == "right"
    clock.now_s += TRIES_WINDOW_S + 1
    assert access.try_token("correct-horse", "a") == "right"


def test_many_addresses_help_little_to_guess_and_lock_nobody_else_out(access: Access) -> None:
    for number in range(TRIES_OF_ALL):
        assert access.try_token("wrong", f"address {number}") == "wrong"
    assert access.try_token("wrong", "address 7") == "wait"
    assert access.try_token("correct-horse", "the owner's") == "right"
    assert access.try_token("wrong", "yet another") == "wrong"
    assert access.try_token("correct-horse", "yet another") == "wait"


def test_addresses_are_forgotten_before_they_fill_the_memory(clock: Clock) -> None:
    access = Access("correct-horse", clock)
    for number in range(5000):
        clock.now_s += TRIES_WINDOW_S
        access.try_token("wrong", str(number))
    assert len(access._failures) <= 1024


def test_a_session_outlives_a_restart_but_not_a_day(access: Access, clock: Clock) -> None:
    session = access.new_session()
    again = Access("correct-horse", clock)
    assert again.session_is_valid(session)
    assert not Access("another-token", clock).session_is_valid(session)
    clock.now_s += SESSION_S + 1
    assert not again.session_is_valid(session)


def test_a_session_holds_no_token_and_cannot_be_made_longer(access: Access) -> None:
    session = access.new_session()
    assert "correct-horse" not in session
    expiry, _, digest = session.partition(".")
    longer = f"{int(expiry) + 1}.{digest}"
    for forged in (longer, digest, "", ".", f"{expiry}.", f"x.{digest}", "é"):
        assert not access.session_is_valid(forged)


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
