"""What an engine's sidecar says of where the engine runs: the `engine` field of `ModelSpec`.

An engine is code for one GPU architecture and one version of TensorRT. Knows neither TensorRT
nor CUDA: it is read on machines that have none.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecrack.errors import ModelFileError

FLAVOURS = ("tensorrt", "tensorrt_rtx")
_LONGEST_NAME = 255  # characters of a file name that a sentence repeats
ENGINE_SUFFIXES = (".engine", ".plan")
JETSON_CAPABILITIES = frozenset({"7.2", "8.7", "11.0"})  # Xavier, Orin, Thor
_CAPABILITY = re.compile(r"[1-9][0-9]?\.[0-9]")


def current_platform() -> str:
    """Operating system and processor of this machine, as in "linux-x86_64"."""
    return f"{sys.platform}-{platform.machine().lower()}"


def rebuild_command(engine: Path, source: str | None = None) -> str:
    """The command that builds an engine again, for the GPU of the machine it is run on.

    Args:
        engine: the engine's file.
        source: file name of the ONNX that it was built from; None where it is not known.
    """
    onnx_file = source or f"{engine.stem}.onnx"
    beside = engine.with_name(Path(onnx_file).name or "model.onnx")
    if os.path.isfile(beside):  # noqa: PTH113 (which raises nothing, however odd the name)
        onnx_file = str(beside)
    if onnx_file.startswith("-"):
        onnx_file = f"./{onnx_file}"
    words = ["edgecrack", "build-engine", onnx_file[:_LONGEST_NAME]]
    return shlex.join([*words, "--target", "auto", "-o", str(engine)])


@dataclass(frozen=True)
class EngineInfo:
    """Where an engine was built and where it runs.

    Attributes:
        flavour: "tensorrt" or "tensorrt_rtx" (TensorRT for RTX), the module that built it.
        version: that module's version, as in "10.3.0".
        compute_capabilities: GPUs that it is for, as in ("8.6", "8.9"); not empty.
        platform: operating system and processor, as in "linux-aarch64".
        batch: least, best and most tiles per call; all alike where the batch is fixed.
        source: file name of the ONNX that it was built from, for the rebuild command.
        version_compatible: it runs in later TensorRT of the same major version, too.
        hardware_compatible: it runs on later GPUs than `compute_capabilities`, too.
        dla_core: core of the deep-learning accelerator that runs what it can, or None.
    """

    flavour: str
    version: str
    compute_capabilities: tuple[str, ...]
    platform: str
    batch: tuple[int, int, int]
    source: str
    version_compatible: bool = False
    hardware_compatible: bool = False
    dla_core: int | None = None

    def __post_init__(self) -> None:
        least, best, most = self.batch
        problem = None
        if self.flavour not in FLAVOURS:
            problem = f"flavour {self.flavour!r}"
        elif not re.fullmatch(r"[0-9]+(\.[0-9A-Za-z]+)+", self.version):
            problem = f"TensorRT version {self.version!r}"
        elif not self.compute_capabilities:
            problem = "no compute capability"
        elif not all(_CAPABILITY.fullmatch(item) for item in self.compute_capabilities):
            problem = f"compute capabilities {list(self.compute_capabilities)}"
        elif not 1 <= least <= best <= most:
            problem = f"batch {self.batch}"
        if problem:
            raise _damaged(problem)

    def to_dict(self) -> dict[str, Any]:
        """The fields as they stand in the sidecar."""
        document = dataclasses.asdict(self)
        document["compute_capabilities"] = list(self.compute_capabilities)
        document["batch"] = list(self.batch)
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any] | None) -> EngineInfo:
        """Read the `engine` field of a sidecar; unknown entries are passed over.

        Raises:
            ModelFileError: it is missing or damaged.
        """
        if document is None:
            raise _damaged("no engine field")
        fields = {
            item.name: document[item.name]
            for item in dataclasses.fields(cls)
            if item.name in document
        }
        try:
            _check(fields)
            fields["compute_capabilities"] = tuple(fields["compute_capabilities"])
            fields["batch"] = tuple(fields["batch"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(f"{type(error).__name__}: {error}") from error


def _check(fields: Mapping[str, Any]) -> None:
    """Refuse values of another JSON type than the field's.

    Raises:
        TypeError: naming the field.
    """
    expected: dict[str, tuple[type, ...]] = {
        "flavour": (str,), "version": (str,), "platform": (str,), "source": (str,),
        "compute_capabilities": (list, tuple), "batch": (list, tuple),
        "version_compatible": (bool,), "hardware_compatible": (bool,),
        "dla_core": (int, type(None)),
    }  # fmt: skip
    typed = [(name, value, expected[name]) for name, value in fields.items()]
    typed += [("batch", item, (int,)) for item in fields.get("batch", ())]
    typed += [
        ("compute_capabilities", item, (str,)) for item in fields.get("compute_capabilities", ())
    ]
    for name, value, types in typed:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise TypeError(f"{name} holds {value!r:.40}")


def _damaged(problem: str) -> ModelFileError:
    return ModelFileError(
        f"an engine is described with {problem}", "build it again with `edgecrack build-engine`"
    )
