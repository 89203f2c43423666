"""Checks whether an engine can run on this machine, and caches its compiled kernels.

TensorRT for RTX compiles kernels when an engine is first run. They are cached in a file beside the
engine; without it every start compiles again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from edgecrack.artifacts import ModelSpec
from edgecrack.errors import DeviceError, MissingDependencyError, ModelFileError, OutputError
from edgecrack.files import write_atomic
from edgecrack.nvidia.engine_info import (
    JETSON_CAPABILITIES,
    EngineInfo,
    current_platform,
    rebuild_command,
)
from edgecrack.nvidia.tensorrt_module import (
    TensorRT,
    find_tensorrt,
    how_to_install,
    installed_flavours,
)

_HEADER = b"edgecrack runtime cache 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
_LARGEST_BYTES = 1 << 30


class KernelCache:
    """The compiled kernels of one engine, in memory and in their file.

    Args:
        cache: TensorRT's IRuntimeCache.
        engine: the engine's file.
        engine_sha256: its hash, hexadecimal.
    """

    def __init__(self, cache: Any, engine: Path, engine_sha256: str) -> None:
        self._cache, self._engine, self._sha256 = cache, engine, engine_sha256
        self._known = read_runtime_cache(engine, engine_sha256)
        # Kernels of another GPU, driver or version are refused and compiled again.
        if self._known is not None and not self._cache.deserialize(self._known):
            self._known = None

    def keep(self) -> str | None:
        """Write the kernels to their file, if there are new ones.

        Returns:
            None, or why they could not be saved.
        """
        try:
            kernels = bytes(self._cache.serialize())
        except (RuntimeError, TypeError) as error:  # TensorRT's, and what is made of a null
            return f"compiled kernels are not kept for the next start: {error}"
        if kernels == self._known:
            return None
        return write_runtime_cache(self._engine, self._sha256, kernels)


def open_kernel_cache(
    tensorrt: TensorRT, runtime_config: Any, engine: Path, engine_sha256: str
) -> KernelCache | None:
    """Add a kernel cache to an engine's settings, filled from its file.

    Args:
        tensorrt: the TensorRT that runs the engine.
        runtime_config: its IRuntimeConfig, which will use and fill the cache.
        engine: the engine's file.
        engine_sha256: its hash, hexadecimal.

    Returns:
        None where this TensorRT has no such cache.
    """
    if not (
        tensorrt.has("IRuntimeConfig.create_runtime_cache")
        and tensorrt.has("IRuntimeConfig.set_runtime_cache")
    ):
        return None
    cache = runtime_config.create_runtime_cache()
    kernels = KernelCache(cache, engine, engine_sha256)
    runtime_config.set_runtime_cache(cache)
    return kernels


def runtime_cache_path(engine: Path) -> Path:
    """The path of an engine's kernel cache."""
    return engine.with_name(f"{engine.name}.cache")


def read_runtime_cache(engine: Path, engine_sha256: str) -> bytes | None:
    """Read an engine's cached kernels.

    Args:
        engine: the engine's file.
        engine_sha256: its hash, hexadecimal.

    Returns:
        TensorRT's own bytes, or None where there are none, they are damaged, or they belong to
        another engine.
    """
    try:
        path = runtime_cache_path(engine)
        content = path.read_bytes() if path.stat().st_size <= _LARGEST_BYTES else b""
    except OSError:
        return None
    start = len(_HEADER) + _DIGEST_BYTES
    kernels = content[start:]
    if content[:start] != _HEADER + _digest(engine_sha256, kernels):
        return None
    return kernels


def write_runtime_cache(engine: Path, engine_sha256: str, kernels: bytes) -> str | None:
    """Save an engine's kernels.

    Args:
        engine: the engine's file.
        engine_sha256: its hash, hexadecimal.
        kernels: TensorRT's own bytes.

    Returns:
        None, or why they could not be saved.
    """
    try:
        content = _HEADER + _digest(engine_sha256, kernels) + kernels
        write_atomic(runtime_cache_path(engine), content)
    except OutputError as error:
        return f"compiled kernels are not kept for the next start: {error.problem}"
    return None


def _digest(engine_sha256: str, kernels: bytes) -> bytes:
    return hashlib.sha256(engine_sha256.encode() + b"\n" + kernels).digest()


# TensorRT's AMPERE_PLUS: every GPU from this compute capability on.
_HARDWARE_COMPATIBLE_FROM = "8.0"
_DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
    "tensorrt_rtx": ("tensorrt-rtx", "tensorrt-rtx-cu12", "tensorrt-rtx-cu13"),
}


@dataclass(frozen=True)
class RunningMachine:
    """The properties of a machine that decide whether an engine runs on it.

    Attributes:
        platform: operating system and processor, as in "linux-aarch64".
        tensorrt: version of each installed TensorRT, by flavour.
        compute_capability: of the first GPU, as in "8.7"; None without one.
        no_gpu: why there is no GPU, as a clause; None with one.
    """

    platform: str
    tensorrt: Mapping[str, str] = field(default_factory=dict)
    compute_capability: str | None = None
    no_gpu: str | None = None


def this_machine() -> RunningMachine:
    """This machine; loads TensorRT only if no package metadata has its version."""
    from edgecrack.nvidia.gpu import gpu_devices, why_no_gpu

    devices = gpu_devices()
    versions = {flavour: _installed_version(flavour) for flavour in installed_flavours()}
    return RunningMachine(
        platform=current_platform(),
        tensorrt={flavour: version for flavour, version in versions.items() if version},
        compute_capability=devices[0].compute_capability if devices else None,
        no_gpu=None if devices else why_no_gpu() or "the CUDA driver sees no GPU",
    )


def check_engine(path: Path, spec: ModelSpec, machine: RunningMachine | None = None) -> EngineInfo:
    """Refuse an engine that cannot run on a machine.

    Args:
        path: the engine's file, whose hash has been checked.
        spec: its sidecar.
        machine: where it is to run; None is this machine.

    Returns:
        The engine's target, from its sidecar.

    Raises:
        ModelFileError: it was built for another platform, GPU or TensorRT, or its sidecar does
            not say.
        DeviceError: the machine has no GPU.
        MissingDependencyError: the machine lacks the TensorRT that the engine needs.
    """
    info = _read_info(path, spec)
    machine = machine or this_machine()
    rebuild = rebuild_command(path, info.source)
    if info.platform != machine.platform:
        raise ModelFileError(
            f"{path} is an engine for {info.platform}, and this machine is {machine.platform}",
            f"build it here: {rebuild}",
        )
    wanted = _wanted_gpu(info)
    if machine.compute_capability is None:
        raise DeviceError(
            f"{path} is an engine for a GPU of {wanted}, and {machine.no_gpu}",
            f"run the ONNX file itself, or build the engine where there is a GPU: {rebuild}",
        )
    if not _runs_on(info, machine.compute_capability):
        raise ModelFileError(
            f"{path} is an engine for {wanted}, and this GPU has {machine.compute_capability}",
            f"build it for this GPU: {rebuild}",
        )
    if info.flavour not in machine.tensorrt:
        raise _missing_flavour(path, info, machine, rebuild)
    check_version(path, info, machine.tensorrt[info.flavour])
    return info


def check_version(path: Path, info: EngineInfo, version: str) -> None:
    """Refuse an engine of another TensorRT version.

    Args:
        path: the engine's file, for the error.
        info: where the engine runs.
        version: the installed version of the engine's flavour.

    Raises:
        ModelFileError: the engine does not run in it.
    """
    built, found = _numbers(info.version), _numbers(version)
    length = max(1, min(len(built), len(found)))  # a package may leave out the build number
    fits = built[:length] == found[:length]
    wanted = info.version
    if info.version_compatible:
        fits = built[:1] == found[:1] and built[:length] <= found[:length]
        wanted = f"{info.version} or a later {built[0]}.x"
    if not fits:
        raise ModelFileError(
            f"{path} is an engine of {info.flavour} {wanted}, and this machine has {version}",
            f"build it with the version that is here: {rebuild_command(path, info.source)}",
        )


def _read_info(path: Path, spec: ModelSpec) -> EngineInfo:
    try:
        return EngineInfo.from_dict(spec.engine)
    except ModelFileError as error:
        source = (spec.engine or {}).get("source")
        command = rebuild_command(path, source if isinstance(source, str) else None)
        raise ModelFileError(
            f"{path}: {error.problem}", f"build the engine again: {command}"
        ) from error


def _wanted_gpu(info: EngineInfo) -> str:
    if info.hardware_compatible:
        return f"compute capability {_HARDWARE_COMPATIBLE_FROM} or later"
    return f"compute capability {' or '.join(info.compute_capabilities)}"


def _runs_on(info: EngineInfo, capability: str) -> bool:
    if capability in info.compute_capabilities:
        return True
    # NVIDIA's hardware compatibility begins at Ampere and excludes Jetsons.
    later = _numbers(capability) >= _numbers(_HARDWARE_COMPATIBLE_FROM)
    return info.hardware_compatible and later and capability not in JETSON_CAPABILITIES


def _missing_flavour(
    path: Path, info: EngineInfo, machine: RunningMachine, rebuild: str
) -> MissingDependencyError:
    needs = f"{path} is an engine of {info.flavour} {info.version}"
    if not machine.tensorrt:
        return MissingDependencyError(
            f"{needs}, and this machine has no TensorRT",
            f"{how_to_install()}; if that is another version, build the engine again: {rebuild}",
        )
    found = ", ".join(f"{name} {version}" for name, version in machine.tensorrt.items())
    return MissingDependencyError(
        f"{needs}, and this machine has {found}",
        f"build it with what is here: {rebuild}",
    )


def _installed_version(flavour: str) -> str | None:
    """Version of an installed TensorRT, from its package metadata, if any."""
    for distribution in _DISTRIBUTIONS[flavour]:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    try:  # JetPack's Debian package may have no metadata
        return find_tensorrt(flavour).version
    except MissingDependencyError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, as in (10, 3, 0)."""
    numbers = []
    for part in version.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)
