"""Model files for tests, made in a moment: real graphs that keep, or break, the contract."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.artifacts import Kind, ModelSpec, write_sidecar
from edgecrack.preprocess import PreprocessConfig

Image = NDArray[np.uint8]


def spec_of(
    tile_hw: tuple[int, int], batch: int | None = None, threshold: float = 0.5, kind: Kind = "onnx"
) -> ModelSpec:
    return ModelSpec(
        kind=kind,
        pooling="gated-scale",
        width=8,
        tile_hw=tile_hw,
        batch=batch,
        threshold=threshold,
        sha256="0" * 64,
    )


class IdentityRunner:
    """Gives every tile back as it is, and remembers what it was asked."""

    def __init__(
        self,
        tile_hw: tuple[int, int] = (64, 64),
        threshold: float = 0.5,
        preprocess: PreprocessConfig | None = None,
    ) -> None:
        self._spec = spec_of(tile_hw, threshold=threshold)
        if preprocess is not None:
            self._spec = replace(self._spec, preprocess=preprocess)
        self.calls: list[Image] = []
        self.closed = 0

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    @property
    def backend(self) -> str:
        return "identity"

    def infer(self, tiles: Image) -> Image:
        self.calls.append(tiles.copy())
        return tiles.copy()

    def close(self) -> None:
        self.closed += 1

    def __enter__(self) -> IdentityRunner:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def write_graph(
    path: Path,
    tile_hw: tuple[int, int] = (16, 16),
    batch: int | None = None,
    *,
    names: tuple[str, str] = ("tiles", "crack"),
    tile_type: str = "UINT8",
    channels: int = 1,
    more_outputs: int = 0,
) -> Path:
    """An ONNX file whose output is its input; without a sidecar."""
    onnx: Any = pytest.importorskip("onnx", reason="the export extra is not installed")
    kind = getattr(onnx.TensorProto, tile_type)
    shape = [batch or "batch", channels, *tile_hw]
    outputs = [names[1], *(f"more_{number}" for number in range(more_outputs))]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", [names[0]], [output]) for output in outputs],
        "identity",
        [onnx.helper.make_tensor_value_info(names[0], kind, shape)],
        [onnx.helper.make_tensor_value_info(output, kind, shape) for output in outputs],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9
    )
    path.write_bytes(model.SerializeToString())
    return path


def write_model(path: Path, spec: ModelSpec | None = None, **graph: Any) -> Path:
    """An ONNX file with a sidecar that says `spec`, whatever its graph is."""
    spec = spec or spec_of((16, 16))
    write_graph(path, **({"tile_hw": spec.tile_hw, "batch": spec.batch} | graph))
    write_sidecar(path, spec)
    return path


def write_quick_model(path: Path) -> Path:
    """A model of the bundled one's tiles that computes nothing and finds a crack in no demo.

    For processes of which a test looks at something other than cracks: a tile takes the bundled
    network tens of milliseconds.
    """
    return write_model(path, spec_of((256, 256), threshold=0.99))


def engine_of(onnx_file: Path, engine: Path) -> Path:
    """An engine for the GPU of this machine, with its sidecar; skips where none can be built."""
    from edgecrack.errors import MissingDependencyError
    from edgecrack.export.engine.builder import build_engine

    try:
        return build_engine(onnx_file, engine).path
    except MissingDependencyError as error:
        pytest.skip(f"no engine can be built: {error.problem}")
