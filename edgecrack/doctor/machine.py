"""The machine that is looked at: where its files lie, and what its libraries said of themselves.

Tests put a folder tree in the place of "/" and literal values in the place of the probes. Holds
no judgement; must not import any library that it tells about.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecrack.doctor.video_device import Capture, ask_device
from edgecrack.extras import Origin, origin

MODELS = Path(__file__).parent.parent / "models"


@dataclass(frozen=True)
class Probed:
    """How loading a library in a process of its own went.

    Attributes:
        found: what it told of itself.
        failure: why it told nothing; empty where it did.
    """

    found: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class Machine:
    """A machine.

    Attributes:
        root: what stands for "/".
        system: as `sys.platform` says it.
        architecture: as `uname -m` says it.
        python: version of the running Python.
        virtual_environment: the folder of the virtual environment that hides the system's
            packages, or None.
        cores: CPU cores that this process may use.
        search_path: folders that programs are looked for in, as in "/usr/bin".
        results: folder below which results go; it need not exist.
        model: the bundled model file.
        modules: of the libraries that matter, those that could be imported by name.
        probes: what each library told, by probe name; none where it is not installed.
        origin: where the running copy of edgecrack comes from.
        may_use: whether this user may read and write a device.
        capture: what a video device is for.
        pause: waits until counters may have risen.
    """

    root: Path = Path("/")
    system: str = sys.platform
    architecture: str = field(default_factory=lambda: platform.machine().lower())
    python: tuple[int, int, int] = sys.version_info[:3]
    virtual_environment: Path | None = None
    cores: int = 1
    search_path: tuple[str, ...] = ("/usr/local/bin", "/usr/bin", "/bin")
    results: Path = Path("runs")
    model: Path = MODELS / "edgecrack-bundled.onnx"
    modules: frozenset[str] = frozenset()
    probes: Mapping[str, Probed] = field(default_factory=dict)
    origin: Origin = field(default_factory=origin)
    may_use: Callable[[Path], bool] = lambda path: os.access(path, os.R_OK | os.W_OK)
    capture: Callable[[Path], Capture] = ask_device
    pause: Callable[[], None] = lambda: None

    def path(self, name: str) -> Path:
        """Where a file of the machine lies, as in "etc/os-release"."""
        return self.root / name

    def read(self, name: str) -> str:
        """The text of a file; empty where there is none or it may not be read."""
        try:
            data = self.path(name).read_bytes()
        except OSError:
            return ""
        return data.decode("utf-8", errors="replace").rstrip("\0\n ")

    def find_program(self, name: str) -> Path | None:
        """Where a program that this user may run lies, or None."""
        folders = [str(self.path(place[1:])) for place in self.search_path if place[:1] == "/"]
        found = shutil.which(name, path=os.pathsep.join(folders))
        return Path(found) if found else None

    @property
    def is_container(self) -> bool:
        """Whether this is the inside of a container, whose devices were chosen outside."""
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
    """CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_installed(module: str) -> bool:
    """Whether a module could be imported; loads nothing of it.

    A folder that only happens to have the module's name is not it.
    """
    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # a package above the module is loaded for this, and may be broken
        return False
    return spec is not None and spec.origin is not None
