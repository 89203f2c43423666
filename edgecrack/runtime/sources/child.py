"""A child process that writes to a pipe of ours, and that never outlives us.

Knows processes only; what the child does and sends is its caller's matter.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

from edgecrack.errors import first_line

START_S = 10.0
_LAST_LINES = 40
# A child has no use for them.
_SECRETS = ("EDGECRACK_SOURCE", "EDGECRACK_TOKEN")
_LONGEST_LINE = 1000
# SIGINT first: a camera's driver killed in the middle may keep the camera.
_POLITE_S = 0.25
_KILLED_S = 0.2


class Child:
    """A running program, in a process group of its own.

    Args:
        command: program and arguments; no shell is involved.
        pass_fd: descriptor that the child inherits under the same number. The caller's copy
            can be closed as soon as this returns.
        settings: environment variables that differ from ours.

    Raises:
        OSError: the program cannot be started; a TimeoutError where that takes too long.
        ValueError: the command or a setting holds a NUL byte.
    """

    def __init__(
        self, command: Sequence[str], pass_fd: int, settings: Mapping[str, str] | None = None
    ) -> None:
        self._command = _ending_with_us(command)
        inherited = {name: text for name, text in os.environ.items() if name not in _SECRETS}
        self._environment = {**inherited, **(settings or {})}
        self._pass_fd = pass_fd
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: BaseException | None = None
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._started, self._ended = threading.Event(), threading.Event()
        self._given_up = threading.Event()
        # The kernel ends the child with the *thread* that started it, so that thread stays with
        # it to its end and listens to what it says.
        self._keeper = threading.Thread(target=self._keep, name="edgecrack-child", daemon=True)
        self._keeper.start()
        if not self._started.wait(START_S):
            self._given_up.set()
            self.stop()  # it may just have started; where it has not, the keeper ends it
            raise TimeoutError(f"{command[0]} did not start within {START_S:g} s")
        if self._failure is not None:
            raise self._failure

    @property
    def exit_status(self) -> int | None:
        """0, an exit code, or the negative number of a signal; None while it runs."""
        return self._process.returncode if self._process and self._ended.is_set() else None

    @property
    def last_lines(self) -> list[str]:
        """What it said last on standard output and standard error."""
        return list(self._lines)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within `timeout_s`."""
        return self._ended.wait(timeout_s)

    def stop(self) -> None:
        """End it: politely, then not; returns within half a second. May be called twice."""
        for number, patience_s in ((signal.SIGINT, _POLITE_S), (signal.SIGKILL, _KILLED_S)):
            if self._ended.is_set() or self._process is None:
                break
            self._signal(number)
            self._ended.wait(patience_s)
        self._keeper.join(0.05)

    def _keep(self) -> None:
        try:
            process = self._start()
        except BaseException as error:  # raised by the constructor, which waits for it
            self._failure = error
            self._started.set()
            return
        self._process = process
        self._started.set()
        if self._given_up.is_set():
            self._signal(signal.SIGKILL)
        try:
            with process:
                self._listen(process)
        finally:
            self._ended.set()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self._pass_fd,),
            env=self._environment,
            start_new_session=True,
        )

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        try:
            while line := process.stdout.readline(_LONGEST_LINE):
                self._lines.append(line.decode("utf-8", "replace").strip())
        except Exception as error:  # told as its last words; unheard, it must not go on
            self._lines.append(f"{type(error).__name__}: {first_line(error)}")
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def _ending_with_us(command: Sequence[str]) -> list[str]:
    """The command so that the kernel kills it when we are killed.

    Not by `preexec_fn`, which may hang a program with threads.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else list(command)
