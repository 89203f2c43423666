"""For which GPUs an engine is built, and by which TensorRT.

`tensorrt` builds for the GPU in the machine; `tensorrt_rtx` builds for any RTX GPU, even without
one. Impossible targets are refused here, before any work.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from edgecrack.errors import ConfigError, MissingDependencyError
from edgecrack.extras import origin
from edgecrack.nvidia.engine_info import JETSON_CAPABILITIES
from edgecrack.nvidia.gpu import gpu_devices, why_no_gpu
from edgecrack.nvidia.tensorrt_module import TensorRT, find_tensorrt, installed_flavours

JETSONS = {
    "xavier": "7.2",
    "agx-xavier": "7.2",
    "xavier-nx": "7.2",
    "orin": "8.7",
    "agx-orin": "8.7",
    "orin-nx": "8.7",
    "orin-nano": "8.7",
    "thor": "11.0",
}
AUTO, EVERY_RTX = "auto", "rtx"
ON_THE_ROBOT = (
    "make the ONNX file here (`edgecrack export --precision fp16`, or `edgecrack calibrate` for "
    "INT8), copy it with its .json to the robot, and there run: edgecrack build-engine model.onnx "
    "--target auto -o robot.engine"
)
_XAVIER_REMEDY = (
    "run the ONNX file itself there (`edgecrack stream --model model.onnx`): JetPack 5, the last "
    "for Xavier, has TensorRT 8.5, and engines need 10.3"
)
_EXPECTED = (
    'give "auto" for this machine\'s GPU, compute capabilities as in sm86 or sm75,sm86,sm89, '
    f'"rtx" for every RTX GPU, or a Jetson: {", ".join(sorted(JETSONS))}'
)
_NUMBER = re.compile(r"(?:sm_?)?([1-9][0-9]?)\.?([0-9])")


@dataclass(frozen=True)
class Targets:
    """The requested GPUs.

    Attributes:
        text: the user's text.
        compute_capabilities: as in ("8.6", "8.9"), sorted; empty for "auto" and "rtx".
    """

    text: str
    compute_capabilities: tuple[str, ...] = ()

    @property
    def is_auto(self) -> bool:
        """Whether the GPU of this machine is meant."""
        return self.text == AUTO


@dataclass(frozen=True)
class Resolved:
    """The TensorRT that builds, and its GPUs.

    Attributes:
        tensorrt: the TensorRT that builds.
        compute_capabilities: as in ("8.6", "8.9"); not empty.
    """

    tensorrt: TensorRT
    compute_capabilities: tuple[str, ...]


def parse_targets(text: str) -> Targets:
    """Read a list of GPUs.

    Args:
        text: "auto", "rtx", or names with commas between them: compute capabilities (sm86, 8.6)
            and Jetsons (orin, xavier, thor and their models).

    Raises:
        ConfigError: a part is unknown, or "auto" or "rtx" is not alone.
    """
    parts = [part.strip().lower() for part in text.split(",")]
    if parts in ([AUTO], [EVERY_RTX]):
        return Targets(parts[0])
    capabilities = {_capability(part, text) for part in parts}
    return Targets(",".join(parts), tuple(sorted(capabilities, key=_order)))


def resolve_targets(targets: Targets, flavour: str | None = None) -> Resolved:
    """Find the TensorRT that builds for the requested GPUs.

    `tensorrt` is preferred: its engines are tuned on the GPU.

    Args:
        targets: the GPUs.
        flavour: "tensorrt" or "tensorrt_rtx" allows only that one.

    Raises:
        ConfigError: no TensorRT here builds for them, or there is no such flavour.
        MissingDependencyError: no TensorRT is installed, or it cannot be loaded.
    """
    devices = gpu_devices()
    here = devices[0].compute_capability if devices else None
    if targets.is_auto and here is None:
        raise ConfigError(
            f"`targets` auto means this machine's GPU, and {why_no_gpu()}",
            f"name the GPU, as in `targets` sm86; for a robot, {ON_THE_ROBOT}",
        )
    wanted = (here,) if targets.is_auto and here else targets.compute_capabilities
    _refuse_jetsons(wanted, here)
    failures = []
    for tensorrt in _usable(flavour):
        capabilities = wanted or known_capabilities(tensorrt)
        problem = _why_not(tensorrt, capabilities, here)
        if problem is None:
            return Resolved(tensorrt, capabilities)
        failures.append(problem)
    raise ConfigError("; ".join(failures), _remedy(wanted))


def known_capabilities(tensorrt: TensorRT) -> tuple[str, ...]:
    """Compute capabilities that a TensorRT builds for without such a GPU; empty if it cannot."""
    if not tensorrt.has("ComputeCapability") or not (
        tensorrt.has("IBuilderConfig.num_compute_capabilities")
        and tensorrt.has("IBuilderConfig.set_compute_capability")
    ):
        return ()
    members = tensorrt.module.ComputeCapability.__members__
    found = [f"{name[2:-1]}.{name[-1]}" for name in members if name.startswith("SM")]
    return tuple(sorted(found, key=_order))


def _usable(flavour: str | None) -> list[TensorRT]:
    """Every TensorRT that loads, the preferred one first; at least one."""
    usable = []
    for name in () if flavour else installed_flavours():
        with suppress(MissingDependencyError):
            usable.append(find_tensorrt(name))
    return usable or [find_tensorrt(flavour)]


def _capability(part: str, text: str) -> str:
    if part in JETSONS:
        return JETSONS[part]
    match = _NUMBER.fullmatch(part)
    if match is None:
        what = f"{part!r} in {text!r}" if part != text else f"{text!r}"
        raise ConfigError(f"the target GPU is {what}", _EXPECTED)
    return f"{match[1]}.{match[2]}"


def _order(capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in capability.split("."))


def _refuse_jetsons(wanted: tuple[str, ...], here: str | None) -> None:
    """Refuse targets that only a robot can build, whatever is installed here."""
    for capability in wanted:
        if capability == "7.2":
            raise ConfigError("no TensorRT that edgecrack can use runs on Xavier", _XAVIER_REMEDY)
        if capability in JETSON_CAPABILITIES and capability != here:
            name = next(name for name, value in JETSONS.items() if value == capability)
            raise ConfigError(
                f"an engine for Jetson {name.title()} (compute capability {capability}) can only "
                "be built on one",
                ON_THE_ROBOT,
            )


def _why_not(tensorrt: TensorRT, wanted: tuple[str, ...], here: str | None) -> str | None:
    """Why a TensorRT cannot build for some GPUs, as a clause; None if it can."""
    known = known_capabilities(tensorrt)
    name = f"{tensorrt.flavour} {tensorrt.version}"
    if known:
        missing = [item for item in wanted if item not in known]
        if not missing:
            return None
        return f"{name} builds for {', '.join(known)}, not for {', '.join(missing)}"
    if not wanted:
        return f"{name} builds for the GPU of this machine alone, not for every RTX GPU"
    if wanted == (here,):
        return None
    has = f"which has compute capability {here}" if here else f"and {why_no_gpu()}"
    return f"{name} builds for the GPU of this machine alone, {has}, not for {', '.join(wanted)}"


def _remedy(wanted: tuple[str, ...]) -> str:
    rtx = f"install TensorRT for RTX ({origin().install('rtx')})"
    if "tensorrt_rtx" in installed_flavours():
        rtx = "name RTX GPUs that it knows, or give `targets` rtx"
    return f"{rtx}; for another machine, {ON_THE_ROBOT}" if wanted else rtx
