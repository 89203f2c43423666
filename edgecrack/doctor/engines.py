"""What building and running engines takes: TensorRT, and a way to the GPU's memory."""

from __future__ import annotations

import re

from edgecrack.doctor.check import Check
from edgecrack.doctor.graphics import cuda_major, expects_gpu, found_gpus
from edgecrack.doctor.jetson import find_jetson
from edgecrack.doctor.machine import Machine, Probed
from edgecrack.doctor.system_packages import find_hidden
from edgecrack.nvidia.tensorrt_module import OLDEST_TENSORRT

TENSORRT, RTX, CUDA = "TensorRT", "TensorRT for RTX", "CUDA for Python"
# What TensorRT for RTX 1.7 builds for, where it cannot be asked: not for Jetsons, for example.
RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")


def check_engines(machine: Machine) -> list[Check]:
    """Both flavours of TensorRT, and what reaches the GPU's memory."""
    return [_check_tensorrt(machine), _check_rtx(machine), _check_cuda(machine)]


def rtx_targets(machine: Machine) -> tuple[str, ...]:
    """Compute capabilities of the GPUs that TensorRT for RTX builds for, in their order."""
    probed = machine.probes.get("tensorrt_rtx")
    told = probed.found.get("targets") if probed else None
    return tuple(sorted(told, key=lambda text: float(text))) if told else RTX_CAPABILITIES


def rtx_gpus(machine: Machine) -> list[str]:
    """Compute capabilities of the GPUs here that TensorRT for RTX builds for."""
    return [
        gpu.compute_capability
        for gpu in found_gpus(machine)
        if gpu.compute_capability in rtx_targets(machine)
    ]


def _check_tensorrt(machine: Machine) -> Check:
    probed = machine.probes.get("tensorrt")
    if probed is None:
        return _no_tensorrt(machine)
    problem = _problem(probed)
    if "nvdla_compiler" in problem:  # JetPack's TensorRT wants it, and does not say so to apt
        return Check(TENSORRT, "missing", problem, "sudo apt-get install nvidia-l4t-dla-compiler")
    if problem:
        return Check(TENSORRT, "missing", problem, _tensorrt_remedy(machine, reinstall=True))
    version = str(probed.found["version"])
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST_TENSORRT:
        found = f"{version} is too old; 10.3 or later is needed"
        return Check(TENSORRT, "missing", found, _tensorrt_remedy(machine, reinstall=False))
    return Check(TENSORRT, "ok", version)


def _no_tensorrt(machine: Machine) -> Check:
    jetson = find_jetson(machine)
    if jetson is None and (not found_gpus(machine) or rtx_gpus(machine)):
        return Check(TENSORRT, "not needed here", "for Jetsons and data-centre GPUs")
    if jetson is not None and jetson.stays_too_old:
        return Check(TENSORRT, "not needed here", "none that is new enough runs on this Jetson")
    hidden = find_hidden(machine, "tensorrt")
    if hidden:
        return Check(TENSORRT, "missing", f"not seen: {hidden.why}", hidden.remedy)
    return Check(TENSORRT, "missing", "not installed", _tensorrt_remedy(machine, reinstall=False))


def _tensorrt_remedy(machine: Machine, *, reinstall: bool) -> str:
    jetson = find_jetson(machine)
    if jetson is None:
        return "pip install --force-reinstall tensorrt" if reinstall else "pip install -U tensorrt"
    if jetson.stays_too_old:
        return ""
    if jetson.is_too_old:
        return "upgrade JetPack"
    return f"sudo apt-get install {'--reinstall ' if reinstall else ''}python3-libnvinfer"


def _check_rtx(machine: Machine) -> Check:
    probed = machine.probes.get("tensorrt_rtx")
    if probed is None:
        return _no_rtx(machine)
    problem = _problem(probed)
    if problem:
        return Check(RTX, "missing", problem, "pip install --force-reinstall tensorrt-rtx")
    version = str(probed.found["version"])
    gpus = found_gpus(machine)
    if gpus and not rtx_gpus(machine):
        here = ", ".join(gpu.compute_capability for gpu in gpus)
        others = ", ".join(rtx_targets(machine))
        return Check(
            RTX, "warning", f"{version} builds for {others}, not for the GPU here ({here})"
        )
    note = "" if gpus else "; builds without a GPU, runs engines only with one"
    return Check(RTX, "ok", version + note)


def _no_rtx(machine: Machine) -> Check:
    if find_jetson(machine) is not None or machine.architecture != "x86_64":
        return Check(RTX, "not needed here", "for desktop GPUs")
    tensorrt = _check_tensorrt(machine)
    if rtx_gpus(machine) and tensorrt.status != "ok":
        return Check(RTX, "missing", "not installed", machine.origin.install("rtx"))
    found = "not installed; builds engines for desktop GPUs, without a GPU, too"
    return Check(RTX, "not needed here", found, machine.origin.install("rtx"))


def _check_cuda(machine: Machine) -> Check:
    failures = []
    for module, name in (("cuda", "cuda-python"), ("pycuda", "pycuda")):
        probed = machine.probes.get(module)
        if probed is not None and not probed.failure:
            return Check(CUDA, "ok", f"{name} {probed.found.get('version', '')}")
        if probed is not None:
            failures.append(f"{name} cannot be loaded: {probed.failure}")
    if not expects_gpu(machine):
        return Check(CUDA, "not needed here", "; ".join(failures) or "for running engines on a GPU")
    jetson = find_jetson(machine)
    if jetson is not None and jetson.stays_too_old:
        return Check(CUDA, "not needed here", "engines do not run on this Jetson")
    found = "; ".join(failures) or "neither cuda-python nor pycuda is installed"
    return Check(CUDA, "missing", found, _cuda_remedy(machine))


def _cuda_remedy(machine: Machine) -> str:
    major = cuda_major(machine) or 12
    if major >= 12:
        return f'pip install "cuda-python>={major},<{major + 1}"'
    return "PATH=/usr/local/cuda/bin:$PATH pip install pycuda"


def _problem(probed: Probed) -> str:
    if probed.failure:
        return f"installed, but cannot be loaded: {probed.failure}"
    if not probed.found.get("builder") or not re.match(r"\d+\.\d", str(probed.found["version"])):
        return "installed, but it holds no builder"
    return ""
