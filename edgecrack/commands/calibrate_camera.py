"""`edgecrack calibrate-camera`: what a lens does, from photos of a chessboard.

Parses, calls and prints; every import that costs time stands inside the command.
"""

from __future__ import annotations

from typing import Annotated

import typer

from edgecrack.commands.shared_options import OutputOption, heading
from edgecrack.errors import ConfigError
from edgecrack.terminal.wording import counted

_board = heading("Board and camera")


def calibrate_camera(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO...",
            help="Ten or more photos of the board by one camera at one zoom: near, at angles of 20 "
            "to 45 degrees to all sides, and in the corners of the view.",
        ),
    ],
    out: OutputOption,
    board: Annotated[
        str,
        _board(
            "COLUMNSxROWS:SIDE",
            "Inner corners, where four squares meet, and the side of a square: 9x6:25mm.",
            show_default=False,
        ),
    ],
    name: Annotated[str, _board("TEXT", "Of the camera, for the file.")] = "camera",
    fixed_focus: Annotated[
        bool | None,
        _board(
            "",
            "Whether focus and zoom stay as they are; a file of a camera that focuses by itself is "
            "refused for millimetres.",
            "--fixed-focus/--autofocus",
        ),
    ] = None,
) -> None:
    """Calibrate a camera from photos of a chessboard.

    The file is in ROS's camera_info form and goes with `measure --camera` and
    `stream --camera-file`. It holds for the focus and zoom at which the photos were taken.
    """
    from edgecrack.photo_measurement.photo_reading import one_focal_mm, read_photos
    from edgecrack.scale.camera_file import write_camera
    from edgecrack.scale.chessboard import calibrate, parse_board

    if out.suffix.lower() not in (".yaml", ".yml"):
        raise ConfigError(f"the camera's file is {out}", "give a name that ends in .yaml")
    shape = parse_board(board)
    read = read_photos(photos)
    found = calibrate(
        [(photo.name, photo.image) for photo in read],
        shape,
        name=name,
        focal_mm=one_focal_mm(read),
        fixed_focus=fixed_focus,
        on_photo=lambda title, seen: typer.echo(f"{title}: {'board' if seen else 'no board'}"),
    )
    write_camera(out, found.camera)
    camera = found.camera
    typer.echo(
        f"{counted(len(found.used), 'photo')} used, {len(found.passed_over)} without the board; "
        f"corners fit to {found.rms_px:.2f} px and cover {found.coverage:.0%} of the image"
    )
    typer.echo(
        f"focal length {camera.matrix[0, 0]:.1f} px +- {2 * (camera.focal_deviation or 0):.1%} "
        f"(95 %), {camera.image_size[0]}x{camera.image_size[1]} pixels: {out}"
    )
    if fixed_focus is None:
        typer.echo(
            "edgecrack: warning: whether the camera focuses by itself was not said; give "
            "--fixed-focus or --autofocus",
            err=True,
        )
    for warning in found.warnings:
        typer.echo(f"edgecrack: warning: {warning}", err=True)
