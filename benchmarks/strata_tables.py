"""The tables of `docs/evaluation.md` from `results/strata.json`, as Markdown on standard output.

python benchmarks/strata_tables.py [--names black-hat "version 0.1.0" before "bundled"]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import RESULTS  # noqa: E402

_KINDS = ("square", "strict")


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def head(cells: Sequence[str]) -> list[str]:
    return [line(cells), "|---|" + "---:|" * (len(cells) - 1)]


def means(models: dict[str, Any], names: Sequence[str]) -> list[str]:
    rows = [*head(["", *names])]
    documents = list(models.values())
    rows.append(line(["threshold", *(f"{item['threshold']:.2f}" for item in documents)]))
    for kind, label in zip(_KINDS, ("F1 within the 5x5 square", "strict F1"), strict=True):
        mean = [item["mean"][kind] for item in documents]
        worst = [item["worst"][kind] for item in documents]
        rows.append(line([f"**mean, {label}**", *(percent(m["shipped"]["f1"]) for m in mean)]))
        best = [f"{percent(m['best']['f1'])} (at {m['best']['threshold']:.2f})" for m in mean]
        rows.append(line(["at the best threshold", *best]))
        lowest = [f"{percent(w['f1'])} ({w['stratum']})" for w in worst]
        rows.append(line(["worst stratum", *lowest]))
    shares = [item["mean"]["square"]["shipped"] for item in documents]
    pairs = [f"{percent(s['precision'])}, {percent(s['recall'])}" for s in shares]
    rows.append(line(["mean precision, recall", *pairs]))
    errors = [item["calibration"]["all"]["expected_calibration_error"] for item in documents]
    rows.append(line(["expected calibration error", *map(percent, errors)]))
    return rows


def strata(models: dict[str, Any], names: Sequence[str]) -> list[str]:
    columns = ["stratum", "pictures"]
    for name in names:
        columns += [name, "best", "strict"]
    rows = head(columns)
    documents = list(models.values())
    for index, first in enumerate(documents[0]["strata"]):
        if not first["images"]:
            continue
        value = first["value"] if first["value"] != "vehicle" else "vehicle's view"
        star = "" if first["in_mean"] else " *"
        cells = [f"{first['kind']}, {value}{star}", str(first["images"])]
        for item in documents:
            own = item["strata"][index]
            cells += [percent(own["square"][which]["f1"]) for which in ("shipped", "best")]
            cells.append(percent(own["strict"]["shipped"]["f1"]))
        rows.append(line(cells))
    return rows


def recall(models: dict[str, Any], names: Sequence[str]) -> list[str]:
    columns = ["crack width"]
    for name in names:
        columns += [f"{name}: real", "made"]
    rows = head(columns)
    documents = list(models.values())
    for index, first in enumerate(documents[0]["recall_by_width"]["real"]):
        cells = [first["width"]]
        for item in documents:
            cells += [
                percent(item["recall_by_width"][kind][index]["recall"]) for kind in ("real", "made")
            ]
        rows.append(line(cells))
    return rows


def detection(models: dict[str, Any], names: Sequence[str]) -> list[str]:
    documents = [item["detection"] for item in models.values()]
    rows = head([f"width at {documents[0]['mm_per_px']:g} mm/px", "cracks", *names])
    for index, first in enumerate(documents[0]["widths"]):
        if not first["cracks"]:
            continue
        low, high = first["width_mm"]
        found = [item["widths"][index] for item in documents]
        pairs = [f"{percent(own['probability'])}, {percent(own['lower_95'])}" for own in found]
        rows.append(line([f"{low:.3g} to {high:.3g} mm", str(first["cracks"]), *pairs]))
    return rows


def alarms(models: dict[str, Any], names: Sequence[str]) -> list[str]:
    rows = head(["content", *names])
    documents = list(models.values())
    for index, first in enumerate(documents[0]["false_alarms"]):
        if first["surface"]:
            continue
        shares = [item["false_alarms"][index]["published"] for item in documents]
        rows.append(line([first["kind"], *(f"{100 * share:.2f}" for share in shares)]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--names", nargs="+", help="of the models, in the file's order")
    parser.add_argument("--file", type=Path, default=RESULTS / "strata.json")
    given = parser.parse_args()
    models = json.loads(given.file.read_text(encoding="utf-8"))["models"]
    names = given.names or list(models)
    for table in (means, strata, recall, detection, alarms):
        print("\n".join(table(models, names)) + "\n")


if __name__ == "__main__":
    main()
