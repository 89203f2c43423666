"""Which Jetson this is, its JetPack, and whether that brings a TensorRT that can be used.

Reads files only. Sources: NVIDIA's JetPack archive (which L4T is which JetPack) and the
JetPack release notes (which TensorRT it has).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgecrack.doctor.check import Check
from edgecrack.doctor.machine import Machine

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

# The chip, as the device tree's "compatible" names it; the last JetPack that it gets, if known.
_LAST_JETPACK = {"tegra210": "4", "tegra186": "4", "tegra194": "5"}
_CHIP_NAME = {
    "tegra210": "Jetson Nano or TX1", "tegra186": "Jetson TX2", "tegra194": "Jetson Xavier",
    "tegra234": "Jetson Orin", "tegra264": "Jetson Thor",
}  # fmt: skip


@dataclass(frozen=True)
class Jetson:
    """A Jetson.

    Attributes:
        model: as the board calls itself.
        chip: as in "tegra234"; empty where it is unknown.
        l4t: release of Jetson Linux, as in (36, 4, 3), or None where it is unknown.
        jetpack: as in "6.2"; empty where it is unknown.
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
    """The Jetson that this machine is, or None."""
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
        return [Check("Jetson", "not needed here", "this machine is none")]
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
        where = "/etc/nv_tegra_release does not tell"
        return Check(name, "warning", f"{jetson.jetpack or 'unknown'}: {where}")
    release = ".".join(map(str, jetson.l4t))
    found = f"{jetson.jetpack or 'unknown'} (Jetson Linux R{release})"
    if not jetson.is_too_old:
        return Check(name, "ok", found)
    if jetson.stays_too_old:
        last = _LAST_JETPACK[jetson.chip]
        found += (
            f"; {_CHIP_NAME[jetson.chip]} ends with JetPack {last}, whose TensorRT is too old "
            "for engines: models run on the CPU here"
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
    if match is None:  # in a container the file is missing, its package is not always
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
    """Version of an installed Debian package, read from dpkg's own list; empty if it is not."""
    for entry in machine.read("var/lib/dpkg/status").split("\n\n"):
        if entry.lstrip().startswith(f"Package: {package}\n"):
            fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line)
            is_there = fields.get("Status", "").endswith(" ok installed")
            return fields.get("Version", "") if is_there else ""
    return ""
