"""CUDA through whichever library is installed: pycuda or cuda-python.

Neither is imported before it is asked for.
"""

from __future__ import annotations

import importlib.util

from edgecrack.errors import ConfigError, DeviceError, MissingDependencyError
from edgecrack.nvidia.cuda.base import Cuda

LIBRARIES = ("pycuda", "cuda-python")
_HOW_TO_INSTALL = (
    "run: pip install pycuda (on a Jetson; it is compiled there and needs the CUDA toolkit), or, "
    "without a compiler: pip install cuda-python (on JetPack 6, which has CUDA 12: "
    "'cuda-python<13')"
)


def open_cuda(library: str | None = None) -> Cuda:
    """Start CUDA on the first GPU.

    Args:
        library: "pycuda" or "cuda-python"; None takes the first of them that can be loaded.

    Raises:
        ConfigError: no such library.
        DeviceError: the driver has no GPU, or does not start.
        MissingDependencyError: neither library is installed, or none can be loaded.
    """
    if library is not None and library not in LIBRARIES:
        raise ConfigError(
            f"the CUDA library is {library!r}", f"give one of: {', '.join(LIBRARIES)}"
        )
    from edgecrack.nvidia.gpu import why_no_gpu

    # Before the libraries: without a driver they fail in ways that do not tell it.
    reason = why_no_gpu()
    if reason:
        raise DeviceError(
            f"no GPU can be used: {reason}",
            "install the NVIDIA driver, or run an ONNX file, which needs no GPU",
        )
    failures = []
    for name in (library,) if library else LIBRARIES:
        if not _is_installed(name):
            continue
        try:
            return _open(name)
        except (ImportError, RuntimeError, AttributeError) as error:
            first = next(iter(str(error).splitlines()), type(error).__name__)
            failures.append(f"{name} cannot be loaded ({first})")
    wanted = library or "neither pycuda nor cuda-python"
    problem = "; ".join(failures) or f"{wanted} is {'not ' if library else ''}installed"
    raise MissingDependencyError(f"an engine needs access to CUDA, and {problem}", _HOW_TO_INSTALL)


def _is_installed(library: str) -> bool:
    module = "pycuda" if library == "pycuda" else "cuda"
    return importlib.util.find_spec(module) is not None


def _open(library: str) -> Cuda:
    if library == "pycuda":
        from edgecrack.nvidia.cuda.through_pycuda import open_pycuda

        return open_pycuda()
    from edgecrack.nvidia.cuda.through_cuda_python import open_cuda_python

    return open_cuda_python()
