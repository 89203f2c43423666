"""The commands `export`, `calibrate` and `build-engine`: from a checkpoint to a robot's model."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecrack.calibration import defaults
from edgecrack.commands.shared_options import heading, require_extra, scales_of
from edgecrack.errors import ConfigError
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from edgecrack.calibration.config import CalibrationConfig
    from edgecrack.calibration.gate import Gate

_input, _results, _accuracy = map(heading, ("Input", "Results", "Accuracy"))
_engine = heading("Engine")

OutputOption = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to.")]
MethodOption = Annotated[
    str, _accuracy("NAME", "How INT8 ranges are chosen: entropy, percentile, minmax or mse.")
]
MaxDropOption = Annotated[
    float | None,
    _accuracy(
        "POINTS",
        "Most that INT8 may lose of each score, at the upper end of what the images leave open; "
        f"default: {defaults.MAX_DROP:g}, without labels {defaults.MAX_DISAGREEMENT:g} of the "
        f"agreement with FP32 and {defaults.MAX_THIN_DISAGREEMENT:g} of its thin cracks.",
    ),
]
MaxFlaggedOption = Annotated[
    float,
    _accuracy("PERCENT", "Most that INT8 may flag beyond FP32 of the area that is free of cracks."),
]
TilesOption = Annotated[int, _accuracy("COUNT", "Tiles that set the ranges, 64 or more.")]
HeldOutOption = Annotated[int, _accuracy("COUNT", "Tiles that judge the result, 16 or more.")]
SeedOption = Annotated[int, _accuracy("NUMBER", "Draws the tiles.")]
JsonOption = Annotated[bool, _results("", "Print the report as JSON, and nothing else.", "--json")]


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint (*.safetensors) of `train`.")
    ],
    output: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The ONNX file to write.")
    ],
    tile: Annotated[
        str, typer.Option(metavar="PIXELS", help="Side of a tile, or HEIGHTxWIDTH; multiples of 8.")
    ] = "256",
    batch: Annotated[
        str, typer.Option(metavar="COUNT", help='Tiles per call, or "dynamic".')
    ] = "dynamic",
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="fp32, or fp16 for a graph typed FP16 throughout.")
    ] = "fp32",
    border: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="fused leaves partial convolution's border ratio out on the two finest scales, "
            "for speed; exact keeps it everywhere, as trained.",
        ),
    ] = "fused",
    scales: Annotated[
        str | None,
        typer.Option(
            metavar="FACTORS",
            help="Sizes of the frame at which the model runs, such as 1,0.5; reduced ones show it "
            "cracks that are wider than it knows. Default: the checkpoint's own.",
        ),
    ] = None,
    merge: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How the maps of several sizes become one: max, or wide-max, to which reduced "
            "ones add only what is wide. Default: the checkpoint's own.",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Crack probability from which a pixel counts. Default: the checkpoint's own.",
        ),
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            help="Divides the network's logits; above 1, its probabilities are less certain.",
        ),
    ] = 1.0,
    check_images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Images whose tiles join the check, beside random ones."
        ),
    ] = None,
) -> None:
    """Export a checkpoint to ONNX and check the file against it."""
    require_extra("export")
    from edgecrack.artifacts import read_verified_spec
    from edgecrack.export.border import parse_border
    from edgecrack.export.check_tiles import tiles_of_images
    from edgecrack.export.graph import ExportConfig, export_checkpoint
    from edgecrack.files import make_folder, output_error

    size = None if batch == "dynamic" else _whole_number("--batch", batch)
    config = ExportConfig(
        _tile_hw(tile),
        size,
        precision,
        parse_border(border),
        scales_of(scales),
        merge,
        threshold,
        temperature,
    )
    tiles: Sequence[Any] = ()
    if check_images is not None:
        preparation = read_verified_spec(checkpoint).preprocess
        tiles = tiles_of_images(check_images, preparation, config.tile_hw)
    make_folder(output.parent)
    if output.is_dir():
        raise output_error(output, IsADirectoryError(errno.EISDIR, "it is a folder"))
    spec = export_checkpoint(checkpoint, output, config, tiles)
    typer.echo(
        f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB) and {output.name}.json: largest "
        f"difference from torch {spec.extra['parity_levels']}/255 on random and "
        f"{counted(len(tiles), 'real tile')}{_half_words(spec.extra)}\n"
        f"{_border_words(spec.extra)}"
        f"next: edgecrack stream --source demo --model {output}"
    )


def _half_words(extra: Any) -> str:
    half = extra.get("fp16")
    return f", of FP16 from FP32 {half['largest_difference']}/255" if half else ""


def _border_words(extra: Any) -> str:
    from edgecrack.export.border_check import IGNORED_PX

    found = extra.get("border_difference")
    if found is None:
        return ""
    return (
        f"border ratio left out on the two finest scales, which changes by more than 1/255 "
        f"{found['share_at_border']:.2%} of the pixels in the outermost {IGNORED_PX} px of these "
        f"tiles and {found['share_inside']:.2%} inside, none farther in than "
        f"{found['reach_px']} px\n"
    )


def calibrate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="FP32 model (*.onnx).")],
    data: Annotated[
        Path,
        _input("PATH", "Labelled dataset, folder of images, or video of what the robot sees."),
    ],
    output: OutputOption,
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
    from edgecrack.calibration.calibrate import calibrate as run
    from edgecrack.calibration.gate import Gate
    from edgecrack.calibration.summary import calibration_dict, calibration_text
    from edgecrack.files import make_folder
    from edgecrack.terminal.progress import StageBar

    config = _calibration(data, method, Gate(max_drop, max_flagged), tiles, held_out, seed)
    make_folder(output.parent)
    with StageBar(sys.stderr) as bar:
        done = run(model, output, config, bar.show)
    if json_output:
        typer.echo(json.dumps(calibration_dict(done, output), indent=2))
    else:
        typer.echo(calibration_text(done, output))


def build_engine(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Checkpoint (*.safetensors) or ONNX file.")
    ],
    output: OutputOption,
    precision: Annotated[
        str | None,
        _engine("NAME", "fp32, fp16 or int8; default: the ONNX file's own, else fp16."),
    ] = None,
    target: Annotated[
        str,
        _engine(
            "NAMES",
            "GPUs that it is for: auto for this machine's, orin, sm86, several as sm86,sm89, or "
            "rtx for all that TensorRT for RTX knows.",
        ),
    ] = "auto",
    data: Annotated[
        Path | None,
        _input("PATH", "Dataset, folder of images, or video: sets INT8's ranges, scores FP16."),
    ] = None,
    method: MethodOption = defaults.METHOD,
    max_drop: MaxDropOption = None,
    max_flagged: MaxFlaggedOption = defaults.MAX_FLAGGED,
    tiles: TilesOption = defaults.TILES,
    held_out: HeldOutOption = defaults.HELD_OUT_TILES,
    seed: SeedOption = 0,
    tile: Annotated[
        str | None,
        _input("PIXELS", "Of a checkpoint: side of a tile, or HEIGHTxWIDTH; default: 256."),
    ] = None,
    batch: Annotated[
        str | None,
        _engine(
            "COUNTS", "Tiles per call: a number, or least,best,most as in 1,8,8 (the default)."
        ),
    ] = None,
    workspace: Annotated[
        int | None, _engine("MIB", "Most GPU memory a layer may use; default: all.")
    ] = None,
    timing_cache: Annotated[
        str | None,
        _engine("FILE", "Keeps timings for the next build, or none; default: beside the engine."),
    ] = None,
    version_compatible: Annotated[
        bool,
        _engine(
            "", "Runs in later TensorRT of the same major version, too.", "--version-compatible"
        ),
    ] = False,
    hardware_compatible: Annotated[
        bool,
        _engine("", "Runs on later desktop GPUs, too, more slowly.", "--hardware-compatible"),
    ] = False,
    dla: Annotated[
        int | None, _engine("CORE", "Deep-learning accelerator of a Jetson; the GPU helps out.")
    ] = None,
    optimization_level: Annotated[
        int | None, _engine("LEVEL", "0 builds fastest, 5 searches longest.")
    ] = None,
    tensorrt: Annotated[
        str | None,
        _engine("NAME", "tensorrt or tensorrt_rtx; default: what builds for the target."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Build a TensorRT engine, check it, and say what it is worth.

    From a checkpoint or an ONNX file: exports, changes the precision or calibrates, builds, and
    compares with FP32. The ONNX file that the engine was built from is kept beside it.
    """
    from edgecrack.calibration.gate import Gate
    from edgecrack.export.build import BuildConfig, build
    from edgecrack.export.build_report import report_text
    from edgecrack.export.engine.config import EngineConfig
    from edgecrack.export.engine.target_machines import parse_targets
    from edgecrack.terminal.progress import StageBar

    keeps = timing_cache != "none"
    engine = EngineConfig(
        targets=parse_targets(target),
        flavour=tensorrt,
        batch=_batches(batch),
        workspace_mib=workspace,
        timing_cache=Path(timing_cache) if timing_cache and keeps else None,
        use_timing_cache=keeps,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        dla_core=dla,
        optimization_level=optimization_level,
    )
    # Made in any case, so that a value which nobody can use is refused without data, too.
    calibration = _calibration(
        data or Path(), method, Gate(max_drop, max_flagged), tiles, held_out, seed
    )
    config = BuildConfig(
        precision,
        calibration if data is not None else None,
        None if tile is None else _tile_hw(tile),
        None,
        engine,
    )
    with StageBar(sys.stderr) as bar:
        report = build(model, output, config, bar.show)
    if json_output:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        typer.echo(report_text(report))


def _calibration(
    data: Path, method: str, gate: Gate, tiles: int, held_out: int, seed: int
) -> CalibrationConfig:
    from edgecrack.calibration.config import CalibrationConfig
    from edgecrack.calibration.ranges import parse_method
    from edgecrack.calibration.sampler import SamplerConfig

    return CalibrationConfig(data, parse_method(method), gate, SamplerConfig(tiles, held_out, seed))


def _batches(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    numbers = [_whole_number("--batch", part.strip()) for part in text.split(",")]
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise ConfigError(f"--batch is {text!r}", "give a number, or least,best,most as in 1,8,8")
    return numbers[0], numbers[1], numbers[2]


def _whole_number(option: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise ConfigError(f"{option} is {text[:40]!r}", "give a whole number of at most 9 digits")
    return int(text)


def _tile_hw(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise ConfigError(
            f"--tile is {text!r}", "give a whole number, or HEIGHTxWIDTH as in 256x320"
        )
    return int(sides[0]), int(sides[-1])
