"""From an ONNX file to a TensorRT engine with its sidecar.

One path for `tensorrt` and `tensorrt_rtx`. An engine that is not finished, or whose precision is
not what its file claims, takes no name. Knows neither PyTorch nor how an engine is run.
"""

from __future__ import annotations

import dataclasses
import shlex
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecrack.artifacts import ModelFile, ModelSpec, write_model
from edgecrack.errors import ExportError
from edgecrack.export.engine.build_progress import (
    BuildControl,
    OnProgress,
    make_monitor,
    run_watched,
)
from edgecrack.export.engine.command import trtexec_command
from edgecrack.export.engine.config import EngineConfig, check_features
from edgecrack.export.engine.config_check import TensorTypes, check_precision
from edgecrack.export.engine.network import check_interface, parse_network, set_shapes
from edgecrack.export.engine.settings import (
    apply_settings,
    load_timing_cache,
    save_timing_cache,
    timing_cache_path,
)
from edgecrack.export.engine.target_machines import Resolved, resolve_targets
from edgecrack.export.engine.verification import verify_engine
from edgecrack.export.engine.written_files import check_output, read_onnx_file
from edgecrack.nvidia.engine_info import EngineInfo, current_platform
from edgecrack.nvidia.tensorrt_module import BuildLog, construct, make_logger


@dataclass(frozen=True)
class EngineBuild:
    """A finished engine.

    Attributes:
        path: the engine's file.
        spec: its sidecar.
        seconds: how long it took, reading and writing included.
        size_bytes: size of the file.
        types: what the network computes in.
        engine_types: outputs of the engine's layers by type, where a GPU was there to ask; None
            where only the network could be checked.
        warnings: what TensorRT warned of, and what could not be checked.
        command: the line for NVIDIA's command-line tool that builds the same.
    """

    path: Path
    spec: ModelSpec
    seconds: float
    size_bytes: int
    types: TensorTypes
    engine_types: Mapping[str, int] | None
    warnings: tuple[str, ...]
    command: str


def build_engine(
    onnx_file: Path | ModelFile,
    output: Path,
    config: EngineConfig | None = None,
    on_progress: OnProgress | None = None,
) -> EngineBuild:
    """Build an engine and write it with its sidecar.

    Args:
        onnx_file: ONNX file with its sidecar, made by `edgecrack export` or `calibrate`.
        output: the engine to write; its folder must exist.
        config: how; None builds for the GPU of this machine.
        on_progress: called in this thread with a stage, the steps done of it and their number.
            If it raises, or Ctrl-C comes, the build is stopped and nothing is written.

    Raises:
        ConfigError: nothing here builds for the targets, or an option does not fit.
        ModelFileError: the ONNX file is missing, damaged, or no ONNX file.
        MissingDependencyError: no TensorRT can be loaded.
        ExportError: TensorRT cannot read or build the network, or the network's precision is
            not what the sidecar says.
        OutputError: the engine cannot be written.
    """
    started = time.monotonic()
    config, output = config or EngineConfig(), Path(output)
    model = read_onnx_file(onnx_file)
    onnx_file, spec = model.path, model.spec
    resolved = resolve_targets(config.targets, config.flavour)
    check_features(config, spec, resolved)
    description = _describe(spec, config, resolved, onnx_file)
    check_output(output, config.timing_cache)
    job = _Job(model, config, resolved, timing_cache_path(output, config, resolved.tensorrt.is_rtx))
    engine = run_watched(job.run, job.control, on_progress)
    description = dataclasses.replace(
        description, extra={**spec.extra, "convolutions": dict(job.types.convolutions)}
    )
    try:
        verified = verify_engine(resolved.tensorrt, engine, description)
    except ExportError as error:
        traceback.clear_frames(error.__traceback__)  # as `run_watched` does
        raise
    return EngineBuild(
        path=output,
        spec=write_model(output, engine, description),
        seconds=time.monotonic() - started,
        size_bytes=len(engine),
        types=job.types,
        engine_types=verified.types,
        warnings=(*job.log.warnings, *verified.warnings),
        command=shlex.join(trtexec_command(onnx_file, output, spec, config, resolved)),
    )


class _Job:
    """One build, to be run in a thread; holds what it found out."""

    def __init__(
        self,
        model: ModelFile,
        config: EngineConfig,
        resolved: Resolved,
        cache: Path | None,
    ) -> None:
        self.control = BuildControl()
        self.types = TensorTypes(0, {}, {})
        self._spec, self._content, self._config = model.spec, model.content, config
        self._resolved, self._cache = resolved, cache
        self._logger, self.log = make_logger(resolved.tensorrt.module)

    def run(self) -> bytes:
        """Parse, check and build.

        Returns:
            The engine.
        """
        tensorrt, trt = self._resolved.tensorrt, self._resolved.tensorrt.module
        self.control.put("Reading the network", 0, 1)
        builder = _make_builder(trt, self._logger, self.log)
        parsed = parse_network(tensorrt, builder, self._logger, self.log, self._content)
        check_interface(tensorrt, parsed.network, self._spec)
        self.types = check_precision(tensorrt, parsed.network, self._spec)
        self.control.put("Reading the network", 1, 1)
        builder_config = builder.create_builder_config()
        monitor = make_monitor(trt, self.control)
        builder_config.progress_monitor = monitor
        apply_settings(
            builder,
            builder_config,
            parsed.network,
            self._config,
            self._resolved,
            self._spec.precision,
        )
        set_shapes(builder, builder_config, parsed.network, self._config.batch_of(self._spec))
        if self._cache is not None:
            load_timing_cache(builder_config, self._cache, self.log)
        built = builder.build_serialized_network(parsed.network, builder_config)
        if built is None:
            raise _build_error(tensorrt.flavour, tensorrt.version, self.log)
        if self._cache is not None:
            save_timing_cache(builder_config, self._cache, self.log)
        return bytes(built)


def _describe(
    spec: ModelSpec, config: EngineConfig, resolved: Resolved, onnx_file: Path
) -> ModelSpec:
    """The engine's sidecar, but for the hash and what the build will find."""
    batch = config.batch_of(spec)
    info = EngineInfo(
        flavour=resolved.tensorrt.flavour,
        version=resolved.tensorrt.version,
        compute_capabilities=resolved.compute_capabilities,
        platform=current_platform(),
        batch=batch,
        source=onnx_file.name,
        version_compatible=config.version_compatible,
        hardware_compatible=config.hardware_compatible,
        dla_core=config.dla_core,
    )
    return dataclasses.replace(
        spec,
        kind="engine",
        batch=batch[2] if batch[0] == batch[2] else None,
        sha256="",
        parent_sha256=spec.sha256,
        engine=info.to_dict(),
    )


def _make_builder(trt: Any, logger: Any, log: BuildLog) -> Any:
    try:
        return construct(trt.Builder, logger)
    except (TypeError, RuntimeError) as error:  # what the bindings make of a null pointer
        raise ExportError(
            f"TensorRT cannot start: {log.reason()}",
            "check the GPU and its driver, as `edgecrack doctor` does",
        ) from error


def _build_error(flavour: str, version: str, log: BuildLog) -> ExportError:
    reason = log.reason()
    remedy = "try another TensorRT, or export the model again"
    if "memory" in reason.lower() or "workspace" in reason.lower():
        remedy = "allow a larger workspace, or build for fewer tiles per call"
    return ExportError(f"{flavour} {version} cannot build the engine: {reason}", remedy)
