"""`edgecrack yardstick`: build one, and list the photos that must not be used for training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from edgecrack.commands.shared_options import group, heading
from edgecrack.terminal.progress import ProgressLine
from edgecrack.terminal.wording import counted

_input, _results = map(heading, ("Input", "Results"))

yardstick = group(
    "Build the images on which models are compared, by crack width, surface and contrast."
)


@yardstick.command()
def build(
    data: Annotated[
        Path, _input("FOLDER", text="Folder with any of concrete_tiles/, uav315/ and road_frames/.")
    ],
    out: Annotated[
        Path, _results("FOLDER", "--out", "-o", text="Folder of the yardstick, new or existing.")
    ],
    per_cell: Annotated[
        int, _results("COUNT", text="Rendered cracks per surface, width class and contrast.")
    ] = 2,
    blur: Annotated[
        float, _results("PIXELS", text="Standard deviation of the blur of rendered cracks.")
    ] = 0.8,
    walls: Annotated[int, _results("COUNT", text="Generated walls with cracks.")] = 45,
    seed: Annotated[int, _results("NUMBER", text="Random seed.")] = 0,
) -> None:
    """Build a yardstick: cracks and crack-like objects, with exact or hand-drawn ground truth.

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
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images intended for training.")],
) -> None:
    """List the files of a folder that belong to the yardstick, one name per line."""
    from edgecrack.data.layouts import only_images
    from edgecrack.data.splits import reserved_among
    from edgecrack.errors import DataError

    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", "give a folder of images")
    for path in reserved_among(only_images(folder)):
        typer.echo(path.name)
