"""Runs the GStreamer child process, reads its pipe and interprets its messages."""

from __future__ import annotations

import array
import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import termios
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from edgecrack.errors import EdgecrackError, MissingDependencyError, SourceError, first_line

_READ_BYTES = 1 << 20
_SMALLEST_BYTES = 4096
_LARGEST_BYTES = 1 << 20


class Pipe:
    """Both ends of a pipe; the child inherits the one to write to.

    Attributes:
        write_end: its descriptor.
    """

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        self._capacity = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes that have arrived and wait."""
        count = array.array("i", [0])
        fcntl.ioctl(self._read_end, termios.FIONREAD, count)
        return count[0]

    def read(self, timeout_s: float) -> bytes | None:
        """What has arrived; empty when the child has ended, None after `timeout_s` without."""
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        if timeout_s <= 0 or not poll.poll(timeout_s * 1000):
            return None
        return os.read(self._read_end, _READ_BYTES)

    def hold_at_most(self, size_bytes: int) -> None:
        """Limit the pipe's buffer to about `size_bytes`, at least one page."""
        capacity = min(_LARGEST_BYTES, max(_SMALLEST_BYTES, 1 << (size_bytes.bit_length() - 1)))
        if capacity == self._capacity or not hasattr(fcntl, "F_SETPIPE_SZ"):
            return
        # A user may not have large pipes without end, and a full pipe cannot shrink.
        with suppress(OSError):
            fcntl.fcntl(self._read_end, fcntl.F_SETPIPE_SZ, capacity)
            self._capacity = capacity

    def close_write_end(self) -> None:
        """Leave the write end to the child alone, so that its exit is seen."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def close(self) -> None:
        """Close both ends; not while another thread reads."""
        self.close_write_end()
        if self._read_end >= 0:
            os.close(self._read_end)
            self._read_end = -1


START_S = 10.0
_LAST_LINES = 40
# Not passed to the child.
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
        # it to its end and reads its output.
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
        """Last lines of standard output and standard error."""
        return list(self._lines)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within `timeout_s`."""
        return self._ended.wait(timeout_s)

    def stop(self) -> None:
        """End it by SIGINT, then SIGKILL, within half a second. May be called twice."""
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
        except Exception as error:  # kept as the last line; a child that is not read must not go on
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


INSTALL = (
    "run: sudo apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good"
)
# Appended to every pipeline.
_OUR_ELEMENTS = ("videoconvert", "queue", "rtpgstpay", "rtpstreampay", "fdsink", "capsfilter")
_USER_INFO = re.compile(r"(?<=://).*@", re.DOTALL)
_SECRET_PROPERTY = re.compile(
    r"(?P<key>\b[a-z-]*(?:user|user-id|pw|pass\w*|key|token|secret|auth\w*)=).+",
    re.IGNORECASE | re.DOTALL,
)
# GStreamer takes blanks around the sign; and cameras take secrets in the query of an address.
_SPACED_SECRET = re.compile(
    r"(?P<key>\b[a-z-]*(?:user|user-id|pw|psw|pas\w*|pwd|key|token|secret|sig|auth\w*|login\w*)"
    r"\s*=\s*)"
    r"(?:\"[^\"]*\"|[^\s&;]+)",
    re.IGNORECASE,
)
_NO_ELEMENT = re.compile(r"no element \"([^\"]+)\"")
_ERRONEOUS = re.compile(r"(?:erroneous pipeline|could not be constructed): (.+)")
_FROM_ELEMENT = re.compile(r"ERROR: from element (?:.*:)?([^:/]+): (.+)")
_LONGEST_REASON = 300


def without_passwords(words: Iterable[str]) -> str:
    """A pipeline's words in one line, with users and passwords replaced by `***`."""
    line = " ".join(
        _SECRET_PROPERTY.sub(r"\g<key>***", _USER_INFO.sub("***@", word)) for word in words
    )
    return _SPACED_SECRET.sub(r"\g<key>***", line)


def failure(name: str, lines: Sequence[str], exit_status: int | None) -> EdgecrackError:
    """The error of a pipeline that has ended.

    Args:
        name: the source's, without passwords.
        lines: its last output.
        exit_status: of `Child`.
    """
    if missing := _NO_ELEMENT.search("\n".join(lines)):
        return _missing(name, missing[1])
    reason = _reason(lines) or _by_status(exit_status)
    # What it says may quote an address with its password, in whatever form.
    words = without_passwords(reason.split(" "))
    return SourceError(
        f"{name} stopped: {words[:_LONGEST_REASON].rstrip('.')}",
        "try the pipeline with gst-launch-1.0; here it must end in raw video, without a sink",
    )


def _missing(name: str, element: str) -> EdgecrackError:
    if element in _OUR_ELEMENTS:
        return MissingDependencyError(f"{name} needs GStreamer's element {element}", INSTALL)
    if element.startswith("nv"):
        return SourceError(
            f"{name} needs GStreamer's element {element}, which only a Jetson has",
            "run it on a Jetson with JetPack's GStreamer, or give camera:0 or another gst://",
        )
    return SourceError(
        f"{name} needs GStreamer's element {element}, which is not installed",
        f"check its spelling, or find its package with: apt-cache search gstreamer1.0-plugins; "
        f"gst-inspect-1.0 {element} tells whether it is there",
    )


def _reason(lines: Sequence[str]) -> str:
    """The first error with its detail; failing that, the last line that speaks of one."""
    for number, line in enumerate(lines):
        if found := _ERRONEOUS.search(line):
            return found[1]
        if found := _FROM_ELEMENT.search(line):
            # The system's reason, "No such file", is two lines further.
            is_detailed = lines[number + 1 : number + 2] == ["Additional debug info:"]
            detail = " ".join(lines[number + 3 : number + 4]) if is_detailed else ""
            return f"{found[1]}: {found[2]} {detail}".strip()
    said = [line for line in lines if re.search(r"error|fail|no cameras", line, re.IGNORECASE)]
    return said[-1] if said else ""


def _by_status(exit_status: int | None) -> str:
    if exit_status is None:
        return "it sends nothing more"
    if exit_status < 0:
        return f"it was ended by {signal.Signals(-exit_status).name}"
    return "its end is reached" if exit_status == 0 else f"it gave the exit code {exit_status}"
