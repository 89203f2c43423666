"""What helps a robot: one change of the training recipe at a time, scored on unseen data.

Every variant starts from the `edge` preset at width 8 with a short schedule, trains without the
dataset that it is then scored on (leave one dataset out), and differs from `base` in what its name
says. Runs that are done are not repeated; `--worker 1/2` and `--worker 2/2` share them.

    python benchmarks/robot_ablation.py --out runs/ablation             # train
    python benchmarks/robot_ablation.py --out runs/ablation --report    # score, write JSON
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.distractors import false_alarms  # noqa: E402
from benchmarks.machine import write_result  # noqa: E402
from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.data.training_set import split_samples  # noqa: E402
from edgecrack.evaluation.image_results import evaluate  # noqa: E402
from edgecrack.files import write_atomic  # noqa: E402
from edgecrack.training.fit import train  # noqa: E402
from edgecrack.training.predictor import CheckpointPredictor  # noqa: E402
from edgecrack.training.presets import config_of_run  # noqa: E402

# Changes of the base recipe, as --set takes them; "data" is given apart.
VARIANTS: dict[str, list[str]] = {
    "base": [],
    "base with another seed": ["seed=1"],
    "no augmentation": ["patches.augment={}"],
    "crops of 48 px": ["patches.patch_px=48", "batch_size=114"],
    "crops of 256 px": ["patches.patch_px=256", "batch_size=4"],
    "no averaging": ["average_decay=0"],
    "no CLAHE and no gamma": ["preprocess.clahe_clip=0", "preprocess.gamma=1"],
    "no CLAHE": ["preprocess.clahe_clip=0"],
    "clDice 0.5": ["loss.cl_dice_weight=0.5"],
    "no walls": [],
    "walls only": [],
    "walls count half": [],
    "30 % of patches with crack": ["patches.crack_share=0.3"],
    "twice the steps": ["epochs=12"],
}


def sources(name: str, options: argparse.Namespace) -> list[str]:
    """The data of a variant: all but the set that it is scored on."""
    photos = {"cfd": "uav315", "uav315": "cfd"}[options.leave_out]
    folder = str(options.data / photos)
    if name == "walls only":
        return ["synthetic:600"]
    if name == "walls count half":
        count = len(split_samples(open_dataset(options.data / photos), seed=0)[0])
        return [f"{folder}@{count}", "synthetic:600@300"]
    return [folder] if name == "no walls" else [folder, "synthetic:600"]


def run(name: str, options: argparse.Namespace) -> Path:
    """Train one variant unless it is there; returns its folder."""
    out: Path = options.out / options.leave_out / name.replace(" ", "-")
    if (out / "curves.png").exists():
        return out
    given = {
        "data": sources(name, options),
        "out": out,
        "network.width": 8,
        "epochs": 6,
        "steps_per_epoch": options.steps_per_epoch,
        "optimizer.warmup_steps": 100,
        "average_decay": 0.99,
        "precision": "bf16",
        "resume": (out / "last.safetensors").exists(),
    }
    train(config_of_run("edge", given, VARIANTS[name]), print)
    return out


def score(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Scores in percent on the set left out, and on distractors where that is CFD."""
    saved = folder / "scores.json"
    if saved.exists():
        return dict(json.loads(saved.read_text(encoding="utf-8")))
    predictor = CheckpointPredictor(folder / "best.safetensors")
    dataset = open_dataset(options.data / options.leave_out)
    split = {"cfd": "all", "uav315": "test"}[options.leave_out]
    threshold = min(0.99, max(0.01, round(predictor.spec.threshold, 2)))
    result = evaluate(predictor, dataset.samples(split), threshold=threshold)
    used = result.score_at("strict", threshold)
    figures = {
        "ods": round(100 * result.ods("square").f1, 2),
        "strict_f1_best": round(100 * result.ods("strict").f1, 2),
        "strict_f1_at_own_threshold": round(100 * used.f1, 2),
        "threshold": threshold,
    }
    if options.leave_out == "cfd":
        figures["false_alarms"] = false_alarms(predictor, options.data, threshold)[
            "false_percent_of_all"
        ]
    write_atomic(saved, json.dumps(figures, indent=2) + "\n")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--leave-out", choices=["cfd", "uav315"], default="cfd")
    parser.add_argument("--steps-per-epoch", type=int, default=150)
    parser.add_argument("--only", default=",".join(VARIANTS), help="names, comma-separated")
    parser.add_argument("--worker", default="1/1")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    names = [name for name in VARIANTS if name in options.only.split(",")]
    number, _, workers = options.worker.partition("/")
    for name in names[int(number) - 1 :: int(workers)]:
        if not options.report:
            print(name, score(run(name, options), options))
    if options.report:
        finished = {}
        for name in names:
            folder = options.out / options.leave_out / name.replace(" ", "-")
            if (folder / "scores.json").exists():
                finished[name] = score(folder, options)
        recipe = {"width": 8, "steps": 6 * options.steps_per_epoch, "left_out": options.leave_out}
        result = f"robot_ablation_without_{options.leave_out}"
        write_result(result, {"recipe": recipe, "variants": finished}, "torch", "lightning")


if __name__ == "__main__":
    main()
