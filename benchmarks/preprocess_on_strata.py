"""Are CLAHE and gamma worthwhile? Short runs with and without them, scored on the yardstick.

Each variant is trained from the `edge` preset at width 8 on uav315's training split and generated
walls, with the same seeds, and scored by stratum at its own threshold and at the best one. Runs
that are done are not repeated; `--worker 1/2` and `--worker 2/2` share them.

    edgecrack yardstick build --data DIR --out runs/yardstick
    python benchmarks/preprocess_on_strata.py runs/yardstick --out runs/preprocess
    python benchmarks/preprocess_on_strata.py runs/yardstick --out runs/preprocess --report
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import write_result  # noqa: E402
from edgecrack.evaluation.open_model import open_model  # noqa: E402
from edgecrack.evaluation.protocols import PredictionConfig, Protocol  # noqa: E402
from edgecrack.evaluation.strata.item_result import STRICT, TOLERANT  # noqa: E402
from edgecrack.evaluation.strata.scoring import score_yardstick  # noqa: E402
from edgecrack.files import write_atomic  # noqa: E402
from edgecrack.training.fit import train  # noqa: E402
from edgecrack.training.presets import config_of_run  # noqa: E402
from edgecrack.yardstick.manifest import open_yardstick  # noqa: E402

VARIANTS: dict[str, list[str]] = {
    "stretch, CLAHE and gamma": ["preprocess.clahe_clip=2.0", "preprocess.gamma=1.2"],
    "stretch alone": ["preprocess.clahe_clip=0", "preprocess.gamma=1.0"],
}


def runs(options: argparse.Namespace) -> list[tuple[str, int]]:
    """Variant and seed of every run, in an order in which an early end leaves pairs."""
    return [(name, seed) for seed in range(options.seeds) for name in VARIANTS]


def run_folder(name: str, seed: int, options: argparse.Namespace) -> Path:
    folder: Path = options.out / f"{name.replace(',', '').replace(' ', '-')}-{seed}"
    return folder


def run(name: str, seed: int, options: argparse.Namespace) -> None:
    """Train one variant unless it is there."""
    out = run_folder(name, seed, options)
    if (out / "curves.png").exists():
        return
    given = {
        "data": [str(options.data / "uav315"), "synthetic:600"],
        "out": out,
        "network.width": 8,
        "epochs": options.epochs,
        "steps_per_epoch": options.steps_per_epoch,
        "optimizer.warmup_steps": 100,
        "average_decay": 0.99,
        "precision": options.precision,
        "seed": seed,
        "resume": (out / "last.safetensors").exists(),
    }
    train(config_of_run("edge", given, VARIANTS[name]), print)


def score(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Means and worst over the strata, false alarms and recall by width."""
    folder = run_folder(name, seed, options)
    saved = folder / "strata.json"
    if saved.exists():
        return dict(json.loads(saved.read_text(encoding="utf-8")))
    with ExitStack() as stack:
        opened = open_model(folder / "best.safetensors", PredictionConfig(Protocol("tiled")), stack)
        threshold = min(0.99, max(0.01, round(opened.spec.threshold, 2)))
        found = score_yardstick(name, opened.predict, open_yardstick(options.yardstick), threshold)
    document = found.document
    figures: dict[str, Any] = {"threshold": threshold}
    for kind in (TOLERANT, STRICT):
        mean, worst = document["mean"][kind], document["worst"][kind]
        figures[f"{kind}_f1"] = round(100 * mean["shipped"]["f1"], 2)
        figures[f"{kind}_f1_best"] = round(100 * mean["best"]["f1"], 2)
        figures[f"{kind}_worst"] = [worst["stratum"], round(100 * worst["f1"], 2)]
    together = [row for row in document["false_alarms"] if not row["surface"]]
    figures["false_alarms_percent"] = {
        row["kind"]: round(100 * row["published"], 3) for row in together
    }
    figures["recall_by_width"] = {
        kind: [None if row["recall"] is None else round(100 * row["recall"], 1) for row in rows]
        for kind, rows in document["recall_by_width"].items()
    }
    write_atomic(saved, json.dumps(figures, indent=2) + "\n")
    return figures


def summary(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Mean over seeds of what a choice hangs on."""
    keys = [f"{kind}_f1{end}" for kind in (TOLERANT, STRICT) for end in ("", "_best")]
    return {
        name: {key: round(float(np.mean([item[key] for item in items])), 2) for key in keys}
        | {"seeds": len(items)}
        for name, items in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("yardstick", type=Path)
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--out", type=Path, default=Path("runs/preprocess"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--steps-per-epoch", type=int, default=150)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--worker", default="1/1")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    number, _, workers = options.worker.partition("/")
    if not options.report:
        for name, seed in runs(options)[int(number) - 1 :: int(workers)]:
            run(name, seed, options)
        return
    found: dict[str, list[dict[str, Any]]] = {}
    for name, seed in runs(options):
        if (run_folder(name, seed, options) / "curves.png").exists():
            found.setdefault(name, []).append(score(name, seed, options))
    figures = {
        "recipe": {"width": 8, "steps": options.epochs * options.steps_per_epoch},
        "mean_over_seeds": summary(found),
        "runs": found,
    }
    write_result("preprocess_on_strata", figures, "torch", "lightning", "opencv-python-headless")


if __name__ == "__main__":
    main()
