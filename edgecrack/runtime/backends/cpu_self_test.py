"""The CPU self-test: times every way to run a model on synthetic walls and compares the results.

ONNX Runtime is the reference. In float32 only rounding may differ. In bfloat16 and INT8, where
rounding moves a value to the next step, the masks are compared instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import ModelFile
from edgecrack.errors import EdgecrackError
from edgecrack.metrics.counting import uint8_level
from edgecrack.preprocess import prepare
from edgecrack.runtime.backends.base import Runner
from edgecrack.runtime.backends.onnx_runtime import OnnxRuntimeRunner
from edgecrack.runtime.backends.openvino_runner import (
    CpuPrecision,
    OpenVINORunner,
    OpenVINOSettings,
)
from edgecrack.synthetic import WallConfig, generate_wall

# Of 255; more than rounding causes between two float32 backends.
MOST_DIFFERENCE = 2
# Of masks with bfloat16, over all walls. The bundled model has 0.995 there, and 0.987 to 0.997 on
# five sets of photos. Where OpenVINO computes something else, as of an INT8 file made for TensorRT,
# it was 0.72 and 0.30 to 0.88 (benchmarks/bfloat16_agreement.py).
LEAST_AGREEMENT = 0.97
_MOST = 255
_PASSES = 3
_BUDGET_S = 10.0
_FEWEST_TILES, _MOST_TILES = 8, 32
_SMALLEST_WALL_PX = 32
# Times are divided: a clock may stand still, and a cached time may be invalid.
_SHORTEST_S, _LONGEST_S = 1e-6, 86_400.0

Clock = Callable[[], float]


@dataclass(frozen=True)
class TriedBackend:
    """The self-test's result for one way to run a model.

    Attributes:
        settings: of OpenVINO; None for ONNX Runtime.
        seconds: of the fastest pass.
        difference: the largest one from ONNX Runtime's values, of 255.
        problem: why it cannot be used; "" where it can.
        agreement: intersection over union of its masks and ONNX Runtime's at the model's
            threshold; None where neither marks anything, or where it was not compared.
    """

    settings: OpenVINOSettings | None
    seconds: float
    difference: int = 0
    problem: str = ""
    agreement: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        settings = None if self.settings is None else self.settings.to_dict()
        return {
            "settings": settings,
            "seconds": round(self.seconds, 6),
            "difference": self.difference,
            "problem": self.problem,
            "agreement": None if self.agreement is None else round(self.agreement, 5),
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> TriedBackend:
        """From `to_dict`.

        Raises:
            KeyError, TypeError, ValueError, OverflowError, ConfigError: it comes from elsewhere.
        """
        settings, agreement = given["settings"], given["agreement"]
        found = cls(
            None if settings is None else OpenVINOSettings(**settings),
            float(given["seconds"]),
            int(given["difference"]),
            str(given["problem"]),
            None if agreement is None else float(agreement),
        )
        timed = _SHORTEST_S <= found.seconds <= _LONGEST_S or (found.problem and not found.seconds)
        if not (timed and 0 <= found.difference <= _MOST):
            raise ValueError(f"{found.seconds} s, {found.difference} of {_MOST}")
        return found

    def misfit(self, by_masks: bool) -> str:
        """Why its values are not accurate enough; "" if they are.

        Args:
            by_masks: whether it is enough that the masks agree, as `judged_by_masks` says.
        """
        if self.settings is None or self.difference <= MOST_DIFFERENCE:
            return ""
        apart = f"its values are up to {self.difference} of {_MOST} apart"
        if not by_masks:
            return apart
        if self.agreement is None:
            return f"{apart}, and no crack on the walls shows what that does to its masks"
        if not LEAST_AGREEMENT <= self.agreement <= 1:
            return (
                f"its masks agree with those of ONNX Runtime to {self.agreement:.1%} (intersection "
                f"over union), of which {LEAST_AGREEMENT:.0%} are needed"
            )
        return ""


def judged_by_masks(model: ModelFile, precision: CpuPrecision) -> bool:
    """Whether OpenVINO's values of a model may differ from ONNX Runtime's as far as masks agree.

    With bfloat16, and with an INT8 file that has passed the calibration gate where OpenVINO ran it.

    Args:
        model: an ONNX file.
        precision: of OpenVINO.
    """
    judged = (model.spec.calibration or {}).get("openvino")
    has_passed = isinstance(judged, Mapping) and judged.get("passed") is True
    return precision == "bf16" or (model.spec.precision == "int8" and has_passed)


def self_test(
    model: ModelFile, threads: int, precision: CpuPrecision = "f32", clock: Clock = time.monotonic
) -> tuple[TriedBackend, ...]:
    """Run a model on built-in walls in every way that might be the fastest.

    Args:
        model: an ONNX file.
        threads: CPU threads.
        precision: of OpenVINO; values may differ as far as `judged_by_masks` allows.
        clock: seconds.

    Returns:
        ONNX Runtime first. What takes too long to try is left out.
    """
    tiles = built_in_tiles(model, threads)
    end = clock() + _BUDGET_S
    with ExitStack() as stack:
        base = stack.enter_context(OnnxRuntimeRunner(model, threads=threads))
        wanted = base.infer(tiles)
        usable = [TriedBackend(None, 0.0)]
        runners: list[Runner] = [base]
        refused = []
        for settings in settings_to_try(model, threads, precision):
            try:
                runner = stack.enter_context(OpenVINORunner(model, settings, threads=threads))
                found = _compared(settings, runner.infer(tiles), wanted, model.spec.threshold)
            except EdgecrackError as error:
                refused.append(TriedBackend(settings, 0.0, 0, str(error)))
                continue
            if misfit := found.misfit(judged_by_masks(model, precision)):
                refused.append(replace(found, problem=misfit))
                continue
            usable.append(found)
            runners.append(runner)
        fastest = _fastest_passes(runners, tiles, clock, end)
    timed = (replace(each, seconds=took) for each, took in zip(usable, fastest, strict=True))
    return (*timed, *refused)


def _compared(
    settings: OpenVINOSettings,
    found: NDArray[np.uint8],
    wanted: NDArray[np.uint8],
    threshold: float,
) -> TriedBackend:
    level = uint8_level(threshold)
    masks = found >= level, wanted >= level
    either = int(np.count_nonzero(masks[0] | masks[1]))
    both = int(np.count_nonzero(masks[0] & masks[1]))
    apart = int(np.abs(found.astype(np.int16) - wanted).max())
    return TriedBackend(settings, 0.0, apart, "", both / either if either else None)


def _fastest_passes(
    runners: Sequence[Runner], tiles: NDArray[np.uint8], clock: Clock, end: float
) -> list[float]:
    """Of each runner its fastest pass; in turn, so that a busy moment affects all."""
    fastest = [_LONGEST_S] * len(runners)
    for number in range(_PASSES):
        if number and clock() > end:
            break
        for place, runner in enumerate(runners):
            began = clock()
            runner.infer(tiles)
            fastest[place] = min(fastest[place], _timed(clock() - began))
    return fastest


def _timed(seconds: float) -> float:
    return min(_LONGEST_S, max(_SHORTEST_S, seconds))


def built_in_tiles(model: ModelFile, threads: int) -> NDArray[np.uint8]:
    """Prepared tiles of generated walls with cracks, uint8 [N, 1, H, W]."""
    spec = model.spec
    count = int(np.clip(4 * threads, _FEWEST_TILES, _MOST_TILES))
    height, width = spec.tile_hw
    hw = max(height, _SMALLEST_WALL_PX), max(width, _SMALLEST_WALL_PX)
    walls = [generate_wall(WallConfig(seed, hw)).image for seed in range(_FEWEST_TILES)]
    tiles = [np.asarray(prepare(wall[:height, :width], spec.preprocess)) for wall in walls]
    return np.stack([tiles[number % len(tiles)] for number in range(count)])[:, None]


def settings_to_try(
    model: ModelFile, threads: int, precision: CpuPrecision
) -> list[OpenVINOSettings]:
    """The settings to try: many pieces at a time first, the fastest on most machines."""
    streams = sorted({threads, -(-threads // 2), 1}, reverse=True)
    batches: tuple[int | None, ...] = (2, 1, None) if model.spec.batch is None else (None,)
    return [
        OpenVINOSettings(precision, count, batch)
        for count in streams
        for batch in batches
        # A single piece would leave the other streams idle.
        if not (batch is None and count > 1 and model.spec.batch is None)
        and not (batch == 1 and count == 1 and threads > 1)
    ]
