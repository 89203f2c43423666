"""Who may see and steer: the token, the session made from it, and where a request comes from.

Plain strings in, decisions out; knows no web framework. Every comparison with a secret takes
the same time wherever they differ.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

from edgecrack.runtime.web.config import is_loopback

SESSION_S = 24 * 3600
TRIES = 5
TRIES_OF_ALL = 50
TRIES_WINDOW_S = 60.0
_MOST_ADDRESSES = 1024
_HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9.-]+))(:[0-9]{1,5})?\Z")

Verdict = Literal["right", "wrong", "wait"]


class Access:
    """Checks tokens and sessions.

    A session is an expiry time with a keyed digest of it, so it outlives a restart of the
    robot's program and holds nothing from which the token could be had.

    Args:
        token: the secret; None lets everybody in, for a page on the loopback.
        clock: seconds since 1970; a test may give its own.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.time) -> None:
        self._token = token
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._all_failures: deque[float] = deque(maxlen=TRIES_OF_ALL)

    @property
    def open(self) -> bool:
        """Whether no token is asked for."""
        return self._token is None

    def try_token(self, given: str, address: str) -> Verdict:
        """Whether a token is right; "wait" where too many wrong ones came before.

        Args:
            given: what the viewer sent.
            address: the viewer's address, to which failures are counted.
        """
        if self._token is None:
            return "right"
        now_s = self._clock()
        with self._lock:
            if self._locked(address, now_s):
                return "wait"
            if hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode()):
                self._failures.pop(address, None)
                return "right"
            self._failures.setdefault(address, deque(maxlen=TRIES)).append(now_s)
            self._failures.move_to_end(address)
            if len(self._failures) > _MOST_ADDRESSES:
                self._failures.popitem(last=False)
            self._all_failures.append(now_s)
        return "wrong"

    def new_session(self) -> str:
        """A session for whoever gave the right token."""
        expiry = str(int(self._clock()) + SESSION_S)
        return f"{expiry}.{self._digest(expiry)}"

    def session_is_valid(self, session: str) -> bool:
        """Whether `new_session` of the same token gave it, less than a day ago."""
        if self._token is None:
            return True
        expiry, _, digest = session.partition(".")
        given = digest.encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._digest(expiry).encode()):
            return False
        return expiry.isdecimal() and int(expiry) > self._clock()

    def _digest(self, expiry: str) -> str:
        key = (self._token or "").encode()
        message = f"edgecrack-page-session:{expiry}".encode("utf-8", "replace")
        return hmac.new(key, message, hashlib.sha256).hexdigest()

    def _locked(self, address: str, now_s: float) -> bool:
        """Whether an address must wait: for its own wrong tokens, or, if it has any, for all."""
        mine, everyones = self._failures.get(address, deque()), self._all_failures
        # Who never gave a wrong token is not locked out by those who do.
        counted = (mine, everyones) if mine else (mine,)
        return any(
            len(failures) == failures.maxlen and now_s - failures[0] < TRIES_WINDOW_S
            for failures in counted
        )


def host_is_local(host: str | None) -> bool:
    """Whether a request's Host names this machine itself.

    A page without a token trusts its own machine's browser. A foreign web site whose name is
    made to lead here (DNS rebinding) is read by that browser too, but under its own name.
    """
    found = _HOST.match(host or "")
    return found is not None and is_loopback(found["name"] or found["address"])


def origin_is_ours(origin: str | None, host: str | None, fetch_site: str | None) -> bool:
    """Whether a request that changes something comes from our own page or no page at all.

    Browsers say where a request comes from; programs such as curl leave all of it out.

    Args:
        origin: the Origin header.
        host: the Host header.
        fetch_site: the Sec-Fetch-Site header.
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
        parts.scheme in ("http", "https")
        and bool(host)
        and parts.netloc.lower() == (host or "").lower()
    )
