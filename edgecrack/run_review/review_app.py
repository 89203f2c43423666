"""The review page put together: fixed files, endpoints, and the live page's guard before them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from edgecrack.run_review.review_session import ReviewSession
from edgecrack.runtime.web.access import LOGIN, Access, Guard, Login
from edgecrack.runtime.web.bodies import ERROR_HANDLERS, number_in_path, read_json

_FOLDER = "static"
_FILES = {
    "/": ("review.html", "text/html"),
    "/page.css": ("review.css", "text/css"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript")
        for name in (
            "course", "details", "drawing", "geometry", "keeping", "modes", "queue", "review",
            "words",
        )
    },
}  # fmt: skip
_ICON, _LOGIN_PAGE = "icon.svg", "login.html"
_OF_LIVE_PAGE = "edgecrack.runtime.web"
# Two thousand points of a drawn line fit.
_LONGEST_BODY = 100_000
_KINDS = {b"\xff\xd8": "image/jpeg", b"\x89P": "image/png"}


def build_app(session: ReviewSession, token: str | None) -> ASGIApp:
    """The whole application.

    Args:
        session: the review.
        token: what a reviewer's browser must know; None asks for nothing.
    """
    login_page = (resources.files(_OF_LIVE_PAGE) / _FOLDER / _LOGIN_PAGE).read_text("utf-8")
    login = Login(Access(token), login_page)
    icon = (resources.files(_OF_LIVE_PAGE) / _FOLDER / _ICON).read_bytes()
    routes = [Route(path, _file(_read(name), kind)) for path, (name, kind) in _FILES.items()]
    routes += [
        Route("/icon.svg", _file(icon, "image/svg+xml")),
        Route(LOGIN, login.endpoint, methods=["GET", "POST"]),
        *_Endpoints(session).routes(),
    ]
    app = Starlette(routes=routes, exception_handlers=ERROR_HANDLERS)
    app.router.redirect_slashes = False
    return Guard(app, login)


class _Endpoints:
    def __init__(self, session: ReviewSession) -> None:
        self._session = session

    def routes(self) -> list[Route]:
        return [
            Route("/healthz", self.health),
            Route("/api/survey", self.survey),
            Route("/api/review", self.review),
            Route("/api/actions", self.act, methods=["POST"]),
            Route("/frames/{number}.jpg", self.frame),
            Route("/maps/{number}.png", self.map),
            Route("/views/{number}.jpg", self.view),
        ]

    async def health(self, request: Request) -> Response:
        """Whether the page is there."""
        return PlainTextResponse("ok\n")

    async def survey(self, request: Request) -> Response:
        """What does not change while a review is made."""
        return JSONResponse(self._session.survey())

    async def review(self, request: Request) -> Response:
        """All cracks, and how far the review has come."""
        return JSONResponse(await anyio.to_thread.run_sync(self._session.review))

    async def act(self, request: Request) -> Response:
        """One action, with the reviewer's name; what changed by it."""
        given = await read_json(request, _LONGEST_BODY)
        reviewer = given.pop("reviewer", None)
        revision = given.pop("revision", None)
        done: dict[str, Any] = await anyio.to_thread.run_sync(
            self._session.act, reviewer, given, revision
        )
        return JSONResponse(done)

    async def frame(self, request: Request) -> Response:
        """A kept frame, as it was kept."""
        return await _picture(self._session.picture(number_in_path(request)))

    async def view(self, request: Request) -> Response:
        """What was cut out of a crack's best frame."""
        return await _picture(self._session.view_picture(number_in_path(request)))

    async def map(self, request: Request) -> Response:
        """A sheet's map."""
        return await _picture(self._session.map_picture(number_in_path(request)))


async def _picture(path: Path | None) -> Response:
    if path is None:
        raise HTTPException(404, "no picture was kept")
    try:
        data = await anyio.to_thread.run_sync(path.read_bytes)
    except OSError:
        raise HTTPException(404, "the picture is lost") from None
    kind = _KINDS.get(data[:2])
    if kind is None:
        raise HTTPException(404, "the picture is damaged")
    return Response(data, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})


def _read(name: str) -> bytes:
    return (resources.files(__package__) / _FOLDER / name).read_bytes()


def _file(content: bytes, kind: str) -> Callable[[Request], Response]:
    async def answer(request: Request) -> Response:
        return Response(content, headers={"Cache-Control": "no-cache"}, media_type=kind)

    return answer  # type: ignore[return-value]
