"""Runs a build so that it can be watched and stopped.

TensorRT builds in a thread of its own and calls back from whichever thread it likes. The caller
is told of progress in the caller's thread, where Ctrl-C arrives, too.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

Progress = tuple[str, int, int]
OnProgress = Callable[[str, int, int], None]
POLL_S = 0.05


class BuildControl:
    """What a build tells and is told, between threads."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._progress: SimpleQueue[Progress] = SimpleQueue()

    def put(self, stage: str, done: int, total: int) -> None:
        """Tell how far a stage is; from any thread."""
        self._progress.put((stage, done, total))

    def take(self) -> list[Progress]:
        """What was told since the last call: of each stage the last word, in order."""
        latest: list[Progress] = []
        while True:
            try:
                progress = self._progress.get_nowait()
            except Empty:
                return latest
            if latest and latest[-1][0] == progress[0]:
                latest.pop()
            latest.append(progress)


def make_monitor(trt: Any, control: BuildControl) -> Any:
    """A TensorRT progress monitor that reports to `control` and stops when it says so.

    Args:
        trt: the TensorRT module.
        control: where progress goes and whence the stop comes.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = max(1, num_steps)
            control.put(phase_name, 0, self._steps[phase_name])

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            total = self._steps.get(phase_name, step + 1)
            control.put(phase_name, min(step + 1, total), total)
            return not control.cancelled.is_set()

    return Monitor()


def run_watched(
    build: Callable[[], Any], control: BuildControl, on_progress: OnProgress | None
) -> Any:
    """Run a build in a thread and report from this one.

    If this thread is interrupted, or `on_progress` raises, the build is told to stop, and the
    exception goes on once it has. A second Ctrl-C does not wait.

    Args:
        build: the build; must end soon after `control.cancelled` is set.
        control: what the build's monitor writes to.
        on_progress: called with a stage, the steps done of it and their number.

    Returns:
        What `build` returned.
    """
    results: list[Any] = []
    failures: list[BaseException] = []
    # Not Thread.join: interrupted once, it returns while the thread still runs.
    finished = threading.Event()

    def work() -> None:
        try:
            results.append(build())
        except BaseException as error:
            # The frames hold TensorRT's objects, for as long as somebody keeps the error; they are
            # to end here and now, and not when Python's collector comes by (`construct`).
            traceback.clear_frames(error.__traceback__)
            failures.append(error)
        finally:
            finished.set()

    # A daemon, so that a second Ctrl-C can end the program while TensorRT still works.
    threading.Thread(target=work, name="engine-build", daemon=True).start()
    try:
        while not finished.wait(POLL_S):
            _report(control, on_progress)
        _report(control, on_progress)
    except BaseException:
        control.cancelled.set()
        finished.wait()
        raise
    if failures:
        failure = failures.pop()
        try:
            raise failure
        finally:
            del failure  # it would hold this frame, and this frame it
    return results[0]


def _report(control: BuildControl, on_progress: OnProgress | None) -> None:
    for stage, done, total in control.take():
        if on_progress is not None:
            on_progress(stage, done, total)
