"""Opens CUDA through cuda-python, or else pycuda, which has no CUDA graphs; imported on use."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from edgecrack.errors import ConfigError, DeviceError, MissingDependencyError, first_line
from edgecrack.nvidia.cuda.base import Cuda
from edgecrack.nvidia.gpu import how_to_install

_HOW_TO_INSTALL_PYCUDA = (
    "run: PATH=/usr/local/cuda/bin:$PATH pip install pycuda (it is compiled and needs the CUDA "
    "toolkit)"
)
LIBRARIES = ("cuda-python", "pycuda")  # the preferred one first: it captures CUDA graphs


def open_cuda(
    library: str | None = None, on_told: Callable[[str], None] = lambda text: None
) -> Cuda:
    """Start CUDA on the first GPU.

    Args:
        library: "cuda-python" or "pycuda"; None takes the first that can be loaded and that
            the driver starts.
        on_told: called with the reason why an installed library is not used.

    Raises:
        ConfigError: no such library.
        DeviceError: the driver has no GPU, or does not start.
        MissingDependencyError: neither library is installed, or none can be loaded, or the driver
            is too old for the installed one.
    """
    if library is not None and library not in LIBRARIES:
        raise ConfigError(
            f"the CUDA library is {library!r}", f"give one of: {', '.join(LIBRARIES)}"
        )
    from edgecrack.nvidia.gpu import why_no_gpu

    # Before the libraries: without a driver their errors are misleading.
    reason = why_no_gpu()
    if reason:
        raise DeviceError(
            f"no GPU can be used: {reason}",
            "install the NVIDIA driver, or run an ONNX file, which needs no GPU",
        )
    failures: list[str] = []
    remedies: list[str] = []
    for name in (library,) if library else LIBRARIES:
        if not _is_installed(name):
            continue
        try:
            cuda = _open(name)
        except MissingDependencyError as error:
            failures.append(error.problem)
            remedies.append(error.remedy)
        except (ImportError, RuntimeError, AttributeError) as error:
            failures.append(f"{name} cannot be loaded ({first_line(error)})")
        else:
            for failure in failures:
                on_told(f"{failure}; {name} serves")
            return cuda
    wanted = library or "neither cuda-python nor pycuda"
    problem = "; ".join(failures) or f"{wanted} is {'not ' if library else ''}installed"
    raise MissingDependencyError(
        f"an engine needs access to CUDA, and {problem}",
        next(iter(remedies), _HOW_TO_INSTALL_PYCUDA if library == "pycuda" else how_to_install()),
    )


def _is_installed(library: str) -> bool:
    module = "pycuda" if library == "pycuda" else "cuda"
    return importlib.util.find_spec(module) is not None


def _open(library: str) -> Cuda:
    if library == "pycuda":
        from edgecrack.nvidia.cuda.through_pycuda import open_pycuda

        return open_pycuda()
    from edgecrack.nvidia.cuda.through_cuda_python import open_cuda_python

    return open_cuda_python()
