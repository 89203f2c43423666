"""The settings of one `edgecrack stream`, checked before anything is opened."""

from __future__ import annotations

from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Annotated

from pydantic import Field

from edgecrack.constants import MIN_AREA_PX
from edgecrack.errors import ConfigError, OutputError, SourceError
from edgecrack.runtime.measuring.stream_scale import StreamScale
from edgecrack.runtime.outputs.output_place import Existing
from edgecrack.runtime.outputs.sinks import KINDS
from edgecrack.runtime.recording.config import RecordingConfig
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.sources.reconnecting import ReconnectPolicy
from edgecrack.runtime.telemetry.events import LogFormat
from edgecrack.runtime.web.config import ServeConfig
from edgecrack.settings import PositiveMs, settings
from edgecrack.terminal.redaction import redact

# How and where a stream runs, which does not change what is found. The session adds the model's
# hash.
_NOT_OF_THE_RUN = (
    "source", "shows_password", "source_options", "out", "existing", "model", "threshold",
    "scales", "max_frames", "threads", "backend", "policy", "record", "serve", "log_format",
    "scale", "survey",
)  # fmt: skip


@settings()
class StreamConfig:
    """One stream.

    Attributes:
        source: address as `open_source` takes it.
        shows_password: the address with its password was given on the command line.
        out: folder of the results.
        existing: what happens to an earlier run's results there, see `take_place`.
        model: model file; None for the installed one, or else the bundled one.
        save: of "overlay", "mask", "prob", "jsonl" and "widths"; ("none",) writes only the
            summary.
        max_frames: stop after so many; None continues to the end.
        threshold: decision threshold; None for the model's.
        min_area_px: groups of fewer crack pixels are dropped.
        overlap_px: smallest overlap of tiles; None for the default.
        scales: sizes of the frame at which the model runs; None for the model's own.
        ignore: file that names the areas to ignore, see `read_ignore_mask`.
        threads: CPU threads; None for all.
        backend: what runs an ONNX file, see `open_runner`.
        source_options: size, rate, flip, loop.
        policy: how long to wait for a lost live source.
        max_age_ms: results of a live source older than this are not published.
        target_fps: results per second to aim for.
        record: recording, or None.
        serve: live page, or None.
        position: where positions come from, see `open_positions`, or None.
        scale: millimetres per pixel; None measures in pixels. A scale adds "widths" to `save`.
        survey: keep what `edgecrack survey` needs.
        log_format: format of the log on standard error.
    """

    source: str
    out: Path
    existing: Existing = "beside"
    model: Path | None = None
    save: tuple[str, ...] = ("overlay", "mask", "jsonl")
    max_frames: Annotated[int, Field(ge=1)] | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    min_area_px: Annotated[int, Field(ge=0)] = MIN_AREA_PX
    overlap_px: int | None = None
    scales: tuple[float, ...] | None = None
    ignore: Path | None = None
    threads: int | None = None
    backend: str | None = None
    source_options: SourceOptions = field(default_factory=SourceOptions)
    policy: ReconnectPolicy = field(default_factory=ReconnectPolicy)
    max_age_ms: PositiveMs | None = None
    target_fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    record: RecordingConfig | None = None
    serve: ServeConfig | None = None
    position: str | None = None
    scale: StreamScale | None = None
    survey: bool = False
    log_format: LogFormat = "text"
    shows_password: bool = False

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.save if kind not in KINDS]
        if self.save != ("none",) and (
            unknown or len(set(self.save)) != len(self.save) or not self.save
        ):
            raise ConfigError(
                f"the outputs to save are {','.join(self.save)!r}",
                f"give some of {', '.join(KINDS)}, each once, or none alone",
            )
        # OpenCV crashes on such a path.
        for what, text, kind in (
            ("source", self.source, SourceError),
            ("folder of the results", str(self.out), OutputError),
        ):
            if not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in text):
                raise kind(f"the {what}, {text!r}, is not valid UTF-8", "give another name")
        self._check_scale()

    def _check_scale(self) -> None:
        scale, options = self.scale, self.source_options
        if scale is None:
            return
        if scale.needs_range and self.position is None:
            raise ConfigError(
                "a camera alone sets no scale: the distance is unknown",
                "give `distance_m`, or `position` with ranges",
            )
        if options.width is not None and options.height is not None:
            scale.check_size(options.width, options.height)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The kinds of result that are written: `save`, and widths where there is a scale.

        With `survey`, widths are measured in its key frames only unless `save` asks for them.
        """
        kinds = () if self.save == ("none",) else self.save
        if self.scale is None or self.survey or "widths" in kinds:
            return kinds
        return (*kinds, "widths")

    def settings(self) -> dict[str, str]:
        """The settings that all parts of a run must share, by name, without passwords."""
        options = {key: value for key, value in asdict(self.source_options).items()}
        del options["timeout_ms"]
        own = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in _NOT_OF_THE_RUN
        }
        # Left out where there is none, so that older runs can be continued.
        scale = {} if self.scale is None else {"scale": self.scale}
        given = {**options, **own, **scale}
        return {"source": redact(self.source), **{key: str(given[key]) for key in given}}
