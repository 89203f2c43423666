"""The command line: parse, build a configuration, call, print.

The only place that turns errors into exit codes. Every import that costs time stands inside
the command that needs it, so that `--help` and `stream` start at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from edgecrack import __version__
from edgecrack.errors import ConfigError, EdgecrackError

app = typer.Typer(
    name="edgecrack",
    help="Finds cracks in what a robot's camera sees, on the robot, as it moves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended
UNEXPECTED = 70

ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Model file (*.onnx); default: the bundled one.")
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(help="Crack probability from which a pixel counts; default: the model's own."),
]
MinAreaOption = Annotated[
    int, typer.Option("--min-area", help="Groups of fewer crack pixels than this are dropped.")
]
OverlapOption = Annotated[
    int | None, typer.Option("--overlap", help="Smallest overlap of tiles in pixels.")
]
ThreadsOption = Annotated[int | None, typer.Option(help="CPU threads; default: all.")]


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"edgecrack {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show version.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command()
def train(
    data: Annotated[
        list[str],
        typer.Option(help="Dataset folder, or synthetic:COUNT for generated walls; repeatable."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run, e.g. runs/NAME.")],
    width: Annotated[int, typer.Option(help="Channels of the first block.")] = 16,
    pooling: Annotated[str, typer.Option(help="gated-scale, max or stacked.")] = "gated-scale",
    epochs: Annotated[int, typer.Option(help="An epoch ends with a checkpoint.")] = 25,
    steps: Annotated[int, typer.Option("--steps-per-epoch", help="Batches per epoch.")] = 250,
    batch: Annotated[int, typer.Option(help="Patches per step.")] = 16,
    patch: Annotated[int, typer.Option(help="Side of a patch in pixels.")] = 128,
    crack_share: Annotated[float, typer.Option(help="Share of patches with crack.")] = 0.6,
    augment: Annotated[bool, typer.Option(help="Mirror, turn, scale, tone, blur, noise.")] = True,
    optimizer: Annotated[str, typer.Option(help="adamw or sgd.")] = "adamw",
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    warmup: Annotated[int, typer.Option("--warmup-steps", help="Steps of rising rate.")] = 200,
    schedule: Annotated[str, typer.Option(help="cosine or constant.")] = "cosine",
    average: Annotated[
        float, typer.Option("--average-decay", help="Decay of the averaged weights; 0: off.")
    ] = 0.998,
    precision: Annotated[str, typer.Option(help="32, or bf16 for mixed bfloat16.")] = "32",
    seed: Annotated[int, typer.Option(help="Decides weights, patches and walls.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Train a crack-segmentation network."""
    _require_train()
    from edgecrack.data.augment import ROBOT_AUGMENT, AugmentConfig
    from edgecrack.data.patches import PatchConfig
    from edgecrack.model.unet import NetworkConfig
    from edgecrack.training.config import OptimizerConfig, TrainingConfig
    from edgecrack.training.fit import train as run_training

    changes = ROBOT_AUGMENT if augment else AugmentConfig()
    result = run_training(
        TrainingConfig(
            data=tuple(data),
            out=out,
            network=NetworkConfig(width=width, pooling=pooling),  # type: ignore[arg-type]
            patches=PatchConfig(patch_px=patch, crack_share=crack_share, augment=changes),
            optimizer=OptimizerConfig(
                name=optimizer,  # type: ignore[arg-type]
                learning_rate=learning_rate,
                warmup_steps=warmup,
                schedule=schedule,  # type: ignore[arg-type]
            ),
            batch_size=batch,
            epochs=epochs,
            steps_per_epoch=steps,
            average_decay=average,
            precision=precision,  # type: ignore[arg-type]
            seed=seed,
            resume=resume,
        ),
        typer.echo,
    )
    typer.echo(
        f"trained {result.steps} steps: validation ODS {100 * result.validation_ods:.1f}, strict "
        f"F1 {100 * result.validation_strict_f1:.1f}\n"
        f"best checkpoint: {result.best}\ncurves: {result.curves}\n"
        f"next: edgecrack export {result.best} -o {out / 'model.onnx'}"
    )


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Model file (*.onnx) or checkpoint.")],
    data: Annotated[Path, typer.Option(help="Dataset folder.")],
    split: Annotated[
        str | None, typer.Option(help='Default: "test" where there is one, else "all".')
    ] = None,
    split_set: Annotated[
        str | None, typer.Option(help="Which set of splits, where there are several.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the scores to this file, too.")
    ] = None,
) -> None:
    """Score a model on labelled images: ODS, OIS, precision, recall, strict F1 and IoU."""
    _require_train("evaluation reports")
    from edgecrack.evaluation.run import EvaluationConfig, evaluate_model

    folder = out or Path("runs") / f"evaluate-{model.stem}-{data.resolve().name}"
    config = EvaluationConfig(model, data, folder, split, split_set, json_file)
    typer.echo(evaluate_model(config, _progress("images")))
    typer.echo(f"report: {folder}")


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (*.safetensors).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write.")],
    tile: Annotated[str, typer.Option(help="Side of a tile in pixels, or HEIGHTxWIDTH.")] = "256",
    batch: Annotated[str, typer.Option(help='Tiles per call, or "dynamic".')] = "dynamic",
) -> None:
    """Export a checkpoint to ONNX and check the file against it."""
    _require_train("export")
    from edgecrack.export.graph import ExportConfig, export_checkpoint

    size = None if batch == "dynamic" else _whole_number("--batch", batch)
    spec = export_checkpoint(checkpoint, output, ExportConfig(_tile_hw(tile), size))
    typer.echo(
        f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB) and {output.name}.json: largest "
        f"difference from torch {spec.extra['parity_levels']}/255\n"
        f"next: edgecrack stream --source demo --model {output}"
    )


@app.command()
def stream(
    source: Annotated[
        str | None,
        typer.Option(help="Video, folder of images, rtsp:// or http:// address, or demo."),
    ] = None,
    camera: Annotated[int | None, typer.Option(help="Number of a camera.")] = None,
    model: ModelOption = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/stream"),
    max_frames: Annotated[int | None, typer.Option(help="Stop after so many frames.")] = None,
    save: Annotated[
        str, typer.Option(help="Some of overlay, mask, prob, jsonl; or none.")
    ] = "overlay,mask,jsonl",
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON, and nothing else.")
    ] = False,
    threshold: ThresholdOption = None,
    min_area: MinAreaOption = 24,
    overlap: OverlapOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Find cracks in a camera, stream, video or folder, live. Ctrl-C ends it cleanly."""
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
    images: Annotated[list[Path], typer.Argument(help="Images and folders of images.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")],
    model: ModelOption = None,
    save: Annotated[str, typer.Option(help="Some of prob, mask, overlay.")] = "prob,mask,overlay",
    threshold: ThresholdOption = None,
    min_area: MinAreaOption = 24,
    overlap: OverlapOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Find cracks in still images; NAME.prob.png holds the probability, 255 = certain crack."""
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
    height, _, width = text.lower().partition("x")
    return _whole_number("--tile", height), _whole_number("--tile", width or height)


def _require_train(purpose: str = "training") -> None:
    from edgecrack.extras import require

    extra: Literal["train", "export"] = "export" if purpose == "export" else "train"
    for module in ("torch", "safetensors", "onnx") if extra == "export" else ("matplotlib",):
        require(module, extra=extra, purpose=purpose)
    if purpose == "training":
        require("lightning", extra="train", purpose=purpose)


def _progress(noun: str) -> Any:
    """A callback (done, total) that rewrites one line of a terminal."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == total else "\r"
            sys.stderr.write(f"{done}/{total} {noun}{end}")
            sys.stderr.flush()

    return show


def main() -> None:
    """Run the command line; the entry point of the `edgecrack` program."""
    debug = os.environ.get("EDGECRACK_DEBUG", "") not in ("", "0")
    try:
        app()
    except EdgecrackError as error:
        _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED, debug)
    except BrokenPipeError:
        # The reader of our output went away; a second message about it would fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        _fail(
            f"unexpected {type(error).__name__}: {error}; this is a fault in edgecrack, please "
            "report it with the output of EDGECRACK_DEBUG=1",
            UNEXPECTED,
            debug,
        )


def _fail(sentence: str, code: int, debug: bool) -> None:
    if debug:
        raise
    typer.echo(f"edgecrack: {sentence}", err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
