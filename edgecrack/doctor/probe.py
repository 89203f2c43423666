"""Script that loads one library and reports on it as JSON, in a process of its own.

A broken library may end the process or hang. Arguments: the name of the probe and the import path
of the calling process, which is set before anything of edgecrack is imported.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose module names a library may share

import json
import os
from collections.abc import Callable
from typing import Any


def probe_numpy() -> dict[str, Any]:
    """NumPy."""
    import numpy

    return {"version": numpy.__version__}


def probe_cv2() -> dict[str, Any]:
    """OpenCV and its build information."""
    import cv2

    return {"version": cv2.__version__, "build": cv2.getBuildInformation()}


def probe_av() -> dict[str, Any]:
    """PyAV, and the overlay encoders in its FFmpeg."""
    import av

    encoders = ("libx264", "libopenh264", "libvpx-vp9")
    return {
        "version": av.__version__,
        "ffmpeg": str(getattr(av, "ffmpeg_version_info", "")),
        "encoders": [name for name in encoders if name in av.codecs_available],
    }


def probe_onnxruntime() -> dict[str, Any]:
    """ONNX Runtime."""
    import onnxruntime

    return {
        "version": onnxruntime.__version__,
        "providers": onnxruntime.get_available_providers(),
    }


def probe_tensorrt() -> dict[str, Any]:
    """TensorRT."""
    import tensorrt

    return {"version": tensorrt.__version__, "builder": hasattr(tensorrt, "Builder")}


def probe_tensorrt_rtx() -> dict[str, Any]:
    """TensorRT for RTX."""
    import tensorrt_rtx

    members = getattr(getattr(tensorrt_rtx, "ComputeCapability", None), "__members__", {})
    numbers = [name[2:] for name in members if name.startswith("SM") and name[2:].isdecimal()]
    return {
        "version": tensorrt_rtx.__version__,
        "builder": hasattr(tensorrt_rtx, "Builder"),
        "targets": [f"{number[:-1]}.{number[-1]}" for number in numbers],
    }


def probe_pycuda() -> dict[str, Any]:
    """pycuda, with its driver module, which fails without a driver."""
    import pycuda
    import pycuda.driver

    return {"version": pycuda.VERSION_TEXT}


def probe_cuda() -> dict[str, Any]:
    """cuda-python, its CUDA version, and the error of counting the GPUs."""
    import importlib
    import importlib.metadata

    runtime = importlib.import_module("cuda.bindings.runtime")
    found: dict[str, Any] = {"version": "unknown version"}
    for name in ("cuda-bindings", "cuda-python"):
        try:
            found["version"] = importlib.metadata.version(name)
            break
        except importlib.metadata.PackageNotFoundError:
            continue
    try:  # without a driver, some versions raise although the package is fine
        _, found["brings"] = runtime.cudaRuntimeGetVersion()
        error, *_ = runtime.cudaGetDeviceCount()
    except RuntimeError:
        return found
    found["error"] = "" if int(error) == 0 else str(getattr(error, "name", error))
    return found


def probe_gpu() -> dict[str, Any]:
    """The GPUs that the driver reports."""
    import ctypes

    from edgecrack.nvidia.gpu import gpu_devices, why_no_gpu

    why = why_no_gpu()
    devices = () if why else gpu_devices()
    version = ctypes.c_int(0)
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        version.value = 0
    return {
        "why": why,
        "cuda": version.value // 1000,
        "cuda_minor": version.value % 1000 // 10,
        "devices": [[gpu.name, gpu.compute_capability, gpu.total_bytes] for gpu in devices],
    }


def probe_run() -> dict[str, Any]:
    """The bundled model on one tile, with everything that `stream` loads."""
    import numpy as np

    import edgecrack.runtime.stream  # noqa: F401 (its imports must load)
    from edgecrack.runtime.detector import open_detector

    with open_detector() as detector:
        height, width = detector.runner.spec.tile_hw
        detector.probability_of(np.zeros((height, width, 3), np.uint8))
    return {}


PROBES: dict[str, Callable[[], dict[str, Any]]] = {
    "numpy": probe_numpy,
    "cv2": probe_cv2,
    "av": probe_av,
    "onnxruntime": probe_onnxruntime,
    "tensorrt": probe_tensorrt,
    "tensorrt_rtx": probe_tensorrt_rtx,
    "pycuda": probe_pycuda,
    "cuda": probe_cuda,
    "gpu": probe_gpu,
    "run": probe_run,
}


def main(name: str, import_path: str) -> None:
    """Print the result of one probe as the only line on standard output."""
    sys.path[:] = json.loads(import_path)
    _disable_core_dumps()
    answer_handle = os.dup(1)
    os.dup2(2, 1)  # what a library prints is not part of the answer
    answer: dict[str, Any]
    try:
        answer = {"found": PROBES[name]()}
    except BaseException as error:  # a library may even raise SystemExit
        lines = str(error).strip().splitlines() or [""]
        answer = {"failure": f"{type(error).__name__}: {lines[-1].strip()}"}
    os.write(answer_handle, json.dumps(answer).encode())
    # Skip the clean-up of the libraries, which crashes in some of them.
    sys.stderr.flush()
    os._exit(0)


def _disable_core_dumps() -> None:
    """A crash is a result here and must not leave a core file in the user's folder."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    except (ImportError, OSError, ValueError):
        return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
