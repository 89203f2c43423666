"""How a model is quantized. Imports no package that a robot lacks."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Literal

from edgecrack.calibration import defaults
from edgecrack.calibration.gate import Gate
from edgecrack.calibration.ranges import Method
from edgecrack.calibration.sampler import SamplerConfig
from edgecrack.settings import settings

TENSORRT, CPU = "tensorrt", "cpu"
MadeFor = Literal["tensorrt", "cpu"]


@settings()
class CalibrationConfig:
    """How a model is quantized.

    Attributes:
        data: a labelled dataset, a folder of images, or a video.
        method: how INT8 ranges are chosen.
        gate: what INT8 may lose.
        sampler: how many tiles.
        made_for: "tensorrt", with FP16 beside INT8, or "cpu", with FP32 beside it because FP16 is
            slow there.
    """

    data: Path
    method: Method = defaults.METHOD
    gate: Gate = field(default_factory=Gate)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    made_for: MadeFor = defaults.MADE_FOR
