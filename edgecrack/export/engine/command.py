"""NVIDIA's command-line tool and the flags that build the same engine.

For users who know the tool, and for a look at what a build does with nothing of this project
around it. Nothing here runs the command.
"""

from __future__ import annotations

from pathlib import Path

from edgecrack.artifacts import INPUT_NAME, ModelSpec
from edgecrack.export.engine.config import EngineConfig
from edgecrack.export.engine.settings import timing_cache_path
from edgecrack.export.engine.target_machines import Resolved, known_capabilities

TRTEXEC, TENSORRT_RTX = "trtexec", "tensorrt_rtx"
_STRONG_TYPING_ALONE = 11  # the first TensorRT that has no other typing


def trtexec_command(
    onnx_file: Path, output: Path, spec: ModelSpec, config: EngineConfig, resolved: Resolved
) -> list[str]:
    """The command that builds the same engine.

    The flags are those that NVIDIA documents for `trtexec` of TensorRT 10 and 11 and for
    `tensorrt_rtx`, which are not part of the Python packages: they were not run here. On a
    Jetson `trtexec` lies in /usr/src/tensorrt/bin. The engine that it writes has no sidecar.

    Args:
        onnx_file: the ONNX file.
        output: the engine.
        spec: the ONNX file's sidecar.
        config: what was asked for.
        resolved: the TensorRT and the GPUs.

    Returns:
        Program and arguments; `shlex.join` makes a line of it.
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
