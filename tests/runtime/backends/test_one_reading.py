"""A model file is read once: what was hashed is what runs, whatever becomes of the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecrack.artifacts import file_sha256, read_model_file, sidecar_path, write_sidecar
from edgecrack.errors import EdgecrackError, ModelFileError
from edgecrack.evaluation.open_model import open_model
from edgecrack.evaluation.protocols import PredictionConfig
from edgecrack.export.model_scores import score_files
from edgecrack.machine_benchmark.candidates import candidates, first_result
from edgecrack.runtime.backends.open import check_it_runs, open_runner
from edgecrack.runtime.backends.openvino_runner import has_openvino
from edgecrack.runtime.backends.relative_speed import relative_time
from edgecrack.runtime.detector import open_detector
from tests.runtime.models import spec_of, write_model, write_quick_model

TILE = np.random.default_rng(0).integers(0, 256, (1, 1, 16, 16), dtype=np.uint8)


def failing_graph(path: Path, kind: str) -> Path:
    """An ONNX file that loads and then fails, or gives other maps than it should."""
    onnx: Any = pytest.importorskip("onnx", reason="the export extra is not installed")
    uint8, int64 = onnx.TensorProto.UINT8, onnx.TensorProto.INT64
    node, constants = onnx.helper.make_node, []
    if kind == "fails":
        constants = [onnx.helper.make_tensor("index", int64, [1], [7])]
        nodes = [node("Gather", ["tiles", "index"], ["crack"], axis=1)]
    else:
        nodes = [node("Concat", ["tiles", "tiles"], ["crack"], axis=0)]
    ends = [
        onnx.helper.make_tensor_value_info(name, uint8, ["batch", 1, 16, 16])
        for name in ("tiles", "crack")
    ]
    graph = onnx.helper.make_graph(nodes, "graph", ends[:1], ends[1:], constants)
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    path.write_bytes(model.SerializeToString())
    write_sidecar(path, spec_of((16, 16)))
    return path


@pytest.mark.parametrize(
    ("kind", "words"), [("fails", "cannot run"), ("grows", r"\[2, 1, 16, 16\]")]
)
@pytest.mark.parametrize("count", [1, 40])
def test_a_graph_that_fails_while_it_runs_is_the_file_s_error(
    tmp_path: Path, kind: str, words: str, count: int
) -> None:
    path = failing_graph(tmp_path / "m.onnx", kind)
    with open_runner(path, threads=2) as runner, pytest.raises(ModelFileError) as caught:
        runner.infer(np.repeat(TILE, count, axis=0))
    assert "m.onnx" in caught.value.problem
    assert "cannot run" in caught.value.problem
    with pytest.raises(ModelFileError, match=words):
        check_it_runs(path)


def with_tensor_elsewhere(folder: Path, where: str) -> Path:
    """A model whose factor of 3 lies in the file w.bin, hashed and described by its sidecar."""
    onnx: Any = pytest.importorskip("onnx", reason="the export extra is not installed")
    factor = onnx.TensorProto(name="factor", data_type=onnx.TensorProto.FLOAT, dims=[1])
    factor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("length", "4")):
        factor.external_data.add(key=key, value=value)
    (folder / "w.bin").write_bytes(np.full(1, 3, np.float32).tobytes())
    node, helper = onnx.helper.make_node, onnx.helper
    nodes = [
        node("Cast", ["tiles"], ["f"], to=onnx.TensorProto.FLOAT),
        node("Mul", ["f", "factor"], ["m"]),
        node("Cast", ["m"], ["crack"], to=onnx.TensorProto.UINT8),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, ["batch", 1, 16, 16])
        for name in ("tiles", "crack")
    ]
    if where == "initializer":
        graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], [factor])
    else:
        nodes.insert(0, node("Constant", [], ["factor"], value=factor))
        graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    write_sidecar(path, spec_of((16, 16)))
    return path


@pytest.mark.parametrize("where", ["initializer", "constant"])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_tensors_in_another_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, backend: str
) -> None:
    if backend == "openvino" and not has_openvino():
        pytest.skip("OpenVINO is not installed")
    path = with_tensor_elsewhere(tmp_path, where)
    monkeypatch.chdir(tmp_path)  # from where OpenVINO reads them without a word
    with pytest.raises(ModelFileError, match="'factor' in another file, which no hash") as caught:
        open_runner(path, threads=1, backend=backend)
    assert "all of it into one file" in caught.value.remedy


def opened_detector(model: Path) -> None:
    open_detector(model, threads=1).close()


def evaluated(model: Path) -> None:
    with ExitStack() as stack:
        open_model(model, PredictionConfig(), stack)


def benchmarked(model: Path) -> None:
    for candidate in candidates([model]):
        if candidate.backend != "openvino-bf16":
            candidate.open(1).close()


def timed(model: Path) -> None:
    other = write_quick_model(model.with_name("other.onnx"))
    relative_time(model, other, threads=1)


@pytest.mark.parametrize("use", [opened_detector, evaluated, benchmarked, timed])
def test_a_model_file_and_its_sidecar_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Path], None]
) -> None:
    path = write_quick_model(tmp_path / "m.onnx")
    read: list[str] = []
    ordinary = Path.open

    def noting(self: Path, *arguments: Any, **options: Any) -> Any:
        read.append(self.name)
        return ordinary(self, *arguments, **options)

    def read_whole(path: Path) -> bytes:
        with noting(path, "rb") as file:
            return bytes(file.read())

    monkeypatch.setattr(Path, "open", noting)
    monkeypatch.setattr(Path, "read_bytes", read_whole)
    use(path)
    assert read.count("m.onnx") == 1
    assert read.count("m.onnx.json") == 1


def test_a_file_that_is_swapped_after_the_start_does_not_run(tmp_path: Path) -> None:
    """Each thread's session, too, which is made when a frame is large enough, has the old bytes."""
    path = write_model(tmp_path / "m.onnx")
    tiles = np.repeat(TILE, 40, axis=0)
    with open_runner(path, threads=2) as runner:
        before = runner.infer(tiles[:1])
        failing_graph(path, "fails")
        assert np.array_equal(runner.infer(tiles[:1]), before)
        assert np.array_equal(runner.infer(tiles), tiles)  # a second session


def test_a_link_that_is_turned_after_the_start_changes_nothing(tmp_path: Path) -> None:
    good = write_model(tmp_path / "good.onnx")
    bad = failing_graph(tmp_path / "bad.onnx", "fails")
    link = tmp_path / "m.onnx"
    link.symlink_to(good)
    sidecar_path(link).symlink_to(sidecar_path(good))
    with open_runner(link, threads=2) as runner:
        for name in (link, sidecar_path(link)):
            name.unlink()
        link.symlink_to(bad)
        assert np.array_equal(runner.infer(np.repeat(TILE, 40, axis=0))[:1], TILE)


def test_a_model_that_is_swapped_between_two_measurements_is_not_measured(tmp_path: Path) -> None:
    path = write_quick_model(tmp_path / "m.onnx")
    candidate = next(each for each in candidates([path]) if each.backend == "onnxruntime")
    other = write_model(tmp_path / "other.onnx")
    for source, target in ((other, path), (sidecar_path(other), sidecar_path(path))):
        shutil.copy(source, target)
    assert first_result(candidate, (64, 64), 1)["first_result_s"] is None
    assert candidate.file is not None
    assert candidate.file.spec.sha256 != file_sha256(path)
    with candidate.open(1) as detector:
        assert detector.runner.spec.tile_hw == (256, 256)


def test_a_file_without_its_hash_is_not_scored(tmp_path: Path) -> None:
    path = write_quick_model(tmp_path / "m.onnx")
    spec = read_model_file(path).spec
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(EdgecrackError, match="does not match its sidecar"):
        score_files(path, path, spec, None)
