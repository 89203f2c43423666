"""`edgecrack predict`: still images, one or thousands.

Parses, calls and prints; every import that costs time stands inside the command.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from edgecrack.commands.shared_options import (
    BackendOption,
    FolderOption,
    IgnoreOption,
    LocationOption,
    MegapixelsOption,
    MinAreaOption,
    ModelOption,
    OverlapOption,
    OverwriteOption,
    ScalesOption,
    ThreadsOption,
    ThresholdOption,
    choices,
    results,
    scales_of,
    warn,
)
from edgecrack.constants import MIN_AREA_PX
from edgecrack.errors import UnreadableInputsError
from edgecrack.images.kinds import DEFAULT_MEGAPIXELS
from edgecrack.terminal.flags import flags_in
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from edgecrack.prediction.batch import Prediction, WindowProgress

_SHOWN_PROBLEMS = 5


def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...",
            help="Images; folders, with all below them; patterns such as 'photos/**/*.jpg'; "
            "@list.txt, a path on each line; http:// addresses.",
        ),
    ],
    out: FolderOption,
    save: Annotated[
        str, results("KINDS", "Some of prob, mask, overlay; each becomes NAME.KIND.png.")
    ] = "prob,mask,overlay",
    resume: Annotated[
        bool, results("", "Go on with the earlier run in the folder; nothing is done twice.")
    ] = False,
    overwrite: OverwriteOption = False,
    max_megapixels: MegapixelsOption = DEFAULT_MEGAPIXELS,
    location: LocationOption = True,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    min_area: MinAreaOption = MIN_AREA_PX,
    overlap: OverlapOption = None,
    scales: ScalesOption = None,
    ignore: IgnoreOption = None,
    threads: ThreadsOption = None,
    backend: BackendOption = None,
) -> None:
    """Find cracks in still images.

    NAME.prob.png holds the crack probability of each pixel, 255 = certain crack; results.jsonl and
    results.csv have a line per image. A georeferenced TIFF of any size becomes GeoTIFF maps and a
    GeoPackage of crack lines. One that cannot be read has its line, too, and ends
    nothing; the exit code is then 12.
    """
    from edgecrack.prediction.batch import PredictConfig, predict_images
    from edgecrack.runtime.installed_models.opening import open_model_in_use
    from edgecrack.runtime.outputs.output_place import existing_of
    from edgecrack.runtime.pipeline.ignore_mask import read_ignore_mask
    from edgecrack.runtime.sources.options import SourceOptions

    mask = None if ignore is None else read_ignore_mask(ignore)
    if mask is not None and mask.is_empty:
        typer.echo(f"edgecrack: warning: {mask.emptiness}", err=True)
    config = PredictConfig(
        out,
        choices(save),
        min_area,
        mask,
        SourceOptions(max_megapixels=max_megapixels, keeps_location=location),
        existing_of(overwrite=overwrite, go_on=resume, option="`resume`"),
    )
    shown = _Shown(sys.stdout, sys.stderr)
    try:
        detector, _ = open_model_in_use(
            model,
            on_fallback=warn,
            threshold=threshold,
            overlap_px=overlap,
            scales=scales_of(scales),
            threads=threads,
            backend=backend,
        )
        with detector:
            batch = predict_images(detector, images, config, shown.one, shown.part)
    finally:
        shown.end()
    count = counted(len(batch.predictions), "image")
    earlier = f", {batch.done_earlier} done earlier" if batch.done_earlier else ""
    if batch.note:
        shown.say(batch.note)
    shown.say(f"{count}{earlier}, results in {batch.folder}")
    if batch.unreadable:
        first = ", ".join(f"{source} {why}" for source, why in batch.unreadable[:_SHOWN_PROBLEMS])
        more = len(batch.unreadable) - _SHOWN_PROBLEMS
        raise UnreadableInputsError(
            f"{counted(len(batch.unreadable), 'image')} could not be read: {first}"
            + (f" and {more} more" if more > 0 else ""),
            f"see `problem` in {batch.folder / 'results.csv'}",
        )


class _Shown:
    """Tells of each image on one stream and of the time left on the other.

    Nobody may listen any more, as in `edgecrack predict ... | head`: the work goes on.
    """

    def __init__(self, output: TextIO, status: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._output: TextIO | None = output
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(file=status, stderr=True),
            disable=not status.isatty(),
            redirect_stdout=False,
        )
        self._task = self._bar.add_task("images", total=None)
        with suppress(OSError):
            self._bar.start()

    def one(self, item: Prediction) -> None:
        """An image is done."""
        with suppress(OSError):
            self._bar.update(self._task, completed=item.number, total=item.of, description="images")
        if item.problem is not None:
            self.say(f"{item.source}: not read: it {item.problem}")
            return
        pixels, regions = counted(item.crack_pixels, "crack pixel"), counted(item.regions, "region")
        self.say(f"{item.name}: {pixels} in {regions}")

    def part(self, progress: WindowProgress) -> None:
        """A part of an orthomosaic is done."""
        done = progress.number - 1 + progress.windows_done / progress.windows
        with suppress(OSError):
            windows = f"{progress.windows_done}/{progress.windows}"
            self._bar.update(
                self._task, completed=done, total=progress.of, description=f"windows {windows}"
            )

    def say(self, text: str) -> None:
        """Write a line, as long as somebody reads."""
        if self._output is None:
            return
        try:
            print(flags_in(text), file=self._output, flush=True)
        except (OSError, ValueError):
            self._output = None

    def end(self) -> None:
        """Leave the bar as it is."""
        with suppress(OSError):
            self._bar.stop()
