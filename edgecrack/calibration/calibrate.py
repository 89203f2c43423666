"""From an FP32 ONNX file and images to an INT8 (Q/DQ) file that has passed the gate.

Brings sampler, ranges, quantizer, sensitivity and gate together. Must not know the command
line or TensorRT.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecrack.artifacts import ModelSpec, read_verified_spec, write_model
from edgecrack.calibration import quantize as quantizer
from edgecrack.calibration.accuracy import Accuracy, measure_accuracy
from edgecrack.calibration.config import CalibrationConfig
from edgecrack.calibration.frames import CalibrationFrames, open_frames
from edgecrack.calibration.graph_run import GraphRun
from edgecrack.calibration.ranges import collect_histograms, range_of
from edgecrack.calibration.sampler import SamplerConfig, TileSet, sample_tiles
from edgecrack.calibration.sensitivity import Choice, LayerCost, fewest_kept, rank_layers
from edgecrack.export.graph_file import read_graph
from edgecrack.export.precision import simulate_half
from edgecrack.metrics import uint8_level
from edgecrack.model_target import check_model_target
from edgecrack.runtime.runner import open_runner

if TYPE_CHECKING:
    import onnx

_RANKING_TILES = 48

Progress = Callable[[str, int, int], None]
"""Told (stage, done, total)."""


@dataclass(frozen=True)
class Calibration:
    """What was written and how good it is.

    Attributes:
        spec: the description in the sidecar.
        reference: scores of the FP32 file on the held-out tiles.
        accuracy: scores of the INT8 file on the same tiles.
        kept: layers that stay in FP16, the most costly first.
        layers: number of layers that could be INT8.
        int8_share: share of the multiplications that INT8 layers do, 0 to 1.
    """

    spec: ModelSpec
    reference: Accuracy
    accuracy: Accuracy
    kept: tuple[str, ...]
    layers: int
    int8_share: float


def calibrate(
    model: Path,
    target: Path,
    config: CalibrationConfig,
    progress: Progress = lambda stage, done, total: None,
) -> Calibration:
    """Quantize an FP32 ONNX file.

    Args:
        model: `*.onnx` in FP32, with its sidecar.
        target: the file to write; its sidecar comes beside it.
        config: data, method and gate.
        progress: told of each stage.

    Raises:
        ModelFileError: the model is missing, damaged or not FP32.
        ConfigError: the target is the model itself.
        DataError: the data cannot be read, are too few, or hold no crack.
        ExportError: a value of the network is infinite or not a number.
        AccuracyError: no choice of layers passes the gate; nothing is written.
        OutputError: the file cannot be written.
    """
    spec = read_verified_spec(model)
    check_model_target(target, (".onnx",), [model])
    graph = read_graph(model, spec, "fp32")
    open_runner(model).close()  # says in one sentence what else is wrong with a graph
    frames = open_frames(config.data, config.sampler.seed)
    float_run = GraphRun(graph, spec.batch)
    tiles, held_out = _sample(frames, config.sampler, spec, float_run, progress)
    search = _Search(graph, spec, config, tiles, held_out, float_run)
    choice, costs = search.run(progress)
    tried = f"{choice.tried} of {len(costs) or choice.tried} mixes tried, {config.method} ranges"
    config.gate.require(search.reference, choice.accuracy, tried)
    layers = quantizer.quantizable_layers(graph)
    work = quantizer.layer_work(graph)
    quantized = set(layers) - set(choice.kept)
    share = sum(work[name] for name in quantized) / sum(work.values())
    written = write_model(
        target,
        search.build(choice.kept).SerializeToString(),
        dataclasses.replace(
            spec,
            precision="int8",
            parent_sha256=spec.sha256,
            calibration={
                **_record(config, frames, tiles, held_out, choice, costs),
                "int8_layers": len(quantized),
                "int8_share_of_multiplications": round(share, 4),
            },
            scores=(*spec.scores, *_scores(frames, search.reference, choice.accuracy)),
        ),
    )
    return Calibration(written, search.reference, choice.accuracy, choice.kept, len(layers), share)


def _sample(
    frames: CalibrationFrames,
    config: SamplerConfig,
    spec: ModelSpec,
    float_run: GraphRun,
    progress: Progress,
) -> tuple[TileSet, TileSet]:
    level = uint8_level(spec.threshold)
    return sample_tiles(
        frames,
        config,
        spec.preprocess,
        spec.tile_hw,
        lambda pixels: float_run(pixels) >= level,
        lambda done, total: progress("sampling tiles", done, total),
    )


class _Search:
    """Quantized graphs of one model, and their scores."""

    def __init__(
        self,
        graph: onnx.ModelProto,
        spec: ModelSpec,
        config: CalibrationConfig,
        tiles: TileSet,
        held_out: TileSet,
        float_run: GraphRun,
    ) -> None:
        self._graph, self._spec, self._config = graph, spec, config
        self._tiles, self._held_out = tiles, held_out
        self._layers = quantizer.quantizable_layers(graph)
        self._expected = float_run(held_out.pixels)
        self._ranking = tiles.pixels[:_RANKING_TILES]
        self._ranking_expected = float_run(self._ranking).astype(np.float32)
        self.reference = measure_accuracy(
            self._expected, held_out.truth, spec.threshold, self._expected
        )
        self._ranges: dict[str, float] = {}

    def run(self, progress: Progress) -> tuple[Choice, list[LayerCost]]:
        """Ranges, then all layers in INT8, then as many kept as the gate asks for."""
        progress("collecting ranges", 0, 1)
        inputs = sorted(set(quantizer.layer_inputs(self._graph).values()))
        histograms = collect_histograms(self._graph, inputs, self._tiles.pixels, self._spec.batch)
        self._ranges = {
            name: range_of(values, self._config.method) for name, values in histograms.items()
        }
        progress("collecting ranges", 1, 1)
        accuracy = self._judge(())
        if self._config.gate.passes(self.reference, accuracy):
            return Choice((), accuracy, True, 1), []
        costs = rank_layers(
            self._layers,
            self._error_alone,
            lambda done, total: progress("ranking layers", done, total),
        )
        choice = fewest_kept(
            costs,
            lambda kept: self._judge(kept) if kept else accuracy,
            self.reference,
            self._config.gate,
            lambda done, total: progress("keeping layers in FP16", done, total),
        )
        return choice, costs

    def build(self, kept: Collection[str]) -> onnx.ModelProto:
        """The graph with these layers kept in FP16."""
        return quantizer.quantize(self._graph, self._ranges, kept)

    def _judge(self, kept: tuple[str, ...]) -> Accuracy:
        graph = simulate_half(self.build(kept))
        output = GraphRun(graph, self._spec.batch)(self._held_out.pixels)
        return measure_accuracy(output, self._held_out.truth, self._spec.threshold, self._expected)

    def _error_alone(self, layer: str) -> float:
        others = [name for name in self._layers if name != layer]
        graph = quantizer.quantize(self._graph, self._ranges, others, half=False)
        output = GraphRun(graph, self._spec.batch)(self._ranking)
        return float(((output - self._ranking_expected) ** 2).mean())


def _record(
    config: CalibrationConfig,
    frames: CalibrationFrames,
    tiles: TileSet,
    held_out: TileSet,
    choice: Choice,
    costs: list[LayerCost],
) -> dict[str, Any]:
    """What the sidecar says of how the file came about."""
    return {
        "data": frames.name,
        "truth": "labels" if frames.labelled else "fp32 model",
        "parts": frames.parts,
        "method": config.method,
        "seed": config.sampler.seed,
        "tiles": len(tiles),
        "tiles_with_crack": tiles.cracked,
        "set_sha256": tiles.sha256,
        "held_out_tiles": len(held_out),
        "held_out_tiles_with_crack": held_out.cracked,
        "held_out_sha256": held_out.sha256,
        "max_drop": config.gate.max_drop,
        "kept_fp16": list(choice.kept),
        "cost_of_layers": {cost.name: round(cost.error, 4) for cost in costs},
    }


def _scores(
    frames: CalibrationFrames, reference: Accuracy, accuracy: Accuracy
) -> list[dict[str, Any]]:
    data = f"held-out tiles of {frames.name}"
    return [
        {"data": data, "precision": "fp32", **reference.to_dict()},
        {"data": data, "precision": "int8", **accuracy.to_dict()},
    ]
