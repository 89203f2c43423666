"""`edgecrack predict`: cracks in still images and orthomosaics."""

from __future__ import annotations

import sys
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
    unreadable_inputs,
    warn,
)
from edgecrack.constants import MIN_AREA_PX
from edgecrack.images.kinds import DEFAULT_MEGAPIXELS
from edgecrack.terminal.flags import flags_in
from edgecrack.terminal.progress import StageBar
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from edgecrack.prediction.batch import Prediction, WindowProgress


def predict(
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...")],
    out: FolderOption,
    save: Annotated[str, results("KINDS")] = "prob,mask,overlay",
    resume: Annotated[bool, results("")] = False,
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

    NAME.prob.png contains the crack probability of each pixel (255 = certain crack); results.jsonl
    and results.csv have one line per image. From a georeferenced TIFF of any size, GeoTIFF maps and
    a GeoPackage of crack lines are written. Unreadable images are listed too, and the exit code is
    then 12.

    Args:
        images: Images; folders (recursive); patterns such as 'photos/**/*.jpg'; @list.txt with one
            path per line; http:// addresses.
        save: Any of prob, mask, overlay; each is written as NAME.KIND.png.
        resume: Continue the earlier run in the folder without repeating images.
    """
    from edgecrack.prediction.batch import PredictConfig, predict_images
    from edgecrack.runtime.installed_models.opening import open_model_in_use
    from edgecrack.runtime.outputs.output_place import existing_of
    from edgecrack.runtime.pipeline.ignore_mask import read_ignore_mask
    from edgecrack.runtime.sources.options import SourceOptions

    mask = None if ignore is None else read_ignore_mask(ignore)
    if mask is not None and mask.is_empty:
        warn(mask.emptiness)
    config = PredictConfig(
        out,
        choices(save),
        min_area,
        mask,
        SourceOptions(max_megapixels=max_megapixels, keeps_location=location),
        existing_of(overwrite=overwrite, go_on=resume, option="`resume`"),
    )
    with StageBar(sys.stderr, names_stages=False) as bar:
        shown = _Shown(bar)
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
    count = counted(len(batch.predictions), "image")
    earlier = f", {batch.done_earlier} done earlier" if batch.done_earlier else ""
    if batch.note:
        shown.say(batch.note)
    shown.say(f"{count}{earlier}, results in {batch.folder}")
    if batch.unreadable:
        problems = [f"{source} {why}" for source, why in batch.unreadable]
        remedy = f"see `problem` in {batch.folder / 'results.csv'}"
        raise unreadable_inputs(problems, "image", "could not be read", remedy)


class _Shown:
    """Prints a line per image, with a progress bar on a terminal.

    The work continues if the reader goes away, as in `edgecrack predict ... | head`.
    """

    def __init__(self, bar: StageBar) -> None:
        self._output: TextIO | None = sys.stdout
        self._bar = bar

    def one(self, item: Prediction) -> None:
        """Report a finished image."""
        self._bar.show("images", item.number, item.of)
        if item.problem is not None:
            self.say(f"{item.source}: not read: it {item.problem}")
            return
        pixels, regions = counted(item.crack_pixels, "crack pixel"), counted(item.regions, "region")
        self.say(f"{item.name}: {pixels} in {regions}")

    def part(self, progress: WindowProgress) -> None:
        """Report a finished part of an orthomosaic."""
        done = progress.number - 1 + progress.windows_done / progress.windows
        stage = f"windows {progress.windows_done}/{progress.windows}"
        self._bar.show(stage, done, progress.of)

    def say(self, text: str) -> None:
        """Write a line while somebody reads."""
        if self._output is None:
            return
        try:
            print(flags_in(text), file=self._output, flush=True)
        except (OSError, ValueError):
            self._output = None
