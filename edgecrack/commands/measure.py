"""`edgecrack measure`: length and width of the cracks in photos, in millimetres."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecrack.commands.shared_options import (
    CommaOption,
    DistanceOption,
    FolderOption,
    IgnoreOption,
    LocationOption,
    MegapixelsOption,
    MmPerPixelOption,
    ModelOption,
    OverwriteOption,
    ScalesOption,
    SeverityOption,
    ThreadsOption,
    ThresholdOption,
    TiltOption,
    TowardsOption,
    heading,
    results,
    say,
    scales_of,
    unreadable_inputs,
    warn,
)
from edgecrack.errors import ConfigError
from edgecrack.images.kinds import DEFAULT_MEGAPIXELS
from edgecrack.terminal.flags import flags_in
from edgecrack.terminal.wording import counted

if TYPE_CHECKING:
    from edgecrack.photo_measurement.crack_records import Units
    from edgecrack.photo_measurement.measuring_run import MeasuredBatch, MeasuredPhoto
    from edgecrack.scale.choice import ScaleConfig

_scale, _site = map(heading, ("Scale", "Check on site"))


def _list_tables(wanted: bool) -> None:
    if not wanted:
        return
    from edgecrack.measurement.severity import severity_tables

    for table in severity_tables():
        limits = ", ".join(f"{limit:g}" for limit in table.limits_mm)
        typer.echo(f"{table.id:24} {limits} mm    {table.document}, {table.clause}")
    raise typer.Exit


def measure(
    photos: Annotated[list[str], typer.Argument(metavar="PHOTO...")],
    out: FolderOption,
    mm_per_pixel: MmPerPixelOption = None,
    camera: Annotated[Path | None, _scale("FILE")] = None,
    distance_m: DistanceOption = None,
    tilt_deg: TiltOption = None,
    tilt_towards_deg: TowardsOption = None,
    marker: Annotated[str | None, _scale("KIND:SIDE")] = None,
    gauge: Annotated[list[str] | None, _site("WIDTH=READ")] = None,
    bar: Annotated[str | None, _site("MM")] = None,
    severity: SeverityOption = None,
    severity_tables: Annotated[
        bool,
        typer.Option(
            "--severity-tables", callback=_list_tables, is_eager=True, rich_help_panel="Results"
        ),
    ] = False,
    units: Annotated[str, results("NAME")] = "metric",
    decimal_comma: CommaOption = False,
    plots: Annotated[bool, results("", "--plots/--no-plots")] = True,
    overwrite: OverwriteOption = False,
    max_megapixels: MegapixelsOption = DEFAULT_MEGAPIXELS,
    location: LocationOption = True,
    model: ModelOption = None,
    threshold: ThresholdOption = None,
    scales: ScalesOption = None,
    ignore: IgnoreOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Measure length and width of the cracks in photos, with their uncertainty.

    Without a scale, results are in pixels. With one, cracks.json, cracks.csv, the drawings and
    plots are in millimetres with 95 % intervals. Results are marked as unchecked unless a sheet of
    known cracks (edgecrack target) was in view.

    Args:
        photos: Images; folders (recursive); patterns; @list.txt; http:// addresses.
        camera: Calibrated camera, from calibrate-camera or ROS.
        marker: Marker in view and the side of its black square: aruco:50mm.
        gauge: Crack gauge reading on the printed sheet: 0.4=0.38+-0.01; repeatable.
        bar: Measured length of the printed sheet's bar: 100.2+-0.3.
        severity_tables: List the tables and exit.
        units: Units of the table, drawings and plots: metric or imperial.
        plots: Plot the width along each crack.
    """
    from edgecrack.photo_measurement.measuring_run import MeasureConfig, measure_photos
    from edgecrack.photo_measurement.photo_reading import parse_readings
    from edgecrack.runtime.installed_models.opening import open_model_in_use
    from edgecrack.runtime.outputs.output_place import existing_of
    from edgecrack.runtime.pipeline.ignore_mask import read_ignore_mask
    from edgecrack.runtime.sources.options import SourceOptions

    if str(out) in ("", "."):
        raise ConfigError("the folder of results is the current one", "give a name with `out`")
    unit = units_of(units)
    config = MeasureConfig(
        out,
        scale_config(mm_per_pixel, camera, distance_m, tilt_deg, tilt_towards_deg, marker),
        parse_readings(gauge or [], bar),
        None if severity is None else table_named(severity),
        unit,
        decimal_comma,
        _can_plot() if plots else False,
        None if ignore is None else read_ignore_mask(ignore),
        SourceOptions(max_megapixels=max_megapixels, keeps_location=location),
        existing_of(overwrite=overwrite),
    )
    detector, _ = open_model_in_use(
        model, on_fallback=warn, threshold=threshold, scales=scales_of(scales), threads=threads
    )
    with detector:
        batch = measure_photos(detector, photos, config, lambda photo: _show(photo, unit))
    if batch.note:
        typer.echo(flags_in(batch.note))
    _warn(batch, config.table is not None)
    typer.echo(f"{counted(len(batch.photos), 'photo')}, results in {batch.folder}")
    if batch.problems:
        problems = [f"{source}: {why}" for source, why in batch.problems]
        remedy = f"see `scale_problem` in {batch.folder / 'cracks.json'}"
        raise unreadable_inputs(problems, "photo", "could not be measured as asked", remedy)


def scale_config(
    mm_per_pixel: str | None,
    camera: Path | None,
    distance_m: str | None,
    tilt_deg: str | None,
    towards_deg: float | None,
    marker: str | None,
) -> ScaleConfig:
    """The configuration of the scale options.

    Raises:
        ConfigError: a value is wrong, or two contradict each other.
    """
    from edgecrack.scale.camera_file import read_camera
    from edgecrack.scale.choice import ScaleConfig
    from edgecrack.scale.markers import parse_marker
    from edgecrack.scale.quantity import read_distance_m, read_mm_per_pixel, read_tilt_deg

    return ScaleConfig(
        read_mm_per_pixel(mm_per_pixel),
        None if camera is None else read_camera(camera),
        read_distance_m(distance_m),
        read_tilt_deg(tilt_deg),
        towards_deg,
        None if marker is None else parse_marker(marker),
    )


def units_of(text: str) -> Units:
    """The value of `--units`.

    Raises:
        ConfigError: it is neither metric nor imperial.
    """
    if text == "metric":
        return "metric"
    if text == "imperial":
        return "imperial"
    raise ConfigError(f"units are {text!r}", "give metric or imperial")


def table_named(word: str) -> Any:
    """A severity table by its id, or from a user's file.

    Raises:
        ConfigError: the table does not exist, or the file is not a table.
    """
    from edgecrack.measurement.severity import severity_table, table_from

    path = Path(word)
    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        return severity_table(word)
    from edgecrack.outside_text import read_yaml

    try:
        document = read_yaml(path)
    except OSError as error:
        raise ConfigError(
            f"cannot read the severity table {path}: {error.strerror}", "check the path"
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{path} is neither JSON nor YAML: {error}", "see docs/measurement.md for an example"
        ) from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} contains no table", "see docs/measurement.md for an example")
    return table_from(document, str(path))


def _can_plot() -> bool:
    """Whether matplotlib can be imported; prints the remedy if not."""
    try:
        import matplotlib.figure  # noqa: F401
    except Exception:  # a broken installation may raise anything
        from edgecrack.extras import origin

        say(f"no plots: matplotlib is not installed; run: {origin().install('measure')}")
        return False
    return True


def _show(photo: MeasuredPhoto, units: Units) -> None:
    from edgecrack.photo_measurement.drawing import length_text, width_text

    text = f"{photo.name}: {counted(len(photo.cracks), 'crack')}"
    if photo.cracks:
        longest = photo.cracks[0]
        text += f", longest {length_text(longest, units)}, {width_text(longest, units)} wide"
    if photo.note:
        text += f" ({photo.note})"
    typer.echo(text)
    for sentence in photo.site:
        typer.echo(f"  check sheet: {sentence}")


def _warn(batch: MeasuredBatch, wants_classes: bool) -> None:
    """Write what limits all results."""
    photos = batch.photos
    unscaled = sum(photo.scale is None for photo in photos)
    if unscaled == len(photos):
        also = ", and nothing is classified" if wants_classes else ""
        say(f"no photo has a scale: results are in pixels{also}")
        return
    if unscaled:
        say(f"{counted(unscaled, 'photo')} without a scale: their results are in pixels")
    stated = [
        crack.in_mm.is_stated
        for photo in photos
        for crack in photo.cracks
        if crack.in_mm is not None
    ]
    if stated and not all(stated):
        say(
            "the uncertainty of the scale is not given, so intervals cover that of the width only; "
            "give it as in 0.12+-0.005"
        )
    if batch.site == "passed":
        typer.echo("millimetres checked on site: passed")
    else:
        failed = "the site check failed; see `site_check` in cracks.json"
        unchecked = "millimetres not checked on site; `edgecrack target` makes a check sheet"
        say(failed if batch.site == "failed" else unchecked)
