"""`edgecrack evaluate` on a yardstick: open the models, score every picture, write the report."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgecrack.artifacts import ModelSpec, read_verified_spec
from edgecrack.errors import ConfigError
from edgecrack.evaluation.model_groups import labels_of
from edgecrack.evaluation.open_model import open_model
from edgecrack.evaluation.protocols import PredictionConfig
from edgecrack.evaluation.report import Report
from edgecrack.evaluation.strata.detection import DetectionConfig
from edgecrack.evaluation.strata.scoring import DEFAULT_MM_PER_PX, score_yardstick
from edgecrack.evaluation.strata.strata_report import STRATA_FILES, write_strata_report
from edgecrack.evaluation.strata.stratum_scores import check_enough
from edgecrack.evaluation.thresholds import ThresholdSource
from edgecrack.extras import require
from edgecrack.files import make_folder, output_error
from edgecrack.runtime.outputs.output_place import Existing, take_place
from edgecrack.yardstick.manifest import check_masks, open_yardstick

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class StrataConfig:
    """Settings of an evaluation on a yardstick.

    Attributes:
        models: ONNX files, engines and checkpoints.
        yardstick: folder of the yardstick.
        out: folder of the report.
        prediction: how models are run.
        threshold: the model's own, or a number.
        mm_per_px: millimetres of the surface per pixel, for detection by width.
        json_file: also write all figures here.
        existing: what to do with an earlier report in `out`, as for `take_place`.
        named: whether the user chose the name `out`.
    """

    models: tuple[Path, ...]
    yardstick: Path
    out: Path
    prediction: PredictionConfig
    threshold: ThresholdSource
    mm_per_px: float = DEFAULT_MM_PER_PX
    json_file: Path | None = None
    existing: Existing = "beside"
    named: bool = True

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("there is no model to evaluate", "give at least one model file")
        if self.threshold.name not in ("model", "number"):
            raise ConfigError(
                f"`threshold_from` is {self.threshold.name!r} and a yardstick has no splits",
                "give model or a number; the best threshold is reported beside it",
            )
        DetectionConfig(self.mm_per_px, None, 0.5)  # refuses an invalid scale


def evaluate_yardstick(config: StrataConfig, on_progress: Progress | None = None) -> Report:
    """Score models on a yardstick, write the report, and return its first table as text.

    Raises:
        ConfigError: the options do not fit each other.
        ModelFileError: a model cannot be used.
        DataError: a file of the yardstick cannot be used.
        OutputError: the report cannot be written.
        MissingDependencyError: scipy or matplotlib is not installed.
    """
    require("scipy.stats", extra="train", purpose="bounds of detection")
    yardstick = open_yardstick(config.yardstick)
    check_enough(yardstick)
    check_masks(yardstick)
    if config.json_file is not None:
        make_folder(config.json_file.parent)
        if config.json_file.is_dir():
            problem = IsADirectoryError(errno.EISDIR, "it is a folder")
            raise output_error(config.json_file, problem)
    for model in config.models:
        read_verified_spec(model)
    total = len(config.models) * len(yardstick.items)
    scored = []
    with ExitStack() as stack:
        # Done first, so that a long run does not fail on the folder at its end.
        place = take_place(config.out, STRATA_FILES, config.existing, named=config.named)
        stack.callback(place.folder.discard)
        for number, (model, label) in enumerate(
            zip(config.models, labels_of(config.models), strict=True)
        ):
            opened = open_model(model, config.prediction, stack)
            threshold = config.threshold.given(opened.spec.threshold)
            before = number * len(yardstick.items)

            def show(done: int, before: int = before) -> None:
                if on_progress is not None:
                    on_progress(before + done, total)

            context = {"model": _describe(model, opened.spec), "protocol": opened.protocol}
            scored.append(
                score_yardstick(
                    label, opened.predict, yardstick, threshold, config.mm_per_px, show, context
                )
            )
        if config.existing == "overwrite":
            place.folder.clear()
        text = write_strata_report(scored, yardstick, place.folder, config.json_file)
        return Report(text, place.folder.root, place.note)


def _describe(model: Path, spec: ModelSpec) -> str:
    return (
        f"{model.name} ({spec.pooling}, width {spec.width}, {spec.precision}, "
        f"sha256 {spec.sha256[:12]})"
    )
