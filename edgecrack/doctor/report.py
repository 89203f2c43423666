"""The report of `edgecrack doctor`: all checks, what the machine is ready for, text and JSON."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from edgecrack.doctor import cameras, libraries, nvidia, system
from edgecrack.doctor.libraries import MODEL, NUMPY, ONNX_RUNTIME, OPENCV, PYAV
from edgecrack.doctor.machine import Check, Machine
from edgecrack.doctor.nvidia import CUDA, RTX, TENSORRT
from edgecrack.doctor.system import PYTHON

STREAM = "stream"
STREAM_NEEDS = (PYTHON, NUMPY, OPENCV, PYAV, ONNX_RUNTIME, MODEL)


@dataclass(frozen=True)
class Readiness:
    """Whether the machine is ready for a task.

    Attributes:
        name: "stream", "build_engines" or "run_engines".
        what: completes "ready to", such as "stream on the CPU".
        missing: names of the checks that prevent it; empty if the machine is ready.
    """

    name: str
    what: str
    missing: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing

    @property
    def sentence(self) -> str:
        """The result as a sentence."""
        if self.ready:
            return f"ready to {self.what}"
        return f"not ready to {self.what}: missing {', '.join(self.missing)}"


def judge(
    checks: Sequence[Check], capabilities: Sequence[str], rtx_targets: Sequence[str]
) -> list[Readiness]:
    """What the machine is ready for.

    Args:
        checks: the lines of the report.
        capabilities: compute capabilities of the usable GPUs.
        rtx_targets: compute capabilities that TensorRT for RTX builds for.
    """
    usable = {line.name for line in checks if line.usable}
    working = {line.name for line in checks if line.status == "ok"}
    gpu = ", ".join(dict.fromkeys(capabilities))
    lacking = tuple(name for name in STREAM_NEEDS if name not in usable)
    stream = Readiness(STREAM, "stream on the CPU", lacking)

    targets = []
    if TENSORRT in working and capabilities:
        targets.append(f"this machine's GPU ({gpu})")
    if RTX in usable:
        targets.append(f"RTX GPUs ({', '.join(rtx_targets)})")
    build = "build engines"
    if targets:
        building = Readiness("build_engines", f"{build} for {' and '.join(targets)}")
    else:
        alone = TENSORRT in working  # unlike TensorRT for RTX, it builds on its GPU only
        building = Readiness("build_engines", build, ("NVIDIA GPU",) if alone else (TENSORRT,))

    needs = {
        "NVIDIA GPU": bool(capabilities),
        TENSORRT: bool(working & {TENSORRT, RTX}),
        CUDA: CUDA in working,
    }
    absent = tuple(name for name, there in needs.items() if not there)
    return [stream, building, Readiness("run_engines", "run engines", absent)]


# Each check with the name of its line if it raises an unexpected error.
_CHECKS: tuple[tuple[str, Callable[[Machine], list[Check]]], ...] = (
    ("edgecrack", system.check_edgecrack),
    (PYTHON, system.check_python),
    ("system", system.check_system),
    ("CPU cores", system.check_cores),
    ("memory", system.check_memory),
    ("disk", system.check_disk),
    ("Jetson", nvidia.check_jetson),
    (system.THROTTLING, system.check_throttling),
    ("NVIDIA driver", nvidia.check_graphics),
    (TENSORRT, nvidia.check_engines),
    (NUMPY, libraries.check_numpy),
    (OPENCV, libraries.check_opencv),
    (PYAV, libraries.check_pyav),
    (ONNX_RUNTIME, libraries.check_onnx_runtime),
    (MODEL, libraries.check_model),
    (cameras.GSTREAMER, cameras.check_gstreamer),
    (cameras.CAMERAS, cameras.check_cameras),
    (system.SERVICE, system.check_service),
    ("extras", libraries.check_extras),
)
_SHOWN_STATUS = {"not needed here": "not needed"}
_STATUS_WIDTH, _NAME_WIDTH = 12, 18
_NARROWEST = 60


@dataclass(frozen=True)
class Examination:
    """The lines of the report, and what the machine is ready for."""

    checks: tuple[Check, ...]
    ready: tuple[Readiness, ...]

    @property
    def can_stream(self) -> bool:
        """Whether `edgecrack stream` can run."""
        return next(item.ready for item in self.ready if item.name == STREAM)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        ready = {
            item.name: {"ready": item.ready, "summary": item.sentence, "missing": [*item.missing]}
            for item in self.ready
        }
        return {"checks": [asdict(line) for line in self.checks], "ready": ready}


def examine(machine: Machine) -> Examination:
    """Run all checks; one that raises becomes a line of the report."""
    checks: list[Check] = []
    for name, check in _CHECKS:
        try:
            checks += check(machine)
        except Exception as error:  # the doctor is for damaged machines
            why = f"could not be checked ({type(error).__name__}: {error})"
            checks.append(Check(name, "warning", why))
    capabilities = [gpu.compute_capability for gpu in nvidia.found_gpus(machine)]
    ready = judge(checks, capabilities, nvidia.rtx_targets(machine))
    return Examination(tuple(checks), tuple(ready))


def show(report: Examination, out: TextIO | None = None) -> None:
    """Print a report: coloured and wrapped on a terminal, else one line per check."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out or sys.stdout, highlight=False, soft_wrap=True)
    width = max(_NARROWEST, console.width) if console.is_terminal else None
    for line in report.checks:
        for text, style in _rows(line, width):
            console.print(Text.assemble((text[:_STATUS_WIDTH], style), text[_STATUS_WIDTH:]))
    console.print()
    for item in report.ready:
        style = "green" if item.ready else "red" if item.name == STREAM else "yellow"
        console.print(Text.assemble(*_summary(item, style)))


def show_json(report: Examination, out: TextIO | None = None) -> None:
    """Print a report as JSON."""
    print(json.dumps(report.to_dict(), indent=2), file=out or sys.stdout)


def _rows(line: Check, width: int | None) -> list[tuple[str, str]]:
    """The rows of a line and the style of their first column.

    Remedies and paths are never wrapped, so that they can be copied.
    """
    indent = " " * (_STATUS_WIDTH + _NAME_WIDTH)
    found = line.found
    parts = [found]
    if width and found:
        parts = textwrap.wrap(
            found, width - len(indent), break_on_hyphens=False, break_long_words=False
        )
    head = f"{_SHOWN_STATUS.get(line.status, line.status):{_STATUS_WIDTH}}{line.name:{_NAME_WIDTH}}"
    rows = [(head + parts[0], _style(line)), *((indent + part, "") for part in parts[1:])]
    if line.remedy:
        label = "fix:" if line.status in ("missing", "warning") else "hint:"
        rows.append((f"{' ' * _STATUS_WIDTH}{label} {line.remedy}", ""))
    return rows


def _style(line: Check) -> str:
    if line.status == "missing":
        return "bold red" if line.name in STREAM_NEEDS else "yellow"
    return {"ok": "green", "warning": "yellow"}.get(line.status, "dim")


def _summary(item: Readiness, style: str) -> list[tuple[str, str]]:
    words = "ready" if item.ready else "not ready"
    return [(words, style), (item.sentence.removeprefix(words), "")]
