"""Settings of the live page: where it listens, who may see it, how many viewers."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from edgecrack.errors import ConfigError
from edgecrack.settings import settings
from edgecrack.terminal.wording import counted

DEFAULT_HOST = "127.0.0.1"
DEFAULT_MAX_VIEWERS = 16
DEFAULT_MAX_FPS = 10.0
SHORTEST_TOKEN = 8
# Wrong tokens never lock a right one out, so guessing is as fast as the server answers: at 2,500
# tries per second (benchmarks/page_guessing.py), half of 2^40 take seven years.
_LEAST_BITS = 40
_LEAST_DIFFERENT = 5
_RANDOM = "for instance from: openssl rand -hex 16"

_FORM = "give 8080, 127.0.0.1:8080 or 0.0.0.0:8080"
_NAME = re.compile(r"^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of certificate and key, both PEM; one file may contain both.

    Attributes:
        certificate: of this machine, followed by the intermediate ones, as `fullchain.pem`.
        key: of the certificate, without a password.
    """

    certificate: Path
    key: Path

    def state(self) -> tuple[tuple[int, int, int], ...]:
        """A value that changes when a file is replaced or written to.

        Raises:
            OSError: a file is missing.
        """
        found = (self.certificate.stat(), self.key.stat())
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)


@settings()
class ServeConfig:
    """A live page.

    Attributes:
        host: address or name to listen on.
        port: TCP port; 0 takes a free one.
        token: what a viewer must present; None is allowed on the loopback only.
        max_viewers: largest number of viewers at a time; more are refused.
        max_fps: most pictures per second, made and sent to each viewer.
        tls: certificate and key for HTTPS; None serves HTTP.

    Raises:
        ConfigError: a value is out of range, or the address can be reached from other machines
            and there is no token.
    """

    host: str = DEFAULT_HOST
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    token: str | None = field(default=None, repr=False)
    max_viewers: Annotated[int, Field(ge=1, le=256)] = DEFAULT_MAX_VIEWERS
    max_fps: Annotated[float, Field(gt=0, le=60)] = DEFAULT_MAX_FPS
    tls: TlsFiles | None = None

    def __post_init__(self) -> None:
        _check_host(self.host)
        if self.token is not None:
            _check_token(self.token)
        elif not is_loopback(self.host):
            raise ConfigError(
                f"the page on {self.host} can be reached from other machines and has no token",
                "give `token_file` FILE or set EDGECRACK_TOKEN, or serve on 127.0.0.1",
            )


@dataclass(frozen=True, slots=True)
class Patience:
    """Timeouts of a viewer.

    Attributes:
        send_s: to take what was sent.
        show_s: to confirm that it has shown a picture.
        stale_s: between pictures that say there is no live picture.
    """

    send_s: float = 10.0
    show_s: float = 20.0
    stale_s: float = 1.0


def parse_serve(text: str) -> tuple[str, int]:
    """Host and port of `serve`.

    Args:
        text: `8080` (on 127.0.0.1), `127.0.0.1:8080`, `0.0.0.0:8080`, `robot.local:8080` or
            `[::1]:8080`. A colon without a host is refused: for other programs it means every
            address of the machine.

    Raises:
        ConfigError: it is something else.
    """
    address = text.strip()
    host, colon, port = address.rpartition(":")
    if not colon:
        host = DEFAULT_HOST
    elif not host:
        raise ConfigError(
            f"the page's address {address!r} names no host",
            "give 127.0.0.1 for this machine alone, or 0.0.0.0 for all, e.g. 127.0.0.1:8080",
        )
    elif host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if _ip(host) is None or ":" not in host:
            raise ConfigError(f"{host!r} is not an IPv6 address", "give e.g. [::1]:8080")
    elif ":" in host:
        raise ConfigError(
            f"the page's address {address!r} is ambiguous",
            f"put an IPv6 address into brackets, as in [::1]:8080, or {_FORM}",
        )
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65_535):
        raise ConfigError(f"the page's address {address!r} has no port from 0 to 65535", _FORM)
    _check_host(host)
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; a name other than `localhost` is not trusted."""
    address = _ip(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _check_host(host: str) -> None:
    if _ip(host) is None and not (_NAME.match(host) and re.search("[A-Za-z]", host)):
        raise ConfigError(f"the page's host is {host!r}", f"{_FORM}, or the machine's name")


def _check_token(token: str) -> None:
    """Refuse a token that a header cannot carry or that can be guessed; never shows it."""
    if len(token) < SHORTEST_TOKEN or len(token) > 512:
        raise ConfigError(
            f"the page's token has {counted(len(token), 'character')}",
            f"give {SHORTEST_TOKEN} to 512, {_RANDOM}",
        )
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError(
            "the page's token contains a space or a character that is not plain ASCII",
            f"give letters and digits, {_RANDOM}",
        )
    if len(set(token)) < _LEAST_DIFFERENT or _bits(token) < _LEAST_BITS:
        raise ConfigError(
            f"the page's token of {len(token)} characters can be guessed",
            f"give a longer or a more varied one, {_RANDOM}",
        )


def _bits(token: str) -> float:
    """Bits of a token if each character was drawn at random from the character classes in it."""
    alphabet = sum(
        size
        for pattern, size in (("[0-9]", 10), ("[a-f]", 6), ("[g-z]", 20), ("[A-Z]", 26))
        if re.search(pattern, token)
    )
    if re.search(r"[^0-9A-Za-z]", token):
        alphabet += 32
    return len(token) * math.log2(max(alphabet, 1))
