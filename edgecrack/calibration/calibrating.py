"""From an FP32 ONNX file and images to an INT8 (Q/DQ) file that has passed the gate.

If the gate refuses the file with all layers in INT8, each layer is quantized alone and ranked by
what it does to the output. Layers are then kept in FP16 in that order, one more at a time, until
the gate passes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecrack.artifacts import ModelFile, ModelSpec, read_model_file, write_model
from edgecrack.calibration import quantize as quantizer
from edgecrack.calibration.accuracy import Accuracy
from edgecrack.calibration.config import TENSORRT, CalibrationConfig
from edgecrack.calibration.gate import Kind, Verdict, refusal
from edgecrack.calibration.held_out import HeldOut, OpenVINOVerdict, judge_on_openvino
from edgecrack.calibration.ranges import collect_histograms, range_of
from edgecrack.calibration.sampler import (
    CalibrationFrames,
    SamplerConfig,
    TileSet,
    open_frames,
    sample_tiles,
)
from edgecrack.metrics import uint8_level
from edgecrack.model_target import check_model_target
from edgecrack.onnx_graph.graph_file import GraphRun, read_graph
from edgecrack.onnx_graph.precision import simulate_half
from edgecrack.runtime.backends.open import check_it_runs

if TYPE_CHECKING:
    import onnx


Advance = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class LayerCost:
    """The error of the output when one layer alone is INT8.

    Attributes:
        name: the layer.
        error: mean squared difference from the FP32 output, in squared levels of 255.
    """

    name: str
    error: float


@dataclass(frozen=True)
class Choice:
    """The layers that stay in floating point, and the verdict.

    Attributes:
        kept: their names, the most costly first.
        verdict: of the graph with all other layers in INT8.
        tried: number of graphs judged.
    """

    kept: tuple[str, ...]
    verdict: Verdict
    tried: int


def rank_layers(
    layers: Sequence[str],
    error_of: Callable[[str], float],
    advance: Advance = lambda done, total: None,
) -> list[LayerCost]:
    """Layers by cost, the greatest first; of equals, the earlier layer first.

    Args:
        layers: all layers that can be quantized.
        error_of: the output's error with that layer alone in INT8.
        advance: called with the number done.
    """
    costs = []
    for index, name in enumerate(layers):
        costs.append(LayerCost(name, error_of(name)))
        advance(index + 1, len(layers))
    return sorted(costs, key=lambda cost: -cost.error)


def smallest_kept_set(
    costs: Sequence[LayerCost],
    judge: Callable[[tuple[str, ...]], Verdict],
    advance: Advance = lambda done, total: None,
) -> Choice:
    """Keep layers in the order of their cost until the gate passes.

    At least one layer is kept, since the graph without any was judged before, and at least one
    stays in INT8. If nothing passes, the closest choice is returned.

    Args:
        costs: from `rank_layers`, of two layers or more.
        judge: the gate's verdict with these layers kept.
        advance: called with the number of graphs judged and their maximum.
    """
    nearest: Choice | None = None
    for count in range(1, len(costs)):
        kept = tuple(cost.name for cost in costs[:count])
        verdict = judge(kept)
        advance(count, len(costs) - 1)
        if verdict.passed:
            return Choice(kept, verdict, count)
        if nearest is None or verdict.excess < nearest.verdict.excess:
            nearest = Choice(kept, verdict, count)
    if nearest is None:
        raise ValueError("there are fewer than two layers")
    return Choice(nearest.kept, nearest.verdict, len(costs) - 1)


_RANKING_TILES = 48

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


@dataclass(frozen=True)
class Calibration:
    """The written file and its accuracy.

    Attributes:
        spec: the description in the sidecar.
        reference: scores of the FP32 file on the tiles of the verdict.
        accuracy: scores of the INT8 file on the same tiles.
        verdict: of the gate; where layers were chosen, on tiles not used for the choice.
        kept: layers that stay in FP16, or for a CPU in FP32, the most costly first.
        layers: number of layers that could be INT8.
        int8_share: share of the multiplications that INT8 layers do, 0 to 1.
        openvino: verdict on a file for CPUs as OpenVINO runs it; None without OpenVINO.
    """

    spec: ModelSpec
    reference: Accuracy
    accuracy: Accuracy
    verdict: Verdict
    kept: tuple[str, ...]
    layers: int
    int8_share: float
    openvino: OpenVINOVerdict | None = None


def calibrate(
    model: Path | ModelFile,
    target: Path,
    config: CalibrationConfig,
    progress: Progress = lambda stage, done, total: None,
) -> Calibration:
    """Quantize an FP32 ONNX file.

    Args:
        model: `*.onnx` in FP32, with its sidecar.
        target: the file to write; its sidecar comes beside it.
        config: data, method and gate.
        progress: called at each stage.

    Raises:
        ModelFileError: the model is missing, damaged or not FP32.
        ConfigError: the target is the model itself.
        DataError: the data cannot be read, are too few, have no crack, or cannot judge.
        ExportError: a value of the network is not finite.
        AccuracyError: no choice of layers passes the gate; nothing is written.
        OutputError: the file cannot be written.
    """
    source = read_model_file(model)
    spec = source.spec
    check_model_target(target, (".onnx",), [source.path])
    graph = read_graph(source, "fp32")
    check_it_runs(source)  # reports other faults of a graph in one sentence
    frames = open_frames(config.data, config.sampler.seed)
    float_run = GraphRun(graph, spec.batch)
    tiles, drawn = _sample(frames, config.sampler, spec, float_run, progress)
    kind: Kind = "labels" if frames.labelled else "agreement"
    held_out = HeldOut(frames.name, kind, drawn, float_run(drawn.pixels), spec.threshold)
    held_out.require_judgeable()
    search = _Search(graph, spec, config, tiles, float_run)
    found = search.run(held_out, progress)
    work = quantizer.layer_work(graph)
    quantized = set(search.layers) - set(found.kept)
    share = sum(work[name] for name in quantized) / sum(work.values())
    reference = found.judged_on.accuracy(found.judged_on.expected)
    accuracy = found.judged_on.accuracy(found.output)
    content = search.build(found.kept).SerializeToString()
    other = _on_openvino(content, spec, target, found, config)
    written = write_model(
        target,
        content,
        dataclasses.replace(
            spec,
            precision="int8",
            parent_sha256=spec.sha256,
            calibration={
                **_record(config, frames, tiles, held_out, found),
                "int8_layers": len(quantized),
                "int8_share_of_multiplications": round(share, 4),
                **({"openvino": other.to_dict()} if other else {}),
            },
            scores=(*spec.scores, *_scores(found, reference, accuracy)),
        ),
    )
    count = len(search.layers)
    return Calibration(written, reference, accuracy, found.verdict, found.kept, count, share, other)


def _on_openvino(
    content: bytes, spec: ModelSpec, target: Path, found: _Found, config: CalibrationConfig
) -> OpenVINOVerdict | None:
    """OpenVINO's verdict on a file for CPUs; a file for TensorRT is for another machine."""
    if config.made_for == TENSORRT:
        return None
    seed = config.sampler.seed
    return judge_on_openvino(content, spec, target, found.judged_on, config.gate, seed)


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
        spec.scales,
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """A graph that passed, and how it was found.

    Attributes:
        kept: layers in FP16.
        judged_on: the tiles of the final verdict.
        output: the graph's output on them, uint8 [N, H, W].
        verdict: the final verdict.
        choice: how the layers were chosen, or None where none had to be kept.
        costs: of each layer, the greatest first; empty without a choice.
    """

    kept: tuple[str, ...]
    judged_on: HeldOut
    output: NDArray[np.uint8]
    verdict: Verdict
    choice: Choice | None = None
    costs: tuple[LayerCost, ...] = ()


class _Search:
    """Quantized graphs of one model, and the gate's verdicts on them."""

    def __init__(
        self,
        graph: onnx.ModelProto,
        spec: ModelSpec,
        config: CalibrationConfig,
        tiles: TileSet,
        float_run: GraphRun,
    ) -> None:
        self._graph, self._spec, self._config = graph, spec, config
        self._tiles = tiles
        self._has_half = config.made_for == TENSORRT
        # Layers that OpenVINO computes wrongly stay in FP32, whatever ONNX Runtime's verdict is.
        self._spared = () if self._has_half else tuple(quantizer.layers_after_concat(graph))
        listed = quantizer.quantizable_layers(graph)
        self.layers = [name for name in listed if name not in self._spared]
        self._ranking = tiles.pixels[:_RANKING_TILES]
        self._ranking_expected = float_run(self._ranking).astype(np.float32)
        self._ranges: dict[str, float] = {}

    def run(self, held_out: HeldOut, progress: Progress) -> _Found:
        """Ranges, then all layers in INT8, then as many kept as the gate requires.

        Raises:
            AccuracyError: nothing passes the gate, or the choice is not confirmed.
        """
        self._collect_ranges(progress)
        output = self._output((), held_out)
        verdict = self._judge(output, held_out)
        if verdict.passed:
            return _Found((), held_out, output, verdict)
        halves = held_out.halves(self._config.sampler.seed)
        if halves is None or len(self.layers) < 2:
            raise refusal(verdict, f"all layers in INT8, {self._method}", choosable=False)
        costs = rank_layers(
            self.layers,
            self._error_alone,
            lambda done, total: progress("ranking layers", done, total),
        )
        choice = smallest_kept_set(
            costs,
            lambda kept: self._judge(self._output(kept, halves[0]), halves[0]),
            lambda done, total: progress("keeping layers in FP16", done, total),
        )
        return self._confirmed(choice, costs, halves[1])

    def _confirmed(self, choice: Choice, costs: list[LayerCost], part: HeldOut) -> _Found:
        """The choice, judged on tiles not used to make it."""
        tried = f"{choice.tried} of {len(costs) - 1} mixes with FP16 tried, {self._method}"
        if not choice.verdict.passed:
            raise refusal(choice.verdict, tried)
        output = self._output(choice.kept, part)
        verdict = self._judge(output, part)
        if not verdict.passed:
            raise refusal(verdict, tried, confirming=True)
        return _Found(choice.kept, part, output, verdict, choice, tuple(costs))

    def build(self, kept: Collection[str]) -> onnx.ModelProto:
        """The graph with these layers kept in FP16, or for a CPU in FP32."""
        kept = {*kept, *self._spared}
        return quantizer.quantize(self._graph, self._ranges, kept, half=self._has_half)

    @property
    def _method(self) -> str:
        return f"{self._config.method} ranges"

    def _collect_ranges(self, progress: Progress) -> None:
        progress("collecting ranges", 0, 1)
        inputs = sorted(set(quantizer.layer_inputs(self._graph).values()))
        histograms = collect_histograms(self._graph, inputs, self._tiles.pixels, self._spec.batch)
        self._ranges = {
            name: range_of(values, self._config.method) for name, values in histograms.items()
        }
        progress("collecting ranges", 1, 1)

    def _output(self, kept: tuple[str, ...], part: HeldOut) -> NDArray[np.uint8]:
        graph = self.build(kept)
        if self._has_half:
            graph = simulate_half(graph)
        return GraphRun(graph, self._spec.batch)(part.tiles.pixels)

    def _judge(self, output: NDArray[np.uint8], part: HeldOut) -> Verdict:
        return part.judge(self._config.gate, output, self._config.sampler.seed)

    def _error_alone(self, layer: str) -> float:
        others = [name for name in (*self.layers, *self._spared) if name != layer]
        graph = quantizer.quantize(self._graph, self._ranges, others, half=False)
        output = GraphRun(graph, self._spec.batch)(self._ranking)
        return float(((output - self._ranking_expected) ** 2).mean())


def _record(
    config: CalibrationConfig,
    frames: CalibrationFrames,
    tiles: TileSet,
    held_out: HeldOut,
    found: _Found,
) -> dict[str, Any]:
    """How the file was made, for the sidecar."""
    choice = found.choice
    return {
        "data": frames.name,
        "made_for": config.made_for,
        "truth": "labels" if frames.labelled else "fp32 model",
        "parts": frames.parts,
        "method": config.method,
        "seed": config.sampler.seed,
        "tiles": len(tiles),
        "tiles_with_crack": tiles.cracked,
        "set_sha256": tiles.sha256,
        "held_out_tiles": len(held_out.tiles),
        "held_out_tiles_with_crack": held_out.tiles.cracked,
        "held_out_images": held_out.tiles.images,
        "held_out_sha256": held_out.tiles.sha256,
        "gate": {
            **found.verdict.to_dict(),
            "search": choice and {"tried": choice.tried, **choice.verdict.to_dict()},
        },
        "kept_fp16": list(found.kept),
        "cost_of_layers": {cost.name: round(cost.error, 4) for cost in found.costs},
    }


def _scores(found: _Found, reference: Accuracy, accuracy: Accuracy) -> list[dict[str, Any]]:
    data = f"{'confirmation' if found.choice else 'held-out'} tiles of {found.judged_on.name}"
    return [
        {"data": data, "precision": "fp32", **reference.to_dict()},
        {"data": data, "precision": "int8", **accuracy.to_dict()},
    ]
