"""The machine that the doctor examines: its files, what its libraries report, and check lines.

Tests use a folder tree as "/" and literal values as the results of the probes. Each probe runs in a
process of its own with a time limit, so a library that crashes or hangs affects only its own line.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from edgecrack.extras import MODULES, Origin, origin
from edgecrack.outside_text import parse_json

Status = Literal["ok", "missing", "warning", "not needed here"]


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was checked, such as "OpenCV".
        status: "missing" includes what is installed but unusable.
        found: a clause without a final full stop; one line of printable characters.
        remedy: the command that fixes it, ready to paste into a shell, or what to do where no
            command exists; empty if nothing needs fixing. A hint if the status is "ok" or
            "not needed here".
    """

    name: str
    status: Status
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        # A camera's name or a library's error may contain anything, even control codes.
        object.__setattr__(self, "found", _one_line(self.found))
        object.__setattr__(self, "remedy", _one_line(self.remedy))

    @property
    def usable(self) -> bool:
        """Whether the checked item can be used."""
        return self.status in ("ok", "warning")


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


Capture = Literal["camera", "metadata", "no camera", "unknown"]

_CAPABILITY = struct.Struct("=16s32s32sIII12x")  # driver, card, bus, version, all, this node's
_VIDIOC_QUERYCAP = (2 << 30) | (_CAPABILITY.size << 16) | (ord("V") << 8)
_VIDEO_CAPTURE = 0x00000001 | 0x00001000  # single-planar, multi-planar
_META_CAPTURE = 0x00800000
_HAS_NODE_CAPABILITIES = 0x80000000


def ask_device(device: Path) -> Capture:
    """What a video device delivers, through Video4Linux's VIDIOC_QUERYCAP; "unknown" on failure.

    Source: linux/videodev2.h, `struct v4l2_capability`.
    """
    try:
        import fcntl

        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK)
        try:
            answer = fcntl.ioctl(handle, _VIDIOC_QUERYCAP, bytes(_CAPABILITY.size))
        finally:
            os.close(handle)
    except (ImportError, OSError):
        return "unknown"
    return capture_of(answer)


def capture_of(answer: bytes) -> Capture:
    """The device's kind according to a `struct v4l2_capability`."""
    *_, whole_device, node = _CAPABILITY.unpack(answer)
    flags = node if whole_device & _HAS_NODE_CAPABILITIES else whole_device
    if flags & _VIDEO_CAPTURE:
        return "camera"
    return "metadata" if flags & _META_CAPTURE else "no camera"


@dataclass(frozen=True)
class Probed:
    """Result of loading a library in a process of its own.

    Attributes:
        found: what the library reports about itself.
        failure: why it reports nothing; empty on success.
    """

    found: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class Machine:
    """A machine, real or made up by a test.

    Attributes:
        root: folder that represents "/".
        system: as in `sys.platform`.
        architecture: as in `uname -m`, lower case.
        python: version of the running Python.
        virtual_environment: the folder of the virtual environment that hides the system's
            packages, or None.
        cores: CPU cores that this process may use.
        search_path: folders to search for programs, such as "/usr/bin".
        results: parent folder of results; may not exist yet.
        model: the bundled model file.
        modules: names in `extras.MODULES` that can be imported.
        probes: results by probe name; a library that is not installed has none.
        origin: where the running copy of edgecrack was installed from.
        may_use: whether this user may read and write a device.
        capture: what a video device delivers.
        pause: waits long enough for throttling counters to rise.
    """

    root: Path = Path("/")
    system: str = sys.platform
    architecture: str = field(default_factory=lambda: platform.machine().lower())
    python: tuple[int, int, int] = sys.version_info[:3]
    virtual_environment: Path | None = None
    cores: int = 1
    search_path: tuple[str, ...] = ("/usr/local/bin", "/usr/bin", "/bin")
    results: Path = Path("runs")
    model: Path = Path(__file__).parent.parent / "models" / "edgecrack-bundled.onnx"
    modules: frozenset[str] = frozenset()
    probes: Mapping[str, Probed] = field(default_factory=dict)
    origin: Origin = field(default_factory=origin)
    may_use: Callable[[Path], bool] = lambda path: os.access(path, os.R_OK | os.W_OK)
    capture: Callable[[Path], Capture] = ask_device
    pause: Callable[[], None] = lambda: None

    def path(self, name: str) -> Path:
        """Path of a file of this machine, such as "etc/os-release"."""
        return self.root / name

    def read(self, name: str) -> str:
        """The text of a file; empty if it is missing or unreadable."""
        try:
            data = self.path(name).read_bytes()
        except OSError:
            return ""
        return data.decode("utf-8", errors="replace").rstrip("\0\n ")

    def find_program(self, name: str) -> Path | None:
        """Path of a program that this user may run, or None."""
        folders = [str(self.path(place[1:])) for place in self.search_path if place[:1] == "/"]
        found = shutil.which(name, path=os.pathsep.join(folders))
        return Path(found) if found else None

    @property
    def is_container(self) -> bool:
        """Whether this runs inside a container, whose devices the host selects."""
        return self.path(".dockerenv").exists() or self.path("run/.containerenv").exists()


def closed_environment() -> Path | None:
    """The running virtual environment if it hides the system's packages."""
    if sys.prefix == sys.base_prefix:
        return None
    folder = Path(sys.prefix)
    try:
        lines = (folder / "pyvenv.cfg").read_text(encoding="utf-8").lower().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    settings = {key.strip(): value.strip() for key, _, value in (x.partition("=") for x in lines)}
    return None if settings.get("include-system-site-packages") == "true" else folder


def usable_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_installed(module: str) -> bool:
    """Whether a module can be imported, without importing it.

    A plain folder with the module's name does not count.
    """
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # this imports the parent package, which may be broken
        return False
    return spec is not None and spec.origin is not None


PROBE_TIMEOUT_S = 30.0  # TensorRT takes seconds from the memory card of a Jetson
PAUSE_S = 0.5  # a throttled processor reports it several times in this time
_SCRIPT = Path(__file__).with_name("probe.py")
_LONGEST_REASON = 240
_NUMPY_MISMATCH = ("compiled using NumPy 1", "_ARRAY_API not found", "multiarray failed to import")
NUMPY_MISMATCH = "it is built for NumPy 1 and cannot be loaded beside NumPy 2"

# Each probe, and the module that must be installed for it to run.
_MODULE_OF: Mapping[str, str] = {
    "numpy": "numpy",
    "cv2": "cv2",
    "av": "av",
    "onnxruntime": "onnxruntime",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt_rtx",
    "pycuda": "pycuda",
    "cuda": "cuda.bindings.runtime",
}


def this_machine(timeout_s: float = PROBE_TIMEOUT_S) -> Machine:
    """The machine that this program runs on.

    Args:
        timeout_s: longest wait for a library to load.
    """
    names = [name for name, module in _MODULE_OF.items() if is_installed(module)]
    return Machine(
        virtual_environment=closed_environment(),
        cores=usable_cores(),
        search_path=tuple(os.get_exec_path()),
        modules=frozenset(
            name for names in MODULES.values() for name in names if is_installed(name)
        ),
        probes=run_probes([*names, "gpu", "run"], timeout_s),
        pause=lambda: time.sleep(PAUSE_S),
    )


def run_probes(names: Sequence[str], timeout_s: float) -> dict[str, Probed]:
    """Run probes in parallel and return their results by name.

    Args:
        names: keys of `probe.PROBES`.
        timeout_s: longest wait for each.
    """
    processes: list[subprocess.Popen[bytes]] = []

    def ask(name: str) -> Probed:
        try:
            process = _start(name)
        except OSError as error:
            return Probed(failure=f"no process could be started ({error.strerror})")
        processes.append(process)
        return _answer(process, timeout_s)

    with ThreadPoolExecutor(max(1, len(names))) as pool:
        try:
            return dict(zip(names, pool.map(ask, names), strict=True))
        except BaseException:  # Ctrl-C does not wait for a library that hangs
            for process in processes:
                _kill(process)
            raise


def _start(name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(_SCRIPT), name, json.dumps(sys.path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _answer(process: subprocess.Popen[bytes], timeout_s: float) -> Probed:
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _kill(process)
        # A process inside a hung driver call cannot be killed: leave it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=2)
        return Probed(failure=f"it does not answer within {timeout_s:g} s")
    text = errors.decode("utf-8", errors="replace")
    last_line = next((line for line in reversed(text.splitlines()) if line.strip()), "").strip()
    if process.returncode < 0:
        ended = f"it crashes ({_signal_name(-process.returncode)})"
        return Probed(failure=_short(ended, last_line))
    try:
        document = parse_json(output)
        found, failure = dict(document.get("found", {})), str(document.get("failure", ""))
    except (ValueError, TypeError, AttributeError):
        return Probed(failure=_short(f"it ends with exit code {process.returncode}", last_line))
    if failure and any(sign in text + failure for sign in _NUMPY_MISMATCH):
        failure = NUMPY_MISMATCH
    return Probed(found, _short(failure))


def _short(reason: str, last_line: str = "") -> str:
    text = f"{reason}: {last_line}" if last_line else reason
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + "..."


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (OSError, AttributeError):
        process.kill()


class Hidden(NamedTuple):
    """Why the running Python does not find a system package, and the command that fixes it."""

    why: str
    remedy: str


def find_hidden(machine: Machine, module: str) -> Hidden | None:
    """The system's copy of a module that the running Python cannot import, or None.

    On a Jetson, TensorRT and OpenCV come with the system. A virtual environment may hide them, and
    another version of Python cannot load them.
    """
    library = machine.path("usr/lib")
    places = {
        found.parent.parent.name
        for pattern in (module, f"{module}.*.so")
        for found in library.glob(f"python3*/dist-packages/{pattern}")
    }
    if not places:
        return None
    running = f"python{machine.python[0]}.{machine.python[1]}"
    if places & {"python3", running}:
        if machine.virtual_environment is None:
            return None
        return Hidden(
            "this virtual environment hides the system's copy",
            open_environment(str(machine.virtual_environment)),
        )
    other = min(places)
    return Hidden(
        f"the system's copy is for {other.capitalize().replace('thon', 'thon ')}, this is "
        f"{machine.python[0]}.{machine.python[1]}",
        f"{other} -m venv --system-site-packages .venv",
    )


def open_environment(folder: str) -> str:
    """The command that makes the system's packages visible in a virtual environment."""
    setting = "include-system-site-packages"
    file = shlex.quote(f"{folder}/pyvenv.cfg")
    return f"sed -i 's/^{setting} *=.*/{setting} = true/' {file}"


def gigabytes(count: float) -> str:
    """A number of bytes as text: 10^9 to one decimal."""
    return f"{count / 1e9:.1f} GB"
