"""Loss and F1 of a run, drawn from its CSV logs."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from edgecrack.files import replacing

Series = list[tuple[float, float]]
_SCORES = {"val_ods": "ODS (2 px)", "val_strict_f1": "strict F1", "val_iou": "IoU"}


def read_logs(folder: Path) -> dict[str, Series]:
    """Every logged quantity as (step, value) pairs; a resumed run has several logs.

    Args:
        folder: the run's `logs` folder, with `version_N/metrics.csv`.
    """
    series: dict[str, dict[float, float]] = {}
    versions = sorted(folder.glob("version_*/metrics.csv"), key=lambda p: p.stat().st_mtime)
    for path in versions:
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if not row.get("step"):
                    continue  # the last line of a run that was killed while writing
                for name, text in row.items():
                    if name not in ("step", "epoch") and text:
                        # Steps repeated after a resume replace the lost ones.
                        series.setdefault(name, {})[float(row["step"])] = float(text)
    return {name: sorted(values.items()) for name, values in series.items()}


def draw_curves(logs: Path, target: Path) -> None:
    """Write loss and validation scores over steps as one PNG.

    Raises:
        OutputError: the picture cannot be written.
    """
    series = read_logs(logs)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    loss = series.get("train_loss", [])
    left.plot(*_axes(loss), color="#9bb7d4", linewidth=0.8, label="each logged step")
    left.plot(*_axes(_smooth(loss)), color="#1f4e79", label="running median")
    left.set(title="Training loss", xlabel="step", ylabel="loss")
    left.set_ylim(bottom=0, top=_top([value for _, value in loss]))
    for name, label in _SCORES.items():
        right.plot(*_axes(series.get(name, [])), marker=".", label=label)
    right.set(title="Validation, whole images", xlabel="step", ylabel="score", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    with replacing(target) as partial:
        figure.savefig(partial, dpi=110, format="png")
    pyplot.close(figure)


def _top(losses: list[float]) -> float:
    """Upper end of the loss axis: the first steps may be a hundred times above the rest."""
    finite = [value for value in losses if math.isfinite(value)]
    if not finite:
        return 1.0
    return min(1.05 * max(finite), max(3.0, 3.0 * statistics.median(finite)))


def _axes(series: Series) -> tuple[list[float], list[float]]:
    return [step for step, _ in series], [value for _, value in series]


def _smooth(series: Series, count: int = 15) -> Series:
    """Median of the last `count` values: unlike a mean, it ignores the huge first losses."""
    values = [value for _, value in series]
    return [
        (step, statistics.median(values[max(0, index + 1 - count) : index + 1]))
        for index, (step, _) in enumerate(series)
    ]
