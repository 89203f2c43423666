"""What to do about a library that `stream` needs and that is missing or cannot be loaded.

A robot's environment that hides the system's packages has no OpenCV, for one. Loads no library.
"""

from __future__ import annotations

import linecache
import re
import sys
from pathlib import Path
from types import TracebackType

from edgecrack.doctor.libraries import opencv_remedy
from edgecrack.doctor.machine import Machine, closed_environment
from edgecrack.doctor.system_packages import find_hidden
from edgecrack.errors import MissingDependencyError, first_line

_PACKAGE = Path(__file__).resolve().parents[1]
# Import names that are not the name that pip knows.
_DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml"}
_OF_THE_SYSTEM = ("cv2", "tensorrt")  # on a Jetson; pip brings all others
_IMPORT = re.compile(r"\s*(?:from|import)\s+([A-Za-z_]\w*)")


def missing_module(
    error: ImportError, machine: Machine | None = None
) -> MissingDependencyError | None:
    """The error that a failed import of another library is for a user.

    Args:
        error: what the import raised.
        machine: where; None is this machine.

    Returns:
        None where the import is of edgecrack's own or of Python's, which is a fault of the program
        or
        of Python.
    """
    name = (error.name or _imported_in(error.__traceback__)).partition(".")[0]
    if not name or name == "edgecrack" or name in sys.stdlib_module_names:
        return None
    machine = machine or Machine(virtual_environment=closed_environment())
    if isinstance(error, ModuleNotFoundError):
        hidden = find_hidden(machine, name) if name in _OF_THE_SYSTEM else None
        if hidden:
            return MissingDependencyError(
                f"{name} is not seen: {hidden.why}", f"run: {hidden.remedy}"
            )
        return MissingDependencyError(f"{name} is not installed", f"run: {_install(machine, name)}")
    return MissingDependencyError(
        f"{name} is installed and cannot be loaded ({first_line(error)})",
        "run: edgecrack doctor, which tells why and what to do",
    )


def _imported_in(traceback: TracebackType | None) -> str:
    """What the innermost line of edgecrack in a traceback imports; empty if it imports nothing."""
    line = ""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if _PACKAGE in Path(code.co_filename).parents:
            line = linecache.getline(code.co_filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    found = _IMPORT.match(line)
    return found[1] if found else ""


def _install(machine: Machine, name: str) -> str:
    if name == "cv2":
        return opencv_remedy(machine)
    # All that edgecrack needs, in the versions that fit each other.
    if machine.origin.place:
        return machine.origin.complete()
    return f"pip install {_DISTRIBUTIONS.get(name, name)}"
