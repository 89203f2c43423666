"""One open page: its WebSocket.

A viewer gets a picture when it has shown the one before, so each is as fast as its own network
and none holds up another. One that takes nothing is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgecrack.outside_text import parse_json
from edgecrack.runtime.web.broadcast import Made
from edgecrack.runtime.web.config import Patience
from edgecrack.runtime.web.page_state import PageState, Seat, first_of
from edgecrack.runtime.web.picture import PagePicture

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
        """Until it leaves, takes nothing, or the page closes."""
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
                code, reason = CLOSE_SLOW, "another viewer has taken this one's place"
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
            except (ValueError, KeyError):  # no JSON, or no text at all
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
        """Say good-bye, but not for long."""
        with (
            suppress(RuntimeError, OSError, WebSocketDisconnect),
            anyio.move_on_after(_LAST_WORDS_S),
        ):
            await self._socket.close(code, reason)
        if code == CLOSE_SLOW:
            self._state.hang_up(self._socket.client)
