"""The live page put together: fixed files, endpoints, and the guard before them.

The files are read once, when the page starts; a request can only name one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from edgecrack.runtime.web.access import Access
from edgecrack.runtime.web.api import Api
from edgecrack.runtime.web.bodies import ERROR_HANDLERS
from edgecrack.runtime.web.config import Patience
from edgecrack.runtime.web.guard import Guard
from edgecrack.runtime.web.login import LOGIN, Login
from edgecrack.runtime.web.page_state import PageState

_FOLDER = "static"
_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{
        f"/{name}": (name, "text/javascript")
        for name in ("page.js", "picture.js", "link.js", "findings.js", "format.js")
    },
}


def build_app(state: PageState, patience: Patience | None = None) -> ASGIApp:
    """The whole application.

    Args:
        state: made in the event loop that will serve it.
        patience: how long viewers are waited for; None takes the defaults.
    """
    login = Login(Access(state.config.token), _read("login.html").decode())
    routes: list[BaseRoute] = [
        Route(path, _file(_read(name), kind)) for path, (name, kind) in _FILES.items()
    ]
    routes.append(Route(LOGIN, login.endpoint, methods=["GET", "POST"]))
    routes.extend(Api(state, patience or Patience()).routes())
    # Slashes are not mended by redirects: an address is right or unknown.
    app = Starlette(routes=routes, exception_handlers=ERROR_HANDLERS)
    app.router.redirect_slashes = False
    return Guard(app, login)


def _read(name: str) -> bytes:
    return (resources.files(__package__) / _FOLDER / name).read_bytes()


def _file(content: bytes, kind: str) -> Callable[[Request], Response]:
    async def answer(request: Request) -> Response:
        # Asked for anew each time, so that a robot's update shows at once.
        return Response(content, headers={"Cache-Control": "no-cache"}, media_type=kind)

    return answer  # type: ignore[return-value]
