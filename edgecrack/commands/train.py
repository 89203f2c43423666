"""`edgecrack train`: a preset, options that override it, and --set for all other values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgecrack.commands.shared_options import heading, require_extra
from edgecrack.terminal.wording import counted

_input, _results, _run = map(heading, ("Input", "Results", "Run"))
_network, _patches, _optimisation = map(heading, ("Network", "Patches", "Optimisation"))


def train(
    out: Annotated[str, _results("FOLDER", "Folder of the run, e.g. runs/NAME.", "--out", "-o")],
    data: Annotated[
        list[str] | None,
        _input(
            "SOURCE",
            r"\[NAME=]FOLDER\[@WEIGHT], synthetic\[:COUNT]\[@WEIGHT] for generated walls, or "
            "clean:FOLDER for photos without cracks; repeatable.",
        ),
    ] = None,
    preset: Annotated[
        str,
        _input("NAME|FILE", "edge, paper, or a file such as runs/NAME/config.yaml."),
    ] = "edge",
    changes: Annotated[
        list[str] | None,
        _input(
            "KEY=VALUE",
            "Any value of the preset, e.g. loss.cl_dice_weight=0.5; repeatable.",
            "--set",
        ),
    ] = None,
    yardstick: Annotated[
        str | None,
        _input("FOLDER", "Your own yardstick; training on its photos is refused."),
    ] = None,
    init: Annotated[str | None, _input("CHECKPOINT", "Initial weights, of the same width.")] = None,
    width: Annotated[int | None, _network("COUNT", "Channels of the first block.")] = None,
    pooling: Annotated[str | None, _network("NAME", "gated-scale, max or stacked.")] = None,
    epochs: Annotated[
        int | None, _optimisation("COUNT", "Epochs; each ends with validation and a checkpoint.")
    ] = None,
    steps: Annotated[
        int | None, _optimisation("COUNT", "Batches per epoch.", "--steps-per-epoch")
    ] = None,
    batch: Annotated[
        int | None, _optimisation("COUNT", "Patches per step over all processes.")
    ] = None,
    patch: Annotated[int | None, _patches("PIXELS", "Side of a patch.")] = None,
    crack_share: Annotated[
        float | None, _patches("NUMBER", "Share of patches with a crack, 0 to 1.")
    ] = None,
    augment: Annotated[
        bool | None,
        _patches("", "Augmentation: flips, rotation, scale, tone, blur, noise, shadows, JPEG."),
    ] = None,
    optimizer: Annotated[str | None, _optimisation("NAME", "adamw or sgd.")] = None,
    learning_rate: Annotated[
        float | None, _optimisation("NUMBER", "Highest learning rate.")
    ] = None,
    warmup: Annotated[
        int | None, _optimisation("COUNT", "Steps until the full learning rate.", "--warmup-steps")
    ] = None,
    schedule: Annotated[str | None, _optimisation("NAME", "cosine or constant.")] = None,
    average: Annotated[
        float | None,
        _optimisation(
            "NUMBER", "Decay per step of the weight average; 0: no averaging.", "--average-decay"
        ),
    ] = None,
    precision: Annotated[
        str | None, _optimisation("NAME", "32, or mixed precision: bf16, or 16 on a GPU.")
    ] = None,
    teacher: Annotated[
        str | None,
        _optimisation(
            "CHECKPOINT", "Wider network for distillation (see loss.distillation_weight)."
        ),
    ] = None,
    seed: Annotated[
        int | None, _optimisation("NUMBER", "Random seed of weights, patches and generated walls.")
    ] = None,
    device: Annotated[str | None, _run("NAME", "auto, cpu or cuda.")] = None,
    processes: Annotated[int | None, _run("COUNT", "Processes per machine, one per GPU.")] = None,
    machines: Annotated[int | None, _run("COUNT", "Machines.")] = None,
    resume: Annotated[bool, _run("", "Continue the run in --out.", "--resume")] = False,
) -> None:
    """Train a crack-segmentation network.

    Values come from --preset; options given here override them.
    """
    require_extra("training")
    from edgecrack.training.fit import train as run_training
    from edgecrack.training.presets import config_of_run, origin_of_run

    given = {
        "data": list(data) if data else None,
        "out": out,
        "yardstick": yardstick,
        "init": init,
        "network.width": width,
        "network.pooling": pooling,
        "epochs": epochs,
        "steps_per_epoch": steps,
        "batch_size": batch,
        "patches.patch_px": patch,
        "patches.crack_share": crack_share,
        "optimizer.name": optimizer,
        "optimizer.learning_rate": learning_rate,
        "optimizer.warmup_steps": warmup,
        "optimizer.schedule": schedule,
        "average_decay": average,
        "precision": precision,
        "teacher": teacher,
        "seed": seed,
        "device": device,
        "processes_per_machine": processes,
        "machines": machines,
        "resume": resume,
    }
    config = config_of_run(preset, given, changes or (), augment)
    origin = origin_of_run(preset, given, changes or (), augment)
    result = run_training(config, typer.echo, origin)
    if result is not None:
        typer.echo(_closing(result, config.out))


def _closing(result: Any, out: Path) -> str:
    return (
        f"trained {counted(result.steps, 'step')}: validation ODS "
        f"{100 * result.validation_ods:.1f}, strict F1 {100 * result.validation_strict_f1:.1f}\n"
        f"best checkpoint: {result.best}\ncurves: {result.curves}\n"
        f"next: edgecrack export {result.best} -o {out / 'model.onnx'}"
    )
