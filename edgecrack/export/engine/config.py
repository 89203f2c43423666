"""Settings of an engine build, and what a TensorRT, a GPU or a model does not support of them."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated

from annotated_types import Predicate
from pydantic import Field

from edgecrack.artifacts import ModelSpec
from edgecrack.errors import ConfigError
from edgecrack.export.engine.target_machines import AUTO, Resolved, Targets
from edgecrack.nvidia.engine_info import JETSON_CAPABILITIES, Flavour
from edgecrack.settings import settings

# A video frame has more than eight tiles, so nearly every call is full; TensorRT tunes for the
# middle number.
DYNAMIC_BATCH = (1, 8, 8)
MOST_TILES = 4096
_THOR = "11.0"
# NVIDIA's release notes of TensorRT 11.4.1, "DLA support for NVIDIA JetPack".
_LAST_DLA_OF_10, _DLA_IS_BACK = (10, 7), (11, 4, 1)
MOST_WORKSPACE_MIB = 1 << 20


Batch = Annotated[
    tuple[int, int, int],
    Predicate(lambda counts: 1 <= counts[0] <= counts[1] <= counts[2] <= MOST_TILES),
    Field(description=f"least, best and most tiles per call, 1 to {MOST_TILES}, in rising order"),
]


@settings()
class EngineConfig:
    """How an engine is built.

    Attributes:
        targets: GPUs to build for, from `parse_targets`.
        flavour: "tensorrt" or "tensorrt_rtx"; None for the one that builds for the targets.
        batch: least, best and most tiles per call, of an ONNX file with a dynamic batch; None
            is `DYNAMIC_BATCH`. Three times the same number makes an engine of fixed shape.
        workspace_mib: largest GPU memory of a layer while it computes, in MiB; None for the GPU's
            whole memory.
        timing_cache: file that keeps measured timings for the next build; None is the output's
            name plus `.timing`. TensorRT for RTX measures nothing while it builds.
        use_timing_cache: whether timings are kept at all.
        version_compatible: the engine also runs in later TensorRT. Such an engine contains a lean
            runtime, which is code for the CPU: its loader must set
            `Runtime.engine_host_code_allowed`, which is why its hash is checked first. It is
            larger and can be slower.
        hardware_compatible: the engine runs on every GPU from compute capability 8.0 on, more
            slowly; not on Jetson.
        dla_core: core of an Orin's deep-learning accelerator; the GPU runs what it cannot. FP16
            only, with a fixed batch; TensorRT up to 10.7, and from 11.4.1 on. None uses the GPU
            alone.
        optimization_level: 0 builds fastest, 5 searches longest; None is TensorRT's own, 3.
    """

    targets: Targets = field(default_factory=lambda: Targets(AUTO))
    flavour: Flavour | None = None
    batch: Batch | None = None
    workspace_mib: Annotated[int, Field(ge=1, le=MOST_WORKSPACE_MIB)] | None = None
    timing_cache: Path | None = None
    use_timing_cache: bool = True
    version_compatible: bool = False
    hardware_compatible: bool = False
    dla_core: Annotated[int, Field(ge=0, description="0 or 1")] | None = None
    optimization_level: Annotated[int, Field(ge=0, le=5)] | None = None

    def __post_init__(self) -> None:
        if self.timing_cache is not None and not self.use_timing_cache:
            raise ConfigError(
                f"the timing cache {self.timing_cache} is named and disabled",
                "give one of the two",
            )

    def batch_of(self, spec: ModelSpec) -> tuple[int, int, int]:
        """Least, best and most tiles per call of an engine built from an ONNX file.

        Raises:
            ConfigError: the file has a fixed batch and another one was requested.
        """
        if spec.batch is None:
            return self.batch or DYNAMIC_BATCH
        fixed = (spec.batch, spec.batch, spec.batch)
        if self.batch not in (None, fixed):
            raise ConfigError(
                f"{self.batch} tiles per call were requested, and the ONNX file takes exactly "
                f"{spec.batch}",
                "leave the batch out, or export the file with a dynamic batch",
            )
        return fixed


def check_features(config: EngineConfig, spec: ModelSpec, resolved: Resolved) -> None:
    """Refuse options that a TensorRT, a GPU or a model does not support, before any work.

    TensorRT for RTX silently ignores most of them.

    Raises:
        ConfigError: naming the option and the TensorRT.
    """
    tensorrt = resolved.tensorrt
    name = f"{tensorrt.flavour} {tensorrt.version}"
    capabilities = resolved.compute_capabilities
    if tensorrt.is_rtx:
        refused = {
            "a DLA core": config.dla_core is not None,
            "a version-compatible engine": config.version_compatible,
            "a hardware-compatible engine": config.hardware_compatible,
            "a timing cache": config.timing_cache is not None,
        }
        for option in (option for option, asked in refused.items() if asked):
            raise ConfigError(
                f"{option} was asked for, which {name} does not have",
                "leave it out, or build with `flavour` tensorrt",
            )
    if config.hardware_compatible:
        unfit = [item for item in capabilities if item in JETSON_CAPABILITIES or float(item) < 8.0]
        if unfit:
            raise ConfigError(
                "a hardware-compatible engine was asked for on compute capability "
                f"{unfit[0]}, where TensorRT has none",
                "leave it out and build one engine for each GPU",
            )
    if config.dla_core is not None:
        _check_dla_support(resolved)
        _check_dla(config, spec)


def _check_dla_support(resolved: Resolved) -> None:
    tensorrt = resolved.tensorrt
    if _THOR in resolved.compute_capabilities:
        raise ConfigError(
            "a DLA core was asked for on Jetson Thor, which has no DLA", "leave the DLA out"
        )
    version = tuple(int(part) for part in tensorrt.version.split(".")[:3] if part.isdecimal())
    if not (version[:2] <= _LAST_DLA_OF_10 or version >= _DLA_IS_BACK):
        raise ConfigError(
            f"a DLA core was asked for, which {tensorrt.flavour} {tensorrt.version} does not "
            "support: TensorRT 10.7 was the last 10.x that does, and 11.4.1 does again, on AGX "
            "Orin with JetPack 7.2.2",
            "leave the DLA out, or build with a JetPack that has one of those",
        )


def _check_dla(config: EngineConfig, spec: ModelSpec) -> None:
    least, _, most = config.batch_of(spec)
    # TensorRT 10's DLA supports INT8 only with calibrators' ranges, which strong typing lacks.
    if spec.precision != "fp16":
        raise ConfigError(
            f"a DLA core was asked for an {spec.precision.upper()} model, and the DLA computes "
            "neither FP32 nor INT8 with Q/DQ pairs",
            "give a file made by `edgecrack export --precision fp16`, or leave the DLA out",
        )
    if least != most:
        raise ConfigError(
            f"a DLA core was asked for {least} to {most} tiles per call, and the DLA takes a "
            "fixed number",
            "give one number of tiles per call, as in 1",
        )
