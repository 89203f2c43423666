"""What all viewers of the live page share: pictures, messages, settings."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from edgecrack.errors import EdgecrackError
from edgecrack.images.encodings import encode
from edgecrack.images.ignored import IgnoredPixels
from edgecrack.metrics.counting import uint8_level
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.outputs.overlay import draw_caption, draw_overlay
from edgecrack.runtime.web.access import network_of
from edgecrack.runtime.web.config import ServeConfig
from edgecrack.runtime.web.status import (
    LatestResult,
    LiveContext,
    Shown,
    StatusBoard,
    Worker,
    describe,
)

Picture = TypeVar("Picture")
_LOG = logging.getLogger("edgecrack")


@dataclass(frozen=True)
class Made(Generic[Picture]):
    """An encoded result; `made_s` is the event loop's time at which it was ready."""

    shown: Shown
    picture: Picture
    made_s: float


class Broadcast(Generic[Picture]):
    """One kind of picture for all viewers of it; made and used in one running event loop.

    Args:
        results: where they come from.
        make: encodes one result; runs in the worker's thread.
        worker: its thread.
        max_fps: most pictures made per second.
    """

    def __init__(
        self,
        results: LatestResult,
        make: Callable[[FrameResult], Picture],
        worker: Worker,
        max_fps: float,
    ) -> None:
        self._results, self._make, self._worker = results, make, worker
        self._interval_s = 1 / max_fps
        self._latest: Made[Picture] | None = None
        self._waiting = 0
        self._failed = False
        self._loop = asyncio.get_running_loop()
        self._wanted, self._written = asyncio.Event(), asyncio.Event()
        self._published = asyncio.Condition()
        self.made = 0

    async def run(self) -> None:
        """Make pictures while a viewer waits for them; runs until cancelled."""
        unsubscribe = self._results.subscribe(self._on_write)
        try:
            await self._make_all()
        finally:
            unsubscribe()

    async def next(self, after: int) -> Made[Picture]:
        """The newest picture, once its number is above `after`; without end if none comes."""
        async with self._published:
            self._waiting += 1
            self._wanted.set()
            # Results are not announced while no one waits.
            self._written.set()
            try:
                while (latest := self._latest) is None or not self._is_due(latest, after):
                    await self._published.wait()
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self._wanted.clear()
            return latest

    def _is_due(self, latest: Made[Picture], after: int) -> bool:
        # A picture made for others a while ago may not be the newest.
        newest = self._results.newest()
        if newest is None or latest.shown.number <= after:
            return False
        current = newest.number == latest.shown.number
        recent = self._loop.time() - latest.made_s < self._interval_s
        return (current or recent) and self._results.may_be_shown(latest.shown)

    async def _make_all(self) -> None:
        last, due_s = 0, 0.0
        while True:
            await self._wanted.wait()
            self._written.clear()
            newest = self._results.newest()
            if newest is None or newest.number <= last:
                await self._written.wait()
                continue
            if (wait_s := due_s - self._loop.time()) > 0:
                await asyncio.sleep(wait_s)
                newest = self._results.newest()
            if newest is None:  # it became too old in the meantime
                continue
            due_s = self._loop.time() + self._interval_s
            last = newest.number
            await self._make_one(newest)

    async def _make_one(self, shown: Shown) -> None:
        try:
            picture = await self._worker.run(self._make, shown.result)
        except (EdgecrackError, cv2.error) as error:
            if not self._failed:  # once, not ten times a second
                _LOG.error("the live page cannot show frame %s: %s", shown.result.frame.name, error)
            self._failed = True
            return
        self._failed = False
        self.made += 1
        async with self._published:
            self._latest = Made(shown, picture, self._loop.time())
            self._published.notify_all()

    def _on_write(self) -> None:
        # In the stream's thread: almost free while no one waits.
        if self._waiting:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._written.set)


WIDEST_PX = 1280
# Below this a heat map is dark anyway; without this noise the map takes half the bytes.
FAINTEST = 8
_SCALED_QUALITY = 80
_DARK_HW = (360, 640)
_HEADER_BYTES = 4
_FAINT_TO_ZERO = np.where(np.arange(256) < FAINTEST, 0, np.arange(256)).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class PagePicture:
    """One result for the page, the same bytes for all viewers except the age.

    Attributes:
        header: what the page says of it, and the sizes that it needs to take `body` apart.
        body: the frame as JPEG; the probability map, of the same size, as zlib-compressed rows of
            uint8; and where a part is ignored, its mask of that size as zlib-compressed bits, the
            first pixel in the highest bit.
    """

    header: dict[str, Any]
    body: bytes = field(repr=False)

    def message(self, number: int, age_ms: float, stale_after_ms: float) -> bytes:
        """The message to one viewer: length of the header (uint32, big-endian), header, body.

        Args:
            number: what the viewer answers when it has shown the picture.
            age_ms: of the picture, now.
            stale_after_ms: age from which the viewer must not show it as live.
        """
        now = {"number": number, "age_ms": round(age_ms), "stale_after_ms": round(stale_after_ms)}
        header = json.dumps({**self.header, **now}, allow_nan=False).encode()
        return b"".join((len(header).to_bytes(_HEADER_BYTES, "big"), header, self.body))


def page_picture(result: FrameResult) -> PagePicture:
    """Encode a result for the page, at most 1280 px wide.

    The map goes as compressed bytes and not as a PNG: that takes half the time and no more
    bytes, and a browser need not read it back from a canvas, which some falsify on purpose.

    Raises:
        OutputError: it cannot be encoded.
    """
    frame = result.frame
    height, width = frame.hw
    probability = result.probability
    if width > WIDEST_PX:
        size = (WIDEST_PX, max(1, round(height * WIDEST_PX / width)))
        image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
        jpeg = encode(
            ".jpg", np.asarray(image, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, _SCALED_QUALITY]
        )
        probability = _shrunk(probability, size)
    else:
        jpeg = result.jpeg()
    faint_gone = np.ascontiguousarray(cv2.LUT(probability, _FAINT_TO_ZERO))
    # A map compresses by runs only; searching for longer matches just takes time.
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    packed = packer.compress(faint_gone.data) + packer.flush()
    header = {
        **_facts(result),
        "width": probability.shape[1],
        "height": probability.shape[0],
        "jpeg_bytes": len(jpeg),
        "map_bytes": len(packed),
        "lines": [
            (line * (probability.shape[1] / width)).round(1).tolist()
            for line in result.centre_lines()
        ],
    }
    return PagePicture(header, jpeg + packed + _ignored_bits(result.ignored, probability.shape))


@lru_cache(maxsize=4)
def _ignored_bits(ignored: IgnoredPixels | None, hw: tuple[int, int]) -> bytes:
    """What is ignored for a page picture of this size; made once and kept."""
    if ignored is None:
        return b""
    mask = cv2.resize(ignored.mask.view(np.uint8), hw[::-1], interpolation=cv2.INTER_NEAREST)
    return zlib.compress(np.packbits(np.asarray(mask, np.uint8)).tobytes())


def _facts(result: FrameResult) -> dict[str, Any]:
    frame = result.frame
    return {
        "frame": frame.index,
        "name": frame.name,
        "live": frame.live,
        "time_ms": frame.stamp_ns // 1_000_000,
        "media_time_ms": frame.media_time_ms,
        "capture_time_ns": frame.capture_time_ns,
        "threshold": result.threshold,
        "level": uint8_level(result.threshold),
        "crack_pixels": result.crack_pixels,
        "regions": len(result.regions),
        "latency_ms": round(result.latency_ms, 1),
        "inspected_ratio": round(result.inspected_ratio, 3),
        "ignored_ratio": round(result.ignored_ratio, 4),
        "missed_ratio": round(result.missed_ratio, 4),
    }


def _shrunk(probability: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The map in a smaller size that keeps each peak: averages would let a hairline crack fade."""
    reach = -(-probability.shape[1] // size[0])
    peaks = cv2.dilate(probability, np.ones((reach, reach), np.uint8))
    return np.asarray(cv2.resize(peaks, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def overlay_jpeg(result: FrameResult) -> bytes:
    """The composed picture for players of MJPEG, at most 1280 px wide.

    Raises:
        OutputError: it cannot be encoded.
    """
    return encode(".jpg", _fitted(draw_overlay(result)), [cv2.IMWRITE_JPEG_QUALITY, 85])


def stale_jpeg(result: FrameResult | None, age_ms: float | None) -> bytes:
    """The last picture, in gray with its age across it, so it is not mistaken for live.

    Args:
        result: None if none may be shown; the picture is then dark.
        age_ms: of it.

    Raises:
        OutputError: it cannot be encoded.
    """
    if result is None or age_ms is None:
        empty = np.full((*_DARK_HW, 3), 24, np.uint8)
        draw_caption(empty, "NO PICTURE")
        return encode(".jpg", empty)
    gray = cv2.cvtColor(_fitted(result.frame.image), cv2.COLOR_BGR2GRAY)
    dark = cv2.cvtColor(cv2.convertScaleAbs(gray, alpha=0.5), cv2.COLOR_GRAY2BGR)
    image = np.asarray(dark, np.uint8)
    draw_caption(image, f"NO PICTURE for {age_ms / 1000:.0f} s - this is the last one")
    return encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])


def _fitted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if width <= WIDEST_PX:
        return image
    size = (WIDEST_PX, max(1, round(height * WIDEST_PX / width)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


Client = tuple[str, int]
# A viewer that has not shown its picture for this long may be replaced by a new one.
OWES_S = 2.0


class Seat:
    """A viewer's place among those that get live pictures.

    Args:
        network: where the viewer comes from.

    Attributes:
        lost: set when another viewer has taken it.
    """

    def __init__(self, network: str) -> None:
        self.network = network
        self.lost = asyncio.Event()
        self._owes_since_s: float | None = None

    @contextmanager
    def owing(self) -> Iterator[None]:
        """The time during which the viewer must take or show what was sent."""
        self._owes_since_s = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self._owes_since_s = None

    @property
    def owes_s(self) -> float:
        """How long the server has waited for it so far."""
        since_s = self._owes_since_s
        return 0.0 if since_s is None else asyncio.get_running_loop().time() - since_s


class ViewerLimit:
    """Viewers of live pictures, at most so many at a time.

    Where all seats are taken, a newcomer gets that of a viewer that has taken nothing for some
    seconds, or one of the network that has the most, if it has at least two more than the
    newcomer's.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._seats: list[Seat] = []

    @property
    def taken(self) -> int:
        """How many watch."""
        return len(self._seats)

    def take(self, client: Client | None) -> Seat | None:
        """Take a seat; None where none is free."""
        newcomer = Seat(network_of(client[0]) if client else "")
        if len(self._seats) >= self.limit:
            loser = self._loser(newcomer)
            if loser is None:
                return None
            self.leave(loser)
            loser.lost.set()
        self._seats.append(newcomer)
        return newcomer

    def leave(self, seat: Seat) -> None:
        """Release a seat; a lost one already belongs to another viewer."""
        if seat in self._seats:
            self._seats.remove(seat)

    def refusal(self) -> str:
        """Why a viewer too many gets no picture."""
        watching = "one viewer watches" if self.limit == 1 else f"{self.limit} viewers watch"
        return f"{watching} already; close a page elsewhere and try again"

    def _loser(self, newcomer: Seat) -> Seat | None:
        slowest = max(self._seats, key=lambda seat: seat.owes_s)
        if slowest.owes_s > OWES_S:
            return slowest
        counts = Counter(seat.network for seat in self._seats)
        network, most = counts.most_common(1)[0]
        if most <= counts[newcomer.network] + 1:
            return None
        return next(seat for seat in self._seats if seat.network == network)


class PageState:
    """Made in the server's running event loop.

    Args:
        config: limits.
        context: the stream.

    Attributes:
        closing: set when the page ends.
        hang_up: drops the connection of a client at once, by its address; one that takes
            nothing cannot be waited for. Set by the server.
    """

    def __init__(self, config: ServeConfig, context: LiveContext) -> None:
        self.config, self.context = config, context
        self.hang_up: Callable[[Client | None], None] = lambda client: None
        self.closing = asyncio.Event()
        self.viewers = ViewerLimit(config.max_viewers)
        # Separate, so that a slow disk delays no picture and a slow sensor no switch.
        self.encoder = Worker("page-encode")
        self.actions = Worker("page-action")
        self._sensors = Worker("page-status")
        self.pictures: Broadcast[PagePicture] = Broadcast(
            context.latest, page_picture, self.encoder, config.max_fps
        )
        self.overlays: Broadcast[bytes] = Broadcast(
            context.latest, overlay_jpeg, self.encoder, config.max_fps
        )
        self.status = StatusBoard(self._describe, self._sensors)

    @property
    def pictures_made(self) -> int:
        """Pictures encoded so far, for the page and for MJPEG."""
        return self.pictures.made + self.overlays.made

    async def run(self) -> None:
        """Make pictures until `closing` is set; a defect in one kind ends both, and is raised."""
        await first_of(
            asyncio.ensure_future(self.pictures.run()),
            asyncio.ensure_future(self.overlays.run()),
            asyncio.ensure_future(self.closing.wait()),
        )

    def close(self) -> None:
        """End the threads; one that is stuck in a disk is left behind."""
        for worker, timeout_s in ((self.encoder, 0.3), (self._sensors, 0.1), (self.actions, 0.1)):
            if not worker.close(timeout_s):
                _LOG.warning("a task of the live page is stuck and was left behind")

    def _describe(self) -> dict[str, Any]:
        return describe(self.context, self.viewers.taken, self.viewers.limit)


async def first_of(*tasks: asyncio.Future[Any]) -> None:
    """Wait until one ends, cancel the others, and raise what any of them raised."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
