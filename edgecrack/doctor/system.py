"""Checks of the system: Python, cores, memory, disk, throttling and the systemd service."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from edgecrack import __version__
from edgecrack.doctor.machine import Check, Machine, gigabytes, open_environment
from edgecrack.errors import ConfigError, MissingDependencyError, ModelFileError
from edgecrack.machine_sensors.throttling import ThrottleLook, ThrottleReader

PYTHON = "Python"
LEAST_FREE_MEMORY = 600_000_000  # a stream uses 380 MB with the bundled model
LEAST_FREE_DISK = 1_000_000_000
_OLDEST_PYTHON, _NEWEST_PYTHON = (3, 10), (3, 12)


def check_edgecrack(machine: Machine) -> list[Check]:
    """The version of edgecrack."""
    return [Check("edgecrack", "ok", __version__)]


def check_python(machine: Machine) -> list[Check]:
    """The running Python, and whether edgecrack supports it."""
    version = ".".join(map(str, machine.python))
    where = f" in {machine.virtual_environment}" if machine.virtual_environment else ""
    if machine.python[:2] < _OLDEST_PYTHON:
        found = f"{version} is too old; 3.10, 3.11 or 3.12 is needed"
        remedy = "sudo apt-get install python3.10-venv && python3.10 -m venv .venv"
        return [Check(PYTHON, "missing", found, remedy)]
    if machine.python[:2] > _NEWEST_PYTHON:
        found = f"{version}; edgecrack is tested with 3.10 to 3.12"
        return [Check(PYTHON, "warning", found, "python3.12 -m venv .venv")]
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
    """CPU cores that this process may use, and a container's limit on CPU time."""
    quota = re.match(r"(\d+) (\d+)", machine.read("sys/fs/cgroup/cpu.max"))
    found = f"{machine.cores} usable"
    if quota and int(quota[2]) and int(quota[1]) < machine.cores * int(quota[2]):
        found += f", limited to the time of {int(quota[1]) / int(quota[2]):.1f}"
    return [Check("CPU cores", "ok", found)]


def check_memory(machine: Machine) -> list[Check]:
    """Total and free memory."""
    text = machine.read("proc/meminfo")
    sizes = {key: 1024 * int(size) for key, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    total, free = sizes.get("MemTotal"), sizes.get("MemAvailable", sizes.get("MemFree"))
    if total is None or free is None:
        return [Check("memory", "warning", "unknown: /proc/meminfo does not say")]
    found = f"{gigabytes(total)}, {gigabytes(free)} free"
    if free < LEAST_FREE_MEMORY:
        found += f"; a stream uses about {gigabytes(LEAST_FREE_MEMORY)}"
        return [Check("memory", "warning", found, "close other programs")]
    return [Check("memory", "ok", found)]


def check_disk(machine: Machine) -> list[Check]:
    """Free disk space for results, and whether this user may write there."""
    folder = Path(os.path.abspath(machine.results))  # noqa: PTH100 (resolve may raise)
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{gigabytes(free)} free for results in {folder}"
    if not os.access(folder, os.W_OK | os.X_OK):
        text = f"this user may not write to {folder}"
        return [Check("disk", "warning", text, "cd to a folder that you own, or give --out FOLDER")]
    if free < LEAST_FREE_DISK:
        return [Check("disk", "warning", found, "free some space, or give --out on another disk")]
    return [Check("disk", "ok", found)]


THROTTLING = "throttling"


def check_throttling(machine: Machine) -> list[Check]:
    """Whether the machine throttles; two readings, since counters show it only by rising."""
    reader = ThrottleReader(machine.root)
    machine.pause()
    found = reader.look()
    past = reader.since_start()
    since = f"; since the machine started: {past}" if past else ""
    if found.state == "throttled":
        return [Check(THROTTLING, "warning", _throttled(found) + since, _remedy(found))]
    if found.state == "unknown":
        where = "this container" if machine.is_container else "this machine"
        text = f"unknown: {where} does not report throttling"
        return [Check(THROTTLING, "not needed here", text + since)]
    figures = f", {found.figures}" if found.figures else ""
    text = f"none now{figures} (according to {', '.join(found.told_by)})"
    return [Check(THROTTLING, "ok", text + since)]


def _throttled(found: ThrottleLook) -> str:
    figures = f" at {found.figures}" if found.figures else ""
    return f"the machine is throttling now{figures}: {found.reasons}"


def _remedy(found: ThrottleLook) -> str:
    kinds = {each.kind for each in found.evidence}
    if kinds & {"power alarm", "firmware"}:
        return "check the power supply and its cable, then the cooling"
    return "check the fan, the heat sink and the airflow, or choose another power mode"


SERVICE = "service"
UNIT = "etc/systemd/system/edgecrack.service"
# Restarting does not fix a wrong option, a wrong model file or a missing package.
LASTING = tuple(
    str(kind.exit_code) for kind in (ConfigError, ModelFileError, MissingDependencyError)
)
_INSTALL = "sudo deploy/install.sh, in the checkout of edgecrack"


def check_service(machine: Machine) -> list[Check]:
    """The systemd unit and the environment that it starts, from files only."""
    unit = machine.read(UNIT)
    if not unit:
        return [Check(SERVICE, "not needed here", "not installed")]
    started = re.search(r"^ExecStart=(/\S+)/bin/\S+", unit, re.M)
    if started is None:
        return [Check(SERVICE, "warning", f"/{UNIT} does not say what it starts", _INSTALL)]
    environment = started[1]
    settings = machine.read(f"{environment[1:]}/pyvenv.cfg")
    if not settings:
        found = f"it starts edgecrack in {environment}, where no environment exists"
        return [Check(SERVICE, "missing", found, _INSTALL)]
    is_open = re.search(r"^include-system-site-packages *= *true", settings, re.M | re.I)
    if machine.architecture == "aarch64" and not is_open:
        found = f"its environment {environment} hides the system's OpenCV and TensorRT"
        return [Check(SERVICE, "missing", found, f"sudo {open_environment(environment)}")]
    lasting = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.M)
    if not set(LASTING) <= set(" ".join(lasting).split()):
        codes = ", ".join(LASTING)
        found = f"it restarts forever after errors that a restart cannot fix (exit codes {codes})"
        return [Check(SERVICE, "warning", found, _INSTALL)]
    if re.search(r"^StartLimitIntervalSec=0$", unit, re.M):
        return [Check(SERVICE, "warning", "it restarts forever, whatever fails", _INSTALL)]
    return [Check(SERVICE, "ok", f"starts edgecrack in {environment}")]
