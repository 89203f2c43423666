"""Scores of files on a user's tiles or on generated walls."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.artifacts import read_verified_spec, sidecar_path, write_sidecar
from edgecrack.calibration.accuracy import Accuracy
from edgecrack.calibration.calibrating import calibrate
from edgecrack.calibration.config import CalibrationConfig
from edgecrack.calibration.gate import Gate
from edgecrack.calibration.sampler import SamplerConfig
from edgecrack.errors import (
    DeviceError,
    EdgecrackError,
    ExportError,
    MissingDependencyError,
    ModelFileError,
)
from edgecrack.export import model_scores
from edgecrack.export.model_scores import (
    WALLS,
    NotRun,
    Parity,
    Scored,
    check_parity,
    labelled_tiles,
    score_files,
)
from edgecrack.files import write_png
from edgecrack.nvidia.cuda import open as cuda_open
from edgecrack.nvidia.engine_info import EngineInfo, current_platform
from edgecrack.nvidia.gpu import Gpu
from edgecrack.onnx_graph.precision import to_half
from edgecrack.preprocess import preprocess
from edgecrack.runtime.backends import open as backend_open
from edgecrack.runtime.backends import preflight
from edgecrack.runtime.backends.open import open_runner
from edgecrack.synthetic import WallConfig, generate_wall
from tests.calibration.small import TILE_HW, save_model, small_graph

ENTRY = {
    "precision": "int8",
    "data": "walls",
    "ods": 88.5,
    "strict_f1": 60,
    "thin_recall": 80.25,
    "largest_difference": 9,
    "thin_pixels": 40,
    "tolerant_f1": 85.5,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(30):
        write_png(folder / f"{seed}.png", generate_wall(WallConfig(seed, (96, 160))).image)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(small_graph(), tmp_path / "small.fp32.onnx")


def test_without_data_generated_walls_are_the_tiles(model: Path) -> None:
    spec = read_verified_spec(model)
    tiles, name = labelled_tiles(None, spec, b"")
    assert name == f"{WALLS} generated walls"
    assert tiles.pixels.shape == (WALLS, 1, *TILE_HW)
    assert tiles.pixels.dtype == np.uint8
    wall = generate_wall(WallConfig(3, TILE_HW))
    np.testing.assert_array_equal(tiles.pixels[3, 0], preprocess(wall.image, spec.preprocess))
    np.testing.assert_array_equal(tiles.truth[3], wall.mask > 0)
    assert 0 < tiles.cracked < WALLS


@pytest.mark.parametrize("tile_hw", [(16, 16), (16, 64), (40, 24)])
def test_tiles_smaller_than_any_wall_are_cut_from_one(tmp_path: Path, tile_hw: Any) -> None:
    spec = read_verified_spec(save_model(small_graph(), tmp_path / "m.onnx", tile_hw=tile_hw))
    tiles, _ = labelled_tiles(None, spec, b"")
    assert tiles.pixels.shape == (WALLS, 1, *tile_hw)
    assert tiles.truth.shape == (WALLS, *tile_hw)


def test_of_a_user_s_data_the_tiles_are_those_that_the_gate_judged_by(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    config = CalibrationConfig(photos, gate=Gate(100, 100), sampler=SamplerConfig(64, 40, 3))
    done = calibrate(model, tmp_path / "int8.onnx", config)
    tiles, name = labelled_tiles(config, read_verified_spec(model), model.read_bytes())
    assert tiles.sha256 == (done.spec.calibration or {})["held_out_sha256"]
    assert name == f"40 held-out tiles of {photos.name}"
    rows, data = score_files(model, tmp_path / "int8.onnx", done.spec, config)
    assert data == name
    assert [row.name for row in rows] == ["fp32", "int8"]
    assert rows[0].accuracy == done.reference
    assert rows[1].accuracy == done.accuracy


def test_a_file_is_compared_with_the_fp32_one(model: Path, tmp_path: Path) -> None:
    source = save_model(to_half(small_graph()), tmp_path / "small.fp16.onnx", precision="fp16")
    spec = read_verified_spec(source)
    rows, data = score_files(model, source, spec, None)
    assert [row.name for row in rows] == ["fp32", "fp16"]
    assert rows[0].accuracy.largest_difference == 0
    assert 0 < rows[1].accuracy.largest_difference <= 16
    assert data == f"{WALLS} generated walls"


@pytest.mark.parametrize(("known", "names"), [(True, ["fp32"]), (False, ["fp16"])])
def test_one_file_alone_makes_one_row(
    model: Path, tmp_path: Path, known: bool, names: list[str]
) -> None:
    spec = read_verified_spec(model)
    if not known:
        model = save_model(to_half(small_graph()), tmp_path / "a.onnx", precision="fp16")
        spec = read_verified_spec(model)
    rows, _ = score_files(model if known else None, model, spec, None)
    assert [row.name for row in rows] == names
    assert rows[0].accuracy.largest_difference == 0


class Engine:
    """Stands in for a runner of an engine: the ONNX file's output, darker by some levels."""

    def __init__(self, model: Path, lost: int) -> None:
        self._runner, self._lost = open_runner(model), lost

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.close()

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        output = self._runner.infer(tiles)
        return np.asarray(output - np.minimum(output, self._lost))


@pytest.fixture
def engine(model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something that is described as an engine, on a machine that has a GPU for it."""
    monkeypatch.setattr(preflight, "check_engine", lambda path, spec: None)
    monkeypatch.setattr(cuda_open, "open_cuda", lambda: None)
    path = model.with_name("wall.engine")
    path.write_bytes(b"an engine")
    info = EngineInfo(
        "tensorrt", "10.3.0", ("8.7",), current_platform(), (1, 8, 8), model.name
    ).to_dict()
    write_sidecar(path, dataclasses.replace(read_verified_spec(model), kind="engine", engine=info))
    return path


def test_an_engine_that_computes_the_same_is_left_alone(
    model: Path, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_open, "open_runner", lambda path: Engine(model, 0))
    found = check_parity(engine, model, read_verified_spec(model))
    assert found == Parity(WALLS, 0, 0.0)
    assert engine.exists()


def test_an_engine_that_computes_something_else_is_removed(
    model: Path, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_open, "open_runner", lambda path: Engine(model, 99))
    with pytest.raises(ExportError, match=r"from small\.fp32\.onnx by \d+\.\d\d/255") as caught:
        check_parity(engine, model, read_verified_spec(model))
    assert "was removed" in caught.value.problem
    assert not engine.exists()
    assert not sidecar_path(engine).exists()
    assert model.exists()


@pytest.mark.parametrize("error", [ModelFileError, DeviceError])
def test_an_engine_that_does_not_run_where_it_should_is_removed(
    model: Path,
    engine: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[EdgecrackError],
) -> None:
    def refuse(path: Path) -> None:
        raise error("it broke", "mend it")

    monkeypatch.setattr(backend_open, "open_runner", refuse)
    with pytest.raises(ExportError, match="does not run: it broke; it was removed; mend it"):
        check_parity(engine, model, read_verified_spec(model))
    assert not engine.exists()


@pytest.mark.parametrize("error", [ModelFileError, MissingDependencyError, DeviceError])
@pytest.mark.parametrize("asked", ["check_engine", "open_cuda"])
def test_an_engine_for_another_machine_is_not_judged(
    model: Path,
    engine: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[EdgecrackError],
    asked: str,
) -> None:
    def refuse(*given: object) -> None:
        raise error("no GPU", "bring one")

    monkeypatch.setattr(preflight if asked == "check_engine" else cuda_open, asked, refuse)
    found = check_parity(engine, model, read_verified_spec(model))
    assert found == NotRun("no GPU", "bring one", is_for_here=False)
    assert str(found) == "no GPU"
    assert engine.exists()


@pytest.mark.parametrize("error", [MissingDependencyError, DeviceError])
@pytest.mark.parametrize("asked", ["check_engine", "open_cuda"])
def test_an_engine_for_this_machine_that_cannot_run_is_no_silence(
    model: Path,
    engine: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[EdgecrackError],
    asked: str,
) -> None:
    def refuse(*given: object) -> None:
        raise error("no cuda-python", "install it")

    monkeypatch.setattr(model_scores, "gpu_devices", lambda: (Gpu(0, "Orin", "8.7", 1 << 33),))
    monkeypatch.setattr(preflight if asked == "check_engine" else cuda_open, asked, refuse)
    found = check_parity(engine, model, read_verified_spec(model))
    assert found == NotRun("no cuda-python", "install it", is_for_here=True)
    assert "is for this machine and did NOT run here" in str(found)
    assert str(found).endswith("no cuda-python; install it")
    assert engine.exists()


def test_an_engine_for_this_machine_that_it_refuses_is_removed(
    model: Path, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise ModelFileError("of another TensorRT", "build it here")

    monkeypatch.setattr(model_scores, "gpu_devices", lambda: (Gpu(0, "Orin", "8.7", 1 << 33),))
    monkeypatch.setattr(preflight, "check_engine", refuse)
    with pytest.raises(ExportError, match="which refuses it: of another TensorRT; it was removed"):
        check_parity(engine, model, read_verified_spec(model))
    assert not engine.exists()


def test_a_row_goes_into_a_sidecar_and_comes_back() -> None:
    row = Scored.from_mapping(ENTRY)
    assert row == Scored("int8", Accuracy(88.5, 60.0, 80.25, 9, 40, 85.5))
    assert row.to_dict() == {key: value for key, value in ENTRY.items() if key != "data"}


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"ods": None}, "TypeError"),
        ({"ods": "high"}, "high"),
        ({"largest_difference": []}, "TypeError"),
    ],
)
def test_damaged_scores_are_refused(change: dict[str, Any], shown: str) -> None:
    with pytest.raises(ModelFileError, match=f"scores are damaged .*{shown}.*; calibrate the"):
        Scored.from_mapping({**ENTRY, **change})


@pytest.mark.parametrize("missing", ["precision", "ods", "strict_f1", "thin_recall"])
def test_a_missing_score_is_named(missing: str) -> None:
    entry = {key: value for key, value in ENTRY.items() if key != missing}
    with pytest.raises(ModelFileError, match=missing):
        Scored.from_mapping(entry)
