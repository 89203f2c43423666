"""Gives results to the outputs in a thread, so that the network never waits for a disk.

All results of a recording are written, however slow the outputs are. Of a live source, results that
the outputs cannot take in time are replaced by newer ones and counted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import cv2

from edgecrack.errors import EdgecrackError, OutputError
from edgecrack.files import output_error
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.handoff import TimedOut, Worker
from edgecrack.runtime.outputs.sinks import PassiveSink, Sink
from edgecrack.runtime.pipeline.config import PipelineConfig
from edgecrack.runtime.telemetry.events import RepeatLimiter
from edgecrack.terminal.wording import counted

_LOG = logging.getLogger("edgecrack")
_POLL_S = 0.1
_LAST_CHANCE_S = 0.5


class Delivery:
    """The writer thread and its queue.

    Args:
        sinks: closed by `close`.
        config: the run's settings.
        live: the source is live.
        is_fresh: whether a result may still be published; called before each sink.
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
        self._writer = Worker("edgecrack-write", self._write, capacity, keep_newest=live)
        self._is_fresh = is_fresh
        self._seen_replaced = 0
        self._behind = RepeatLimiter()
        self.failure: OutputError | None = None

    @property
    def replaced(self) -> int:
        """Results that newer ones replaced before the outputs took them."""
        return self._writer.replaced

    def start(self) -> None:
        """Start the thread."""
        self._writer.start()

    def check(self) -> None:
        """Raise the error of an output whose failure ends the run."""
        self._writer.check()

    def put(self, result: FrameResult) -> None:
        """Queue one result.

        Raises:
            OutputError: an output failed, or was stuck for too long.
        """
        started_s = time.monotonic()
        while True:
            try:
                self._writer.put(result, _POLL_S)
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
            self._report_behind()

    def finish(self) -> None:
        """Wait until the results in the queue are written; only briefly if asked to stop.

        Raises:
            OutputError: an output failed or is stuck.
        """
        stopped = self._config.stop.is_set()
        wait_s = self._config.stop_timeout_s if stopped else self._config.drain_timeout_s
        self._writer.finish()
        has_ended = self._writer.join(wait_s)
        if not has_ended and stopped:
            waiting = self._writer.waiting
            self._writer.abandon()
            has_ended = self._writer.join(_LAST_CHANCE_S)
            if has_ended and waiting:
                _LOG.warning("the outputs were too slow: %s lost", counted(waiting, "result"))
        if not has_ended:
            raise self._stuck(wait_s)
        self._writer.raise_error()

    def close(self) -> None:
        """Close the outputs, unless one is stuck in the writer thread.

        Raises:
            OutputError: one could not be finished.
        """
        if not self._writer.is_alive:
            close_all(self._sinks)

    def _write(self, result: FrameResult) -> None:
        for sink in list(self._sinks):
            if not self._is_fresh(result):
                return
            try:
                write_one(sink, result)
            except Exception as error:
                failure = error
                if not isinstance(failure, OutputError):
                    failure = _sink_error(f"{sink.name} output failed", error)
                if not self._survives(sink, failure):
                    raise
                self._sinks.remove(sink)

    def _survives(self, sink: Sink, error: OutputError) -> bool:
        """Whether a live stream goes on without a failed output, which the end reports again.

        Not without the last output that writes or shows anything.
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

    def _report_behind(self) -> None:
        replaced = self._writer.replaced
        if replaced > self._seen_replaced:
            if self._behind.is_due():
                self._config.events.emit(
                    "output.behind",
                    "the outputs cannot keep up; results are dropped",
                    "warning",
                    dropped=replaced,
                )
            self._seen_replaced = replaced

    def _stuck(self, waited_s: float) -> OutputError:
        return OutputError(
            f"the outputs took nothing for {waited_s:.3g} s",
            "check the disk or network folder that they are written to",
        )


def write_one(sink: Sink, result: FrameResult) -> None:
    """Give one result to one sink.

    Raises:
        OutputError: the sink failed; the sentence names the sink, the frame and the file.
    """
    try:
        sink.write(result)
    except (EdgecrackError, OSError, cv2.error) as error:
        raise _sink_error(
            f"{sink.name} output failed at frame {result.frame.name}", error
        ) from error


def close_all(sinks: Sequence[Sink]) -> None:
    """Close every sink, also after one of them failed.

    Raises:
        OutputError: the first failure, after all were closed.
    """
    failure: BaseException | None = None
    for sink in sinks:
        try:
            sink.close()
        except (EdgecrackError, OSError, cv2.error) as error:
            failure = failure or _sink_error(f"{sink.name} output is not whole", error)
        except BaseException as error:
            failure = failure or error
    if failure is not None:
        raise failure


def _sink_error(what: str, error: Exception) -> OutputError:
    if isinstance(error, OSError):
        error = output_error(error.filename or "a result", error)
    if isinstance(error, EdgecrackError):
        return OutputError(f"the {what}: {error.problem}", error.remedy)
    return OutputError(f"the {what}: {error}", "leave this output out, or report it as a defect")
