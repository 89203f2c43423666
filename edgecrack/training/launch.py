"""Starts, watches and stops the processes of a run on this machine.

Lightning's own launcher kills the first process along with the others when one of them ends, so
nothing is left to report what happened. Here a process that does not compute talks to the user,
watches the others and never blocks for long. Ctrl-C and SIGTERM end a run with one sentence that
says how to continue.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from edgecrack.errors import EdgecrackError, InterruptedTrainingError, TrainingError
from edgecrack.training.config import TrainingConfig
from edgecrack.training.processes import ProcessRank

if TYPE_CHECKING:
    import lightning.pytorch as pl


class Terminated(KeyboardInterrupt):
    """SIGTERM; Lightning handles it like Ctrl-C."""


def how_to_go_on(last: Path) -> str:
    """The remedy for a run that ended early, which depends on whether it has a checkpoint."""
    if last.exists():
        return "give the same command with `resume` to continue from the last complete epoch"
    return "no epoch was complete yet, so give the same command again to start over"


def interrupted(
    stop: BaseException | None, last: Path, step: int | None = None
) -> InterruptedTrainingError:
    """The error of a run that a signal ended.

    Args:
        stop: the exception that the signal raised.
        last: the checkpoint from which the run could be resumed.
        step: steps done, if known.
    """
    how = "ended by SIGTERM" if isinstance(stop, Terminated) else "interrupted"
    where = "" if step is None else f" at step {step}"
    return InterruptedTrainingError(f"training was {how}{where}", how_to_go_on(last))


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def terminable(last: Path) -> Iterator[None]:
    """Let SIGTERM end the block like Ctrl-C, with an error that says how to continue.

    Does nothing outside the main thread, where Python handles no signals.

    Args:
        last: the checkpoint from which the run could be resumed.

    Raises:
        InterruptedTrainingError: SIGTERM arrived.
    """
    before = signal.getsignal(signal.SIGTERM)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or before is None or before == signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except Terminated as stop:
        raise interrupted(stop, last) from stop
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stoppable(trainer: pl.Trainer, last: Path) -> Iterator[None]:
    """Turn Lightning's silent exit on an interruption into an error that says how to continue.

    Args:
        trainer: the trainer that runs in the block.
        last: the checkpoint from which the run could be resumed.

    Raises:
        InterruptedTrainingError: the run was interrupted.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        if not trainer.interrupted:
            raise
        # Lightning leaves Ctrl-C ignored.
        signal.signal(signal.SIGINT, on_interrupt)
        # It exits in the handler of the exception that the signal raised.
        raise interrupted(stop.__context__, last, trainer.global_step) from stop


Result = TypeVar("Result")
Work = Callable[[TrainingConfig, ProcessRank, Callable[[str], None]], Result]

# How long to wait for the cause after a process has lost its connection.
_CAUSE_WAIT_S = 5.0
_EXIT_WAIT_S = 30.0


class ConnectionLostError(Exception):
    """Another process of the run is gone; that process reports the cause.

    Args:
        detail: what this process observed.
    """


class _RemoteError(Exception):
    """The traceback of an error in another process, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def connection_lost(detail: str, last: Path) -> TrainingError:
    """The error for a `ConnectionLostError` without a known cause."""
    return TrainingError(
        f"the connection to another process of the run was lost ({detail})",
        f"look for the message of that process, then {how_to_go_on(last)}",
    )


def run_in_processes(
    work: Work[Result],
    config: TrainingConfig,
    place: ProcessRank,
    last: Path,
    on_message: Callable[[str], None],
) -> Result:
    """Run work in `config.processes_per_machine` new processes; if one fails, all are stopped.

    Args:
        work: a module-level function; its result in the first process is returned.
        config: the run.
        place: of this process.
        last: the checkpoint from which the run could be resumed.
        on_message: called with each message of the first process.

    Raises:
        TrainingError: a process ended without a message, or the connection to another machine was
            lost.
        InterruptedTrainingError: the run was interrupted.
        Exception: what a process raised.
    """
    context = multiprocessing.get_context("spawn")
    port = os.environ.get("MASTER_PORT") if config.machines > 1 else None
    rendezvous = {
        "MASTER_ADDR": os.environ["MASTER_ADDR"] if config.machines > 1 else "127.0.0.1",
        "MASTER_PORT": port or str(_free_port()),
        "NODE_RANK": str(place.rank // config.processes_per_machine),
        "WORLD_SIZE": str(place.ranks),
    }
    processes: dict[Connection, BaseProcess] = {}
    try:
        for local_rank in range(config.processes_per_machine):
            rank = place.rank + local_rank
            here, there = context.Pipe(duplex=False)
            variables = {**rendezvous, "RANK": str(rank), "LOCAL_RANK": str(local_rank)}
            its_place = ProcessRank(rank, place.ranks, place.starter, place.device)
            process = context.Process(
                target=_run,
                args=(there, variables, work, config, its_place),
                name=f"process {rank + 1} of {place.ranks}",
                daemon=True,
            )
            with _ctrl_c_waits():
                process.start()
                processes[here] = process
            there.close()  # only the child holds that end, so its exit closes the pipe
        result: Result = _collect(processes, last, on_message)
        for started in processes.values():
            started.join(_EXIT_WAIT_S)
        return result
    except KeyboardInterrupt as stop:
        raise interrupted(stop, last) from stop
    finally:
        # Killed immediately: a process that waits for another reacts to nothing else, and files
        # are written atomically.
        for started in processes.values():
            started.kill()
        for connection, started in processes.items():
            started.join()
            connection.close()


@contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Block SIGINT while a process is started; the process inherits that until it ignores SIGINT.

    Ctrl-C reaches all processes, and one that is still importing would print a traceback.
    """
    resource_tracker.ensure_running()  # `start` would do it, and unblock SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _collect(
    processes: dict[Connection, BaseProcess], last: Path, on_message: Callable[[str], None]
) -> Any:
    """Wait until every process has sent its result; return the first one's."""
    silent, result, lost = set(processes), None, None
    while silent:
        for connection in cast(list[Connection], wait(list(silent), timeout=0.5)):
            try:
                kind, value, text = connection.recv()
            except (EOFError, OSError):
                raise _ended(processes[connection], last) from None
            if kind == "message":
                on_message(value)
                continue
            silent.discard(connection)
            if kind == "result" and connection is next(iter(processes)):
                result = value
            elif kind == "lost":
                lost = lost or (time.monotonic(), text)
            elif kind == "error":
                raise value from _RemoteError(text)
        if lost and (not silent or time.monotonic() - lost[0] > _CAUSE_WAIT_S):
            raise connection_lost(lost[1], last)
    return result


def _ended(process: BaseProcess, last: Path) -> TrainingError:
    process.join(_EXIT_WAIT_S)
    code = process.exitcode or 0
    how = f"exit code {code}"
    if code < 0:
        how = signal.Signals(-code).name
    hint = "check whether memory ran out, then " if code == -signal.SIGKILL else ""
    return TrainingError(f"{process.name} was ended by {how}", hint + how_to_go_on(last))


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(
    connection: Connection,
    variables: dict[str, str],
    work: Work[Any],
    config: TrainingConfig,
    place: ProcessRank,
) -> None:
    """The main function of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent handles it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked by _ctrl_c_waits
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(variables)

    def tell(message: str) -> None:
        connection.send(("message", message, ""))

    try:
        connection.send(("result", work(config, place, tell), ""))
    except ConnectionLostError as error:
        connection.send(("lost", None, str(error)))
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        if not isinstance(error, EdgecrackError) and type(error).__module__ != "builtins":
            error = RuntimeError(f"{type(error).__name__}: {error}")  # other types may not unpickle
        connection.send(("error", error, text))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
