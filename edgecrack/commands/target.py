"""`edgecrack target`: the printable check sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecrack.commands.shared_options import heading

_results = heading("Results")


def target(
    output: Annotated[Path, _results("FILE", "--out", "-o")],
    dpi: Annotated[int, _results("COUNT")] = 300,
) -> None:
    """Write a check sheet: a page with cracks of known width, to fix to the wall.

    Filmed before and after a run, it checks camera, distance and software together.

    Args:
        output: Output file: *.pdf for printing, or *.png.
        dpi: Pixels per inch of a *.png.
    """
    from edgecrack.files import make_folder
    from edgecrack.site_check.printing import write_sheet
    from edgecrack.site_check.sheet import BAR_MM

    make_folder(output.parent)
    write_sheet(output, dpi)
    typer.echo(
        f"wrote {output}: print it at 100 % on matt A4 paper and measure its bar, {BAR_MM:g} mm"
    )
