"""The machine a figure was measured on, and where results are written."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from edgecrack.files import write_atomic

RESULTS = Path(__file__).resolve().parent / "results"


def machine(*packages: str) -> dict[str, str]:
    """CPU, cores, system and the versions of packages that a figure depends on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }


def write_result(name: str, figures: dict[str, Any], *packages: str, quiet: bool = False) -> None:
    """Write `results/NAME.json` with the date and the machine, and print the figures."""
    document = {"date": date.today().isoformat(), "machine": machine(*packages), **figures}
    RESULTS.mkdir(exist_ok=True)
    write_atomic(RESULTS / f"{name}.json", json.dumps(document, indent=2) + "\n")
    if quiet:
        return
    short = {key: value for key, value in figures.items() if not isinstance(value, (list, dict))}
    print(json.dumps(short, indent=2))
    print(f"written: benchmarks/results/{name}.json")
