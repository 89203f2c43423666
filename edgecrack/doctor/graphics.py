"""The NVIDIA driver and the GPUs that it gives."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgecrack.doctor.base import gigabytes
from edgecrack.doctor.check import Check
from edgecrack.doctor.jetson import find_jetson
from edgecrack.doctor.machine import Machine

_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"


@dataclass(frozen=True)
class FoundGpu:
    """A GPU that the driver gives.

    Attributes:
        name: as the driver calls it.
        compute_capability: as in "8.6".
        total_bytes: its memory.
    """

    name: str
    compute_capability: str
    total_bytes: int


def found_gpus(machine: Machine) -> list[FoundGpu]:
    """The GPUs that can be used."""
    probed = machine.probes.get("gpu")
    return [FoundGpu(*values) for values in probed.found.get("devices", [])] if probed else []


def driver_cuda(machine: Machine) -> tuple[int, int] | None:
    """Newest CUDA that the driver runs, as in (12, 6); None without a driver."""
    probed = machine.probes.get("gpu")
    major = int(probed.found.get("cuda", 0)) if probed else 0
    return (major, int(probed.found.get("cuda_minor", 0))) if probed and major else None


def expects_gpu(machine: Machine) -> bool:
    """Whether this machine has NVIDIA's hardware, whether or not it can be used."""
    return bool(found_gpus(machine)) or find_jetson(machine) is not None or _has_card(machine)


def check_graphics(machine: Machine) -> list[Check]:
    """Driver and GPUs."""
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
        return Check(name, "ok", ", ".join(filter(None, (version, cuda))) or "it gives GPUs")
    probed = machine.probes.get("gpu")
    why = (probed.failure or probed.found.get("why") or "") if probed else ""
    found = f"{version or 'no driver'}: {why or 'it gives no GPU'}"
    return Check(name, "missing", found, _driver_remedy(machine, version))


def _driver_remedy(machine: Machine, version: str) -> str:
    jetson = find_jetson(machine) is not None
    if machine.is_container:
        option = "--runtime nvidia" if jetson else "--gpus all"
        return f"start the container with: docker run {option}"
    if jetson:
        return "sudo apt-get install --reinstall nvidia-l4t-core nvidia-l4t-cuda"
    if version:
        return "sudo reboot"  # the kernel's half is there: mostly an update that waits for it
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
