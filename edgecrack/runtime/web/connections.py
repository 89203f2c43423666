"""Who is connected to a page, how many at most, and who has to go when another wants in.

A newcomer always gets in, in the place of a connection that does nothing: whoever opens hundreds
and stays silent loses his own, and never those of people who have signed in. Knows sockets and
transports; must not know what is served.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from edgecrack.runtime.web.access import network_of

Client = tuple[str, int]

_SHARE_OF_FILES = 4
_FEWEST = 12
# Linux's option; Python names it from 3.12 on. What a viewer does not read piles up here, where it
# is noticed, and not in the system's buffers of megabytes.
_TCP_NOTSENT_LOWAT = 25
_MOST_UNSENT_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Most connections at a time.

    Attributes:
        total: of all kinds. What strangers leave is kept for those who may use the page.
        strangers: of those who have not signed in, or have asked for nothing yet.
        of_network: strangers from one IPv4 address or one IPv6 /64.
    """

    total: int = 384
    strangers: int = 128
    of_network: int = 32

    def within(self, open_files: int) -> ConnectionLimits:
        """The same or less, so that the stream's own files find room beside the sockets.

        Args:
            open_files: what the system allows this program.
        """
        total = max(_FEWEST, min(self.total, open_files // _SHARE_OF_FILES))
        return ConnectionLimits(
            total, min(self.strangers, total // 3), min(self.of_network, total // 6)
        )


@dataclass(eq=False, slots=True)
class Connection:
    """An accepted connection, from the first moment on.

    Attributes:
        socket: closed when it is over.
        client: address and port.
        since_s: the loop's time at which it came, or was last seen to do something.
        known: whether it has made a request that was let in.
        transport: once it is open; before, TLS may still shake hands.
        network: to which it counts.
    """

    socket: socket.socket
    client: Client
    since_s: float
    known: bool = False
    transport: asyncio.Transport | None = None
    network: str = field(init=False)
    _request: object = field(default=None, init=False)
    _unsent_bytes: int = field(default=0, init=False)
    _dropped: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Find its network once."""
        self.network = network_of(self.client[0])

    @property
    def is_over(self) -> bool:
        """Whether it holds no descriptor any more, or lets go of it in the loop's next turn."""
        return self._dropped or self.socket.fileno() == -1

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered, or a WebSocket is open."""
        return _is_busy(self._protocol())

    def look(self, now_s: float) -> None:
        """Notice whether something happened since the last look."""
        protocol = self._protocol()
        request = getattr(protocol, "cycle", None)
        unsent = 0 if self.transport is None else self.transport.get_write_buffer_size()
        # A long answer over a slow network takes its time.
        if _is_busy(protocol) or request is not self._request or unsent < self._unsent_bytes:
            self.since_s = now_s
        self._request, self._unsent_bytes = request, unsent

    def drop(self) -> None:
        """End it at once, with what it has not taken."""
        self._dropped = True
        if self.transport is not None:
            self.transport.abort()
        else:
            # The handshake's transport, which asyncio shows to nobody, notices that.
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)

    def _protocol(self) -> Any:
        return None if self.transport is None else self.transport.get_protocol()


class Connections:
    """All connections of one page, in its event loop.

    Args:
        limits: how many; less where the system allows this program few open files.
        clock: the loop's time; a test may give its own.
    """

    def __init__(self, limits: ConnectionLimits, clock: Callable[[], float]) -> None:
        self.limits = limits.within(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._clock = clock
        self._all: list[Connection] = []

    def __len__(self) -> int:
        """How many there are."""
        self._forget()
        return len(self._all)

    def enter(self, accepted: socket.socket, client: Client) -> Connection | None:
        """Take a new connection, if need be in the place of another; None where there is none."""
        self._forget()
        newcomer = Connection(accepted, client, self._clock())
        if not self._make_room(newcomer.network):
            accepted.close()
            return None
        with suppress(OSError):
            accepted.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _MOST_UNSENT_BYTES)
        self._all.append(newcomer)
        return newcomer

    def know(self, client: Client | None) -> None:
        """A client has made a request that was let in."""
        for each in self._of(client):
            each.known = True

    def hang_up(self, client: Client | None) -> None:
        """Drop a client's connection, with what it has not taken."""
        for each in self._of(client):
            each.drop()

    def drop_idle(self, idle_s: float) -> None:
        """Drop those that for so long have asked nothing and taken nothing."""
        self._forget()
        now_s = self._clock()
        for each in self._all:
            each.look(now_s)
            if now_s - each.since_s > idle_s:
                each.drop()

    def drop_all(self) -> None:
        """End all."""
        self._forget()
        for each in self._all:
            each.drop()

    def _of(self, client: Client | None) -> list[Connection]:
        return [each for each in self._all if each.client == client and not each.is_over]

    def _forget(self) -> None:
        self._all = [each for each in self._all if not each.is_over]

    def _make_room(self, network: str) -> bool:
        strangers = [each for each in self._all if not each.known]
        counts = Counter(each.network for each in strangers)
        if counts[network] >= self.limits.of_network:
            going = [each for each in strangers if each.network == network]
        elif len(strangers) >= self.limits.strangers:
            most = max(counts.values())
            going = [each for each in strangers if counts[each.network] == most]
        elif len(self._all) >= self.limits.total:
            going = [each for each in self._all if not each.is_busy]
        else:
            return True
        if not going:
            return False
        # The oldest that does nothing; of those that do, the oldest.
        min(going, key=lambda each: each.is_busy).drop()
        return True


def _is_busy(protocol: Any) -> bool:
    if hasattr(protocol, "close_sent"):  # a WebSocket
        return not protocol.close_sent
    request = getattr(protocol, "cycle", None)
    return request is not None and not request.response_complete
