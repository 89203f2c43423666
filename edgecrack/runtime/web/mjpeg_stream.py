"""The composed pictures one after the other, for players that know no WebSocket.

At the same rate as the page's, each drawn once for all players. One that takes nothing is
dropped; where no picture comes, the last one is sent with a mark that it is old.
"""

from __future__ import annotations

import asyncio

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from edgecrack.runtime.web.config import Patience
from edgecrack.runtime.web.page_state import PageState, Seat, first_of
from edgecrack.runtime.web.page_worker import WorkerBusyError
from edgecrack.runtime.web.picture import stale_jpeg

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
