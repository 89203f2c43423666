"""`edgecrack build-engine`: a checkpoint or an ONNX file to a TensorRT engine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, cast

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
    tile_hw_of,
    warn,
    whole_number,
)
from edgecrack.errors import ConfigError

_input, _engine = map(heading, ("Input", "Engine"))


def build_engine(
    model: Annotated[Path, typer.Argument(metavar="MODEL")],
    output: OutputOption,
    precision: Annotated[str | None, _engine("NAME")] = None,
    target: Annotated[str, _engine("NAMES")] = "auto",
    data: Annotated[Path | None, _input("PATH")] = None,
    method: MethodOption = defaults.METHOD,
    max_drop: MaxDropOption = None,
    max_flagged: MaxFlaggedOption = defaults.MAX_FLAGGED,
    tiles: TilesOption = defaults.TILES,
    held_out: HeldOutOption = defaults.HELD_OUT_TILES,
    seed: SeedOption = 0,
    tile: Annotated[str | None, _input("PIXELS")] = None,
    batch: Annotated[str | None, _engine("COUNTS")] = None,
    workspace: Annotated[int | None, _engine("MIB")] = None,
    timing_cache: Annotated[str | None, _engine("FILE")] = None,
    version_compatible: Annotated[bool, _engine("", "--version-compatible")] = False,
    hardware_compatible: Annotated[bool, _engine("", "--hardware-compatible")] = False,
    dla: Annotated[int | None, _engine("CORE")] = None,
    optimization_level: Annotated[int | None, _engine("LEVEL")] = None,
    tensorrt: Annotated[str | None, _engine("NAME")] = None,
    json_output: JsonOption = False,
) -> None:
    """Build a TensorRT engine, check it, and report its accuracy.

    Exports a checkpoint, converts the precision or calibrates, builds, and compares with FP32. The
    ONNX file from which the engine was built is kept beside it.

    Args:
        model: Checkpoint (*.safetensors) or ONNX file.
        precision: fp32, fp16 or int8; default: that of the ONNX file, else fp16.
        target: Target GPUs: auto for this machine's, orin, sm86, several such as sm86,sm89, or rtx
            for all that TensorRT for RTX supports.
        data: Dataset, image folder or video, to set INT8 ranges or score FP16.
        tile: For a checkpoint: side of a tile, or HEIGHTxWIDTH; default: 256.
        batch: Tiles per call: a number, or min,opt,max such as 1,8,8 (default).
        workspace: Maximum GPU memory per layer; default: all.
        timing_cache: Timing cache for later builds, or none; default: beside the engine.
        version_compatible: Also run in later TensorRT of the same major version.
        hardware_compatible: Also run on later desktop GPUs, more slowly.
        dla: DLA core of an Orin, with the GPU as fallback.
        optimization_level: 0 (fastest build) to 5 (longest search).
        tensorrt: tensorrt or tensorrt_rtx; default: the one that supports the target.
    """
    from edgecrack.calibration.gate import Gate
    from edgecrack.export.build import BuildConfig, build, report_text
    from edgecrack.export.engine.config import EngineConfig
    from edgecrack.export.engine.target_machines import parse_targets
    from edgecrack.terminal.progress import StageBar

    keeps = timing_cache != "none"
    engine = EngineConfig(
        targets=parse_targets(target),
        flavour=cast(Any, tensorrt),
        batch=_batches(batch),
        workspace_mib=workspace,
        timing_cache=Path(timing_cache) if timing_cache and keeps else None,
        use_timing_cache=keeps,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        dla_core=dla,
        optimization_level=optimization_level,
    )
    # Created even without data, so that invalid values are always refused.
    calibration = calibration_of(
        data or Path(), method, Gate(max_drop, max_flagged), tiles, held_out, seed
    )
    config = BuildConfig(
        cast(Any, precision),
        calibration if data is not None else None,
        None if tile is None else tile_hw_of(tile),
        None,
        engine,
    )
    with StageBar(sys.stderr) as bar:
        report = build(model, output, config, bar.show)
    if json_output:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        typer.echo(report_text(report))
    if report.not_run is not None and report.not_run.is_for_here:
        warn(f"{report.not_run}.")


def _batches(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    numbers = [whole_number("--batch", part.strip()) for part in text.split(",")]
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise ConfigError(f"--batch is {text!r}", "give a number, or min,opt,max such as 1,8,8")
    return numbers[0], numbers[1], numbers[2]
