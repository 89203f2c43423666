"""The command line: parse, build a configuration, call, print.

The only place that turns errors into exit codes. Every import that costs time stands inside
the command that needs it, so that `--help` and `stream` start at once.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from edgecrack import __version__
from edgecrack.cli_errors import EXIT_CODES, INTERRUPTED, failure_of
from edgecrack.cli_options import heading, require_extra
from edgecrack.cli_train import train
from edgecrack.errors import ConfigError
from edgecrack.progress import ProgressLine
from edgecrack.runtime.defaults import MIN_AREA_PX, OVERLAP_PX

app = typer.Typer(
    name="edgecrack",
    help="Finds cracks in what a robot's camera sees, on the robot, as it moves.",
    epilog=EXIT_CODES,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


_input, _results, _detection = map(heading, ("Input", "Results", "Detection"))

ModelOption = Annotated[
    Path | None,
    _detection(
        "FILE",
        "Model file (*.onnx, its *.onnx.json beside it); default: the bundled one.",
        "--model",
    ),
]
ThresholdOption = Annotated[
    float | None,
    _detection(
        "NUMBER",
        "Crack probability from which a pixel counts, above 0 and below 1; "
        "default: the model's own.",
    ),
]
MinAreaOption = Annotated[
    int, _detection("PIXELS", "Smaller groups of crack pixels are dropped as specks.", "--min-area")
]
OverlapOption = Annotated[
    int | None,
    _detection(
        "PIXELS", f"Smallest overlap of neighbouring tiles; default: {OVERLAP_PX}.", "--overlap"
    ),
]
ThreadsOption = Annotated[int | None, _detection("COUNT", "CPU threads; default: all.")]


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"edgecrack {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command()(train)


@app.command()
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
            "demands a layout.",
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
            "models runs/compare-DATASET.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, _results("FILE", "Write the scores to this file, too.", "--json")
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
    from edgecrack.evaluation.protocols import PredictionConfig, parse_command_words
    from edgecrack.evaluation.run import EvaluationConfig, evaluate_models, parse_labelled
    from edgecrack.evaluation.thresholds import parse_threshold_source

    paths, chosen = parse_command_words(models, protocol, stride)
    name = f"evaluate-{paths[0].stem}" if len(paths) == 1 else "compare"
    dataset = parse_labelled(data)
    folder = out or Path("runs") / f"{name}-{dataset.name}"
    prediction = PredictionConfig(chosen, patch, device, precision)
    source = parse_threshold_source(threshold_from)
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
    )
    typer.echo(evaluate_models(config, _progress("images")))
    typer.echo(f"report: {folder / 'index.html'}")


@app.command()
def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint (*.safetensors) of `train`.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The ONNX file to write.")
    ],
    tile: Annotated[
        str, typer.Option(metavar="PIXELS", help="Side of a tile, or HEIGHTxWIDTH; multiples of 8.")
    ] = "256",
    batch: Annotated[
        str, typer.Option(metavar="COUNT", help='Tiles per call, or "dynamic".')
    ] = "dynamic",
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
    from edgecrack.export.check_tiles import tiles_of_images
    from edgecrack.export.graph import ExportConfig, export_checkpoint
    from edgecrack.files import make_folder, output_error

    size = None if batch == "dynamic" else _whole_number("--batch", batch)
    config = ExportConfig(_tile_hw(tile), size)
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
        f"difference from torch {spec.extra['parity_levels']}/255 on random and {len(tiles)} real "
        "tiles\n"
        f"next: edgecrack stream --source demo --model {output}"
    )


@app.command()
def stream(
    source: Annotated[
        str | None,
        _input(
            "SOURCE",
            "Video file, folder of images, rtsp:// or http:// address, or demo, a "
            "wall that needs no camera.",
        ),
    ] = None,
    camera: Annotated[int | None, _input("NUMBER", "Camera of this machine; 0: the first.")] = None,
    max_frames: Annotated[int | None, _input("COUNT", "Stop after so many frames.")] = None,
    out: Annotated[Path, _results("FOLDER", "Where the results go.")] = Path("runs/stream"),
    save: Annotated[
        str, _results("KINDS", "Some of overlay, mask, prob, jsonl; or none.")
    ] = "overlay,mask,jsonl",
    json_output: Annotated[
        bool, _results("", "Print the summary as JSON, and nothing else.", "--json")
    ] = False,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    min_area: MinAreaOption = MIN_AREA_PX,
    overlap: OverlapOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Find cracks in a camera, stream, video or folder, live.

    Ctrl-C or SIGTERM ends it cleanly: what was found until then is complete and readable.
    """
    from edgecrack.runtime.stream import StreamConfig, run_stream

    config = StreamConfig(
        source=_source_address(source, camera),
        out=out,
        model=model,
        save=_choices(save),
        max_frames=max_frames,
        threshold=threshold,
        min_area_px=min_area,
        overlap_px=overlap,
        threads=threads,
    )
    run_stream(config, as_json=json_output)


@app.command()
def predict(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGES...", help="Images and folders of images.")
    ],
    out: Annotated[Path, _results("FOLDER", "Where the results go.")],
    save: Annotated[
        str, _results("KINDS", "Some of prob, mask, overlay; each becomes NAME.KIND.png.")
    ] = "prob,mask,overlay",
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    min_area: MinAreaOption = MIN_AREA_PX,
    overlap: OverlapOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Find cracks in still images.

    NAME.prob.png holds the crack probability of each pixel, 255 = certain crack.
    """
    from edgecrack.runtime.detector import open_detector
    from edgecrack.runtime.predict import PredictConfig, Prediction, predict_images

    def show(item: Prediction) -> None:
        typer.echo(f"{item.name}: {item.crack_pixels} crack pixels in {item.regions} regions")

    config = PredictConfig(out, _choices(save), min_area)
    with open_detector(model, threshold=threshold, overlap_px=overlap, threads=threads) as detector:
        found = predict_images(detector, images, config, show)
    typer.echo(f"{len(found)} images, results in {out}")


def _source_address(source: str | None, camera: int | None) -> str:
    if (source is None) == (camera is None):
        problem = "no source is given" if source is None else "both --source and --camera are given"
        raise ConfigError(problem, "give --camera 0, or --source with a video, address or demo")
    if source is not None:
        return source
    if camera is not None and camera < 0:
        raise ConfigError(f"--camera is {camera}", "give 0 for the first camera")
    return f"camera:{camera}"


def _choices(text: str) -> tuple[str, ...]:
    return tuple(part for part in (item.strip() for item in text.split(",")) if part)


def _whole_number(option: str, text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"{option} is {text!r}", "give a whole number")
    return int(text)


def _tile_hw(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise ConfigError(
            f"--tile is {text!r}", "give a whole number, or HEIGHTxWIDTH as in 256x320"
        )
    return int(sides[0]), int(sides[-1])


def _progress(noun: str) -> Callable[[int, int], None]:
    """A callback (done, total) that shows how far a command is."""
    line = ProgressLine(sys.stderr)

    def show(done: int, total: int) -> None:
        line.show(f"{done} of {total} {noun}")
        if done == total:
            line.end()

    return show


def main() -> None:
    """Run the command line; the entry point of the `edgecrack` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may be no text in any encoding
            stream.reconfigure(errors="backslashreplace")
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away; a second message about it would fail as well.
        _drop_output()
        raise SystemExit(1) from None
    except Exception as error:
        _fail(error)
    except KeyboardInterrupt as error:
        _fail(error)
    if code == INTERRUPTED:  # typer returns what it would have given to the shell
        _fail(KeyboardInterrupt())


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, so that temporary files are removed; `stream` and `train` have their own.

    A second one ends the program at once.
    """
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt


def _fail(error: BaseException) -> NoReturn:
    if os.environ.get("EDGECRACK_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)
    sentence, code = failure_of(error, sys.argv[1:])
    if isinstance(error, OSError):
        _drop_output()
    typer.echo(f"edgecrack: {sentence}", err=True)
    raise SystemExit(code)


def _drop_output() -> None:
    """Let what is still buffered go nowhere, instead of failing once more at the exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
