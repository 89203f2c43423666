"""TensorRT for RTX compiles an engine's kernels when it is first run; this keeps them in a file.

The file stands beside the engine and is for that engine alone. Without it, or where it cannot be
written, everything works and every start compiles again. Must not know batches or buffers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edgecrack.errors import OutputError
from edgecrack.files import write_atomic
from edgecrack.nvidia.tensorrt_module import TensorRT

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
        # Kernels of another GPU, driver or version are refused, and compiled anew.
        if self._known is not None and not self._cache.deserialize(self._known):
            self._known = None

    def keep(self) -> str | None:
        """Write the kernels to their file, if there are new ones.

        Returns:
            None, or why they could not be kept.
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
    """Give an engine's settings a cache, filled from its file.

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
    """Where the compiled kernels of an engine lie."""
    return engine.with_name(f"{engine.name}.cache")


def read_runtime_cache(engine: Path, engine_sha256: str) -> bytes | None:
    """Read the kernels of an engine.

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
    """Keep the kernels of an engine.

    Args:
        engine: the engine's file.
        engine_sha256: its hash, hexadecimal.
        kernels: TensorRT's own bytes.

    Returns:
        None, or why they could not be kept.
    """
    try:
        content = _HEADER + _digest(engine_sha256, kernels) + kernels
        write_atomic(runtime_cache_path(engine), content)
    except OutputError as error:
        return f"compiled kernels are not kept for the next start: {error.problem}"
    return None


def _digest(engine_sha256: str, kernels: bytes) -> bytes:
    return hashlib.sha256(engine_sha256.encode() + b"\n" + kernels).digest()
