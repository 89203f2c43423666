"""The `evaluate` command: scores of models on labelled images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecrack.commands.shared_options import heading, require_extra
from edgecrack.errors import ConfigError
from edgecrack.terminal.progress import ProgressLine

if TYPE_CHECKING:
    from edgecrack.evaluation.report import Report

_input, _results, _detection = map(heading, ("Input", "Results", "Detection"))


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL", help="Model files (*.onnx) or checkpoints; several are compared."
        ),
    ],
    data: Annotated[
        str,
        _input(
            "FOLDER",
            "Dataset: images/ with masks/, or as published, splits.json if any; LAYOUT=FOLDER "
            "demands a layout. A yardstick gives scores by stratum.",
        ),
    ],
    split: Annotated[
        str | None,
        _input("NAME", "train, val, test or all; default: test where there is one, else all."),
    ] = None,
    split_set: Annotated[
        str | None, _input("NAME", "Which set of splits, where there are several; default: paper.")
    ] = None,
    protocol: Annotated[
        str | None,
        _detection(
            "NAME",
            "tiled as on the robot, whole, or patch-stride-N: the paper's mean over patches at "
            "every N-th position. Default: tiled for *.onnx, whole for checkpoints.",
        ),
    ] = None,
    stride: Annotated[
        int | None, _detection("PIXELS", "The N of --protocol patch-stride, given apart.")
    ] = None,
    patch: Annotated[
        int | None,
        _detection("PIXELS", "Side of a patch; default: as the model was trained, else 48."),
    ] = None,
    threshold_from: Annotated[
        str,
        _detection(
            "SOURCE",
            "Threshold to judge at: the model's own, the best on the val or (optimistic) the test "
            "split, or a number: model, val, test or 0.01 to 0.99.",
        ),
    ] = "model",
    device: Annotated[
        str, _detection("NAME", "Where checkpoints run: auto, cpu or cuda.")
    ] = "auto",
    precision: Annotated[
        str, _detection("NAME", "For checkpoints: 32, or bf16 or 16 for mixed half precision.")
    ] = "32",
    out: Annotated[
        Path | None,
        _results(
            "FOLDER",
            "The report, index.html first; default: runs/evaluate-MODEL-DATASET, of several "
            "models runs/compare-DATASET. Beside it, as FOLDER-2, where an earlier report is.",
            "--out",
            "-o",
        ),
    ] = None,
    overwrite: Annotated[
        bool, _results("", "Remove the earlier report in --out.", "--overwrite")
    ] = False,
    json_file: Annotated[
        Path | None, _results("FILE", "Write the scores to this file, too.", "--scores-file")
    ] = None,
    mm_per_px: Annotated[
        float | None,
        _results(
            "NUMBER",
            "On a yardstick: millimetres that a pixel shows, for detection by width; "
            "default: 0.25.",
        ),
    ] = None,
    unlabelled: Annotated[
        bool, _input("", "Count what is flagged on the dataset's images without labels, too.")
    ] = True,
) -> None:
    """Score models on labelled images.

    Reports ODS, OIS, precision and recall as the paper defines them, and strict F1 and IoU.
    Several models are gathered into groups, e.g. seeds of one recipe, and compared.
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
    folder = out or Path("runs") / f"{name}-{dataset.name}"
    prediction = PredictionConfig(chosen, patch, device, precision)
    source = parse_threshold_source(threshold_from)
    if is_yardstick(dataset.folder or Path(data)):
        _refuse_splits(split, split_set, dataset.layout)
        strata = StrataConfig(
            models=tuple(paths),
            yardstick=dataset.folder or Path(data),
            out=folder,
            prediction=prediction,
            threshold=source,
            mm_per_px=DEFAULT_MM_PER_PX if mm_per_px is None else mm_per_px,
            json_file=json_file,
            existing=existing_of(overwrite=overwrite),
            named=out is not None,
        )
        _show(evaluate_yardstick(strata, _progress("pictures")))
        return
    if mm_per_px is not None:
        raise ConfigError(
            f"--mm-per-px is {mm_per_px} and {data} is no yardstick",
            "leave it out, or build a yardstick with `edgecrack yardstick build`",
        )
    config = EvaluationConfig(
        models=tuple(paths),
        data=dataset.folder or Path(data),
        out=folder,
        split=split,
        split_set=split_set,
        json_file=json_file,
        prediction=prediction,
        threshold=source,
        unlabelled=unlabelled,
        layout=dataset.layout,
        name=dataset.name,
        existing=existing_of(overwrite=overwrite),
        named=out is not None,
    )
    _show(evaluate_models(config, _progress("images")))


def _name_of(model: Path) -> str:
    """What the report of a model is called: checkpoints of all trainings have the same names."""
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
            f"the layout {layout!r} is demanded of a yardstick", "give its folder without a layout"
        )
    for option, value in (("split", split), ("split-set", split_set)):
        if value is not None:
            raise ConfigError(
                f"--{option} is {value!r} and a yardstick has no splits", f"leave out --{option}"
            )


def _progress(noun: str) -> Callable[[int, int], None]:
    """A callback (done, total) that shows how far a command is."""
    line = ProgressLine(sys.stderr)

    def show(done: int, total: int) -> None:
        line.show(f"{done} of {total} {noun}")
        if done == total:
            line.end()

    return show
