"""`edgecrack export`: a checkpoint to an ONNX file."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from edgecrack.commands.shared_options import require_extra, scales_of, tile_hw_of, whole_number
from edgecrack.terminal.wording import counted


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT")],
    output: Annotated[Path, typer.Option("--out", "-o", metavar="FILE")],
    tile: Annotated[str, typer.Option(metavar="PIXELS")] = "256",
    batch: Annotated[str, typer.Option(metavar="COUNT")] = "dynamic",
    precision: Annotated[str, typer.Option(metavar="NAME")] = "fp32",
    border: Annotated[str, typer.Option(metavar="NAME")] = "fused",
    scales: Annotated[str | None, typer.Option(metavar="FACTORS")] = None,
    merge: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    threshold: Annotated[float | None, typer.Option(metavar="NUMBER")] = None,
    temperature: Annotated[float, typer.Option(metavar="NUMBER")] = 1.0,
    check_images: Annotated[Path | None, typer.Option(metavar="FOLDER")] = None,
) -> None:
    """Export a checkpoint to ONNX and compare the file with it.

    Args:
        checkpoint: Checkpoint (*.safetensors) of `train`.
        output: Output file (*.onnx).
        tile: Side of a tile, or HEIGHTxWIDTH; multiples of 8.
        batch: Tiles per call, or "dynamic".
        precision: fp32, or fp16 for a graph entirely in FP16.
        border: fused omits partial convolution's border ratio on the two finest scales, for speed;
            exact keeps it everywhere, as trained.
        scales: Frame sizes at which the model runs, such as 1,0.5; smaller ones find wider cracks.
            Default: the checkpoint's own.
        merge: How to merge the maps of several sizes: max, or wide-max, where smaller sizes add
            only wide cracks. Default: the checkpoint's own.
        threshold: Minimum crack probability of a pixel. Default: the checkpoint's own.
        temperature: Divisor of the network's logits; above 1, probabilities are less extreme.
        check_images: Images to check with, in addition to random tiles.
    """
    require_extra("export")
    from edgecrack.artifacts import read_verified_spec
    from edgecrack.export.graph import ExportConfig, export_checkpoint, tiles_of_images
    from edgecrack.files import make_folder, output_error

    size = None if batch == "dynamic" else whole_number("--batch", batch)
    config = ExportConfig(
        tile_hw_of(tile),
        size,
        cast(Any, precision),
        cast(Any, border),
        scales_of(scales),
        cast(Any, merge),
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
    from edgecrack.export.border import IGNORED_PX

    found = extra.get("border_difference")
    if found is None:
        return ""
    return (
        "border ratio omitted on the two finest scales, which changes by more than 1/255 "
        f"{found['share_at_border']:.2%} of the pixels in the outermost {IGNORED_PX} px of these "
        f"tiles and {found['share_inside']:.2%} inside, none deeper than {found['reach_px']} px\n"
    )
