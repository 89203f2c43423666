"""The live page and the review page, of which the same is asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from edgecrack.run_review.review_server import ReviewServer
from edgecrack.run_review.review_session import ReviewSession
from edgecrack.runtime.web.config import ServeConfig
from edgecrack.runtime.web.server import LiveServer, ServedPage
from tests.run_review.served_review import survey_small_wall
from tests.runtime.web.rig import Rig
from tests.waiting import PATIENCE_S

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
KINDS = ("live", "review")


@dataclass
class GuardedPage:
    """A page that is served, and what of it needs the token."""

    server: ServedPage
    secret: str
    numbered: str

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.port

    @property
    def host(self) -> bytes:
        return b"127.0.0.1:%d" % self.server.port

    def client(self, **settings: Any) -> httpx.Client:
        return httpx.Client(base_url=self.server.url, timeout=PATIENCE_S, **settings)

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """A connection from an address of this machine."""
        return socket.create_connection(self.address, PATIENCE_S, (source, 0))

    def sign_in(self, http: httpx.Client) -> None:
        """As a person does."""
        origin = self.server.url.rstrip("/")
        answer = http.post("login", data={"token": TOKEN}, headers={"Origin": origin})
        assert answer.status_code == 303, answer.text
        assert http.get(self.secret).status_code == 200


@contextmanager
def guarded_page(kind: str, run: Path | None, config: ServeConfig) -> Iterator[GuardedPage]:
    """Either page.

    Args:
        kind: one of `KINDS`.
        run: of the review page; the live page needs none.
        config: where, and for whom.
    """
    with ExitStack() as stack:
        if kind == "live":
            rig = Rig()
            rig.show_crack(0)
            live = stack.enter_context(LiveServer(config, rig.context))
            yield GuardedPage(live, "api/status", "api/findings/{}.jpg")
        else:
            assert run is not None
            session = stack.enter_context(ReviewSession(run))
            review = stack.enter_context(ReviewServer(config, session))
            yield GuardedPage(review, "api/survey", "frames/{}.jpg")


def reviewed_run(folder: Path) -> Path:
    """A run whose review can be served."""
    return survey_small_wall(folder)
