"""From a review to labels to a training: what a model learns from them costs it nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgecrack.run_review.review_session import ReviewSession
from edgecrack.run_review.training_labels import export_labels
from edgecrack.yardstick.building import YardstickConfig, build_yardstick

RESEARCH = Path(__file__).resolve().parents[2] / "models" / "research"
STATE = RESEARCH / "edgecrack-next.safetensors"
THRESHOLD = "0.9"
# Between trainings of one recipe with other seeds.
NOISE = 0.01

pytestmark = pytest.mark.slow
pytest.importorskip("torch", reason="torch is of the train extra")


def run_command(*words: str) -> None:
    command = [sys.executable, "-m", "edgecrack", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=2400)
    assert done.returncode == 0, done.stderr


def trained(labels: Path, out: Path) -> Path:
    """As docs/inspection.md says, with fewer steps."""
    run_command(
        "train", "--preset", str(RESEARCH / "even.yaml"),
        "--init", str(STATE), "--out", str(out), "--data", f"{labels / 'cracks'}@1",
        "--data", "synthetic:40@4", "--epochs", "1", "--set", "steps_per_epoch=25",
        "--set", "optimizer.learning_rate=0.0001", "--set", "optimizer.warmup_steps=10",
        "--set", "average_decay=0.9", "--batch", "4", "--seed", "1", "--device", "cpu",
    )  # fmt: skip
    return out / "last.safetensors"


def scores(model: Path, yardstick: Path, folder: Path) -> dict[str, float]:
    """Mean F1 over the strata at one threshold, with the tolerance of 2 px and without."""
    figures = folder / f"{model.parent.name}.json"
    run_command(
        "evaluate",
        str(model),
        "--data",
        str(yardstick),
        "--threshold-from",
        THRESHOLD,
        "--scores-file",
        str(figures),
        "--out",
        str(folder / f"{model.parent.name}-report"),
    )
    (found,) = json.loads(figures.read_text())["models"].values()
    return {name: found["mean"][name]["shipped"]["f1"] for name in ("square", "strict")}


def test_the_strata_do_not_fall_after_training_on_what_was_reviewed(
    run: Path, tmp_path: Path
) -> None:
    with ReviewSession(run) as session:
        frame = session.survey()["frames"][0]["number"]
        session.act("Ann", {"action": "confirm", "crack": 1})
        session.act("Ann", {"action": "reject", "crack": 2, "reason": "joint"})
        session.act("Ann", {"action": "draw", "frame": frame, "points": [[40, 150], [120, 160]]})
    labels = tmp_path / "labels"
    assert export_labels(run, labels).cracks == 2
    (tmp_path / "data").mkdir()
    yardstick = tmp_path / "yardstick"
    build_yardstick(YardstickConfig(tmp_path / "data", yardstick, per_cell=1, walls=6))
    after = trained(labels, tmp_path / "trained")
    before, now = (scores(model, yardstick, tmp_path) for model in (STATE, after))
    assert before["square"] > 0.5
    for name, score in before.items():
        assert now[name] >= score - NOISE, name
