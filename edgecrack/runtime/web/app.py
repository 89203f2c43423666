"""The live page as an ASGI application: its routes and its API."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from importlib import resources
from typing import Any, TypeVar

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from edgecrack.runtime.web.access import LOGIN, Access, Guard, Login
from edgecrack.runtime.web.bodies import ERROR_HANDLERS, member, number_in_path, read_json
from edgecrack.runtime.web.config import Patience
from edgecrack.runtime.web.metrics import CONTENT_TYPE_LATEST, StreamCollector, metrics_text
from edgecrack.runtime.web.page_state import PageState, overlay_jpeg
from edgecrack.runtime.web.status import WorkerBusyError
from edgecrack.runtime.web.viewers import MjpegStream, PageViewer

WHO = "the live page"
_ACTION_S = 30.0
_EVENTS = 100
_NO_RECORDER = "recording is not available; start the stream with --record FILE"
# A report contains its styles and pictures and loads nothing else.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'; sandbox"
)
# What a header must not carry as a file's name.
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]")
Value = TypeVar("Value")


class Api:
    """The endpoints.

    Args:
        state: what they share.
        patience: how long viewers are waited for.
    """

    def __init__(self, state: PageState, patience: Patience) -> None:
        self._state, self._context, self._patience = state, state.context, patience
        self._collector = StreamCollector(
            state.context, lambda: state.viewers.taken, lambda: state.pictures_made
        )

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        return [
            Route("/healthz", self.health),
            Route("/metrics", self.metrics),
            Route("/stream.mjpg", self.stream),
            WebSocketRoute("/api/live", self.live),
            Route("/api/status", self.status),
            Route("/api/findings", self.findings),
            Route("/api/findings/{number}.jpg", self.thumbnail),
            Route("/api/events", self.events),
            Route("/api/threshold", self.set_threshold, methods=["POST"]),
            Route("/api/pause", self.pause, methods=["POST"]),
            Route("/api/resume", self.resume, methods=["POST"]),
            Route("/api/recording", self.record, methods=["POST"]),
            Route("/api/snapshot", self.snapshot, methods=["POST"]),
            Route("/report.html", self.report),
        ]

    async def health(self, request: Request) -> Response:
        """Whether frames arrive, for a watchdog; nothing else, because it needs no token."""
        if self._context.stats().source_state == "live":
            return PlainTextResponse("ok\n")
        return PlainTextResponse("no frames\n", 503)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        text = await self._act(metrics_text, self._collector)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def stream(self, request: Request) -> Response:
        """MJPEG of the composed picture."""
        return MjpegStream(request, self._state, self._patience)

    async def live(self, socket: WebSocket) -> None:
        """Pictures and state for the page."""
        await PageViewer(socket, self._state, self._patience).serve()

    async def status(self, request: Request) -> Response:
        """The whole state."""
        return await self._status()

    async def findings(self, request: Request) -> Response:
        """The last cracks, newest first."""
        findings = self._context.findings
        found = [finding.to_dict() for finding in findings.recent()]
        return JSONResponse(
            {"count": findings.count, "confirmed": findings.confirmed, "findings": found}
        )

    async def thumbnail(self, request: Request) -> Response:
        """The picture of one crack."""
        number = number_in_path(request)
        for finding in self._context.findings.recent():
            if finding.id == number:
                # The page's address for it changes with the picture.
                headers = {"Cache-Control": "private, max-age=3600"}
                return Response(finding.best.thumbnail_jpeg, 200, headers, "image/jpeg")
        raise HTTPException(404, f"finding {number} is not kept")

    async def events(self, request: Request) -> Response:
        """The latest events, newest first."""
        recent = self._context.events.recent(_EVENTS)
        return JSONResponse({"events": [event.to_dict() for event in reversed(recent)]})

    async def set_threshold(self, request: Request) -> Response:
        """`{"threshold": 0.4}`: decide by another threshold."""
        threshold = member(await read_json(request), "threshold", (int, float))
        try:
            value = float(threshold)
        except OverflowError:  # a whole number of hundreds of digits
            value = math.inf
        self._context.controls.set_threshold(value, WHO)
        return await self._switched()

    async def pause(self, request: Request) -> Response:
        """Pause the inspection until resumed."""
        await read_json(request)
        self._context.controls.pause(WHO)
        return await self._switched()

    async def resume(self, request: Request) -> Response:
        """Go on."""
        await read_json(request)
        self._context.controls.resume(WHO)
        return await self._switched()

    async def record(self, request: Request) -> Response:
        """`{"active": true}`: start or stop recording."""
        active = member(await read_json(request), "active", (bool,))
        recorder = self._context.controls.recorder
        if recorder is None:
            raise HTTPException(409, _NO_RECORDER)
        await self._act(recorder.start if active else recorder.stop)
        return await self._switched()

    async def snapshot(self, request: Request) -> Response:
        """Keep the newest result as a picture, and answer with it."""
        await read_json(request)
        name, media_type, data = await self._act(self._take_snapshot)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        self._state.status.renew()
        return Response(data, 200, headers, media_type)

    async def report(self, request: Request) -> Response:
        """The newest report beside the results, as a page without any permissions."""
        report = self._context.report
        page = None if report is None else await self._act(report.read)
        if page is None:
            raise HTTPException(404, "there is no report yet")
        headers = {"Content-Security-Policy": _REPORT_POLICY}
        return Response(page, 200, headers, "text/html; charset=utf-8")

    def _take_snapshot(self) -> tuple[str, str, bytes]:
        newest = self._context.latest.newest()
        if self._context.snapshot is not None:
            path = self._context.snapshot()
            if path is None:
                raise HTTPException(409, "there is no picture yet")
            kind = "image/png" if path.suffix.lower() == ".png" else "image/jpeg"
            return _NOT_PLAIN.sub("_", path.name), kind, path.read_bytes()
        if newest is None:
            raise HTTPException(409, "there is no picture yet")
        return "snapshot.jpg", "image/jpeg", overlay_jpeg(newest.result)

    async def _act(self, action: Callable[..., Value], *arguments: Any) -> Value:
        """Run what may wait for a disk, without delaying the pictures."""
        try:
            with anyio.fail_after(_ACTION_S):
                return await self._state.actions.run(action, *arguments)
        except TimeoutError:
            raise HTTPException(503, f"the disk has not answered for {_ACTION_S:.0f} s") from None
        except WorkerBusyError:
            raise HTTPException(503, "too many requests at a time; try again") from None
        except OSError as error:
            raise HTTPException(500, f"the disk failed: {error.strerror or error}") from error

    async def _switched(self) -> Response:
        self._state.status.renew()
        return await self._status()

    async def _status(self) -> Response:
        return Response(await self._state.status.text(), media_type="application/json")


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
    # No redirects for slashes: an address is right or unknown.
    app = Starlette(routes=routes, exception_handlers=ERROR_HANDLERS)
    app.router.redirect_slashes = False
    return Guard(app, login)


def _read(name: str) -> bytes:
    return (resources.files(__package__) / _FOLDER / name).read_bytes()


def _file(content: bytes, kind: str) -> Callable[[Request], Response]:
    async def answer(request: Request) -> Response:
        # Revalidated each time, so that a robot's update shows immediately.
        return Response(content, headers={"Cache-Control": "no-cache"}, media_type=kind)

    return answer  # type: ignore[return-value]
