"""Scores of graphs on whole labelled images, tiled as on the robot; shared by benchmarks."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import onnx
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgecrack.artifacts import ModelSpec  # noqa: E402
from edgecrack.calibration.accuracy import Accuracy, measure_accuracy  # noqa: E402
from edgecrack.data.datasets import open_dataset  # noqa: E402
from edgecrack.onnx_graph.graph_file import GraphRun  # noqa: E402
from edgecrack.onnx_graph.precision import simulate_half  # noqa: E402
from edgecrack.runtime.detector import CrackDetector  # noqa: E402

DEFAULT_DATA = Path(os.environ.get("EDGECRACK_DATA", str(ROOT.parent / "shared" / "data")))


class GraphRunner:
    """A graph behind the contract that the runtime's tiling asks for."""

    def __init__(self, graph: onnx.ModelProto | bytes, spec: ModelSpec) -> None:
        self.spec, self.backend = spec, "onnx graph"
        content = graph if isinstance(graph, bytes) else graph.SerializeToString()
        rounded = simulate_half(onnx.load_model_from_string(content))  # as a GPU would round
        self._run = GraphRun(rounded, spec.batch)

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return self._run(tiles)[:, None]

    def close(self) -> None:
        """Hold nothing."""

    def __enter__(self) -> GraphRunner:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class Images:
    """A split's images and truths, all of one size."""

    name: str
    frames: list[NDArray[np.uint8]]
    truth: NDArray[np.bool_]

    def maps(self, graph: onnx.ModelProto | bytes, spec: ModelSpec) -> NDArray[np.uint8]:
        """Crack probability, uint8 [N, H, W]."""
        detector = CrackDetector(GraphRunner(graph, spec), self.name)
        return np.stack([detector.probability_of(frame) for frame in self.frames])


def load_images(folder: Path, split: str) -> Images:
    samples = [sample.load() for sample in open_dataset(folder).samples(split)]
    truth = np.stack([mask > 0 for _, mask in samples])
    return Images(f"{folder.name} {split}", [image for image, _ in samples], truth)


def score(
    images: Images,
    maps: NDArray[np.uint8],
    spec: ModelSpec,
    reference: NDArray[np.uint8] | None = None,
) -> Accuracy:
    return measure_accuracy(maps, images.truth, spec.threshold, reference)
