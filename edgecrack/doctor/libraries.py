"""Checks of the libraries that `stream` needs, of the bundled model and of the extras."""

from __future__ import annotations

import hashlib
import linecache
import re
import shlex
import sys
from pathlib import Path
from types import TracebackType

from edgecrack.doctor.machine import (
    NUMPY_MISMATCH,
    Check,
    Machine,
    Status,
    closed_environment,
    find_hidden,
)
from edgecrack.doctor.nvidia import find_jetson
from edgecrack.errors import MissingDependencyError, first_line
from edgecrack.extras import MODULES
from edgecrack.outside_text import read_json

NUMPY, OPENCV, PYAV, ONNX_RUNTIME = "NumPy", "OpenCV", "PyAV", "ONNX Runtime"
MODEL = "bundled model"
_JETPACK_OPENCV = "sudo apt-get install nvidia-opencv"
_PURPOSE = {
    "train": "edgecrack train and evaluate",
    "export": "edgecrack export",
    "quantize": "edgecrack calibrate",
    "cpu": "running models on x86-64 faster than with ONNX Runtime",
    "record": "edgecrack stream --record and replaying *.mcap",
    "heic": "reading HEIC photos",
    "maps": "edgecrack predict on orthomosaics",
    "measure": "the plots of edgecrack measure and the sheet of edgecrack target",
    "report": "the reports of edgecrack report and edgecrack inspect",
    "serve": "edgecrack stream --serve, the live page and metrics",
}
_X86_64 = ("x86_64", "AMD64")
# Optional on a robot.
_FOR_ROBOTS = ("cpu", "record", "serve", "heic")


def check_numpy(machine: Machine) -> list[Check]:
    """NumPy."""
    package = '"numpy<2"' if machine.architecture == "aarch64" else "numpy"
    return [_simple(machine, "numpy", NUMPY, package)]


def check_onnx_runtime(machine: Machine) -> list[Check]:
    """ONNX Runtime and its execution providers."""
    line = _simple(machine, "onnxruntime", ONNX_RUNTIME, "onnxruntime")
    if not line.usable:
        return [line]
    providers = machine.probes["onnxruntime"].found.get("providers", [])
    names = ", ".join(str(name).removesuffix("ExecutionProvider") for name in providers)
    return [Check(ONNX_RUNTIME, "ok", f"{line.found}, runs on: {names or 'nothing'}")]


def check_opencv(machine: Machine) -> list[Check]:
    """OpenCV, and whether it reads cameras."""
    probed = machine.probes.get("cv2")
    if probed is None:
        hidden = find_hidden(machine, "cv2")
        if hidden:
            return [Check(OPENCV, "missing", f"not found: {hidden.why}", hidden.remedy)]
        return [Check(OPENCV, "missing", "not installed", opencv_remedy(machine))]
    if probed.failure:
        found = f"installed, but cannot be loaded: {probed.failure}"
        mismatch = probed.failure == NUMPY_MISMATCH
        remedy = 'pip install "numpy<2"' if mismatch else opencv_remedy(machine)
        return [Check(OPENCV, "missing", found, remedy)]
    build = str(probed.found.get("build", ""))
    has_cameras = _is_built_with(build, "v4l/v4l2")
    found = f"{probed.found.get('version')}, {'with' if has_cameras else 'without'} V4L2"
    if machine.system == "linux" and not has_cameras:
        return [Check(OPENCV, "warning", f"{found}: reads no cameras", opencv_remedy(machine))]
    return [Check(OPENCV, "ok", found)]


def check_pyav(machine: Machine) -> list[Check]:
    """PyAV, which reads videos and network streams and writes the overlay."""
    line = _simple(machine, "av", PYAV, '"av>=17,<19"')
    if not line.usable:
        return [line]
    found = machine.probes["av"].found
    parts = [line.found]
    if found.get("ffmpeg"):
        parts.append(f"FFmpeg {found['ffmpeg']}")
    encoders = [str(name) for name in found.get("encoders", [])]
    if not encoders:
        remedy = "pip install --force-reinstall --no-deps av, or stream with --save mask,jsonl"
        return [Check(PYAV, "warning", f"{', '.join(parts)}: no encoder for the overlay", remedy)]
    is_h264 = encoders[0] != "libvpx-vp9"
    parts.append(f"overlay in {'H.264' if is_h264 else 'VP9'}")
    if machine.architecture == "aarch64":
        parts.append("decodes on the CPU; use gst:// for a Jetson's decoder")
    return [Check(PYAV, "ok", ", ".join(parts))]


def check_model(machine: Machine) -> list[Check]:
    """The bundled model: intact, and able to run on one tile."""
    reinstall = _reinstall(machine)
    try:
        data = machine.model.read_bytes()
        sidecar = machine.model.with_name(f"{machine.model.name}.json")
        expected = read_json(sidecar)["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"{machine.model.name} or its sidecar cannot be read ({type(error).__name__})"
        return [Check(MODEL, "missing", found, reinstall)]
    if hashlib.sha256(data).hexdigest() != expected:
        found = f"{machine.model.name} does not match its sidecar's hash"
        return [Check(MODEL, "missing", found, reinstall)]
    run = machine.probes.get("run")
    if run is None:
        return [Check(MODEL, "ok", f"{machine.model.name} is intact")]
    if run.failure:
        lines = [
            *check_numpy(machine),
            *check_opencv(machine),
            *check_pyav(machine),
            *check_onnx_runtime(machine),
        ]
        causes = [line.name for line in lines if not line.usable]
        if causes:
            found = f"{machine.model.name} is intact; not run without {', '.join(causes)}"
            return [Check(MODEL, "warning", found)]
        return [Check(MODEL, "missing", f"it does not run: {run.failure}", reinstall)]
    return [Check(MODEL, "ok", "intact, and runs on the CPU")]


def check_extras(machine: Machine) -> list[Check]:
    """The extras of this package, and the libraries that each lacks."""
    return [_check_extra(machine, extra) for extra in _PURPOSE]


def _check_extra(machine: Machine, extra: str) -> Check:
    name, remedy = f"extra {extra}", machine.origin.install(extra)
    lacking = [module for module in MODULES[extra] if module not in machine.modules]
    if not lacking:
        return Check(name, "ok", f"installed, for {_PURPOSE[extra]}")
    if extra == "cpu" and machine.architecture not in _X86_64:
        return Check(name, "not needed here", f"{_PURPOSE[extra]}: not on this processor")
    if extra not in _FOR_ROBOTS and find_jetson(machine) is not None:
        return Check(name, "not needed here", f"{_PURPOSE[extra]}: on a workstation")
    what = "not installed" if len(lacking) == len(MODULES[extra]) else f"lacks {', '.join(lacking)}"
    status: Status = "not needed here" if extra in _FOR_ROBOTS else "missing"
    return Check(name, status, f"{what}; only for {_PURPOSE[extra]}", remedy)


def _simple(machine: Machine, probe: str, name: str, package: str) -> Check:
    probed = machine.probes.get(probe)
    if probed is None:
        return Check(name, "missing", "not installed", f"pip install {package}")
    if probed.failure:
        found = f"installed, but cannot be loaded: {probed.failure}"
        # Without its dependencies, which could bring a NumPy too new for this machine.
        return Check(name, "missing", found, f"pip install --force-reinstall --no-deps {package}")
    return Check(name, "ok", str(probed.found.get("version", "unknown version")))


def _reinstall(machine: Machine) -> str:
    tree = machine.model.parents[2]
    if (tree / "pyproject.toml").is_file():
        return f"git -C {shlex.quote(str(tree))} checkout -- edgecrack/models"
    return machine.origin.reinstall()


def opencv_remedy(machine: Machine) -> str:
    """The command that installs the right OpenCV."""
    if find_jetson(machine) is not None:
        return _JETPACK_OPENCV
    if machine.architecture == "aarch64":
        return "sudo apt-get install python3-opencv"
    if "cv2" in machine.probes:
        # The full and the headless wheel share a folder: removing one breaks the other.
        return (
            "pip uninstall -y opencv-python opencv-python-headless && "
            "pip install opencv-python-headless"
        )
    return "pip install opencv-python-headless"


def _is_built_with(build: str, name: str) -> bool:
    return re.search(rf"^\s*{re.escape(name)}:\s*YES", build, re.MULTILINE) is not None


_PACKAGE = Path(__file__).resolve().parents[1]
# Import names that differ from the names on the package index.
_DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml"}
_OF_THE_SYSTEM = ("cv2", "tensorrt")  # on a Jetson; pip installs all others
_IMPORT = re.compile(r"\s*(?:from|import)\s+([A-Za-z_]\w*)")


def missing_module(
    error: ImportError, machine: Machine | None = None
) -> MissingDependencyError | None:
    """The error to show a user when a library is missing or cannot be loaded.

    Args:
        error: what the import raised.
        machine: default: this machine.

    Returns:
        None if the module belongs to edgecrack or to Python, which is a bug of either.
    """
    name = (error.name or _imported_in(error.__traceback__)).partition(".")[0]
    if not name or name == "edgecrack" or name in sys.stdlib_module_names:
        return None
    machine = machine or Machine(virtual_environment=closed_environment())
    if isinstance(error, ModuleNotFoundError):
        hidden = find_hidden(machine, name) if name in _OF_THE_SYSTEM else None
        if hidden:
            return MissingDependencyError(
                f"{name} is not found: {hidden.why}", f"run: {hidden.remedy}"
            )
        return MissingDependencyError(f"{name} is not installed", f"run: {_install(machine, name)}")
    return MissingDependencyError(
        f"{name} is installed but cannot be loaded ({first_line(error)})",
        "run: edgecrack doctor, which explains why and what to do",
    )


def _imported_in(traceback: TracebackType | None) -> str:
    """The module that edgecrack's innermost line in a traceback imports; empty if none."""
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
    # Everything that edgecrack needs, in matching versions.
    if machine.origin.place:
        return machine.origin.complete()
    return f"pip install {_DISTRIBUTIONS.get(name, name)}"
