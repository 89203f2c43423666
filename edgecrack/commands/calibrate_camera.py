"""`edgecrack calibrate-camera`: camera calibration from photos of a chessboard."""

from __future__ import annotations

from typing import Annotated

import typer

from edgecrack.commands.shared_options import OutputOption, heading, warn
from edgecrack.errors import ConfigError
from edgecrack.terminal.wording import counted

_board = heading("Board and camera")


def calibrate_camera(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...")],
    out: OutputOption,
    board: Annotated[str, _board("COLUMNSxROWS:SIDE", show_default=False)],
    name: Annotated[str, _board("TEXT")] = "camera",
    fixed_focus: Annotated[bool | None, _board("", "--fixed-focus/--autofocus")] = None,
) -> None:
    """Calibrate a camera from photos of a chessboard.

    The file is in ROS's camera_info format, for `measure --camera` and `stream --camera-file`. It
    is valid for the focus and zoom of the photos.

    Args:
        photos: Ten or more photos of the board with one camera and zoom: close, tilted by 20 to 45
            degrees in all directions, and in the corners of the image.
        board: Inner corners, where four squares meet, and side of a square: 9x6:25mm.
        name: Name of the camera in the file.
        fixed_focus: Whether focus and zoom are fixed; autofocus cameras are refused for
            measurements in millimetres.
    """
    from edgecrack.photo_measurement.photo_reading import one_focal_mm, read_photos
    from edgecrack.scale.camera_file import write_camera
    from edgecrack.scale.chessboard import calibrate, parse_board

    if out.suffix.lower() not in (".yaml", ".yml"):
        raise ConfigError(f"the camera file is {out}", "give a name that ends in .yaml")
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
        warn("it is unknown whether the camera has autofocus; give --fixed-focus or --autofocus")
    for warning in found.warnings:
        warn(warning)
