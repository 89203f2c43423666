"""How a model is quantized. Needs no package that a robot lacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgecrack.calibration import defaults
from edgecrack.calibration.gate import Gate
from edgecrack.calibration.ranges import Method, parse_method
from edgecrack.calibration.sampler import SamplerConfig

DEFAULT_METHOD: Method = parse_method(defaults.METHOD)


@dataclass(frozen=True)
class CalibrationConfig:
    """How a model is quantized.

    Attributes:
        data: a labelled dataset, a folder of images, or a video.
        method: how ranges are chosen.
        gate: what INT8 may lose.
        sampler: how many tiles.
    """

    data: Path
    method: Method = DEFAULT_METHOD
    gate: Gate = field(default_factory=Gate)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)

    def __post_init__(self) -> None:
        parse_method(self.method)
