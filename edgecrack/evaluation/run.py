"""One `edgecrack evaluate`: open model and dataset, score, write the report."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import ModelSpec, read_verified_spec
from edgecrack.data.datasets import open_dataset, read_image
from edgecrack.evaluation.evaluate import Predict, evaluate, false_positive_ratio
from edgecrack.evaluation.report import write_report
from edgecrack.evaluation.results import Evaluation
from edgecrack.extras import require
from edgecrack.files import make_folder, write_atomic
from edgecrack.metrics import Tolerance, iou
from edgecrack.runtime.detector import open_detector

_TOLERANCE_NAMES: dict[Tolerance, str] = {
    "square": "5x5 square (paper)",
    "euclidean": "2.0 px radius",
    "strict": "none (strict)",
}


@dataclass(frozen=True)
class EvaluationConfig:
    """What is scored on what.

    Attributes:
        model: ONNX file (run in tiles, as on the robot) or checkpoint (run on whole images).
        data: dataset folder.
        out: folder of the report.
        split: "train", "val", "test" or "all"; None takes "test" where there is one.
        split_set: which set of splits, where the dataset has several.
        json_file: write the scores here, too.
    """

    model: Path
    data: Path
    out: Path
    split: str | None = None
    split_set: str | None = None
    json_file: Path | None = None


def evaluate_model(
    config: EvaluationConfig, on_progress: Callable[[int, int], None] | None = None
) -> str:
    """Score a model, write the report, and return the scores as a short text.

    Raises:
        ModelFileError: the model cannot be used.
        DataError: a file of the dataset cannot be used.
        OutputError: the report cannot be written.
    """
    dataset = open_dataset(config.data, config.split_set)
    make_folder(config.out)  # an hour of scoring must not end at a folder that cannot be made
    if config.json_file is not None:
        make_folder(config.json_file.parent)
    split = config.split or ("test" if "test" in dataset.splits else "all")
    samples = dataset.samples(split)
    with ExitStack() as stack:
        predict, spec, protocol = _open_predictor(config.model, stack)
        threshold = min(0.99, max(0.01, round(spec.threshold, 2)))
        result = evaluate(predict, samples, threshold=threshold, on_progress=on_progress)
        context = {
            "model": f"{config.model.name} ({spec.pooling}, width {spec.width}, {spec.precision}, "
            f"sha256 {spec.sha256[:12]})",
            "protocol": protocol,
            "data": f"{dataset.name}, {split}, {len(samples)} images",
            "machine": platform.machine(),
            "date": datetime.now(timezone.utc).date().isoformat(),
        }
        if dataset.unlabelled:
            images = map(read_image, dataset.unlabelled)
            flagged = false_positive_ratio(predict, images, threshold)
            context["unlabelled images"] = (
                f"{100 * flagged.overall:.2f} % of the pixels of {len(dataset.unlabelled)} images "
                "flagged at the given threshold"
            )
        title = f"{config.model.name} on {dataset.name} ({split})"
        write_report(result, config.out, predict, samples, title=title, context=context)
    if config.json_file is not None:
        document = {"title": title, "context": context, **result.to_dict()}
        write_atomic(config.json_file, json.dumps(document, indent=2) + "\n")
    return f"{title}, {len(samples)} images\n\n{scores_text(result)}"


def scores_text(evaluation: Evaluation) -> str:
    """The scores as a table for a terminal of 80 columns; percentages with one decimal."""
    operating = evaluation.operating_threshold
    heading = f"threshold {operating:.2f}"
    lines = [
        f"{'':24}{'best threshold':>21}{heading:>34}",
        f"{'tolerance':24}{'ODS':>8}{'at':>6}{'OIS':>7}{'F1':>8}{'precision':>11}{'recall':>8}"
        f"{'IoU':>7}",
    ]
    for tolerance, name in _TOLERANCE_NAMES.items():
        best, used = evaluation.ods(tolerance), evaluation.score_at(tolerance, operating)
        line = (
            f"{name:24}{100 * best.f1:8.1f}{best.threshold:6.2f}"
            f"{100 * evaluation.ois(tolerance):7.1f}{100 * used.f1:8.1f}"
            f"{100 * used.precision:11.1f}{100 * used.recall:8.1f}"
        )
        if tolerance == "strict":
            line += f"{100 * iou(evaluation.counts(tolerance), operating):7.1f}"
        lines.append(line)
    return "\n".join([*lines, "", "in percent; ODS and OIS choose thresholds on these images"])


def _open_predictor(model: Path, stack: ExitStack) -> tuple[Predict, ModelSpec, str]:
    spec = read_verified_spec(model)
    if spec.kind == "checkpoint":
        for module in ("torch", "lightning", "safetensors"):
            require(module, extra="train", purpose="evaluating a checkpoint")
        from edgecrack.training.predictor import CheckpointPredictor

        return CheckpointPredictor(model), spec, "whole image, torch"
    detector = stack.enter_context(open_detector(model))
    tile_h, tile_w = spec.tile_hw

    def detect(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return detector.detect(image)

    return detect, spec, f"{tile_w}x{tile_h} px tiles, preprocessed once per frame"
