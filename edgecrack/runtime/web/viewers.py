"""Viewers of the live page, by WebSocket and by MJPEG."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgecrack.outside_text import parse_json
from edgecrack.runtime.web.config import Patience
from edgecrack.runtime.web.page_state import (
    Made,
    PagePicture,
    PageState,
    Seat,
    first_of,
    stale_jpeg,
)
from edgecrack.runtime.web.status import WorkerBusyError

_BOUNDARY = b"edgecrack-picture"


class MjpegStream(Response):
    """The composed pictures, one after the other, for VLC, curl and `<img>`.

    Args:
        request: answered by it.
        state: what all share.
        patience: how long the client is waited for.
    """

    media_type = "multipart/x-mixed-replace; boundary=" + _BOUNDARY.decode()

    def __init__(self, request: Request, state: PageState, patience: Patience) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._request, self._state, self._patience = request, state, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer until the client leaves, takes nothing, or the page closes."""
        seat = self._state.viewers.take(self._request.client)
        if seat is None:
            await JSONResponse({"error": self._state.viewers.refusal()}, 503)(scope, receive, send)
            return
        try:
            await self._send(
                send,
                {
                    "type": "http.response.start",
                    "status": 200,
                    "headers": self.raw_headers,
                },
            )
            await first_of(
                asyncio.ensure_future(self._gone(receive)),
                asyncio.ensure_future(self._send_pictures(send, seat)),
                asyncio.ensure_future(seat.lost.wait()),
                asyncio.ensure_future(self._state.closing.wait()),
            )
            if seat.lost.is_set():
                self._state.hang_up(self._request.client)
                return
            await self._send(send, {"type": "http.response.body", "body": b""})
        except TimeoutError:
            self._state.hang_up(self._request.client)
        finally:
            self._state.viewers.leave(seat)

    async def _gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _send_pictures(self, send: Send, seat: Seat) -> None:
        loop = asyncio.get_running_loop()
        last, due_s = 0, 0.0
        while True:
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            due_s = loop.time() + 1 / self._state.config.max_fps
            jpeg, last = await self._next(last)
            if jpeg is not None:
                head = b"--%b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (
                    _BOUNDARY,
                    len(jpeg),
                )
                part = head + jpeg + b"\r\n"
                with seat.owing():
                    await self._send(
                        send, {"type": "http.response.body", "body": part, "more_body": True}
                    )

    async def _next(self, last: int) -> tuple[bytes | None, int]:
        """The next picture; where none comes, the last one marked as old."""
        latest = self._state.context.latest
        with anyio.move_on_after(self._patience.stale_s):
            made = await self._state.overlays.next(last)
            return made.picture, made.shown.number
        newest, age_ms = latest.newest(), latest.age_ms()
        if age_ms is not None and age_ms < latest.stale_after_ms:
            return None, last
        result = newest.result if newest else None
        try:
            return await self._state.encoder.run(stale_jpeg, result, age_ms), last
        except WorkerBusyError:
            return None, last

    async def _send(self, send: Send, message: Message) -> None:
        with anyio.fail_after(self._patience.send_s):
            await send(message)


_LOG = logging.getLogger("edgecrack")
# Codes of our own, which the page knows.
CLOSE_GOING = 1001
CLOSE_WRONG = 1008
CLOSE_FULL = 4001
CLOSE_SLOW = 4002
_LAST_WORDS_S = 0.2


class StrangeMessageError(Exception):
    """A viewer sent what the page never sends."""


class PageViewer:
    """One open page.

    Args:
        socket: not accepted yet.
        state: what all share.
        patience: how long it is waited for.
    """

    def __init__(self, socket: WebSocket, state: PageState, patience: Patience) -> None:
        self._socket, self._state, self._patience = socket, state, patience
        self._sent = 0
        self._shown = asyncio.Event()
        self._shown.set()  # it is ready for its first

    async def serve(self) -> None:
        """Serve until the viewer leaves, takes nothing, or the page closes."""
        await self._socket.accept()
        seat = self._state.viewers.take(self._socket.client)
        if seat is None:
            await self._end(CLOSE_FULL, self._state.viewers.refusal())
            return
        self._state.status.renew()
        code, reason = CLOSE_GOING, "the robot's program has ended"
        try:
            await first_of(
                asyncio.ensure_future(self._listen()),
                asyncio.ensure_future(self._send_status()),
                asyncio.ensure_future(self._send_pictures(seat)),
                asyncio.ensure_future(seat.lost.wait()),
                asyncio.ensure_future(self._state.closing.wait()),
            )
            if seat.lost.is_set():
                code, reason = CLOSE_SLOW, "another viewer took this one's place"
        except TimeoutError:  # first, for it is an OSError too
            code, reason = CLOSE_SLOW, "this viewer did not keep up"
        except (WebSocketDisconnect, OSError, RuntimeError):
            _LOG.debug("a viewer of the live page has left", exc_info=True)
            return
        except StrangeMessageError:
            code, reason = CLOSE_WRONG, "this is not a message of the page"
        finally:
            self._state.viewers.leave(seat)
            self._state.status.renew()
        await self._end(code, reason)

    async def _listen(self) -> None:
        while True:
            try:
                message = parse_json(await self._socket.receive_text())
            except (ValueError, KeyError):  # not JSON, or not text
                raise StrangeMessageError from None
            if not isinstance(message, dict):
                raise StrangeMessageError
            if message.get("shown") == self._sent:
                self._shown.set()

    async def _send_status(self) -> None:
        while True:
            text = await self._state.status.text()
            with anyio.fail_after(self._patience.send_s):
                await self._socket.send_text(text)
            await self._state.status.wait()

    async def _send_pictures(self, seat: Seat) -> None:
        loop = asyncio.get_running_loop()
        due_s = 0.0
        while True:
            with seat.owing(), anyio.fail_after(self._patience.show_s):
                await self._shown.wait()
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            due_s = loop.time() + 1 / self._state.config.max_fps
            made: Made[PagePicture] = await self._state.pictures.next(self._sent)
            latest = self._state.context.latest
            age_ms = latest.age_ms(made.shown) or 0.0
            self._sent = made.shown.number
            self._shown.clear()
            message = made.picture.message(self._sent, age_ms, latest.stale_after_ms)
            with seat.owing(), anyio.fail_after(self._patience.send_s):
                await self._socket.send_bytes(message)

    async def _end(self, code: int, reason: str) -> None:
        """Send the close message, with a short timeout."""
        with (
            suppress(RuntimeError, OSError, WebSocketDisconnect),
            anyio.move_on_after(_LAST_WORDS_S),
        ):
            await self._socket.close(code, reason)
        if code == CLOSE_SLOW:
            self._state.hang_up(self._socket.client)
