"""The machine under everything: edgecrack, Python, system, cores, memory, disk."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from edgecrack import __version__
from edgecrack.doctor.check import Check
from edgecrack.doctor.machine import Machine

PYTHON = "Python"
LEAST_FREE_MEMORY = 600_000_000  # a stream takes 380 MB with the bundled model
LEAST_FREE_DISK = 1_000_000_000
_OLDEST_PYTHON, _NEWEST_PYTHON = (3, 10), (3, 12)


def check_edgecrack(machine: Machine) -> list[Check]:
    """The version of this program."""
    return [Check("edgecrack", "ok", __version__)]


def check_python(machine: Machine) -> list[Check]:
    """The running Python, and whether it is one that edgecrack is made for."""
    version = ".".join(map(str, machine.python))
    where = f" in {machine.virtual_environment}" if machine.virtual_environment else ""
    if machine.python[:2] < _OLDEST_PYTHON:
        return [
            Check(
                PYTHON,
                "missing",
                f"{version} is too old; 3.10, 3.11 or 3.12 is needed",
                "sudo apt-get install python3.10-venv && python3.10 -m venv .venv",
            )
        ]
    if machine.python[:2] > _NEWEST_PYTHON:
        return [
            Check(
                PYTHON,
                "warning",
                f"{version}; edgecrack is tested with 3.10 to 3.12",
                "python3.12 -m venv .venv",
            )
        ]
    return [Check(PYTHON, "ok", version + where)]


def check_system(machine: Machine) -> list[Check]:
    """Operating system and architecture."""
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', machine.read("etc/os-release"), re.MULTILINE)
    name = match[1] if match else machine.system
    inside = " in a container" if machine.is_container else ""
    found = f"{name}, {machine.architecture}{inside}"
    if machine.system != "linux":
        return [Check("system", "warning", f"{found}; edgecrack is tested on Linux only")]
    if machine.architecture not in ("x86_64", "aarch64"):
        return [Check("system", "warning", f"{found}; ONNX Runtime has no package for it")]
    return [Check("system", "ok", found)]


def check_cores(machine: Machine) -> list[Check]:
    """CPU cores that this process may use, a container's limit included."""
    quota = re.match(r"(\d+) (\d+)", machine.read("sys/fs/cgroup/cpu.max"))
    found = f"{machine.cores} usable"
    if quota and int(quota[2]) and int(quota[1]) < machine.cores * int(quota[2]):
        found += f", limited to the time of {int(quota[1]) / int(quota[2]):.1f}"
    return [Check("CPU cores", "ok", found)]


def check_memory(machine: Machine) -> list[Check]:
    """Memory, all of it and what is free."""
    text = machine.read("proc/meminfo")
    sizes = {key: 1024 * int(size) for key, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    total, free = sizes.get("MemTotal"), sizes.get("MemAvailable", sizes.get("MemFree"))
    if total is None or free is None:
        return [Check("memory", "warning", "unknown: /proc/meminfo does not tell")]
    found = f"{gigabytes(total)}, {gigabytes(free)} free"
    if free < LEAST_FREE_MEMORY:
        found += f"; a stream takes about {gigabytes(LEAST_FREE_MEMORY)}"
        return [Check("memory", "warning", found, "close other programs")]
    return [Check("memory", "ok", found)]


def check_disk(machine: Machine) -> list[Check]:
    """Room where the results go, and whether this user may write there."""
    folder = Path(os.path.abspath(machine.results))  # noqa: PTH100 (resolve may raise)
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{gigabytes(free)} free for results in {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        text = f"this user may not write results in {folder}"
        return [Check("disk", "warning", text, "cd to a folder of yours, or give --out FOLDER")]
    if free < LEAST_FREE_DISK:
        return [Check("disk", "warning", found, "make room, or give --out on another disk")]
    return [Check("disk", "ok", found)]


def gigabytes(count: float) -> str:
    """A number of bytes for people: 10^9 to one decimal."""
    return f"{count / 1e9:.1f} GB"
