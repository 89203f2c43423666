"""How a model is quantized. Needs no package that a robot lacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgecrack.calibration import defaults
from edgecrack.calibration.gate import Gate
from edgecrack.calibration.ranges import Method, parse_method
from edgecrack.calibration.sampler import SamplerConfig
from edgecrack.errors import ConfigError

TENSORRT, CPU = MADE_FOR = ("tensorrt", "cpu")
DEFAULT_METHOD: Method = parse_method(defaults.METHOD)


@dataclass(frozen=True)
class CalibrationConfig:
    """How a model is quantized.

    Attributes:
        data: a labelled dataset, a folder of images, or a video.
        method: how ranges are chosen.
        gate: what INT8 may lose.
        sampler: how many tiles.
        made_for: "tensorrt", with FP16 beside INT8, or "cpu", with FP32 beside it, for FP16 is
            slow there.
    """

    data: Path
    method: Method = DEFAULT_METHOD
    gate: Gate = field(default_factory=Gate)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    made_for: str = defaults.MADE_FOR

    def __post_init__(self) -> None:
        if self.made_for not in MADE_FOR:
            raise ConfigError(f"`for` is {self.made_for!r}", f"give {' or '.join(MADE_FOR)}")
        parse_method(self.method)
