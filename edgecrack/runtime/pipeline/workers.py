"""What the threads of a stream do: read, prepare, write.

Each ends by itself when its source ends, when its consumer takes nothing more, or after an
error, which it passes on. None of them may raise: an error in a thread is seen by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2

from edgecrack.errors import EdgecrackError, OutputError
from edgecrack.files import output_error
from edgecrack.runtime.frame import FrameResult
from edgecrack.runtime.handoff import Abandoned, Handoff
from edgecrack.runtime.outputs.sinks import Sink

In = TypeVar("In")
Out = TypeVar("Out")


def pump(take: Callable[[], Out | None], target: Handoff[Out]) -> None:
    """Put what `take` gives into `target` until it gives None; errors travel along."""
    try:
        while (item := take()) is not None:
            target.put(item)
        target.finish()
    except Abandoned:
        pass
    except BaseException as error:
        target.finish(error)


def convert(source: Handoff[In], target: Handoff[Out], change: Callable[[In], Out]) -> None:
    """Put `change(item)` into `target` for each item of `source`."""

    def take() -> Out | None:
        item = source.get()
        return None if item is None else change(item)

    pump(take, target)
    source.abandon()


def write_all(
    results: Handoff[FrameResult],
    sinks: list[Sink],
    is_fresh: Callable[[FrameResult], bool] = lambda result: True,
    survives: Callable[[Sink, OutputError], bool] = lambda sink, error: False,
) -> None:
    """Give each result to each sink, in order.

    Args:
        results: ends with None.
        sinks: one that failed and is survived is taken out of it.
        is_fresh: asked right before each sink; a result that is too old goes nowhere.
        survives: asked when a sink fails; False ends it all with the error.
    """
    try:
        while (result := results.get()) is not None:
            for sink in list(sinks):
                if not is_fresh(result):
                    break
                try:
                    write_one(sink, result)
                except Exception as error:
                    failure = error
                    if not isinstance(failure, OutputError):
                        failure = _sink_error(f"{sink.name} output failed", error)
                    if not survives(sink, failure):
                        raise
                    sinks.remove(sink)
    except BaseException as error:
        results.abandon(error)


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
