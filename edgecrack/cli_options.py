"""What the commands' option declarations share. Imports nothing that costs time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

_MODULES = {
    "training": ("torch", "lightning", "safetensors", "matplotlib", "yaml"),
    "export": ("torch", "lightning", "safetensors", "onnx", "onnxscript"),
    "calibration": ("onnx",),
}


def heading(panel: str) -> Callable[..., Any]:
    """Makes options that stand under one heading of a help page."""

    def option(metavar: str, text: str, *names: str, show_default: bool = True) -> Any:
        return typer.Option(
            *names, metavar=metavar, help=text, rich_help_panel=panel, show_default=show_default
        )

    return option


def require_extra(purpose: str = "training") -> None:
    """Check that what a command needs beyond the base install is there.

    Raises:
        MissingDependencyError: it is not.
    """
    from edgecrack.extras import require

    extra = {"export": "export", "calibration": "quantize"}.get(purpose, "train")
    for module in _MODULES.get(purpose, ("matplotlib",)):
        require(module, extra=extra, purpose=purpose)
