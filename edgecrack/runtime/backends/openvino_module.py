"""OpenVINO, found when it is used, and kept from calling home.

Importing it starts a thread that sends usage data to an analytics service, unless its package for
that is missing. A robot reports to nobody, so the package is missing while OpenVINO is imported.
"""

from __future__ import annotations

import os
import platform
import sys
from types import ModuleType

from edgecrack.errors import ConfigError, MissingDependencyError, first_line
from edgecrack.extras import origin, require

_TELEMETRY = "openvino_telemetry"
_MACHINES = ("x86_64", "AMD64")
# oneDNN's limit under both of its names, and that of OpenVINO's own kernels; each obeys its own.
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "OV_CPU_MAX_ISA")


def import_openvino() -> ModuleType:
    """The module `openvino`.

    Raises:
        MissingDependencyError: it is not installed, or cannot be loaded.
        ConfigError: this machine's processor is none that it was tried on.
    """
    if platform.machine() not in _MACHINES:
        raise ConfigError(
            f"OpenVINO was asked for on {platform.machine()}, where it was not tried",
            "give `backend` onnxruntime, or leave it out",
        )
    if _TELEMETRY in sys.modules:
        return _imported()
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return _imported()
    finally:
        del sys.modules[_TELEMETRY]


def _imported() -> ModuleType:
    try:
        return require("openvino", extra="cpu", purpose="the backend openvino")
    except MissingDependencyError:
        raise
    except Exception as error:  # a library of the system is missing, or the install is torn
        raise broken(error) from error


def broken(error: Exception) -> MissingDependencyError:
    """That OpenVINO is installed and cannot be used."""
    return MissingDependencyError(
        f"OpenVINO is installed, and cannot be loaded ({first_line(error)})",
        f"give `backend` onnxruntime, or install it again: {origin().install('cpu')}",
    )


def has_openvino() -> bool:
    """Whether it is installed and this machine's processor is one that it was tried on."""
    from importlib.util import find_spec

    return platform.machine() in _MACHINES and find_spec("openvino") is not None


def instruction_limits() -> dict[str, str]:
    """What the environment forbids OpenVINO of the processor's instructions, by variable."""
    return {name: os.environ[name].upper() for name in _LIMITS if os.environ.get(name)}
