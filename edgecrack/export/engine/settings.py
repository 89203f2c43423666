"""An `EngineConfig` as TensorRT's builder configuration, timing cache included, and as a command.

The command is that of NVIDIA's command-line tool, for users who know it or want a build without
edgecrack. It is not run here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecrack.artifacts import INPUT_NAME, ModelSpec
from edgecrack.errors import ConfigError, ExportError, OutputError
from edgecrack.export.engine.config import EngineConfig
from edgecrack.export.engine.target_machines import Resolved, known_capabilities
from edgecrack.files import write_atomic
from edgecrack.nvidia.tensorrt_module import BuildLog

_MIB = 1 << 20


def apply_settings(
    builder: Any,
    builder_config: Any,
    network: Any,
    config: EngineConfig,
    resolved: Resolved,
    precision: str,
) -> None:
    """Set the targets and options of a build.

    Args:
        builder: TensorRT's Builder.
        builder_config: its IBuilderConfig.
        network: its INetworkDefinition, to find what the DLA can run.
        config: the options, already checked against the TensorRT.
        resolved: the TensorRT and the GPUs.
        precision: of the network: "fp32", "fp16" or "int8".

    Raises:
        ConfigError: this machine has no such DLA core.
        ExportError: TensorRT refuses a target, or the DLA can run no layer of the network.
    """
    trt = resolved.tensorrt.module
    # Stores layer types in the engine, so that its precision can be read back.
    builder_config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if config.workspace_mib is not None:
        limit = config.workspace_mib * _MIB
        builder_config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, limit)
    if config.optimization_level is not None:
        builder_config.builder_optimization_level = config.optimization_level
    if config.version_compatible:
        builder_config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if config.hardware_compatible:
        builder_config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if precision == "fp32":
        builder_config.clear_flag(trt.BuilderFlag.TF32)  # on by default, with FP16's 10 bits
    _set_targets(builder_config, resolved)
    if config.dla_core is not None:
        _set_dla(trt, builder, builder_config, network, config.dla_core)


def _set_targets(builder_config: Any, resolved: Resolved) -> None:
    tensorrt, capabilities = resolved.tensorrt, resolved.compute_capabilities
    if not (
        tensorrt.has("ComputeCapability")
        and tensorrt.has("IBuilderConfig.num_compute_capabilities")
        and tensorrt.has("IBuilderConfig.set_compute_capability")
    ):
        return  # it builds for the GPU of this machine, which is the target
    builder_config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        name = f"SM{capability.replace('.', '')}"
        member = tensorrt.module.ComputeCapability.__members__[name]
        if not builder_config.set_compute_capability(member, index):
            raise ExportError(
                f"{tensorrt.flavour} {tensorrt.version} refuses compute capability {capability}",
                "name other GPUs",
            )


def _set_dla(trt: Any, builder: Any, builder_config: Any, network: Any, core: int) -> None:
    cores = builder.num_DLA_cores
    if core >= cores:
        raise ConfigError(
            f"DLA core {core} was requested, and this machine has {cores} that TensorRT can use",
            f"give a core from 0 to {cores - 1}"
            if cores
            else "leave the DLA out (Orin Nano and Thor have none)",
        )
    builder_config.default_device_type = trt.DeviceType.DLA
    builder_config.DLA_core = core
    builder_config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    # With the fallback, TensorRT would silently build an engine for the GPU alone.
    if not any(builder_config.can_run_on_DLA(layer) for layer in layers):
        raise ExportError(
            f"the DLA can run none of the {len(layers)} layers of the network",
            "leave the DLA out",
        )


def timing_cache_path(output: Path, config: EngineConfig, is_rtx: bool) -> Path | None:
    """The timing cache of a build, or None without one.

    TensorRT for RTX measures nothing while it builds and needs none.
    """
    if is_rtx or not config.use_timing_cache:
        return None
    return config.timing_cache or output.with_name(output.name + ".timing")


def load_timing_cache(builder_config: Any, path: Path, log: BuildLog) -> None:
    """Load the timings of an earlier build; a cache that does not fit is replaced."""
    try:
        kept = path.read_bytes()
    except FileNotFoundError:
        kept = b""
    except OSError as error:
        kept = b""
        log.add(log.warnings, f"the timing cache {path} cannot be read: {error.strerror}")
    timings = builder_config.create_timing_cache(kept)
    if timings is not None and builder_config.set_timing_cache(timings, False):
        return
    log.add(log.warnings, f"the timing cache {path} is of another GPU or TensorRT and is replaced")
    builder_config.set_timing_cache(builder_config.create_timing_cache(b""), False)


def save_timing_cache(builder_config: Any, path: Path, log: BuildLog) -> None:
    """Save a build's timings; a failure is only a warning, since the engine is complete."""
    timings = builder_config.get_timing_cache()
    if timings is None:
        return
    try:
        write_atomic(path, bytes(timings.serialize()))
    except OutputError as error:
        log.add(log.warnings, error.problem)


TRTEXEC, TENSORRT_RTX = "trtexec", "tensorrt_rtx"
_STRONG_TYPING_ALONE = 11  # the first TensorRT that has no other typing


def trtexec_command(
    onnx_file: Path, output: Path, spec: ModelSpec, config: EngineConfig, resolved: Resolved
) -> list[str]:
    """The command that builds the same engine.

    The flags are those that NVIDIA documents for `trtexec` of TensorRT 10 and 11 and for
    `tensorrt_rtx`, which are not part of the Python packages and were not tested. On a Jetson,
    `trtexec` is in /usr/src/tensorrt/bin. The engine that it writes has no sidecar.

    Args:
        onnx_file: the ONNX file.
        output: the engine.
        spec: the ONNX file's sidecar.
        config: the options.
        resolved: the TensorRT and the GPUs.

    Returns:
        Program and arguments, for `shlex.join`.
    """
    tensorrt = resolved.tensorrt
    program = TENSORRT_RTX if tensorrt.is_rtx else TRTEXEC
    command = [program, f"--onnx={onnx_file}", f"--saveEngine={output}"]
    if not tensorrt.is_rtx and int(tensorrt.version.split(".")[0]) < _STRONG_TYPING_ALONE:
        command.append("--stronglyTyped")
    if known_capabilities(tensorrt):
        numbers = ",".join(item.replace(".", "") for item in resolved.compute_capabilities)
        command.append(f"--computeCapabilities={numbers}")
    if spec.batch is None:
        command += _shapes(spec.tile_hw, config.batch_of(spec))
    if config.workspace_mib is not None:
        command.append(f"--memPoolSize=workspace:{config.workspace_mib}")
    if config.optimization_level is not None:
        command.append(f"--builderOptimizationLevel={config.optimization_level}")
    if config.version_compatible:
        command.append("--versionCompatible")
    if config.hardware_compatible:
        command.append("--hardwareCompatibilityLevel=ampere+")
    if config.dla_core is not None:
        command += [f"--useDLACore={config.dla_core}", "--allowGPUFallback"]
    cache = timing_cache_path(output, config, tensorrt.is_rtx)
    if cache is not None:
        command.append(f"--timingCacheFile={cache}")
    return [*command, "--profilingVerbosity=detailed", "--skipInference"]


def _shapes(tile_hw: tuple[int, int], batch: tuple[int, int, int]) -> list[str]:
    height, width = tile_hw
    names = ("minShapes", "optShapes", "maxShapes")
    return [
        f"--{name}={INPUT_NAME}:{count}x1x{height}x{width}"
        for name, count in zip(names, batch, strict=True)
    ]
