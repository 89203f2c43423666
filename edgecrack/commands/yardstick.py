"""The `yardstick` commands: build one, and say which photos must not be trained on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgecrack.commands.shared_options import heading
from edgecrack.terminal.progress import ProgressLine
from edgecrack.terminal.wording import counted

_input, _results = map(heading, ("Input", "Results"))

yardstick = typer.Typer(
    help="Build the pictures that models are compared on, by crack width, surface and contrast.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@yardstick.command()
def build(
    data: Annotated[
        Path,
        _input("FOLDER", "Holds concrete_tiles/, uav315/ and road_frames/, or some of them."),
    ],
    out: Annotated[
        Path, _results("FOLDER", "The yardstick; new, or an earlier one.", "--out", "-o")
    ],
    per_cell: Annotated[
        int, _results("COUNT", "Rendered cracks of each surface, width class and contrast.")
    ] = 2,
    blur: Annotated[
        float, _results("PIXELS", "Standard deviation of the blur of what is rendered.", "--blur")
    ] = 0.8,
    walls: Annotated[int, _results("COUNT", "Generated walls with cracks.")] = 45,
    seed: Annotated[int, _results("NUMBER", "Decides what is drawn by chance.")] = 0,
) -> None:
    """Build a yardstick: cracks and what is none, with exact or hand-drawn truth.

    `edgecrack evaluate MODEL --data FOLDER` then scores by stratum.
    """
    from edgecrack.yardstick.building import YardstickConfig, build_yardstick

    line = ProgressLine(sys.stderr)
    made = build_yardstick(
        YardstickConfig(data, out, per_cell, blur, walls, seed),
        lambda count: line.show(counted(count, "picture")),
        lambda message: typer.echo(message, err=True),
    )
    line.end()
    typer.echo(
        f"wrote {out}: {counted(len(made.cracked), 'picture')} with cracks, "
        f"{len(made.crack_free)} without\n"
        f"next: edgecrack evaluate MODEL --data {out}"
    )


@yardstick.command()
def reserved(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Image files that a network may train on.")
    ],
) -> None:
    """List the files of a folder that belong to the yardstick, one name a line."""
    from edgecrack.data.pairing import only_images
    from edgecrack.data.reserved import reserved_among
    from edgecrack.errors import DataError

    if not folder.is_dir():
        raise DataError(f"{folder} is no folder", "give a folder of images")
    for path in reserved_among(only_images(folder)):
        typer.echo(path.name)
