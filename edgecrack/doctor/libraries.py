"""The libraries that `stream` needs, the bundled model, and the extras."""

from __future__ import annotations

import hashlib
import re
import shlex

from edgecrack.doctor.check import Check, Status
from edgecrack.doctor.jetson import find_jetson
from edgecrack.doctor.machine import Machine
from edgecrack.doctor.probing import NUMPY_MISMATCH
from edgecrack.doctor.system_packages import find_hidden
from edgecrack.outside_text import read_json

NUMPY, OPENCV, PYAV, ONNX_RUNTIME = "NumPy", "OpenCV", "PyAV", "ONNX Runtime"
MODEL = "bundled model"
EXTRAS = {
    "train": ("torch", "lightning", "safetensors", "matplotlib", "scipy"),
    "export": ("torch", "lightning", "safetensors", "onnx", "onnxscript"),
    "quantize": ("onnx",),
    "cpu": ("openvino",),
    "record": ("mcap", "lz4", "zstandard"),
    "heic": ("pillow_heif",),
    "maps": ("rasterio", "pyogrio"),
    "measure": ("matplotlib",),
    "report": ("jinja2", "reportlab"),
    "serve": ("starlette", "uvicorn", "websockets", "prometheus_client", "psutil"),
}
_JETPACK_OPENCV = "sudo apt-get install nvidia-opencv"
_PURPOSE = {
    "train": "edgecrack train and evaluate",
    "export": "edgecrack export",
    "quantize": "edgecrack calibrate",
    "cpu": "running models on x86-64 faster than ONNX Runtime does",
    "record": "edgecrack stream --record and for replaying *.mcap",
    "heic": "reading HEIC photos",
    "maps": "edgecrack predict on orthomosaics",
    "measure": "plots of edgecrack measure and the sheet of edgecrack target",
    "report": "the page of edgecrack report and edgecrack inspect",
    "serve": "edgecrack stream --serve, the live page and metrics",
}
# These add to a stream, so a robot may want them, and does without them as well.
_X86_64 = ("x86_64", "AMD64")
_FOR_ROBOTS = ("cpu", "record", "serve", "heic")


def check_numpy(machine: Machine) -> list[Check]:
    """NumPy."""
    package = '"numpy<2"' if machine.architecture == "aarch64" else "numpy"
    return [_simple(machine, "numpy", NUMPY, package)]


def check_onnx_runtime(machine: Machine) -> list[Check]:
    """ONNX Runtime and what it can run on."""
    line = _simple(machine, "onnxruntime", ONNX_RUNTIME, "onnxruntime")
    if not line.usable:
        return [line]
    providers = machine.probes["onnxruntime"].found.get("providers", [])
    names = ", ".join(str(name).removesuffix("ExecutionProvider") for name in providers)
    return [Check(ONNX_RUNTIME, "ok", f"{line.found}, runs on: {names or 'nothing'}")]


def check_opencv(machine: Machine) -> list[Check]:
    """OpenCV, and which sources it can open."""
    probed = machine.probes.get("cv2")
    if probed is None:
        hidden = find_hidden(machine, "cv2")
        if hidden:
            return [Check(OPENCV, "missing", f"not seen: {hidden.why}", hidden.remedy)]
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
        return [Check(OPENCV, "warning", f"{found}: no camera", opencv_remedy(machine))]
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
        parts.append("decodes on the CPU; a Jetson's decoder is reached with gst://")
    return [Check(PYAV, "ok", ", ".join(parts))]


def check_model(machine: Machine) -> list[Check]:
    """The bundled model: whole, and run once on one tile."""
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
        return [Check(MODEL, "ok", f"{machine.model.name} is whole")]
    if run.failure:
        lines = [
            *check_numpy(machine),
            *check_opencv(machine),
            *check_pyav(machine),
            *check_onnx_runtime(machine),
        ]
        causes = [line.name for line in lines if not line.usable]
        if causes:
            found = f"{machine.model.name} is whole; not run for want of {', '.join(causes)}"
            return [Check(MODEL, "warning", found)]
        return [Check(MODEL, "missing", f"it does not run: {run.failure}", reinstall)]
    return [Check(MODEL, "ok", "whole, and runs on the CPU")]


def check_extras(machine: Machine) -> list[Check]:
    """The extras of this package, and what each still lacks."""
    return [_check_extra(machine, extra) for extra in EXTRAS]


def _check_extra(machine: Machine, extra: str) -> Check:
    name, remedy = f"extra {extra}", machine.origin.install(extra)
    lacking = [module for module in EXTRAS[extra] if module not in machine.modules]
    if not lacking:
        return Check(name, "ok", f"installed, for {_PURPOSE[extra]}")
    if extra == "cpu" and machine.architecture not in _X86_64:
        return Check(name, "not needed here", f"{_PURPOSE[extra]}: not this processor")
    if extra not in _FOR_ROBOTS and find_jetson(machine) is not None:
        return Check(name, "not needed here", f"{_PURPOSE[extra]}: on a workstation")
    what = "not installed" if len(lacking) == len(EXTRAS[extra]) else f"lacks {', '.join(lacking)}"
    status: Status = "not needed here" if extra in _FOR_ROBOTS else "missing"
    return Check(name, status, f"{what}; only for {_PURPOSE[extra]}", remedy)


def _simple(machine: Machine, probe: str, name: str, package: str) -> Check:
    probed = machine.probes.get(probe)
    if probed is None:
        return Check(name, "missing", "not installed", f"pip install {package}")
    if probed.failure:
        found = f"installed, but cannot be loaded: {probed.failure}"
        # Without what it depends on: that would bring a newer numpy than the machine can take.
        return Check(name, "missing", found, f"pip install --force-reinstall --no-deps {package}")
    return Check(name, "ok", str(probed.found.get("version", "of unknown version")))


def _reinstall(machine: Machine) -> str:
    tree = machine.model.parents[2]
    if (tree / "pyproject.toml").is_file():
        return f"git -C {shlex.quote(str(tree))} checkout -- edgecrack/models"
    return machine.origin.reinstall()


def opencv_remedy(machine: Machine) -> str:
    """The command that brings the OpenCV for a machine."""
    if find_jetson(machine) is not None:
        return _JETPACK_OPENCV
    if machine.architecture == "aarch64":
        return "sudo apt-get install python3-opencv"
    if "cv2" in machine.probes:
        # The full wheel and the headless one share a folder: removing one breaks the other.
        return (
            "pip uninstall -y opencv-python opencv-python-headless && "
            "pip install opencv-python-headless"
        )
    return "pip install opencv-python-headless"


def _is_built_with(build: str, name: str) -> bool:
    return re.search(rf"^\s*{re.escape(name)}:\s*YES", build, re.MULTILINE) is not None
