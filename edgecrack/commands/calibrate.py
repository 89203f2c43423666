"""`edgecrack calibrate`: an FP32 ONNX file to INT8."""

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
    model: Annotated[Path, typer.Argument(metavar="MODEL")],
    data: Annotated[Path, _input("PATH")],
    output: OutputOption,
    made_for: Annotated[str, results("NAME", "--for")] = defaults.MADE_FOR,
    method: MethodOption = defaults.METHOD,
    max_drop: MaxDropOption = None,
    max_flagged: MaxFlaggedOption = defaults.MAX_FLAGGED,
    tiles: TilesOption = defaults.TILES,
    held_out: HeldOutOption = defaults.HELD_OUT_TILES,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Quantize a model to INT8, and write it only if it stays accurate.

    The layers most affected by INT8 stay in FP16, as few as the allowed drop requires. With labels,
    the drop is measured against them; without, against the result of the FP32 model.

    Args:
        model: FP32 model (*.onnx).
        data: Labelled dataset, image folder or video that represents the robot's view.
        made_for: Purpose: tensorrt (INT8 and FP16) or cpu (INT8 and FP32).
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
        _show_speed(output, model, made_for)


def _show_speed(output: Path, model: Path, made_for: str) -> None:
    """Print the speed on this machine's CPU, for a file made for CPUs."""
    from edgecrack.calibration.config import CPU
    from edgecrack.runtime.backends.relative_speed import relative_time

    if made_for != CPU:
        return
    found = relative_time(output, model)
    text = f"on this machine {found.ratio:.2f} of the time of {model.name} ({found.backend})"
    if found.is_slower:
        text += f": it is slower here; stream with {model.name}"
    typer.echo(text)
