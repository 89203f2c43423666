"""The systemd service, where it is installed: whether what it starts can run, and when it gives up.

Reads files only; the service's environment is another than the one that the doctor runs in.
"""

from __future__ import annotations

import re

from edgecrack.doctor.check import Check
from edgecrack.doctor.machine import Machine
from edgecrack.doctor.system_packages import open_environment
from edgecrack.errors import ConfigError, MissingDependencyError, ModelFileError

SERVICE = "service"
UNIT = "etc/systemd/system/edgecrack.service"
# An option, a model file or a package that is wrong stays wrong, however often it is started.
LASTING = tuple(
    str(kind.exit_code) for kind in (ConfigError, ModelFileError, MissingDependencyError)
)
_INSTALL = "sudo deploy/install.sh, in the checkout of edgecrack"


def check_service(machine: Machine) -> list[Check]:
    """The unit and the environment that it starts."""
    unit = machine.read(UNIT)
    if not unit:
        return [Check(SERVICE, "not needed here", "not installed")]
    started = re.search(r"^ExecStart=(/\S+)/bin/\S+", unit, re.M)
    if started is None:
        return [Check(SERVICE, "warning", f"/{UNIT} does not tell what it starts", _INSTALL)]
    environment = started[1]
    settings = machine.read(f"{environment[1:]}/pyvenv.cfg")
    if not settings:
        found = f"it starts edgecrack of {environment}, where no environment is"
        return [Check(SERVICE, "missing", found, _INSTALL)]
    is_open = re.search(r"^include-system-site-packages *= *true", settings, re.M | re.I)
    if machine.architecture == "aarch64" and not is_open:
        found = f"its environment {environment} hides the system's OpenCV and TensorRT"
        return [Check(SERVICE, "missing", found, f"sudo {open_environment(environment)}")]
    lasting = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.M)
    if not set(LASTING) <= set(" ".join(lasting).split()):
        codes = ", ".join(LASTING)
        found = f"it starts for ever after errors that a start cannot mend (exit codes {codes})"
        return [Check(SERVICE, "warning", found, _INSTALL)]
    if re.search(r"^StartLimitIntervalSec=0$", unit, re.M):
        return [Check(SERVICE, "warning", "it starts for ever, whatever fails", _INSTALL)]
    return [Check(SERVICE, "ok", f"starts edgecrack of {environment}")]
