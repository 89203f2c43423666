from __future__ import annotations

import pytest

from edgecrack.errors import ConfigError
from edgecrack.runtime.web.config import ServeConfig, is_loopback, parse_serve

TOKEN = "correct-horse"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080", ("127.0.0.1", 8080)),
        (" 8080 ", ("127.0.0.1", 8080)),
        ("0", ("127.0.0.1", 0)),
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("localhost:8080", ("localhost", 8080)),
        ("robot-7.local:65535", ("robot-7.local", 65535)),
        ("[::1]:8080", ("::1", 8080)),
        ("[::]:8080", ("::", 8080)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert parse_serve(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "65536", "-1",
        "127.0.0.1:-1", "::1:8080", "[::1]", "[127.0.0.1]:80", "[x]:80", "http://127.0.0.1:80",
        "a b:80", "127.0.0.1:8_0", "127.0.0.1:\u0668", "256.1.1.1:80", "-x:80", "1:2:3",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_serve(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
        ("LOCALHOST", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False),
        ("robot.local", False), ("localhost.evil.example", False),
    ],
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_other_machines_need_a_token() -> None:
    with pytest.raises(ConfigError, match=r"no token.*`token_file` FILE or set EDGECRACK_TOKEN"):
        ServeConfig("0.0.0.0", 8080)
    assert ServeConfig("0.0.0.0", 8080, TOKEN).token == TOKEN
    assert ServeConfig("127.0.0.1", 8080).token is None


def test_a_token_is_never_shown() -> None:
    assert TOKEN not in repr(ServeConfig("0.0.0.0", 8080, TOKEN))


@pytest.mark.parametrize(
    "values",
    [
        {"port": -1}, {"port": 65_536}, {"host": ""}, {"host": "a/b"}, {"max_viewers": 0},
        {"max_viewers": 1000}, {"max_fps": 0.0}, {"max_fps": float("nan")}, {"max_fps": 61.0},
        {"token": ""}, {"token": "short"}, {"token": "has a space"}, {"token": "ümlaut-token"},
        {"token": "line\nbreak-token"}, {"token": "12345678"}, {"token": "deadbeef"},
        {"token": "aaaaaaaaaaaaaaaa"}, {"token": "wordword"},
    ],
)  # fmt: skip
def test_what_cannot_be_served(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        ServeConfig(**values)  # type: ignore[arg-type]
    if token := values.get("token"):
        assert str(token) not in str(caught.value)


@pytest.mark.parametrize("token", ["8z4kq0va", "4086131795524", "0f3a9c81d2", "correct-horse"])
def test_tokens_that_take_years_to_guess(token: str) -> None:
    assert ServeConfig(token=token).token == token
