"""The settings of one `edgecrack stream`, checked before anything is opened."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from edgecrack.constants import MIN_AREA_PX
from edgecrack.errors import ConfigError, OutputError, SourceError
from edgecrack.runtime.outputs.output_place import Existing
from edgecrack.runtime.outputs.sinks import KINDS
from edgecrack.runtime.sources.options import SourceOptions
from edgecrack.runtime.sources.reconnecting import ReconnectPolicy
from edgecrack.runtime.telemetry.events import LOG_FORMATS, LogFormat
from edgecrack.terminal.redaction import redact

if TYPE_CHECKING:
    from edgecrack.runtime.measuring.stream_scale import StreamScale
    from edgecrack.runtime.recording.config import RecordingConfig
    from edgecrack.runtime.web.config import ServeConfig

# These say how a stream runs and where, not what is found; the model counts by its content, which
# the session adds.
_NOT_OF_THE_RUN = (
    "source", "shows_password", "source_options", "out", "existing", "model", "threshold",
    "scales", "max_frames", "threads", "backend", "policy", "record", "serve", "log_format",
    "scale", "survey",
)  # fmt: skip


@dataclass(frozen=True)
class StreamConfig:
    """One stream.

    Attributes:
        source: address as `open_source` takes it.
        shows_password: the address stood on the command line, with a password in it.
        out: folder of the results.
        existing: what becomes of an earlier run's results there, as `take_place` takes it.
        model: model file; None takes the installed one, or else the bundled one.
        save: of "overlay", "mask", "prob", "jsonl" and "widths"; ("none",) writes only the
            summary.
        max_frames: stop after so many; None goes on to the end.
        threshold: decision threshold; None takes the model's.
        min_area_px: groups of fewer crack pixels are dropped.
        overlap_px: smallest overlap of tiles; None takes the default.
        scales: sizes of the frame at which the model runs; None takes the model's own.
        ignore: file with where nothing is to be inspected, as `read_ignore_mask` takes it.
        threads: CPU threads; None takes all.
        backend: what runs an ONNX file, as `open_runner` takes it.
        source_options: size, rate, flip, loop.
        policy: how long to wait for a live source that is lost.
        max_age_ms: results of a live source older than this are not published.
        target_fps: results per second to keep to.
        record: recording, or None.
        serve: live page, or None.
        position: where positions come from, as `open_positions` takes it, or None.
        scale: how many millimetres a pixel shows; None measures in pixels. Given, it adds "widths"
            to what is saved.
        survey: keep what `edgecrack survey` needs.
        log_format: of the log on standard error.
    """

    source: str
    out: Path
    existing: Existing = "beside"
    model: Path | None = None
    save: tuple[str, ...] = ("overlay", "mask", "jsonl")
    max_frames: int | None = None
    threshold: float | None = None
    min_area_px: int = MIN_AREA_PX
    overlap_px: int | None = None
    scales: tuple[float, ...] | None = None
    ignore: Path | None = None
    threads: int | None = None
    backend: str | None = None
    source_options: SourceOptions = field(default_factory=SourceOptions)
    policy: ReconnectPolicy = field(default_factory=ReconnectPolicy)
    max_age_ms: float | None = None
    target_fps: float | None = None
    record: RecordingConfig | None = None
    serve: ServeConfig | None = None
    position: str | None = None
    scale: StreamScale | None = None
    survey: bool = False
    log_format: LogFormat = "text"
    shows_password: bool = False

    def __post_init__(self) -> None:
        # Here, so that a slip shows before a model is loaded and a camera opened.
        unknown = [kind for kind in self.save if kind not in KINDS]
        if self.save != ("none",) and (
            unknown or len(set(self.save)) != len(self.save) or not self.save
        ):
            raise ConfigError(
                f"the outputs to save are {','.join(self.save)!r}",
                f"give some of {', '.join(KINDS)}, each once, or none alone",
            )
        if self.max_frames is not None and self.max_frames < 1:
            raise ConfigError(
                f"the number of frames to stop after is {self.max_frames}",
                "give 1 or more, or leave `max_frames` out",
            )
        # OpenCV crashes on a path that is no text.
        for what, text, kind in (
            ("source", self.source, SourceError),
            ("folder of the results", str(self.out), OutputError),
        ):
            if not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in text):
                raise kind(f"the {what}, {text!r}, is no text in UTF-8", "give another name")
        if self.min_area_px < 0:
            raise ConfigError(f"min_area_px is {self.min_area_px}", "give 0 or more")
        if self.max_age_ms is not None and not self.max_age_ms > 0:
            raise ConfigError(f"`max_age_ms` is {self.max_age_ms:g}", "give more than 0")
        if self.target_fps is not None and not 0 < self.target_fps <= 1000:
            raise ConfigError(
                f"`target_fps` is {self.target_fps:g}", "give a number above 0, at most 1000"
            )
        self._check_scale()
        if self.log_format not in LOG_FORMATS:
            raise ConfigError(
                f"the log format is {self.log_format!r}", f"give {' or '.join(LOG_FORMATS)}"
            )

    def _check_scale(self) -> None:
        scale, options = self.scale, self.source_options
        if scale is None:
            return
        if scale.needs_range and self.position is None:
            raise ConfigError(
                "a camera alone gives no scale: neither the distance nor where it comes from is "
                "known",
                "give `distance_m`, or `position` with ranges",
            )
        if options.width is not None and options.height is not None:
            scale.check_size(options.width, options.height)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The kinds of result that are written: `save`, and widths where there is a scale.

        With `survey`, widths are measured in the frames that it keeps, and in all on request only.
        """
        kinds = () if self.save == ("none",) else self.save
        if self.scale is None or self.survey or "widths" in kinds:
            return kinds
        return (*kinds, "widths")

    def settings(self) -> dict[str, str]:
        """What all parts of a run have in common, by name, without passwords."""
        options = {key: value for key, value in asdict(self.source_options).items()}
        del options["timeout_ms"]
        own = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in _NOT_OF_THE_RUN
        }
        # Only where there is one, so that runs from before there were scales can go on.
        scale = {} if self.scale is None else {"scale": self.scale}
        given = {**options, **own, **scale}
        return {"source": redact(self.source), **{key: str(given[key]) for key in given}}
