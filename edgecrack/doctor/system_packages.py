"""Python packages that the system brings and that the running Python does not see.

On a Jetson, TensorRT and OpenCV come with the system: a virtual environment hides them, and
another version of Python cannot load them.
"""

from __future__ import annotations

import shlex
from typing import NamedTuple

from edgecrack.doctor.machine import Machine


class Hidden(NamedTuple):
    """Why a package of the system is not seen, and the command that shows it."""

    why: str
    remedy: str


def find_hidden(machine: Machine, module: str) -> Hidden | None:
    """The system's copy of a module that the running Python does not see, or None."""
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
            "the system's is hidden from this virtual environment",
            open_environment(str(machine.virtual_environment)),
        )
    other = min(places)
    return Hidden(
        f"the system's is for {other.capitalize().replace('thon', 'thon ')}, this is "
        f"{machine.python[0]}.{machine.python[1]}",
        f"{other} -m venv --system-site-packages .venv",
    )


def open_environment(folder: str) -> str:
    """The command that lets a virtual environment see the system's packages.

    Args:
        folder: the environment's.
    """
    setting = "include-system-site-packages"
    file = shlex.quote(f"{folder}/pyvenv.cfg")
    return f"sed -i 's/^{setting} *=.*/{setting} = true/' {file}"
