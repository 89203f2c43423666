"""The cameras: what each video device is called, what it is for, whether this user may use it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgecrack.doctor.check import Check
from edgecrack.doctor.machine import Machine

CAMERAS = "cameras"


def check_cameras(machine: Machine) -> list[Check]:
    """A line per video device, in the order of their numbers."""
    if machine.system != "linux":
        return [Check(CAMERAS, "warning", "not looked for on this system")]
    numbers = sorted(
        int(device.name[5:])
        for device in machine.path("dev").glob("video*")
        if re.fullmatch(r"video\d{1,3}", device.name)
    )
    lines = [_check_device(machine, number) for number in numbers]
    if not any(line.status == "ok" or line.remedy for line in lines):
        # Streams from files and the network need none, so this is no fault.
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
        return Check(path, "not needed here", f"{called} is no camera")
    note = "" if capture == "camera" else "; it does not say what it is for"
    link = _stable_path(machine, device)
    also = f"; always {link}" if link else ""
    return Check(title, "ok", f"{called} ({path}{also}){note}")


def _stable_path(machine: Machine, device: Path) -> str:
    """The device's link that survives renumbering, as udev made it; empty where there is none.

    Cameras of one make without serial numbers fight for one link, which then means either of
    them: it is not told where another device of the same name has none.
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
