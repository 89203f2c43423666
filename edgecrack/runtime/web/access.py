"""Who may see and steer: the token, the sessions given for it, and where a request comes from.

Plain strings in, decisions out; knows no web framework. Every comparison with a secret takes
the same time wherever they differ.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

from edgecrack.runtime.web.config import is_loopback

SESSION_S = 24 * 3600
MOST_SESSIONS = 256
TRIES = 5
TRIES_OF_ALL = 50
TRIES_WINDOW_S = 60.0
_MOST_NETWORKS = 1024
_HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(:[0-9]{1,5})?\Z")

Verdict = Literal["right", "wrong", "wait"]


class Access:
    """Checks tokens and sessions.

    The right token is let in at any time and from anywhere: whoever tries wrong ones, from the
    same address or from thousands, locks out nobody.

    A session is a random number. It is known here alone, for a day or until this program ends,
    and tells nothing of the token.

    Args:
        token: the secret; None lets everybody in, for a page on the loopback.
        clock: seconds that only grow; a test may give its own.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._all_failures: deque[float] = deque(maxlen=TRIES_OF_ALL)
        self._expiries: OrderedDict[bytes, float] = OrderedDict()

    @property
    def open(self) -> bool:
        """Whether no token is asked for."""
        return self._token is None

    def try_token(self, given: str, address: str) -> Verdict:
        """Whether a token is right; "wait" for a wrong one after too many.

        Args:
            given: what the viewer sent.
            address: the viewer's address, to whose network failures are counted.
        """
        if self._token is None:
            return "right"
        # Digests, for comparing texts of different lengths ends early.
        if hmac.compare_digest(_digest(given), _digest(self._token)):
            return "right"
        now_s = self._clock()
        with self._lock:
            network = network_of(address)
            mine = self._failures.setdefault(network, deque(maxlen=TRIES))
            self._failures.move_to_end(network)
            if len(self._failures) > _MOST_NETWORKS:
                self._failures.popitem(last=False)
            if any(_is_full(each, now_s) for each in (mine, self._all_failures)):
                return "wait"
            mine.append(now_s)
            self._all_failures.append(now_s)
        return "wrong"

    def new_session(self) -> str:
        """A session for whoever gave the right token."""
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._expiries[_digest(session)] = self._clock() + SESSION_S
            if len(self._expiries) > MOST_SESSIONS:
                self._expiries.popitem(last=False)
        return session

    def session_is_valid(self, session: str) -> bool:
        """Whether `new_session` gave it less than a day ago; it is then the last to be given up."""
        if self._token is None:
            return True
        key = _digest(session)
        with self._lock:
            expiry_s = self._expiries.get(key)
            if expiry_s is None:
                return False
            if expiry_s <= self._clock():
                del self._expiries[key]
                return False
            self._expiries.move_to_end(key)
            return True


def network_of(address: str) -> str:
    """What counts as one address: an IPv6 customer has at least a /64 to choose addresses from."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _is_full(failures: deque[float], now_s: float) -> bool:
    return len(failures) == failures.maxlen and now_s - failures[0] < TRIES_WINDOW_S


def host_is_plain(host: str | None) -> bool:
    """Whether a request's Host is a name or an address with or without a port, as browsers send."""
    return _HOST.match(host or "") is not None


def host_is_local(host: str | None) -> bool:
    """Whether a request's Host names this machine itself.

    A page without a token trusts its own machine's browser. A foreign web site whose name is
    made to lead here (DNS rebinding) is read by that browser too, but under its own name.
    """
    found = _HOST.match(host or "")
    return found is not None and is_loopback(found["name"] or found["address"])


def origin_is_ours(
    origin: str | None, host: str | None, fetch_site: str | None, *, encrypted: bool = False
) -> bool:
    """Whether a request that changes something comes from our own page or no page at all.

    Browsers say where a request comes from; programs such as curl leave all of it out.

    Args:
        origin: the Origin header.
        host: the Host header.
        fetch_site: the Sec-Fetch-Site header.
        encrypted: whether the request came by HTTPS; a page of this host that did not is another's.
    """
    if fetch_site not in (None, "same-origin", "none"):
        return False
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return (
        parts.scheme in (("https",) if encrypted else ("http", "https"))
        and bool(host)
        and parts.netloc.lower() == (host or "").lower()
    )


def leads_here(fetch_mode: str | None, fetch_dest: str | None) -> bool:
    """Whether a request opens the page in a tab, as a link does; not a picture, frame or script.

    Args:
        fetch_mode: the Sec-Fetch-Mode header; older browsers and programs send none.
        fetch_dest: the Sec-Fetch-Dest header.
    """
    return fetch_mode in (None, "navigate") and fetch_dest in (None, "document")
