"""Looks at everything, and shows it to a person or to a program."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TextIO

from edgecrack.doctor import (
    base,
    cameras,
    engines,
    graphics,
    gstreamer_plugins,
    jetson,
    libraries,
    service,
    throttling,
)
from edgecrack.doctor.check import Check, guarded
from edgecrack.doctor.machine import Machine
from edgecrack.doctor.readiness import STREAM, STREAM_NEEDS, Readiness, judge

_Look = Callable[[Machine], list[Check]]
# Each with the name that its line bears where it fails in a way that nobody foresaw.
_LOOKS: tuple[tuple[str, _Look], ...] = (
    ("edgecrack", base.check_edgecrack),
    (base.PYTHON, base.check_python),
    ("system", base.check_system),
    ("CPU cores", base.check_cores),
    ("memory", base.check_memory),
    ("disk", base.check_disk),
    ("Jetson", jetson.check_jetson),
    (throttling.THROTTLING, throttling.check_throttling),
    ("NVIDIA driver", graphics.check_graphics),
    (engines.TENSORRT, engines.check_engines),
    (libraries.NUMPY, libraries.check_numpy),
    (libraries.OPENCV, libraries.check_opencv),
    (libraries.PYAV, libraries.check_pyav),
    (libraries.ONNX_RUNTIME, libraries.check_onnx_runtime),
    (libraries.MODEL, libraries.check_model),
    (gstreamer_plugins.GSTREAMER, gstreamer_plugins.check_gstreamer),
    (cameras.CAMERAS, cameras.check_cameras),
    (service.SERVICE, service.check_service),
    ("extras", libraries.check_extras),
)
_SHOWN_STATUS = {"not needed here": "not needed"}
_STATUS_WIDTH, _NAME_WIDTH = 12, 18
_NARROWEST = 60


@dataclass(frozen=True)
class Examination:
    """What was found on a machine.

    Attributes:
        checks: the lines.
        ready: what the machine is ready for.
    """

    checks: tuple[Check, ...]
    ready: tuple[Readiness, ...]

    @property
    def can_stream(self) -> bool:
        """Whether `edgecrack stream` can run."""
        return next(item.ready for item in self.ready if item.name == STREAM)

    def to_dict(self) -> dict[str, Any]:
        """The report for programs."""
        ready = {
            item.name: {"ready": item.ready, "summary": item.sentence, "missing": [*item.missing]}
            for item in self.ready
        }
        return {"checks": [asdict(line) for line in self.checks], "ready": ready}


def examine(machine: Machine) -> Examination:
    """Look at everything; never raises, for a check that fails becomes a line."""
    checks = [line for name, look in _LOOKS for line in guarded(name, partial(look, machine))]
    capabilities = [gpu.compute_capability for gpu in graphics.found_gpus(machine)]
    ready = judge(checks, capabilities, engines.rtx_targets(machine))
    return Examination(tuple(checks), tuple(ready))


def show(report: Examination, out: TextIO | None = None) -> None:
    """Print a report for people; in colour and wrapped on a terminal, else a line each."""
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
    """Print a report for programs."""
    print(json.dumps(report.to_dict(), indent=2), file=out or sys.stdout)


def _rows(line: Check, width: int | None) -> list[tuple[str, str]]:
    """The rows of a line and the style of their first column.

    A remedy keeps its own row, and a path its place in one, however long: what is broken up
    cannot be copied.
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
