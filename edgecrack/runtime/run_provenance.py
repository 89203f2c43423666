"""Provenance of a run's results for its report: program, model, backend, camera.

Recorded for each part of a run, since a run may continue with another version.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

from edgecrack import __version__
from edgecrack.artifacts import ModelSpec
from edgecrack.runtime.detector import CrackDetector
from edgecrack.runtime.telemetry.stats import ModelInUse
from edgecrack.scale.quantity import Quantity

if TYPE_CHECKING:
    from edgecrack.runtime.measuring.stream_scale import StreamScale
    from edgecrack.scale.camera_file import CameraFile

_LIBRARIES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
_FLAVOURS = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}


def run_provenance(
    detector: CrackDetector,
    scale: StreamScale | None,
    camera: CameraFile | None,
    model: ModelInUse | None = None,
) -> dict[str, Any]:
    """Program, model, backend and where the scale comes from, as plain JSON values.

    Args:
        detector: opened.
        scale: as the user gave it; None without one.
        camera: the scale's camera, opened; None without one.
        model: why the detector uses its model; None where it was given.
    """
    model = model or ModelInUse()
    spec = detector.runner.spec
    return {
        "program": f"edgecrack {__version__}",
        "model": {
            "file": detector.model_name,
            "sha256": spec.sha256,
            "origin": model.origin,
            "fallback": model.fallback or None,
            "kind": spec.kind,
            "precision": spec.precision,
        },
        "backend": _backend(spec, detector.runner.backend),
        "scale": None if scale is None else _scale(scale),
        "camera": None if camera is None else _camera(camera),
    }


def _backend(spec: ModelSpec, runner: str) -> str:
    """Such as "ONNX Runtime 1.22.0 (CPU)" or "TensorRT 10.3.0 (GPU, compute capability 8.7)".

    Args:
        spec: of the model.
        runner: name of its backend, such as "openvino (f32, 1 stream of 2 tiles)".
    """
    if spec.kind == "engine":
        engine = spec.engine or {}
        flavour = str(engine.get("flavour", "tensorrt"))
        capabilities = ", ".join(engine.get("compute_capabilities", ()))
        on = f"GPU, compute capability {capabilities}" if capabilities else "GPU"
        return f"{_FLAVOURS.get(flavour, flavour)} {engine.get('version', '')} ({on})"
    library, _, how = runner.rstrip(")").partition(" (")
    try:
        name = f"{_LIBRARIES.get(library, library)} {metadata.version(library)}"
    except metadata.PackageNotFoundError:
        name = _LIBRARIES.get(library, library)
    return f"{name} (CPU, {how})" if how else f"{name} (CPU)"


def _scale(scale: StreamScale) -> dict[str, Any]:
    if scale.mm_per_pixel is not None:
        return {"by": "figure", "mm_per_px": _quantity(scale.mm_per_pixel)}
    by = "camera and range" if scale.needs_range else "camera and distance"
    return {
        "by": by,
        "distance_m": None if scale.distance_m is None else _quantity(scale.distance_m),
        "tilt_deg": _quantity(scale.tilt),
    }


def _quantity(quantity: Quantity) -> dict[str, float | None]:
    return {"value": quantity.value, "spread_95": quantity.spread}


def _camera(camera: CameraFile) -> dict[str, Any]:
    facts = camera.facts
    return {
        "name": camera.name,
        "file": camera.file or None,
        "sha256": camera.sha256 or None,
        "date": None if facts.get("date") is None else str(facts["date"]),
        "rms_px": facts.get("rms_px"),
        "photos": facts.get("photos"),
        "fixed_focus": camera.fixed_focus,
    }
