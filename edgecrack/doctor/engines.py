"""What building and running engines takes: TensorRT, and a way to the GPU's memory."""

from __future__ import annotations

import re

from edgecrack.doctor.check import Check
from edgecrack.doctor.graphics import driver_cuda, expects_gpu, found_gpus
from edgecrack.doctor.jetson import find_jetson
from edgecrack.doctor.machine import Machine, Probed
from edgecrack.doctor.system_packages import find_hidden
from edgecrack.nvidia.gpu import install_command
from edgecrack.nvidia.tensorrt_module import OLDEST_TENSORRT

TENSORRT, RTX, CUDA = "TensorRT", "TensorRT for RTX", "CUDA for Python"
# As `nvidia.cuda.open` takes them: the first one captures CUDA graphs.
_CUDA_LIBRARIES = (("cuda", "cuda-python"), ("pycuda", "pycuda"))
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
    jetson = find_jetson(machine)
    command = install_command(driver_cuda(machine), jetson=jetson is not None)
    failures = [
        f"{name} cannot be used: {problem}"
        for module, name in _CUDA_LIBRARIES
        if (problem := _cuda_problem(machine, module))
    ]
    for module, name in _CUDA_LIBRARIES:
        probed = machine.probes.get(module)
        if probed is None or _cuda_problem(machine, module):
            continue
        found = f"{name} {probed.found.get('version', '')}".rstrip()
        if module == "cuda":
            return Check(CUDA, "ok", f"{found}, with CUDA graphs")
        why = "; ".join(failures) or "cuda-python is not installed"
        return Check(CUDA, "ok", f"{found}, without CUDA graphs, since {why}", command)
    if not expects_gpu(machine):
        return Check(CUDA, "not needed here", "; ".join(failures) or "for running engines on a GPU")
    if jetson is not None and jetson.stays_too_old:
        return Check(CUDA, "not needed here", "engines do not run on this Jetson")
    found = "; ".join(failures) or "neither cuda-python nor pycuda is installed"
    return Check(CUDA, "missing", found, command)


def _cuda_problem(machine: Machine, module: str) -> str:
    """Why a library that is there does not serve; empty where it does, or is not there."""
    probed = machine.probes.get(module)
    if probed is None or probed.failure:
        return f"it is not loaded ({probed.failure})" if probed else ""
    error, brings = str(probed.found.get("error", "")), int(probed.found.get("brings", 0))
    if not error or not found_gpus(machine):  # without a GPU nothing starts, and nothing has to
        return ""
    if error == "cudaErrorInsufficientDriver":
        runs = driver_cuda(machine)
        driver = f", which runs CUDA {runs[0]}.{runs[1]}" if runs else ""
        return (
            f"version {probed.found.get('version')} brings CUDA {brings // 1000}."
            f"{brings % 1000 // 10}, and the driver{driver}, cannot start that"
        )
    return f"it gives {error}"


def _problem(probed: Probed) -> str:
    if probed.failure:
        return f"installed, but cannot be loaded: {probed.failure}"
    if not probed.found.get("builder") or not re.match(r"\d+\.\d", str(probed.found["version"])):
        return "installed, but it holds no builder"
    return ""
