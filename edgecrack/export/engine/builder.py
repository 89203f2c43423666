"""From an ONNX file to a TensorRT engine with its sidecar, for `tensorrt` and `tensorrt_rtx`.

An unfinished engine, or one whose precision is not what its file claims, is not written. TensorRT
builds in a thread of its own and calls back from any thread; progress is reported in the caller's
thread, which also receives Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import shlex
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

from edgecrack.artifacts import ModelFile, ModelSpec, read_model_file, write_model
from edgecrack.errors import ConfigError, ExportError, ModelFileError
from edgecrack.export.engine.config import EngineConfig, check_features
from edgecrack.export.engine.network import (
    TensorTypes,
    check_interface,
    check_precision,
    parse_network,
    set_shapes,
)
from edgecrack.export.engine.settings import (
    apply_settings,
    load_timing_cache,
    save_timing_cache,
    timing_cache_path,
    trtexec_command,
)
from edgecrack.export.engine.target_machines import Resolved, resolve_targets
from edgecrack.export.engine.verification import verify_engine
from edgecrack.files import output_error
from edgecrack.nvidia.engine_info import EngineInfo, Flavour, current_platform
from edgecrack.nvidia.tensorrt_module import BuildLog, construct, make_logger

_OTHER_KINDS = (".onnx", ".json", ".safetensors")


def read_onnx_file(path: Path | ModelFile) -> ModelFile:
    """Read an ONNX file and its sidecar.

    Raises:
        ModelFileError: a file is missing, they do not match, or it is not an ONNX file.
    """
    model = read_model_file(path)
    if model.spec.kind != "onnx":
        raise ModelFileError(
            f"{model.path} is of kind {model.spec.kind!r}, and an engine is built from an ONNX "
            "file",
            "give a file made by `edgecrack export` or `edgecrack calibrate`",
        )
    return model


def check_output(output: Path, timing_cache: Path | None) -> None:
    """Refuse an output that cannot be written, before minutes are spent on building.

    Args:
        output: the engine.
        timing_cache: the timing cache, if the user named one.

    Raises:
        ConfigError: the engine has the suffix of another kind of file.
        OutputError: a folder is missing or not writable.
    """
    if output.suffix.lower() in _OTHER_KINDS:
        raise ConfigError(
            f"the engine's file is {output.name}, which has the suffix of another kind of file",
            "give a name that ends in .engine",
        )
    for path in filter(None, (output, timing_cache)):
        folder = Path(os.path.realpath(path)).parent
        if path.is_dir():
            raise output_error(path, IsADirectoryError(errno.EISDIR, "it is a folder"))
        if not folder.exists():
            problem = FileNotFoundError(errno.ENOENT, "its folder does not exist")
            raise output_error(path, problem)
        if not folder.is_dir():
            raise output_error(path, NotADirectoryError(errno.ENOTDIR, "its folder is a file"))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise output_error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


Progress = tuple[str, int, int]
OnProgress = Callable[[str, int, int], None]
POLL_S = 0.05


class BuildControl:
    """Progress and cancellation of a build, shared between threads."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._progress: SimpleQueue[Progress] = SimpleQueue()

    def put(self, stage: str, done: int, total: int) -> None:
        """Report the progress of a stage; from any thread."""
        self._progress.put((stage, done, total))

    def take(self) -> list[Progress]:
        """Progress since the last call: the latest of each stage, in order."""
        latest: list[Progress] = []
        while True:
            try:
                progress = self._progress.get_nowait()
            except Empty:
                return latest
            if latest and latest[-1][0] == progress[0]:
                latest.pop()
            latest.append(progress)


def make_monitor(trt: Any, control: BuildControl) -> Any:
    """A TensorRT progress monitor that reports to `control` and stops when it is cancelled.

    Args:
        trt: the TensorRT module.
        control: receives the progress and signals cancellation.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = max(1, num_steps)
            control.put(phase_name, 0, self._steps[phase_name])

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            total = self._steps.get(phase_name, step + 1)
            control.put(phase_name, min(step + 1, total), total)
            return not control.cancelled.is_set()

    return Monitor()


def run_watched(
    build: Callable[[], Any], control: BuildControl, on_progress: OnProgress | None
) -> Any:
    """Run a build in a thread and report its progress from this one.

    If this thread is interrupted, or `on_progress` raises, the build is cancelled, and the
    exception is raised once it has stopped. A second Ctrl-C does not wait.

    Args:
        build: the build; must end soon after `control.cancelled` is set.
        control: receives the build's progress.
        on_progress: called with a stage, its steps done and their number.

    Returns:
        The result of `build`.
    """
    results: list[Any] = []
    failures: list[BaseException] = []
    # Not Thread.join: interrupted once, it returns while the thread still runs.
    finished = threading.Event()

    def work() -> None:
        try:
            results.append(build())
        except BaseException as error:
            # The frames hold TensorRT's objects as long as the error lives. They must end now, not
            # when Python's collector runs (see `construct`).
            traceback.clear_frames(error.__traceback__)
            failures.append(error)
        finally:
            finished.set()

    # A daemon, so that a second Ctrl-C can end the program while TensorRT still works.
    threading.Thread(target=work, name="engine-build", daemon=True).start()
    try:
        while not finished.wait(POLL_S):
            _report(control, on_progress)
        _report(control, on_progress)
    except BaseException:
        control.cancelled.set()
        finished.wait()
        raise
    if failures:
        failure = failures.pop()
        try:
            raise failure
        finally:
            del failure  # breaks the cycle of error and frame
    return results[0]


def _report(control: BuildControl, on_progress: OnProgress | None) -> None:
    for stage, done, total in control.take():
        if on_progress is not None:
            on_progress(stage, done, total)


@dataclass(frozen=True)
class EngineBuild:
    """A finished engine.

    Attributes:
        path: the engine's file.
        spec: its sidecar.
        seconds: how long it took, reading and writing included.
        size_bytes: size of the file.
        types: what the network computes in.
        engine_types: outputs of the engine's layers by type, if a GPU could be asked; None if only
            the network could be checked.
        warnings: TensorRT's warnings, and checks that were not possible.
        command: the command of NVIDIA's command-line tool that builds the same.
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
        config: the options; None builds for the GPU of this machine.
        on_progress: called in this thread with a stage, its steps done and their number. If it
            raises, or on Ctrl-C, the build is stopped and nothing is written.

    Raises:
        ConfigError: no TensorRT here builds for the targets, or an option is not supported.
        ModelFileError: the ONNX file is missing, damaged, or not an ONNX file.
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
    """One build, run in a thread, with its findings."""

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
    """The engine's sidecar without the hash and the findings of the build."""
    batch = config.batch_of(spec)
    info = EngineInfo(
        flavour=cast(Flavour, resolved.tensorrt.flavour),
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
    except (TypeError, RuntimeError) as error:  # how the bindings report a null pointer
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
