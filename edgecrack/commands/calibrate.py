"""The command `calibrate`: from an FP32 ONNX file to one in INT8."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from edgecrack.calibration import defaults
from edgecrack.commands.shared_options import (
    HeldOutOption,
    JsonOption,
    MaxDropOption,
    MaxFlaggedOption,
    MethodOption,
    OutputOption,
    SeedOption,
    TilesOption,
    calibration_of,
    heading,
    require_extra,
    results,
)

_input = heading("Input")


def calibrate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="FP32 model (*.onnx).")],
    data: Annotated[
        Path,
        _input("PATH", "Labelled dataset, folder of images, or video of what the robot sees."),
    ],
    output: OutputOption,
    made_for: Annotated[
        str,
        results(
            "NAME",
            "What the file is for: tensorrt, with FP16 beside INT8, or cpu, with FP32 beside it.",
            "--for",
        ),
    ] = defaults.MADE_FOR,
    method: MethodOption = defaults.METHOD,
    max_drop: MaxDropOption = None,
    max_flagged: MaxFlaggedOption = defaults.MAX_FLAGGED,
    tiles: TilesOption = defaults.TILES,
    held_out: HeldOutOption = defaults.HELD_OUT_TILES,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Quantize a model to INT8, and write it only if it stays accurate.

    Layers that INT8 harms most stay in FP16, as few as the allowed drop asks for. With labels INT8
    may lose little by them; without, it may differ little from what the FP32 model finds.
    """
    require_extra("calibration")
    from edgecrack.calibration.calibrating import calibrate as run
    from edgecrack.calibration.gate import Gate
    from edgecrack.calibration.summary import calibration_dict, calibration_text
    from edgecrack.files import make_folder
    from edgecrack.terminal.progress import StageBar

    config = calibration_of(
        data, method, Gate(max_drop, max_flagged), tiles, held_out, seed, made_for
    )
    make_folder(output.parent)
    with StageBar(sys.stderr) as bar:
        done = run(model, output, config, bar.show)
    if json_output:
        typer.echo(json.dumps(calibration_dict(done, output), indent=2))
    else:
        typer.echo(calibration_text(done, output))
        _tell_speed(output, model, made_for)


def _tell_speed(output: Path, model: Path, made_for: str) -> None:
    """Whether the file is worth anything on this machine's CPU; TensorRT's is for another."""
    from edgecrack.calibration.config import CPU
    from edgecrack.runtime.backends.relative_speed import relative_time

    if made_for != CPU:
        return
    found = relative_time(output, model)
    text = f"on this machine {found.ratio:.2f} of the time of {model.name} ({found.backend})"
    if found.is_slower:
        text += f": it is slower here; stream with {model.name}"
    typer.echo(text)
