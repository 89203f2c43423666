"""`edgecrack evaluate`: scores of models on labelled images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecrack.commands.shared_options import OverwriteOption, heading, require_extra
from edgecrack.errors import ConfigError
from edgecrack.terminal.progress import ProgressLine

if TYPE_CHECKING:
    from edgecrack.evaluation.report import Report

_input, _results, _detection = map(heading, ("Input", "Results", "Detection"))


def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="MODEL")],
    data: Annotated[str, _input("FOLDER")],
    split: Annotated[str | None, _input("NAME")] = None,
    split_set: Annotated[str | None, _input("NAME")] = None,
    protocol: Annotated[str | None, _detection("NAME")] = None,
    stride: Annotated[int | None, _detection("PIXELS")] = None,
    patch: Annotated[int | None, _detection("PIXELS")] = None,
    threshold_from: Annotated[str, _detection("SOURCE")] = "model",
    device: Annotated[str, _detection("NAME")] = "auto",
    precision: Annotated[str, _detection("NAME")] = "32",
    out: Annotated[Path | None, _results("FOLDER", "--out", "-o")] = None,
    overwrite: OverwriteOption = False,
    json_file: Annotated[Path | None, _results("FILE", "--scores-file")] = None,
    mm_per_px: Annotated[float | None, _results("NUMBER")] = None,
    unlabelled: Annotated[bool, _input("")] = True,
) -> None:
    """Score models on labelled images.

    Reports ODS, OIS, precision and recall as defined in the paper, and strict F1 and IoU.
    Several models are grouped, e.g. by seeds of one recipe, and compared.

    Args:
        models: Model files (*.onnx) or checkpoints; several are compared.
        data: Dataset: images/ and masks/, or as published, with an optional splits.json;
            LAYOUT=FOLDER sets the layout. A yardstick is scored by stratum.
        split: train, val, test or all; default: test if it exists, else all.
        split_set: Set of splits, if there are several; default: paper.
        protocol: tiled (as on the robot), whole, or patch-stride-N (the paper's mean over patches
            at every N-th position). Default: tiled for *.onnx, whole for checkpoints.
        stride: N for --protocol patch-stride.
        patch: Side of a patch; default: as in training, else 48.
        threshold_from: Threshold: model (the model's own), val or test (best on that split; test is
            optimistic), or a number from 0.01 to 0.99.
        device: Device for checkpoints: auto, cpu or cuda.
        precision: Precision for checkpoints: 32, or bf16 or 16 for mixed precision.
        out: Folder for the report; default: runs/evaluate-MODEL-DATASET, for several models
            runs/compare-DATASET. FOLDER-2 if it contains an earlier report.
        json_file: Also write the scores to this file.
        mm_per_px: For a yardstick: millimetres per pixel, for detection by width; default: 0.25.
        unlabelled: Also count flagged pixels on images without labels.
    """
    require_extra("evaluation reports")
    from edgecrack.evaluation.evaluation_run import (
        EvaluationConfig,
        evaluate_models,
        parse_labelled,
    )
    from edgecrack.evaluation.protocols import PredictionConfig, parse_command_words
    from edgecrack.evaluation.strata.scoring import DEFAULT_MM_PER_PX
    from edgecrack.evaluation.strata.strata_run import StrataConfig, evaluate_yardstick
    from edgecrack.evaluation.thresholds import parse_threshold_source
    from edgecrack.runtime.outputs.output_place import existing_of
    from edgecrack.yardstick.manifest import is_yardstick

    paths, chosen = parse_command_words(models, protocol, stride)
    name = f"evaluate-{_name_of(paths[0])}" if len(paths) == 1 else "compare"
    dataset = parse_labelled(data)
    images = dataset.folder or Path(data)
    common: dict[str, Any] = {
        "models": tuple(paths),
        "out": out or Path("runs") / f"{name}-{dataset.name}",
        "prediction": PredictionConfig(chosen, patch, device, precision),
        "threshold": parse_threshold_source(threshold_from),
        "json_file": json_file,
        "existing": existing_of(overwrite=overwrite),
        "named": out is not None,
    }
    if is_yardstick(images):
        _refuse_splits(split, split_set, dataset.layout)
        scale = DEFAULT_MM_PER_PX if mm_per_px is None else mm_per_px
        strata = StrataConfig(yardstick=images, mm_per_px=scale, **common)
        _show(evaluate_yardstick(strata, _progress("pictures")))
        return
    if mm_per_px is not None:
        raise ConfigError(
            f"--mm-per-px is {mm_per_px}, but {data} is not a yardstick",
            "omit it, or build a yardstick with `edgecrack yardstick build`",
        )
    config = EvaluationConfig(
        data=images,
        split=split,
        split_set=split_set,
        unlabelled=unlabelled,
        layout=dataset.layout,
        name=dataset.name,
        **common,
    )
    _show(evaluate_models(config, _progress("images")))


def _name_of(model: Path) -> str:
    """Name for a model's report; checkpoints of all trainings share the same file names."""
    if model.suffix == ".safetensors" and model.resolve().parent.name:
        return f"{model.resolve().parent.name}-{model.stem}"
    return model.stem


def _show(report: Report) -> None:
    typer.echo(report.text)
    if report.note:
        typer.echo(report.note)
    typer.echo(f"report: {report.folder / 'index.html'}")


def _refuse_splits(split: str | None, split_set: str | None, layout: str | None) -> None:
    if layout is not None:
        raise ConfigError(
            f"a layout, {layout!r}, is given for a yardstick", "give its folder without a layout"
        )
    for option, value in (("split", split), ("split-set", split_set)):
        if value is not None:
            raise ConfigError(
                f"--{option} is {value!r}, but a yardstick has no splits", f"omit --{option}"
            )


def _progress(noun: str) -> Callable[[int, int], None]:
    """A callback (done, total) that shows progress."""
    line = ProgressLine(sys.stderr)

    def show(done: int, total: int) -> None:
        line.show(f"{done} of {total} {noun}")
        if done == total:
            line.end()

    return show
