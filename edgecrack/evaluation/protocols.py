"""Evaluation protocols: whole image, the runtime's tiles, or the mean over patches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from edgecrack.data.patches import PatchStride
from edgecrack.errors import ConfigError

ProtocolName = Literal["tiled", "whole", "patch-stride"]
_PATCH_STRIDE = re.compile(r"patch-stride(?:(?:-| +)([0-9]+))?")
_HOW_TO_GIVE = "give tiled, whole, or patch-stride-N with N from 1, e.g. patch-stride-8"


@dataclass(frozen=True)
class Protocol:
    """One way to run a model over an image.

    Attributes:
        name: "tiled" as on the robot, "whole" in one pass, "patch-stride" as in the paper.
        stride_px: distance between neighbouring patches, for "patch-stride" only.
    """

    name: ProtocolName
    stride_px: int | None = None

    def __post_init__(self) -> None:
        if self.name not in get_args(ProtocolName):
            raise ConfigError(f"the protocol is {self.name!r}", _HOW_TO_GIVE)
        if (self.name == "patch-stride") != (self.stride_px is not None):
            problem = "no stride" if self.stride_px is None else f"stride {self.stride_px}"
            raise ConfigError(f"the protocol is {self.name} with {problem}", _HOW_TO_GIVE)
        if self.stride_px is not None and self.stride_px < 1:
            raise ConfigError(f"the stride is {self.stride_px} px", _HOW_TO_GIVE)


def parse_protocol(text: str, stride_px: int | None = None) -> Protocol:
    """Parse a protocol.

    Args:
        text: "tiled", "whole", "patch-stride", "patch-stride-N" or "patch-stride N".
        stride_px: N if given separately.

    Raises:
        ConfigError: no such protocol, or not exactly one stride for patches.
    """
    match = _PATCH_STRIDE.fullmatch(text.strip())
    if match is None:
        return Protocol(text, stride_px)  # type: ignore[arg-type]
    if match[1] is not None and stride_px is not None:
        raise ConfigError(f"the protocol is {text} with stride {stride_px}", "give one stride")
    return Protocol("patch-stride", int(match[1]) if match[1] is not None else stride_px)


def parse_command_words(
    models: Sequence[str], protocol: str | None, stride_px: int | None
) -> tuple[list[Path], Protocol | None]:
    """Model files and protocol of a command line.

    In `--protocol patch-stride 8` the 8 is parsed as a model; a whole number that is not a file is
    used as the stride if it is missing.

    Raises:
        ConfigError: as `parse_protocol`; or a stride without a protocol; or no model is left.
    """
    words = list(models)
    if protocol == "patch-stride" and stride_px is None:
        numbers = [word for word in words if word.isdecimal() and not Path(word).exists()]
        if len(numbers) == 1:
            words.remove(numbers[0])
            stride_px = int(numbers[0])
    if not words:
        raise ConfigError("there is no model to evaluate", "give at least one model file")
    if protocol is None:
        if stride_px is not None:
            raise ConfigError(
                f"`stride_px` is {stride_px} without patches", "give `protocol` patch-stride, too"
            )
        return list(map(Path, words)), None
    return list(map(Path, words)), parse_protocol(protocol, stride_px)


@dataclass(frozen=True)
class PredictionConfig:
    """How models are run.

    Attributes:
        protocol: None uses "whole" for a checkpoint and "tiled" for an ONNX file.
        patch_px: side of a patch; None uses that of the model's training, else 48.
        device: "auto", "cpu" or "cuda", for checkpoints.
        precision: "32", "bf16" or "16", for checkpoints.
    """

    protocol: Protocol | None = None
    patch_px: int | None = None
    device: str = "auto"
    precision: str = "32"

    def __post_init__(self) -> None:
        if self.patch_px is not None:
            if self.protocol is None or self.protocol.name != "patch-stride":
                raise ConfigError(
                    f"a patch of {self.patch_px} px is given for a protocol without patches",
                    "give `protocol` patch-stride-N, or omit `patch_px`",
                )
            PatchStride(self.patch_px)
