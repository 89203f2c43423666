"""Opens a source; a live one so that it survives outages."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

from edgecrack.errors import SourceError
from edgecrack.runtime.handoff import TimedOut
from edgecrack.runtime.sources.base import Source
from edgecrack.runtime.sources.newest import SourceReader
from edgecrack.runtime.sources.open import open_source
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.sources.reconnecting import ReconnectingSource, ReconnectPolicy
from edgecrack.runtime.telemetry.events import EventLog
from edgecrack.terminal.redaction import redact

_LIVE = re.compile(r"^(camera:|/dev/|csi://|gst://|rtsps?://|https?://)", re.IGNORECASE)


def open_live_source(
    address: str,
    options: SourceOptions | None = None,
    policy: ReconnectPolicy | None = None,
    events: EventLog | None = None,
    open_: Callable[[], Source] | None = None,
    stop: threading.Event | None = None,
) -> Source:
    """Open a source by its address; a live one is opened again whenever it is lost.

    Args:
        address: as `open_source` takes it.
        options: as `open_source` takes them.
        policy: how long to wait; `wait_for_first` also waits for a source that does not exist yet.
        events: gets an event for each outage.
        open_: opens the source instead of `open_source`; for tests.
        stop: when it is set, the wait for a live source ends, and it is returned unopened.

    Raises:
        EdgecrackError: as `open_source`; also where a live source does not answer, unless the
            policy waits for it.
    """
    policy, events = policy or ReconnectPolicy(), events or EventLog()
    opening = open_ or (lambda: open_source(address, options))
    name = redact(address)
    if not _LIVE.match(address):
        return opening()
    first = SourceReader(opening, "source-0")
    try:
        source = first.wait_open(policy.open_timeout_s, stop or threading.Event(), time.monotonic)
    except TimedOut:
        first.leave()
        if not policy.wait_for_first and not (stop and stop.is_set()):
            raise SourceError(
                f"{name} did not answer within {policy.open_timeout_s:g} s",
                "check its cable, power and network, or give `wait` to keep trying",
            ) from None
    except SourceError:
        if not policy.wait_for_first:
            raise
    else:
        if not source.live:  # a recording that a web server delivers
            first.release()
            return source
        return ReconnectingSource(opening, source.name, policy, events, first)
    return ReconnectingSource(opening, name, policy, events)
