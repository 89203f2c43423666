"""From a checkpoint or an ONNX file to an engine in one call, each stage checked, and its report.

Export -> precision or calibration -> engine -> scores. Intermediate files are kept beside the
engine: the ONNX file that it was built from serves every other GPU and version.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecrack.artifacts import ModelFile, ModelSpec, Precision, read_model_file, write_model
from edgecrack.calibration.config import CalibrationConfig
from edgecrack.calibration.summary import SCORE_HEADS, gate_text, score_row
from edgecrack.errors import ConfigError, ModelFileError
from edgecrack.export.engine.builder import EngineBuild, build_engine, check_output
from edgecrack.export.engine.config import EngineConfig, check_features
from edgecrack.export.engine.target_machines import resolve_targets
from edgecrack.export.model_scores import (
    NotRun,
    Parity,
    Scored,
    check_parity,
    labelled_tiles,
    score_files,
)
from edgecrack.extras import require
from edgecrack.files import make_folder
from edgecrack.model_target import check_model_target
from edgecrack.nvidia.engine_info import ENGINE_SUFFIXES, EngineInfo
from edgecrack.onnx_graph.graph_file import read_graph
from edgecrack.runtime.backends.open import check_it_runs
from edgecrack.settings import settings
from edgecrack.terminal.table import rows_text

_TILE_HW = (256, 256)

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


@settings()
class BuildConfig:
    """What to build.

    Attributes:
        precision: "fp32", "fp16" or "int8"; None takes an ONNX file's own where that is FP16 or
            INT8, else FP16.
        calibration: data, method and gate; required for INT8, and its data also score FP16.
        tile_hw: height and width of a tile in pixels, for a checkpoint alone; None is 256x256.
        batch: tiles per call for a checkpoint, or None for any number.
        engine: how the engine is built.
    """

    precision: Precision | None = None
    calibration: CalibrationConfig | None = None
    tile_hw: tuple[int, int] | None = None
    batch: int | None = None
    engine: EngineConfig = field(default_factory=EngineConfig)


@dataclass(frozen=True)
class BuildReport:
    """The built engine and its accuracy.

    Attributes:
        engine: the engine.
        onnx_file: the ONNX file that it was built from.
        written: every model file written, in order; each has its sidecar beside it.
        scores: by precision, the file before and after; empty where nothing could be scored.
        data: what the scores were measured on.
        kept_fp16: layers of an INT8 engine that stay in FP16.
        parity: how the engine differs from the ONNX file, where it ran on this machine.
        not_run: why it did not run; None where it did.
    """

    engine: EngineBuild
    onnx_file: Path
    written: tuple[Path, ...]
    scores: tuple[Scored, ...]
    data: str
    kept_fp16: tuple[str, ...]
    parity: Parity | None
    not_run: NotRun | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """TensorRT's warnings, and checks that should have been possible and were not."""
        unrun = self.not_run is not None and self.not_run.is_for_here
        return (*self.engine.warnings, *([str(self.not_run)] if unrun else []))

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        spec = self.engine.spec
        return {
            "engine": str(self.engine.path),
            "sidecar": f"{self.engine.path}.json",
            "onnx": str(self.onnx_file),
            "precision": spec.precision,
            "target": dict(spec.engine or {}),
            "size_bytes": self.engine.size_bytes,
            "build_seconds": round(self.engine.seconds, 2),
            "scores": [item.to_dict() for item in self.scores],
            "scored_on": self.data,
            "kept_fp16": list(self.kept_fp16),
            "engine_against_onnx": self.parity.to_dict() if self.parity else None,
            "not_run_because": str(self.not_run) if self.not_run else None,
            "warnings": list(self.warnings),
            "command": self.engine.command,
        }


def build(
    model: Path,
    output: Path,
    config: BuildConfig | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> BuildReport:
    """Build an engine from a checkpoint or an ONNX file.

    Args:
        model: `*.safetensors` or `*.onnx`, with its sidecar.
        output: the engine to write; NAME.fp32.onnx, NAME.fp16.onnx or NAME.int8.onnx come beside
            NAME.engine where they are intermediate files.
        config: precision, data and target.
        progress: called at each stage.

    Raises:
        EdgecrackError: as `export_checkpoint`, `calibrate` and `build_engine`. Nothing is written
            unchecked.
    """
    config, model, output = config or BuildConfig(), Path(model), Path(output)
    # First, so that an impossible target is refused before a long calibration.
    resolved = resolve_targets(config.engine.targets, config.engine.flavour)
    given = read_model_file(model)
    spec = given.spec
    precision = _precision(model, spec, config)
    if spec.kind == "onnx":
        check_it_runs(given)  # reports faults of a graph in one sentence
    planned = dataclasses.replace(spec, precision=precision)
    check_features(config.engine, planned, resolved)
    config.engine.batch_of(planned)
    make_folder(output.parent)
    check_model_target(output, ENGINE_SUFFIXES, [model])
    check_output(output, config.engine.timing_cache)
    for step in _steps(spec, precision):
        check_model_target(output.with_suffix(step), (".onnx",), [model], implied=True)
    source, written = given, []
    if spec.kind == "checkpoint":
        progress("exporting", 0, 1)
        target = output.with_suffix(".fp32.onnx")
        source = _as_written(target, _export(model, target, config))
        spec = source.spec
        written.append(target)
    float_file = source if spec.precision == "fp32" else None
    if precision != spec.precision:
        target = output.with_suffix(f".{precision}.onnx")
        source = _as_written(target, _convert(source, target, precision, config, progress))
        spec = source.spec
        written.append(target)
    progress("scoring", 0, 1)
    scores, data = _score(float_file, source, spec, config)
    progress("scoring", 1, 1)
    built = build_engine(source, output, config.engine, progress)
    written.append(output)
    parity = check_parity(output, source, spec)
    kept = tuple((spec.calibration or {}).get("kept_fp16", ()))
    ran = parity if isinstance(parity, Parity) else None
    not_run = parity if isinstance(parity, NotRun) else None
    return BuildReport(built, source.path, tuple(written), scores, data, kept, ran, not_run)


def _as_written(path: Path, spec: ModelSpec) -> ModelFile:
    """A file that this build has just written, read back once for the later stages.

    Raises:
        ModelFileError: it was replaced.
    """
    found = read_model_file(path)
    if found.spec.sha256 != spec.sha256:
        raise ModelFileError(f"{path} was replaced during the build", "build the engine again")
    return found


def _precision(model: Path, spec: ModelSpec, config: BuildConfig) -> Precision:
    """The precision to build; impossible combinations are refused.

    Raises:
        ConfigError: INT8 without data.
        ModelFileError: the file is an engine, or already has another lower precision.
    """
    if spec.kind == "engine":
        raise ModelFileError(
            f"{model} is already an engine", "give the checkpoint or the ONNX file it came from"
        )
    own: Precision = spec.precision if spec.kind == "onnx" else "fp32"
    precision = config.precision or (own if own != "fp32" else "fp16")
    if own not in ("fp32", precision):
        raise ModelFileError(
            f"{model} is {own.upper()} and {precision.upper()} was requested",
            "give the FP32 file that it was made from",
        )
    if own == "int8" and config.calibration is not None:
        raise ConfigError(
            f"{model} is already INT8, and calibration data were given",
            "leave out `data`, or give the FP32 file",
        )
    if spec.kind == "onnx" and config.tile_hw is not None:
        raise ConfigError(
            f"a tile of {config.tile_hw[1]}x{config.tile_hw[0]} px was requested, and {model} "
            f"takes {spec.tile_hw[1]}x{spec.tile_hw[0]} px",
            "leave out `tile_hw`, or give the checkpoint",
        )
    if precision == "int8" and own != "int8" and config.calibration is None:
        raise ConfigError(
            "INT8 was requested without data",
            "give images of what the robot sees: `data` FOLDER",
        )
    return precision


def _steps(spec: ModelSpec, precision: str) -> list[str]:
    """Suffixes of the intermediate files."""
    steps = [".fp32.onnx"] if spec.kind == "checkpoint" else []
    own = "fp32" if spec.kind == "checkpoint" else spec.precision
    return steps if precision == own else [*steps, f".{precision}.onnx"]


def _export(model: Path, target: Path, config: BuildConfig) -> ModelSpec:
    for module in ("torch", "lightning", "safetensors", "onnx", "onnxscript"):
        require(module, extra="export", purpose="building from a checkpoint")
    from edgecrack.export.graph import ExportConfig, export_checkpoint

    return export_checkpoint(model, target, ExportConfig(config.tile_hw or _TILE_HW, config.batch))


def _convert(
    model: ModelFile, target: Path, precision: Precision, config: BuildConfig, progress: Progress
) -> ModelSpec:
    """Make the FP16 or INT8 file of an FP32 one."""
    require("onnx", extra="quantize", purpose="changing a model's precision")
    if precision == "int8" and config.calibration is not None:
        from edgecrack.calibration.calibrating import calibrate

        return calibrate(model, target, config.calibration, progress).spec
    from edgecrack.onnx_graph.precision import checked_half

    spec, graph = model.spec, read_graph(model, "fp32")
    progress("checking FP16", 0, 1)
    tiles, _ = labelled_tiles(config.calibration, spec, graph)
    half = checked_half(graph, tiles.pixels, spec.batch)
    return write_model(
        target,
        half.model.SerializeToString(),
        dataclasses.replace(
            spec,
            precision="fp16",
            parent_sha256=spec.sha256,
            extra={**spec.extra, "fp16": half.to_dict()},
        ),
    )


def _score(
    float_file: ModelFile | None, source: ModelFile, spec: ModelSpec, config: BuildConfig
) -> tuple[tuple[Scored, ...], str]:
    """Scores of the FP32 file and of what was built, on the same tiles.

    An INT8 file has the gate's scores, which would take a CPU as long to compute again.
    """
    if spec.precision == "int8":
        found = [item for item in spec.scores if "ods" in item and "precision" in item]
        if found:
            rows = tuple(Scored.from_mapping(item) for item in found)
            return rows, str(found[-1].get("data", "unknown data"))
    return score_files(float_file, source, spec, config.calibration)


def report_text(report: BuildReport) -> str:
    """The report as text: scores, then the files."""
    built = report.engine
    info = EngineInfo.from_dict(built.spec.engine)
    lines = []
    if report.scores:
        compared = any(item.name == "fp32" for item in report.scores)
        rows = [
            score_row(item.name.upper(), item.accuracy, compared=compared) for item in report.scores
        ]
        lines += [rows_text(SCORE_HEADS, rows), f"measured on: {report.data}", ""]
    gpus = ", ".join(f"SM{item.replace('.', '')}" for item in info.compute_capabilities)
    facts = [
        ("engine", f"{built.path} ({built.size_bytes / 1e6:.2f} MB)"),
        ("precision", f"{built.spec.precision.upper()}, verified from {_convolutions(report)}"),
        ("for", f"{gpus}; {info.flavour} {info.version}, {info.platform}"),
        ("tiles per call", "{} to {}, tuned for {}".format(*_batch(info))),
        ("built in", f"{built.seconds:.1f} s"),
        ("sidecar", f"{built.path}.json"),
        ("built from", str(report.onnx_file)),
    ]
    facts.append(("run here", _parity(report)))
    if built.spec.precision == "int8":
        kept = ", ".join(report.kept_fp16) or "only those that always are"
        facts.append(("kept in FP16", kept))
        facts.append(("gate", gate_text(built.spec.calibration or {}).removeprefix("gate: ")))
    width = max(len(name) for name, _ in facts)
    lines += [f"{name.ljust(width)}  {value}" for name, value in facts]
    lines += [f"warning: {text}" for text in report.warnings]
    lines += ["the same with NVIDIA's tool:", f"  {built.command}"]
    where = "next" if report.parity else "next, where it is to run"
    command = shlex.join(["edgecrack", "stream", "--camera", "0", "--model", str(built.path)])
    lines.append(f"{where}: {command}")
    return "\n".join(lines)


def _batch(info: EngineInfo) -> tuple[int, int, int]:
    least, best, most = info.batch
    return least, most, best


def _convolutions(report: BuildReport) -> str:
    counts = report.engine.types.convolutions
    words = [f"{count} {name}" for name, count in counts.items()]
    text = f"the network: convolutions {', '.join(words)}"
    found = report.engine.engine_types
    if found:
        text += "; from the engine: outputs " + ", ".join(
            f"{n} {name}" for name, n in found.items()
        )
    return text


def _parity(report: BuildReport) -> str:
    found = report.parity
    if found is None:
        if report.not_run is not None and report.not_run.is_for_here:
            return "NO, although it is for this machine: see the warning"
        return f"no: {report.not_run or 'this machine cannot run it'}"
    return (
        f"yes: it differs from {report.onnx_file.name} in ONNX Runtime by "
        f"{found.mean_difference:.3f}/255 in the mean, {found.largest_difference}/255 at most"
    )
