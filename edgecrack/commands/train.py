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
    out: Annotated[str, _results("FOLDER", "--out", "-o")],
    data: Annotated[
        list[str] | None,
        _input(
            "SOURCE",
            text=r"\[NAME=]FOLDER\[@WEIGHT], synthetic\[:COUNT]\[@WEIGHT] for generated walls, or "
            "clean:FOLDER for photos without cracks; repeatable.",
        ),
    ] = None,
    preset: Annotated[str, _input("NAME|FILE")] = "edge",
    changes: Annotated[list[str] | None, _input("KEY=VALUE", "--set")] = None,
    yardstick: Annotated[str | None, _input("FOLDER")] = None,
    init: Annotated[str | None, _input("CHECKPOINT")] = None,
    width: Annotated[int | None, _network("COUNT")] = None,
    pooling: Annotated[str | None, _network("NAME")] = None,
    epochs: Annotated[int | None, _optimisation("COUNT")] = None,
    steps: Annotated[int | None, _optimisation("COUNT", "--steps-per-epoch")] = None,
    batch: Annotated[int | None, _optimisation("COUNT")] = None,
    patch: Annotated[int | None, _patches("PIXELS")] = None,
    crack_share: Annotated[float | None, _patches("NUMBER")] = None,
    augment: Annotated[bool | None, _patches("")] = None,
    optimizer: Annotated[str | None, _optimisation("NAME")] = None,
    learning_rate: Annotated[float | None, _optimisation("NUMBER")] = None,
    warmup: Annotated[int | None, _optimisation("COUNT", "--warmup-steps")] = None,
    schedule: Annotated[str | None, _optimisation("NAME")] = None,
    average: Annotated[float | None, _optimisation("NUMBER", "--average-decay")] = None,
    precision: Annotated[str | None, _optimisation("NAME")] = None,
    teacher: Annotated[str | None, _optimisation("CHECKPOINT")] = None,
    seed: Annotated[int | None, _optimisation("NUMBER")] = None,
    device: Annotated[str | None, _run("NAME")] = None,
    processes: Annotated[int | None, _run("COUNT")] = None,
    machines: Annotated[int | None, _run("COUNT")] = None,
    resume: Annotated[bool, _run("", "--resume")] = False,
) -> None:
    """Train a crack-segmentation network.

    Values come from --preset; options given here override them.

    Args:
        out: Folder of the run, e.g. runs/NAME.
        preset: edge, paper, or a file such as runs/NAME/config.yaml.
        changes: Any value of the preset, e.g. loss.cl_dice_weight=0.5; repeatable.
        yardstick: Your own yardstick; training on its photos is refused.
        init: Initial weights, of the same width.
        width: Channels of the first block.
        pooling: gated-scale, max or stacked.
        epochs: Epochs; each ends with validation and a checkpoint.
        steps: Batches per epoch.
        batch: Patches per step over all processes.
        patch: Side of a patch.
        crack_share: Share of patches with a crack, 0 to 1.
        augment: Augmentation: flips, rotation, scale, tone, blur, noise, shadows, JPEG.
        optimizer: adamw or sgd.
        learning_rate: Highest learning rate.
        warmup: Steps until the full learning rate.
        schedule: cosine or constant.
        average: Decay per step of the weight average; 0: no averaging.
        precision: 32, or mixed precision: bf16, or 16 on a GPU.
        teacher: Wider network for distillation (see loss.distillation_weight).
        seed: Random seed of weights, patches and generated walls.
        device: auto, cpu or cuda.
        processes: Processes per machine, one per GPU.
        machines: Machines.
        resume: Continue the run in --out.
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
