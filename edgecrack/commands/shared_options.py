"""What the commands' option declarations share. Imports nothing that costs time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecrack.constants import OVERLAP_PX

_MODULES = {
    "training": ("torch", "lightning", "safetensors", "matplotlib", "yaml"),
    "export": ("torch", "lightning", "safetensors", "onnx", "onnxscript"),
    "calibration": ("onnx",),
}


def scales_of(text: str | None) -> tuple[float, ...] | None:
    """What `--scales` gives, or None where it is left out.

    Raises:
        ConfigError: it gives no scales.
    """
    from edgecrack.runtime.scales import parse_scales

    return None if text is None else parse_scales(text)


def heading(panel: str) -> Callable[..., Any]:
    """Makes options that stand under one heading of a help page."""

    def option(metavar: str, text: str, *names: str, show_default: bool = True) -> Any:
        return typer.Option(
            *names, metavar=metavar, help=text, rich_help_panel=panel, show_default=show_default
        )

    return option


results = heading("Results")
_detection = heading("Detection")

ModelOption = Annotated[
    Path | None,
    _detection(
        "FILE",
        "Model file (*.onnx, its *.onnx.json beside it); default: the bundled one.",
        "--model",
    ),
]
ThresholdOption = Annotated[
    float | None,
    _detection(
        "NUMBER",
        "Crack probability from which a pixel counts, above 0 and below 1; "
        "default: the model's own.",
    ),
]
MinAreaOption = Annotated[
    int, _detection("PIXELS", "Smaller groups of crack pixels are dropped as specks.", "--min-area")
]
OverlapOption = Annotated[
    int | None,
    _detection(
        "PIXELS", f"Smallest overlap of neighbouring tiles; default: {OVERLAP_PX}.", "--overlap"
    ),
]
ScalesOption = Annotated[
    str | None,
    _detection(
        "FACTORS",
        "Sizes of the frame at which the model runs, such as 1,0.5: reduced ones find wider "
        "cracks; default: the model's own.",
        "--scales",
    ),
]
IgnoreOption = Annotated[
    Path | None,
    _detection(
        "FILE",
        "Where nothing is to be inspected: an image, white there, or polygons as *.json; see "
        "docs/runtime.md.",
        "--ignore",
    ),
]
ThreadsOption = Annotated[int | None, _detection("COUNT", "CPU threads; default: all.")]


def choices(text: str) -> tuple[str, ...]:
    """The words of a list with commas; empty ones are left out."""
    return tuple(part for part in (item.strip() for item in text.split(",")) if part)


def require_extra(purpose: str = "training") -> None:
    """Check that what a command needs beyond the base install is there.

    Raises:
        MissingDependencyError: it is not.
    """
    from edgecrack.extras import require

    extra = {"export": "export", "calibration": "quantize"}.get(purpose, "train")
    for module in _MODULES.get(purpose, ("matplotlib",)):
        require(module, extra=extra, purpose=purpose)
