"""Optional libraries: importing them, and the command that installs them.

On a package index, the name edgecrack may belong to another project. So commands name the place
from which the running copy was installed, or the libraries.
"""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from edgecrack.errors import MissingDependencyError
from edgecrack.outside_text import parse_json

# The requirements of each extra, as in pyproject.toml; a test compares the two.
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "train": (
        "torch>=2.6,<3",
        "lightning>=2.6,<3",
        "safetensors>=0.4.3,<1",
        "matplotlib>=3.8,<4",
        "scipy>=1.13,<2",
        "jinja2>=3.1,<4",
    ),
    "export": (
        "torch>=2.6,<3",
        "lightning>=2.6,<3",
        "onnx>=1.17,<2",
        "onnxscript>=0.3,<1",
        "safetensors>=0.4.3,<1",
    ),
    "quantize": ("onnx>=1.17,<2",),
    "cpu": ("openvino>=2026.2,<2027",),
    "rtx": ("tensorrt-rtx>=1.4,<2", "cuda-bindings>=12.6,<14"),
    "record": ("mcap>=1.6,<2",),
    "heic": ("pillow-heif>=0.22,<2",),
    "measure": ("matplotlib>=3.8,<4",),
    "report": ("jinja2>=3.1,<4", "reportlab>=4.2,<6"),
    "maps": ("rasterio>=1.4,<2", "pyogrio>=0.10,<1"),
    "serve": (
        "starlette>=1,<2",
        "uvicorn>=0.52.4,<1",
        "websockets>=15,<18",
        "prometheus-client>=0.20,<1",
        "psutil>=5.9.8,<8",
    ),
}
# The modules that each extra needs.
MODULES: Mapping[str, tuple[str, ...]] = {
    "train": ("torch", "lightning", "safetensors", "matplotlib", "scipy", "jinja2"),
    "export": ("torch", "lightning", "safetensors", "onnx", "onnxscript"),
    "quantize": ("onnx",),
    "cpu": ("openvino",),
    "record": ("mcap", "lz4", "zstandard"),
    "heic": ("pillow_heif",),
    "maps": ("rasterio", "pyogrio"),
    "measure": ("matplotlib",),
    "report": ("jinja2", "reportlab"),
    "serve": ("starlette", "uvicorn", "websockets", "prometheus_client", "psutil"),
}


@dataclass(frozen=True)
class Origin:
    """Where the running copy was installed from.

    Attributes:
        place: a folder, wheel or address for pip; empty if unknown.
        editable: the place is a folder that contains the running files.
    """

    place: str = ""
    editable: bool = False

    def install(self, extra: str) -> str:
        """The command that installs an extra of this package.

        Args:
            extra: a key of `LIBRARIES`.
        """
        if not self.place:
            return " ".join(["pip install", *map(shlex.quote, LIBRARIES[extra])])
        if "://" in self.place:
            return f"pip install {shlex.quote(f'edgecrack[{extra}] @ {self.place}')}"
        option = "-e " if self.editable else ""
        return f"pip install {option}{shlex.quote(f'{self.place}[{extra}]')}"

    def complete(self) -> str:
        """The command that installs missing requirements of this package."""
        if not self.place:
            return "install edgecrack again from its source"
        if "://" in self.place:
            return f"pip install {shlex.quote(f'edgecrack @ {self.place}')}"
        return f"pip install {'-e ' if self.editable else ''}{shlex.quote(self.place)}"

    def reinstall(self) -> str:
        """How to reinstall this package without its requirements."""
        if not self.place:
            return "install edgecrack again from its source"
        place = f"edgecrack @ {self.place}" if "://" in self.place else self.place
        return f"pip install --force-reinstall --no-deps {shlex.quote(place)}"

    def update(self) -> str:
        """How to get a later version."""
        if self.editable:
            return f"update edgecrack: git -C {shlex.quote(self.place)} pull"
        return "update edgecrack: install a later version from the same source"


@cache
def origin() -> Origin:
    """Where the running copy comes from: a checkout, or pip's record of the installation."""
    package = Path(__file__).resolve().parent
    return find_origin(package, _direct_url(package))


def find_origin(package: Path, direct_url: str | None) -> Origin:
    """See `origin`.

    Args:
        package: the folder of the running package.
        direct_url: text of the installed package's `direct_url.json` (PEP 610), or None.
    """
    if _is_checkout(package.parent):
        return Origin(str(package.parent), editable=True)
    try:
        noted: Any = parse_json(direct_url or "")
        url = noted["url"]
        parts = urlsplit(url)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Origin()
    if parts.scheme == "file":
        path = Path(unquote(parts.path))
        usable = path.is_file() or _is_checkout(path)
        return Origin(str(path)) if usable else Origin()
    source = noted.get("vcs_info")
    if isinstance(source, dict) and "vcs" in source:
        revision = source.get("requested_revision") or source.get("commit_id")
        url = f"{source['vcs']}+{url}" + (f"@{revision}" if revision else "")
    return Origin(url) if parts.scheme in ("http", "https", "ssh", "git") else Origin()


def _is_checkout(folder: Path) -> bool:
    try:
        text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return 'name = "edgecrack"' in text.splitlines()


def _direct_url(package: Path) -> str | None:
    """Pip's record of the running copy; None if another copy is installed."""
    from importlib import metadata

    try:
        installed = metadata.distribution("edgecrack")
        if Path(str(installed.locate_file("edgecrack"))).resolve() != package:
            return None
        return installed.read_text("direct_url.json")
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return None


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: dotted name, e.g. "scipy.io".
        extra: the extra of this package that brings it.
        purpose: what it is needed for, for the error message.

    Raises:
        MissingDependencyError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{purpose} needs {error.name}, which is not installed",
            f"run: {origin().install(extra)}",
        ) from error
