"""GStreamer, which reads `gst://` and `csi://`, and what a Jetson's CSI cameras take besides.

Reads files only. Sources: `gst-inspect-1.0` for the file of each element (videoconvert's is
libgstvideoconvertscale.so since GStreamer 1.22); NVIDIA's pages on its containers for Jetsons, by
which nvarguscamerasrc reaches nvargus-daemon, outside of them, through /tmp/argus_socket; the
recipes of meta-tegra for where the daemon and the plugins lie in NVIDIA's packages.
"""

from __future__ import annotations

from pathlib import Path

from edgecrack.doctor.check import Check, Status
from edgecrack.doctor.jetson import find_jetson
from edgecrack.doctor.machine import Machine
from edgecrack.runtime.sources.child import INSTALL

GSTREAMER, CSI = "GStreamer", "CSI camera stack"
_PROGRAM = "gst-launch-1.0"
# The elements behind every pipeline, by the package that holds them.
_PACKAGE_OF = {
    "libgstvideoconvert*.so": "gstreamer1.0-plugins-base",
    "libgstrtp.so": "gstreamer1.0-plugins-good",
}
_JETSON_ELEMENTS = ("nvarguscamerasrc", "nvvidconv")
_JETSON_PLUGINS, _ARGUS = "nvidia-l4t-gstreamer", "nvidia-l4t-camera"
_DAEMON = "nvargus-daemon"
_SOCKET = "tmp/argus_socket"


def check_gstreamer(machine: Machine) -> list[Check]:
    """GStreamer; on a Jetson also what nvarguscamerasrc needs."""
    if find_jetson(machine) is None:
        return [_check_program(machine)]
    return [_check_program(machine), _check_csi(machine)]


def _check_program(machine: Machine) -> Check:
    is_jetson = find_jetson(machine) is not None
    needed_for = "csi:// and gst:// sources" if is_jetson else "gst:// sources"
    program = machine.find_program(_PROGRAM)
    lacking = [name for file, name in _PACKAGE_OF.items() if not _has_plugin(machine, file)]
    if program is not None and not lacking:
        return Check(GSTREAMER, "ok", f"{_PROGRAM} is installed, for {needed_for}")
    what = f"no {_PROGRAM}" if program is None else f"installed without {' and '.join(lacking)}"
    remedy = INSTALL.removeprefix("run: ") if machine.system == "linux" else ""
    # Cameras on USB and the network do without it.
    status: Status = "missing" if is_jetson else "not needed here"
    return Check(GSTREAMER, status, f"{what}; only for {needed_for}", remedy)


def _check_csi(machine: Machine) -> Check:
    lacking = [name for name in _JETSON_ELEMENTS if not _has_plugin(machine, f"libgst{name}.so")]
    if machine.is_container:
        return _check_csi_in_container(machine, lacking)
    packages = [_JETSON_PLUGINS] if lacking else []
    if not machine.path(f"usr/sbin/{_DAEMON}").exists():
        lacking.append(_DAEMON)
        packages.append(_ARGUS)
    if lacking:
        found = f"no {', no '.join(lacking)}; only for csi:// sources"
        return Check(
            CSI, "missing", found, f"sudo apt-get install --reinstall {' '.join(packages)}"
        )
    if not _runs(machine, _DAEMON):
        found = f"{_DAEMON} does not run; only for csi:// sources"
        return Check(CSI, "warning", found, f"sudo systemctl enable --now {_DAEMON}")
    return Check(CSI, "ok", f"{_JETSON_ELEMENTS[0]} is installed, {_DAEMON} runs")


def _check_csi_in_container(machine: Machine, lacking: list[str]) -> Check:
    """The daemon runs outside, and NVIDIA's container runtime brings the plugins."""
    if not machine.path(_SOCKET).exists():
        lacking = [*lacking, f"/{_SOCKET}"]
    if not lacking:
        return Check(CSI, "ok", f"{_JETSON_ELEMENTS[0]} and /{_SOCKET} are in this container")
    found = f"this container has no {', no '.join(lacking)}; only for csi:// sources"
    command = f"docker run --runtime nvidia -v /{_SOCKET}:/{_SOCKET}"
    return Check(CSI, "missing", found, f"start the container with: {command}")


def _has_plugin(machine: Machine, file: str) -> bool:
    return any(next(folder.glob(file), None) for folder in _plugin_folders(machine))


def _plugin_folders(machine: Machine) -> list[Path]:
    """The system's, and those beside a GStreamer that is installed elsewhere."""
    prefixes = [machine.path("usr"), machine.path("usr/local")]
    program = machine.find_program(_PROGRAM)
    if program is not None:
        prefixes.append(program.parent.parent)
    return [
        folder
        for prefix in prefixes
        for pattern in ("lib*/gstreamer-1.0", "lib*/*/gstreamer-1.0")
        for folder in prefix.glob(pattern)
    ]


def _runs(machine: Machine, program: str) -> bool:
    """Whether a process of that name runs; names are cut at 15 characters."""
    names = machine.path("proc").glob("[0-9]*/comm")
    return any(machine.read(str(name.relative_to(machine.root))) == program[:15] for name in names)
