"""Results on their way to the outputs: in a thread, so that the network never waits for a disk.

A recording's results all arrive, however slow the outputs are; of a live source, results that the
outputs cannot take in time are replaced by newer ones and counted. Knows results and outputs;
must not know where results come from.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from edgecrack.errors import EdgecrackError, OutputError
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.handoff import Abandoned, Handoff, TimedOut
from edgecrack.runtime.outputs.sinks import PassiveSink, Sink
from edgecrack.runtime.pipeline.config import PipelineConfig
from edgecrack.runtime.pipeline.workers import close_all, write_all
from edgecrack.terminal.wording import counted

_LOG = logging.getLogger("edgecrack")
_POLL_S = 0.1
_LAST_CHANCE_S = 0.5
EPISODE_S = 10.0


class Delivery:
    """The writer thread and what it is given.

    Args:
        sinks: closed by `close`.
        config: the run's settings.
        live: results come whether they are taken or not.
        is_fresh: whether a result may still be published.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        config: PipelineConfig,
        live: bool,
        is_fresh: Callable[[FrameResult], bool],
    ) -> None:
        self._sinks, self._config, self._live = list(sinks), config, live
        # Results that may not grow old must not queue behind a slow output.
        capacity = 1 if live and config.max_age_ms is not None else config.queue_size
        self._results = Handoff[FrameResult](capacity, keep_newest=live)
        self._seen_replaced = 0
        self._last_behind_s = -EPISODE_S
        self.failure: OutputError | None = None
        self._thread = threading.Thread(
            target=partial(write_all, self._results, self._sinks, is_fresh, self._survives),
            name="edgecrack-write",
            daemon=True,
        )

    @property
    def replaced(self) -> int:
        """Results replaced by newer ones before the outputs took them."""
        return self._results.replaced

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def check(self) -> None:
        """Raise what an output failed with, if one that ends the run did."""
        self._results.check()

    def put(self, result: FrameResult) -> None:
        """Hand over one result.

        Raises:
            OutputError: an output failed, or all have been stuck for too long.
        """
        started_s = time.monotonic()
        while True:
            try:
                self._results.put(result, _POLL_S)
            except TimedOut:
                self._config.heartbeat()
                waited_s = time.monotonic() - started_s
                limit_s = self._config.drain_timeout_s
                if self._config.stop.is_set():
                    limit_s = self._config.stop_timeout_s
                if waited_s > limit_s:
                    raise self._stuck(waited_s) from None
            else:
                break
        if self._live:
            self._say_behind()

    def finish(self) -> None:
        """Wait for what is on its way; not long where somebody asked the stream to stop.

        Raises:
            OutputError: an output failed or is stuck.
        """
        stopped = self._config.stop.is_set()
        wait_s = self._config.stop_timeout_s if stopped else self._config.drain_timeout_s
        self._results.finish()
        self._thread.join(wait_s)
        if self._thread.is_alive() and stopped:
            waiting = self._results.waiting
            self._results.abandon()
            self._thread.join(_LAST_CHANCE_S)
            if not self._thread.is_alive() and waiting:
                _LOG.warning("the outputs were too slow: %s lost", counted(waiting, "result"))
        if self._thread.is_alive():
            raise self._stuck(wait_s)
        with suppress(Abandoned):
            self._results.check()

    def close(self) -> None:
        """Close the outputs, unless one of them is stuck in the writer thread.

        Raises:
            OutputError: one could not be finished.
        """
        if not self._thread.is_alive():
            close_all(self._sinks)

    def _survives(self, sink: Sink, error: OutputError) -> bool:
        """A live stream goes on without an output that failed, and says so at the end, too.

        Not without the last one that keeps or shows anything: inspecting for nobody helps nobody.
        """
        useful = [each for each in self._sinks if not isinstance(each, PassiveSink)]
        if not self._live or useful in ([], [sink]):
            return False
        self.failure = self.failure or error
        self._config.events.emit(
            "output.failed",
            f"{error.problem}; {error.remedy}; the stream goes on without this output",
            "error",
            output=sink.name,
        )
        with suppress(EdgecrackError, OSError):
            close_all([sink])
        return True

    def _say_behind(self) -> None:
        replaced, now_s = self._results.replaced, time.monotonic()
        if replaced > self._seen_replaced:
            if now_s - self._last_behind_s > EPISODE_S:
                self._config.events.emit(
                    "output.behind",
                    "the outputs cannot keep up; results are dropped",
                    "warning",
                    dropped=replaced,
                )
            self._seen_replaced, self._last_behind_s = replaced, now_s

    def _stuck(self, waited_s: float) -> OutputError:
        return OutputError(
            f"the outputs took nothing for {waited_s:.3g} s",
            "check the disk or network folder that they are written to",
        )
