"""The `engine` field of an engine's sidecar: the TensorRT and the GPUs that the engine is for.

An engine is code for one GPU architecture and one version of TensorRT. Needs neither TensorRT nor
CUDA, so that sidecars can be read on any machine.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from edgecrack.errors import ModelFileError
from edgecrack.settings import settings

Flavour = Literal["tensorrt", "tensorrt_rtx"]
FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)
_LONGEST_NAME = 255  # characters of a file name in a message
ENGINE_SUFFIXES = (".engine", ".plan")
JETSON_CAPABILITIES = frozenset({"7.2", "8.7", "11.0"})  # Xavier, Orin, Thor
_Capability = Annotated[str, Field(pattern=r"^[1-9][0-9]?\.[0-9]$")]


def current_platform() -> str:
    """Operating system and processor of this machine, as in "linux-x86_64"."""
    return f"{sys.platform}-{platform.machine().lower()}"


def rebuild_command(engine: Path, source: str | None = None) -> str:
    """The command that builds an engine again, for the GPU of the machine that runs it.

    Args:
        engine: the engine's file.
        source: name of the ONNX file that it was built from; None if it is not known.
    """
    onnx_file = source or f"{engine.stem}.onnx"
    beside = engine.with_name(Path(onnx_file).name or "model.onnx")
    if os.path.isfile(beside):  # noqa: PTH113 (which raises nothing, however odd the name)
        onnx_file = str(beside)
    if onnx_file.startswith("-"):
        onnx_file = f"./{onnx_file}"
    words = ["edgecrack", "build-engine", onnx_file[:_LONGEST_NAME]]
    return shlex.join([*words, "--target", "auto", "-o", str(engine)])


def _refuse(name: str, value: str | None, _remedy: str = "") -> ModelFileError:
    described = f"without {name}" if value is None else f"with {name} {value}"
    return ModelFileError(
        f"an engine is described {described}", "build it again with `edgecrack build-engine`"
    )


@settings(_refuse)
class EngineInfo:
    """Where an engine was built and where it runs.

    Attributes:
        flavour: "tensorrt" or "tensorrt_rtx" (TensorRT for RTX), the module that built it.
        version: version of that module, as in "10.3.0".
        compute_capabilities: GPUs that it runs on, as in ("8.6", "8.9"); not empty.
        platform: operating system and processor, as in "linux-aarch64".
        batch: least, best and most tiles per call; all equal if the batch is fixed.
        source: name of the ONNX file that it was built from, for the rebuild command.
        version_compatible: it also runs in later TensorRT of the same major version.
        hardware_compatible: it also runs on later GPUs than `compute_capabilities`.
        dla_core: core of the deep-learning accelerator that it uses, or None.
    """

    flavour: Flavour
    version: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9A-Za-z]+)+$")]
    compute_capabilities: Annotated[tuple[_Capability, ...], Field(min_length=1, strict=False)]
    platform: str
    batch: Annotated[tuple[int, int, int], Field(strict=False)]
    source: str
    version_compatible: bool = False
    hardware_compatible: bool = False
    dla_core: int | None = None

    def __post_init__(self) -> None:
        least, best, most = self.batch
        if not 1 <= least <= best <= most:
            raise _refuse("batch", str(self.batch))

    def to_dict(self) -> dict[str, Any]:
        """The fields as the sidecar stores them."""
        document = dataclasses.asdict(self)
        document["compute_capabilities"] = list(self.compute_capabilities)
        document["batch"] = list(self.batch)
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any] | None) -> EngineInfo:
        """Read the `engine` field of a sidecar; unknown entries are ignored.

        Raises:
            ModelFileError: it is missing or damaged.
        """
        if document is None:
            raise ModelFileError(
                "the description has no engine field",
                "build it again with `edgecrack build-engine`",
            )
        names = {item.name for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in document.items() if name in names})
