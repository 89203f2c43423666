"""The command line: parse, build a configuration, call, print.

The only place that turns errors into exit codes. Every import that costs time stands inside
the command that needs it, so that `--help` and `stream` start at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from edgecrack import __version__
from edgecrack.cli_build import build_engine, calibrate, export
from edgecrack.cli_doctor import doctor
from edgecrack.cli_errors import EXIT_CODES, INTERRUPTED, failure_of
from edgecrack.cli_evaluate import evaluate
from edgecrack.cli_options import heading
from edgecrack.cli_train import train
from edgecrack.errors import ConfigError
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
app.command()(evaluate)
app.command()(export)
app.command()(calibrate)
app.command("build-engine")(build_engine)


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


app.command()(doctor)


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


def main() -> None:
    """Run the command line; the entry point of the `edgecrack` program."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started the program
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
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
