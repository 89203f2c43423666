"""Checks of NVIDIA hardware and software: Jetson, driver, GPUs, TensorRT and CUDA for Python.

Sources: NVIDIA's JetPack archive (which L4T is which JetPack) and the JetPack release notes
(the TensorRT version of each).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from edgecrack.doctor.machine import Check, Machine, Probed, find_hidden, gigabytes
from edgecrack.nvidia.gpu import install_command
from edgecrack.nvidia.tensorrt_module import OLDEST_TENSORRT

OLDEST_L4T = (36, 4, 0)  # JetPack 6.1, the first with TensorRT 10.3
_JETPACK_PAGE = "https://developer.nvidia.com/embedded/jetpack"
_SOURCES = "/etc/apt/sources.list.d/nvidia-l4t-apt-source.list"
_UPGRADE = (
    f"sudo sed -i 's/r36\\.3/r36.4/' {_SOURCES} && sudo apt-get update && sudo apt-get dist-upgrade"
)

_JETPACK_OF = {
    (35, 1, 0): "5.0.2", (35, 2, 1): "5.1", (35, 3, 1): "5.1.1", (35, 4, 1): "5.1.2",
    (35, 5, 0): "5.1.3", (35, 6, 0): "5.1.4", (35, 6, 1): "5.1.5", (35, 6, 2): "5.1.5",
    (36, 2, 0): "6.0 DP", (36, 3, 0): "6.0", (36, 4, 0): "6.1", (36, 4, 3): "6.2",
    (36, 4, 4): "6.2.1", (36, 4, 7): "6.2.1", (36, 5, 0): "6.2.2", (38, 2, 0): "7.0",
}  # fmt: skip
_JETPACK_MAJOR_OF = {32: "4", 34: "5", 35: "5", 36: "6", 38: "7"}

# The last JetPack of a chip, which the device tree's "compatible" names.
_LAST_JETPACK = {"tegra210": "4", "tegra186": "4", "tegra194": "5"}
_CHIP_NAME = {
    "tegra210": "Jetson Nano or TX1", "tegra186": "Jetson TX2", "tegra194": "Jetson Xavier",
    "tegra234": "Jetson Orin", "tegra264": "Jetson Thor",
}  # fmt: skip


@dataclass(frozen=True)
class Jetson:
    """A Jetson.

    Attributes:
        model: the board's name of itself.
        chip: such as "tegra234"; empty if unknown.
        l4t: release of Jetson Linux, such as (36, 4, 3); None if unknown.
        jetpack: such as "6.2"; empty if unknown.
    """

    model: str
    chip: str
    l4t: tuple[int, int, int] | None
    jetpack: str

    @property
    def is_too_old(self) -> bool:
        """Whether its TensorRT is known to be too old."""
        return self.l4t is not None and self.l4t < OLDEST_L4T

    @property
    def stays_too_old(self) -> bool:
        """Whether no JetPack for this chip has a TensorRT that is new enough."""
        return self.chip in _LAST_JETPACK


def find_jetson(machine: Machine) -> Jetson | None:
    """The Jetson model of this machine; None if it is no Jetson."""
    compatible = machine.read("proc/device-tree/compatible")
    model = machine.read("proc/device-tree/model")
    release = machine.read("etc/nv_tegra_release")
    match = re.search(r"nvidia,(tegra\d+)", compatible)
    if match is None and not release and "jetson" not in model.lower():
        return None
    chip = match[1] if match else _chip_of(model)
    l4t = _l4t(release, machine)
    return Jetson(model or _CHIP_NAME.get(chip, "Jetson"), chip, l4t, _jetpack(l4t, machine))


def check_jetson(machine: Machine) -> list[Check]:
    """Model, JetPack and power mode."""
    jetson = find_jetson(machine)
    if jetson is None:
        return [Check("Jetson", "not needed here", "this machine is not a Jetson")]
    known = _CHIP_NAME.get(jetson.chip, "")
    kind = f" ({known})" if known and known.split()[-1] not in jetson.model else ""
    return [
        Check("Jetson", "ok", jetson.model + kind),
        _check_jetpack(jetson),
        *_check_power_mode(machine),
    ]


def _check_jetpack(jetson: Jetson) -> Check:
    name = "JetPack"
    if jetson.l4t is None:
        where = "/etc/nv_tegra_release does not say"
        return Check(name, "warning", f"{jetson.jetpack or 'unknown'}: {where}")
    release = ".".join(map(str, jetson.l4t))
    found = f"{jetson.jetpack or 'unknown'} (Jetson Linux R{release})"
    if not jetson.is_too_old:
        return Check(name, "ok", found)
    if jetson.stays_too_old:
        last = _LAST_JETPACK[jetson.chip]
        found += (
            f"; JetPack {last} is the last for {_CHIP_NAME[jetson.chip]}, and its TensorRT is too "
            "old for engines: models run on the CPU here"
        )
        return Check(name, "warning", found)
    found += " is too old: engines need TensorRT 10.3, which JetPack 6.1 or later has"
    if jetson.l4t[:2] == (36, 3):
        return Check(name, "missing", f"{found}; restart after the upgrade", _UPGRADE)
    return Check(name, "missing", found, f"flash JetPack 6.2 or later, see {_JETPACK_PAGE}")


def _check_power_mode(machine: Machine) -> list[Check]:
    mode = re.search(r"(\d+)", machine.read("var/lib/nvpmodel/status"))
    if mode is None:
        return []
    config = machine.read("etc/nvpmodel.conf")
    names = dict(re.findall(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", config))
    current = str(int(mode[1]))
    found = f"{names[current]} (mode {current})" if current in names else f"mode {current}"
    fastest = [number for number, name in names.items() if name.startswith("MAXN")]
    if not fastest or current in fastest:
        return [Check("power mode", "ok", found)]
    best = max(fastest, key=int)
    return [
        Check("power mode", "ok", f"{found}; {names[best]} is faster", f"sudo nvpmodel -m {best}")
    ]


def _chip_of(model: str) -> str:
    words = model.lower()
    for chip, name in reversed(_CHIP_NAME.items()):  # "Orin Nano" is an Orin
        if name.split()[1].lower() in words:
            return chip
    return ""


def _l4t(release: str, machine: Machine) -> tuple[int, int, int] | None:
    match = re.search(r"R(\d{2})\s*\(release\),\s*REVISION:\s*(\d+)(?:\.(\d+))?", release)
    if match is None:  # a container lacks the file, but may have its package
        match = re.match(r"(\d{2})\.(\d+)\.(\d+)", installed_version(machine, "nvidia-l4t-core"))
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def _jetpack(l4t: tuple[int, int, int] | None, machine: Machine) -> str:
    version = re.match(r"\d+(\.\d+)*", installed_version(machine, "nvidia-jetpack"))
    if version:
        return version[0]
    if l4t is None:
        return ""
    return _JETPACK_OF.get(l4t) or _JETPACK_MAJOR_OF.get(l4t[0], "")


def installed_version(machine: Machine, package: str) -> str:
    """Version of a Debian package, from dpkg's own list; empty if it is not installed."""
    for entry in machine.read("var/lib/dpkg/status").split("\n\n"):
        if entry.lstrip().startswith(f"Package: {package}\n"):
            fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line)
            is_there = fields.get("Status", "").endswith(" ok installed")
            return fields.get("Version", "") if is_there else ""
    return ""


_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"


class FoundGpu(NamedTuple):
    """A GPU: the driver's name of it, its compute capability such as "8.6", and its memory."""

    name: str
    compute_capability: str
    total_bytes: int


def found_gpus(machine: Machine) -> list[FoundGpu]:
    """The usable GPUs."""
    probed = machine.probes.get("gpu")
    return [FoundGpu(*values) for values in probed.found.get("devices", [])] if probed else []


def driver_cuda(machine: Machine) -> tuple[int, int] | None:
    """Newest CUDA that the driver supports, such as (12, 6); None without a driver."""
    probed = machine.probes.get("gpu")
    major = int(probed.found.get("cuda", 0)) if probed else 0
    return (major, int(probed.found.get("cuda_minor", 0))) if probed and major else None


def expects_gpu(machine: Machine) -> bool:
    """Whether this machine has NVIDIA hardware, usable or not."""
    return bool(found_gpus(machine)) or find_jetson(machine) is not None or _has_card(machine)


def check_graphics(machine: Machine) -> list[Check]:
    """The NVIDIA driver and the GPUs."""
    gpus = found_gpus(machine)
    if not gpus and not expects_gpu(machine):
        return [Check("NVIDIA GPU", "not needed here", "this machine has none")]
    shared = ", shared with the CPU" if find_jetson(machine) else ""
    lines = [
        Check(
            f"GPU {index}",
            "ok",
            f"{gpu.name}, compute capability {gpu.compute_capability}, "
            f"{gigabytes(gpu.total_bytes)}{shared}",
        )
        for index, gpu in enumerate(gpus)
    ]
    return [_check_driver(machine), *lines]


def _check_driver(machine: Machine) -> Check:
    name = "NVIDIA driver"
    text = machine.read("proc/driver/nvidia/version")
    match = re.search(r"\b(\d{3,}(?:\.\d+)+)", text)
    version = match[1] if match else ""
    if found_gpus(machine):
        runs = driver_cuda(machine)
        cuda = f"runs CUDA {runs[0]}.{runs[1]}" if runs else ""
        return Check(name, "ok", ", ".join(filter(None, (version, cuda))) or "loaded")
    probed = machine.probes.get("gpu")
    why = (probed.failure or probed.found.get("why") or "") if probed else ""
    found = f"{version or 'no driver'}: {why or 'it finds no GPU'}"
    return Check(name, "missing", found, _driver_remedy(machine, version))


def _driver_remedy(machine: Machine, version: str) -> str:
    jetson = find_jetson(machine) is not None
    if machine.is_container:
        option = "--runtime nvidia" if jetson else "--gpus all"
        return f"start the container with: docker run {option}"
    if jetson:
        return "sudo apt-get install --reinstall nvidia-l4t-core nvidia-l4t-cuda"
    if version:
        return "sudo reboot"  # the kernel module exists: usually an update waits for a restart
    release = machine.read("etc/os-release")
    if re.search(r"^ID=ubuntu", release, re.MULTILINE):
        return "sudo ubuntu-drivers install && sudo reboot"
    if re.search(r"^ID=debian", release, re.MULTILINE):
        return "sudo apt-get install nvidia-driver && sudo reboot"
    return "install NVIDIA's driver, see https://www.nvidia.com/drivers"


def _has_card(machine: Machine) -> bool:
    devices = machine.path("sys/bus/pci/devices")
    if not devices.is_dir():
        return False
    return any(
        machine.read(f"sys/bus/pci/devices/{device.name}/vendor") == _NVIDIA
        and machine.read(f"sys/bus/pci/devices/{device.name}/class").startswith(_DISPLAY_CLASS)
        for device in devices.iterdir()
    )


TENSORRT, RTX, CUDA = "TensorRT", "TensorRT for RTX", "CUDA for Python"
# In the order of `nvidia.cuda.open`; only the first captures CUDA graphs.
_CUDA_LIBRARIES = (("cuda", "cuda-python"), ("pycuda", "pycuda"))
# Targets of TensorRT for RTX 1.7, where it does not report its own.
RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")


def check_engines(machine: Machine) -> list[Check]:
    """TensorRT, TensorRT for RTX, and a library for the GPU's memory."""
    return [_check_tensorrt(machine), _check_rtx(machine), _check_cuda(machine)]


def rtx_targets(machine: Machine) -> tuple[str, ...]:
    """Compute capabilities that TensorRT for RTX builds for, in ascending order."""
    probed = machine.probes.get("tensorrt_rtx")
    targets = probed.found.get("targets") if probed else None
    return tuple(sorted(targets, key=float)) if targets else RTX_CAPABILITIES


def rtx_gpus(machine: Machine) -> list[str]:
    """Those of this machine's GPUs that TensorRT for RTX builds for."""
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
    if "nvdla_compiler" in problem:  # missing among JetPack's dependencies
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
        return Check(TENSORRT, "not needed here", "no new enough version runs on this Jetson")
    hidden = find_hidden(machine, "tensorrt")
    if hidden:
        return Check(TENSORRT, "missing", f"not found: {hidden.why}", hidden.remedy)
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
        found = f"{version} builds for {others}, not for this machine's GPU ({here})"
        return Check(RTX, "warning", found)
    note = "" if gpus else "; builds without a GPU, but needs one to run engines"
    return Check(RTX, "ok", version + note)


def _no_rtx(machine: Machine) -> Check:
    if find_jetson(machine) is not None or machine.architecture != "x86_64":
        return Check(RTX, "not needed here", "for desktop GPUs")
    tensorrt = _check_tensorrt(machine)
    if rtx_gpus(machine) and tensorrt.status != "ok":
        return Check(RTX, "missing", "not installed", machine.origin.install("rtx"))
    found = "not installed; builds engines for desktop GPUs, even without one"
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
        return Check(CUDA, "ok", f"{found}, without CUDA graphs, because {why}", command)
    if not expects_gpu(machine):
        return Check(CUDA, "not needed here", "; ".join(failures) or "for running engines on a GPU")
    if jetson is not None and jetson.stays_too_old:
        return Check(CUDA, "not needed here", "engines do not run on this Jetson")
    found = "; ".join(failures) or "neither cuda-python nor pycuda is installed"
    return Check(CUDA, "missing", found, command)


def _cuda_problem(machine: Machine, module: str) -> str:
    """Why an installed library is unusable; empty if it is usable or not installed."""
    probed = machine.probes.get(module)
    if probed is None or probed.failure:
        return f"it cannot be loaded ({probed.failure})" if probed else ""
    error, brings = str(probed.found.get("error", "")), int(probed.found.get("brings", 0))
    if not error or not found_gpus(machine):  # without a GPU, this error is expected
        return ""
    if error == "cudaErrorInsufficientDriver":
        runs = driver_cuda(machine)
        driver = f"the driver supports CUDA {runs[0]}.{runs[1]}" if runs else "the driver is older"
        return (
            f"version {probed.found.get('version')} needs CUDA {brings // 1000}."
            f"{brings % 1000 // 10}, and {driver}"
        )
    return f"it reports {error}"


def _problem(probed: Probed) -> str:
    if probed.failure:
        return f"installed, but cannot be loaded: {probed.failure}"
    if not probed.found.get("builder") or not re.match(r"\d+\.\d", str(probed.found["version"])):
        return "installed, but without its builder"
    return ""
