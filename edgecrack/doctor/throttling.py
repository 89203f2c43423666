"""Whether the machine is throttled at this moment, and whether it was since it started."""

from __future__ import annotations

from edgecrack.doctor.check import Check
from edgecrack.doctor.machine import Machine
from edgecrack.machine_sensors.throttling import ThrottleLook, ThrottleReader

THROTTLING = "throttling"


def check_throttling(machine: Machine) -> list[Check]:
    """Two looks with a pause between them, for counters only tell by rising."""
    reader = ThrottleReader(machine.root)
    machine.pause()
    found = reader.look()
    past = reader.since_start()
    since = f"; since the machine started: {past}" if past else ""
    if found.state == "throttled":
        return [Check(THROTTLING, "warning", _throttled(found) + since, _remedy(found))]
    if found.state == "unknown":
        where = "this container" if machine.is_container else "this machine"
        text = f"unknown: {where} does not tell whether its processor is slowed down"
        return [Check(THROTTLING, "not needed here", text + since)]
    figures = f", {found.figures}" if found.figures else ""
    told = f"none now{figures} (told by {', '.join(found.told_by)})"
    return [Check(THROTTLING, "ok", told + since)]


def _throttled(found: ThrottleLook) -> str:
    figures = f" at {found.figures}" if found.figures else ""
    return f"the machine throttles now{figures}: {found.reasons}"


def _remedy(found: ThrottleLook) -> str:
    kinds = {each.kind for each in found.evidence}
    if kinds & {"power alarm", "firmware"}:
        return "check the power supply and its cable, then the cooling"
    return "check fan, heat sink and the air around them, or choose another power mode"
