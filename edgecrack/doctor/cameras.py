"""Checks of the cameras: video devices, GStreamer, and the CSI camera stack of a Jetson.

Sources: `gst-inspect-1.0` for the file of each element (videoconvert's is
libgstvideoconvertscale.so since GStreamer 1.22); NVIDIA's pages on its containers for Jetsons
(nvarguscamerasrc reaches nvargus-daemon on the host through /tmp/argus_socket); the recipes of
meta-tegra for the paths of the daemon and the plugins in NVIDIA's packages.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgecrack.doctor.machine import Check, Machine, Status
from edgecrack.doctor.nvidia import find_jetson
from edgecrack.runtime.sources.child import INSTALL

CAMERAS = "cameras"


def check_cameras(machine: Machine) -> list[Check]:
    """A line per video device, ordered by number."""
    if machine.system != "linux":
        return [Check(CAMERAS, "warning", "not checked on this system")]
    numbers = sorted(
        int(device.name[5:])
        for device in machine.path("dev").glob("video*")
        if re.fullmatch(r"video\d{1,3}", device.name)
    )
    lines = [_check_device(machine, number) for number in numbers]
    if not any(line.status == "ok" or line.remedy for line in lines):
        # Streams from files and the network need no camera, so this is only a warning.
        found = "none found: no /dev/video* delivers pictures"
        remedy = "plug one in, or try: edgecrack stream --source demo"
        if machine.is_container:
            remedy = "start the container with: docker run --device /dev/video0 --group-add video"
        lines.append(Check(CAMERAS, "warning", found, remedy))
    return lines


def _check_device(machine: Machine, number: int) -> Check:
    device = machine.path(f"dev/video{number}")
    called = machine.read(f"sys/class/video4linux/video{number}/name") or "no name"
    title, path = f"camera {number}", f"/dev/video{number}"
    if not machine.may_use(device):
        if machine.is_container:
            found = f"{called} ({path}) may not be used in this container"
            remedy = f"start the container with: docker run --device {path} --group-add video"
            return Check(title, "missing", found, remedy)
        found = f"{called} ({path}) may not be used by this user; log in again after the command"
        return Check(title, "missing", found, "sudo usermod -aG video $USER")
    capture = machine.capture(device)
    if capture == "metadata":
        return Check(path, "not needed here", f"metadata of {called}, no pictures")
    if capture == "no camera":
        return Check(path, "not needed here", f"{called} is not a camera")
    note = "" if capture == "camera" else "; it does not report its capabilities"
    link = _stable_path(machine, device)
    also = f"; always {link}" if link else ""
    return Check(title, "ok", f"{called} ({path}{also}){note}")


def _stable_path(machine: Machine, device: Path) -> str:
    """The udev link of the device, which survives renumbering; empty if there is none.

    Identical cameras without serial numbers share one link, which may then point to either of
    them: it is omitted if another device of the same name has no link.
    """
    links = {
        os.path.realpath(link): link.name
        for link in sorted(machine.path("dev/v4l/by-id").glob("*"), reverse=True)
    }
    own = links.get(os.path.realpath(device))
    names = machine.path("sys/class/video4linux")
    called = machine.read(f"sys/class/video4linux/{device.name}/name")
    for other in names.glob("video*"):
        is_same = machine.read(f"sys/class/video4linux/{other.name}/name") == called
        if is_same and os.path.realpath(machine.path(f"dev/{other.name}")) not in links:
            return ""
    return f"/dev/v4l/by-id/{own}" if own else ""


GSTREAMER, CSI = "GStreamer", "CSI camera stack"
_PROGRAM = "gst-launch-1.0"
# Plugins that every pipeline needs, and their packages.
_PACKAGE_OF = {
    "libgstvideoconvert*.so": "gstreamer1.0-plugins-base",
    "libgstrtp.so": "gstreamer1.0-plugins-good",
}
_JETSON_ELEMENTS = ("nvarguscamerasrc", "nvvidconv")
_JETSON_PLUGINS, _ARGUS = "nvidia-l4t-gstreamer", "nvidia-l4t-camera"
_DAEMON = "nvargus-daemon"
_SOCKET = "tmp/argus_socket"


def check_gstreamer(machine: Machine) -> list[Check]:
    """GStreamer, for gst:// and csi://; on a Jetson also what nvarguscamerasrc needs."""
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
    # USB and network cameras do not need it.
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
        found = f"{_DAEMON} is not running; only for csi:// sources"
        return Check(CSI, "warning", found, f"sudo systemctl enable --now {_DAEMON}")
    return Check(CSI, "ok", f"{_JETSON_ELEMENTS[0]} is installed, {_DAEMON} is running")


def _check_csi_in_container(machine: Machine, lacking: list[str]) -> Check:
    """The daemon runs on the host; NVIDIA's container runtime mounts the plugins."""
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
    """The system's, and those of a GStreamer installed elsewhere."""
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
    """Whether a process of that name runs; the kernel cuts names to 15 characters."""
    names = machine.path("proc").glob("[0-9]*/comm")
    return any(machine.read(str(name.relative_to(machine.root))) == program[:15] for name in names)
