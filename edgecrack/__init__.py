"""edgecrack: finds cracks in the images of a robot's camera, on the robot.

Public names are imported on first use, so importing this package is fast. It also stops ONNX
Runtime from sending usage data.
"""

from __future__ import annotations

import importlib
import os

TYPE_CHECKING = False  # not from `typing`, to start faster
if TYPE_CHECKING:
    from typing import Any

    from edgecrack.artifacts import ModelSpec
    from edgecrack.errors import EdgecrackError
    from edgecrack.runtime.detector import CrackDetector, Detection, open_detector
    from edgecrack.runtime.frame import Frame, FrameResult
    from edgecrack.runtime.pipeline.pipeline import PipelineConfig, run_pipeline
    from edgecrack.runtime.sources.open import open_source

# ONNX Runtime stores an id in ~/.cache/Microsoft and sends usage data unless this is set before
# its import; child processes inherit it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

__all__ = [
    "CrackDetector",
    "Detection",
    "EdgecrackError",
    "Frame",
    "FrameResult",
    "ModelSpec",
    "PipelineConfig",
    "__version__",
    "open_detector",
    "open_source",
    "run_pipeline",
]

_MODULE_OF = {
    "CrackDetector": "edgecrack.runtime.detector",
    "Detection": "edgecrack.runtime.detector",
    "EdgecrackError": "edgecrack.errors",
    "Frame": "edgecrack.runtime.frame",
    "FrameResult": "edgecrack.runtime.frame",
    "ModelSpec": "edgecrack.artifacts",
    "PipelineConfig": "edgecrack.runtime.pipeline.pipeline",
    "open_detector": "edgecrack.runtime.detector",
    "open_source": "edgecrack.runtime.sources.open",
    "run_pipeline": "edgecrack.runtime.pipeline.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All names, including those not imported yet."""
    return sorted({*globals(), *__all__})
