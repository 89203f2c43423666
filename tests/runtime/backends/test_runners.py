"""The contract that every runner keeps, and the files that none of them loads."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.artifacts import file_sha256, sidecar_path, write_sidecar
from edgecrack.errors import ConfigError, ModelFileError
from edgecrack.extras import origin
from edgecrack.preprocess import preprocess
from edgecrack.runtime.backends.base import Runner
from edgecrack.runtime.backends.onnx_runtime import OnnxRuntimeRunner
from edgecrack.runtime.backends.open import BUNDLED_MODEL, open_runner
from edgecrack.runtime.detector import open_detector
from edgecrack.synthetic import DemoPath
from tests.runtime.models import engine_of, spec_of, write_graph, write_model

Image = NDArray[np.uint8]
FIXED_BATCH = 3


@pytest.fixture(scope="session")
def fixed_batch_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network of ours, exported for three tiles per call."""
    pytest.importorskip("torch", reason="the export extra is not installed")
    pytest.importorskip("onnxscript", reason="the export extra is not installed")
    pytest.importorskip("lightning", reason="the export extra is not installed")
    from tests.export.exported import FIXED, exported

    _, tile_hw, batch, _ = FIXED
    assert batch == FIXED_BATCH
    path = tmp_path_factory.mktemp("models") / "fixed.onnx"
    path.write_bytes(exported(FIXED)[1].SerializeToString())
    write_sidecar(path, spec_of(tile_hw, batch))
    return path


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model as an engine for the GPU of this machine."""
    return engine_of(BUNDLED_MODEL, tmp_path_factory.mktemp("engine") / "any.engine")


@pytest.fixture(scope="session")
def fixed_batch_engine(fixed_batch_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engine_of(fixed_batch_model, tmp_path_factory.mktemp("engine") / "fixed.engine")


# One entry per backend and kind of file; what is below must hold for each.
BACKENDS = [
    "bundled",
    "fixed_batch_model",
    pytest.param("engine", marks=pytest.mark.gpu),
    pytest.param("fixed_batch_engine", marks=pytest.mark.gpu),
]


@pytest.fixture(params=BACKENDS)
def model(request: pytest.FixtureRequest) -> Path:
    if request.param == "bundled":
        return BUNDLED_MODEL
    path: Path = request.getfixturevalue(request.param)
    return path


def opened(model: Path) -> Runner:
    """A runner that leaves the other cores to other tests."""
    return open_runner(model, threads=1 if model.suffix == ".onnx" else None)


@pytest.fixture
def runner(model: Path) -> Iterator[Runner]:
    with opened(model) as runner:
        yield runner


def tiles_for(runner: Runner, count: int, seed: int = 0) -> Image:
    """Preprocessed, distinct tiles: smooth dark lines on noise, so that outputs differ."""
    generator = np.random.default_rng(seed)
    height, width = runner.spec.tile_hw
    tiles = generator.integers(90, 170, (count, 1, height, width), dtype=np.uint8)
    for number in range(count):
        column = 3 + (7 * number) % (width - 6)
        tiles[number, 0, :, column : column + 3] = 10
        tiles[number, 0] = preprocess(tiles[number, 0])
    return tiles


class TestContract:
    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
    def test_any_number_of_tiles(self, runner: Runner, count: int) -> None:
        tiles = tiles_for(runner, count)
        crack = runner.infer(tiles)
        assert crack.dtype == np.uint8
        assert crack.shape == tiles.shape

    def test_a_tile_gives_the_same_alone_and_in_company(self, runner: Runner) -> None:
        tiles = tiles_for(runner, 5)
        together = runner.infer(tiles).astype(int)
        alone = np.concatenate([runner.infer(tile[None]) for tile in tiles])
        turned = runner.infer(np.ascontiguousarray(tiles[::-1]))[::-1]
        # One level, since a backend may choose another order of summation for another batch; a
        # GPU may choose another kernel.
        levels = 2 if runner.spec.kind == "engine" else 1
        assert np.abs(together - alone).max() <= levels
        assert np.abs(together - turned).max() <= levels
        assert len({tile.tobytes() for tile in alone}) == 5

    def test_the_input_stays_and_the_result_is_the_callers(self, runner: Runner) -> None:
        tiles = tiles_for(runner, 2)
        before = tiles.copy()
        first = runner.infer(tiles)
        kept = first.copy()
        assert not np.shares_memory(first, tiles)
        assert first.flags.writeable
        runner.infer(tiles_for(runner, 2, seed=9))
        np.testing.assert_array_equal(first, kept)
        np.testing.assert_array_equal(tiles, before)

    def test_a_view_with_strides_is_taken(self, runner: Runner) -> None:
        tiles = tiles_for(runner, 4)
        np.testing.assert_array_equal(
            runner.infer(tiles[::2]), runner.infer(np.ascontiguousarray(tiles[::2]))
        )

    def test_read_only_tiles_are_taken(self, runner: Runner) -> None:
        tiles = tiles_for(runner, 1)
        tiles.flags.writeable = False
        assert runner.infer(tiles).shape == tiles.shape

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda tiles: tiles.astype(np.float32), "float32"),
            (lambda tiles: tiles.astype(np.int8), "int8"),
            (lambda tiles: tiles[0], r"shape \(1, "),
            (lambda tiles: tiles[:0], r"shape \(0, "),
            (lambda tiles: tiles[..., :-8], "shape"),
            (lambda tiles: np.repeat(tiles, 3, axis=1), r", 3, "),
            (lambda tiles: np.moveaxis(tiles, 1, 3), "shape"),
        ],
    )
    def test_other_tiles_are_refused(
        self, runner: Runner, change: Callable[[Image], Any], named: str
    ) -> None:
        with pytest.raises(ConfigError, match=named) as caught:
            runner.infer(change(tiles_for(runner, 1)))
        height, width = runner.spec.tile_hw
        assert f"{height}, {width}" in caught.value.remedy

    def test_a_closed_runner_says_so_and_closes_again(self, model: Path) -> None:
        with opened(model) as runner:
            tiles = tiles_for(runner, 1)
            runner.close()
            with pytest.raises(ConfigError, match="closed"):
                runner.infer(tiles)
            runner.close()
        with pytest.raises(ConfigError, match="closed"):
            runner.infer(tiles)

    def test_the_context_closes_after_an_error_and_passes_it_on(self, model: Path) -> None:
        runner = opened(model)
        tiles = tiles_for(runner, 1)
        with pytest.raises(KeyError), runner:
            raise KeyError
        with pytest.raises(ConfigError, match="closed"):
            runner.infer(tiles)

    def test_it_knows_its_model(self, runner: Runner, model: Path) -> None:
        sidecar = json.loads(sidecar_path(model).read_text())
        assert runner.spec.sha256 == sidecar["sha256"]
        assert list(runner.spec.tile_hw) == sidecar["tile_hw"]

    @pytest.mark.parametrize("threads", [0, -1, 5000])
    def test_impossible_thread_counts_are_refused(self, model: Path, threads: int) -> None:
        with pytest.raises(ConfigError, match=str(threads)):
            open_runner(model, threads=threads)


def test_a_fixed_batch_is_filled_up_with_what_is_there(fixed_batch_model: Path) -> None:
    """Each tile against ONNX Runtime itself, with the batch made by hand."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(fixed_batch_model), providers=["CPUExecutionProvider"]
    )
    with open_runner(fixed_batch_model, threads=1) as runner:
        tiles = tiles_for(runner, 4)
        crack = runner.infer(tiles)
    for tile, found in zip(tiles, crack, strict=True):
        (expected,) = session.run(["crack"], {"tiles": np.stack([tile] * FIXED_BATCH)})
        assert np.abs(expected[0].astype(int) - found).max() <= 1


def test_the_bundled_model_is_the_default_and_sees_a_crack() -> None:
    view = DemoPath().frame(0)
    window = np.s_[:256, :256]  # a wide crack from top to bottom, and a shadow's edge
    truth = view.mask[window] > 0
    assert truth.sum() > 1000
    with open_runner(threads=1) as runner:
        assert isinstance(runner, OnnxRuntimeRunner)
        tile = preprocess(view.image)[window]
        crack = runner.infer(tile[None, None])[0, 0] >= runner.spec.threshold * 255
    far = cv2.dilate(truth.astype(np.uint8), np.ones((11, 11), np.uint8)) == 0
    assert crack[truth].mean() > 0.7
    assert crack[far].mean() < 0.01


@pytest.mark.gpu
class TestEngineOnARealGpu:
    def free_bytes(self) -> int:
        from edgecrack.nvidia.cuda.open import open_cuda

        cuda = open_cuda()
        with cuda.current():
            return cuda.memory()[0]

    @pytest.mark.parametrize("count", [1, 3, 8, 20])
    def test_it_gives_what_onnx_runtime_gives(self, engine: Path, count: int) -> None:
        with open_runner(BUNDLED_MODEL) as cpu, open_runner(engine) as gpu:
            tiles = tiles_for(cpu, count, seed=count)
            expected = cpu.infer(tiles).astype(int)
            for _ in range(4):  # plain, recorded, and launched as a CUDA graph
                assert np.abs(gpu.infer(tiles) - expected).max() <= 2

    def test_closing_frees_its_memory(self, engine: Path) -> None:
        open_runner(engine).close()  # the context of CUDA itself stays
        before = self.free_bytes()
        with open_runner(engine) as runner:
            runner.infer(tiles_for(runner, 20))
            during = self.free_bytes()
        assert before - during > 1 << 20
        assert before - self.free_bytes() < 8 << 20

    def test_damaged_code_under_a_forged_hash(self, engine: Path, tmp_path: Path) -> None:
        path = tmp_path / "crack.engine"
        spec = json.loads(sidecar_path(engine).read_text())
        path.write_bytes(engine.read_bytes()[:1000])
        spec["sha256"] = file_sha256(path)
        sidecar_path(path).write_text(json.dumps(spec))
        with pytest.raises(ModelFileError, match="cannot load") as caught:
            open_runner(path)
        assert "edgecrack build-engine" in caught.value.remedy

    def test_whole_frames_are_the_same_as_on_the_cpu(self, engine: Path) -> None:
        view = DemoPath().frame(0)
        with open_detector(BUNDLED_MODEL) as cpu, open_detector(engine) as gpu:
            difference = cpu.probability_of(view.image).astype(int) - gpu.probability_of(view.image)
        assert np.abs(difference).max() <= 2


class TestRefusedFiles:
    def refusal(self, path: Path) -> ModelFileError:
        with pytest.raises(ModelFileError) as caught:
            open_runner(path, threads=1)
        assert str(path) in caught.value.problem
        assert caught.value.remedy
        assert "\n" not in str(caught.value)
        return caught.value

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        assert "does not exist" in self.refusal(tmp_path / "none.onnx").problem

    def test_a_folder(self, tmp_path: Path) -> None:
        assert "folder" in self.refusal(tmp_path).problem

    def test_no_sidecar(self, tmp_path: Path) -> None:
        path = tmp_path / "m.onnx"
        shutil.copy(BUNDLED_MODEL, path)
        error = self.refusal(path)
        assert "m.onnx.json" in error.problem
        assert "edgecrack export" in error.remedy

    @pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x00", '{"schema_version": 1}'])
    def test_a_damaged_sidecar(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "m.onnx"
        shutil.copy(BUNDLED_MODEL, path)
        sidecar_path(path).write_text(content)
        assert "edgecrack export" in self.refusal(path).remedy

    def test_a_sidecar_of_a_later_version(self, tmp_path: Path) -> None:
        path = self.copy_bundled(tmp_path, schema_version=99)
        assert "update" in self.refusal(path).remedy

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("channels", 3, "channels 3, and this version runs channels 1 only"),
            ("layout", "nhwc", "layout nhwc, and this version runs layout nchw only"),
            ("temperature", 2, "temperature 2.0, and this version runs temperature 1.0 only"),
        ],
    )
    def test_what_this_version_does_not_do(
        self, tmp_path: Path, field: str, value: object, words: str
    ) -> None:
        path = self.copy_bundled(tmp_path, schema_version=2, **{field: value})
        error = self.refusal(path)
        assert words in error.problem
        assert error.remedy == origin().update()

    def test_a_file_that_was_cut_short(self, tmp_path: Path) -> None:
        path = self.copy_bundled(tmp_path)
        path.write_bytes(path.read_bytes()[:-100])
        error = self.refusal(path)
        assert "does not match its sidecar" in error.problem
        assert "copy both files again" in error.remedy

    def test_one_flipped_bit(self, tmp_path: Path) -> None:
        path = self.copy_bundled(tmp_path)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        assert "does not match its sidecar" in self.refusal(path).problem

    @pytest.mark.parametrize("content", [b"", b"hello\n", b"\x08\x01" * 500])
    def test_what_is_not_onnx_under_a_forged_sidecar(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "m.onnx"
        path.write_bytes(content)
        write_sidecar(path, spec_of((16, 16)))
        assert "edgecrack export" in self.refusal(path).remedy

    @pytest.mark.parametrize(
        "changes",
        [
            {"names": ("image", "crack")},
            {"names": ("tiles", "mask")},
            {"tile_type": "FLOAT"},
            {"channels": 3},
            {"tile_hw": (16, 24)},
            {"batch": 2},
            {"more_outputs": 1},
        ],
        ids=str,
    )
    def test_another_graph_under_a_forged_sidecar(
        self, tmp_path: Path, changes: dict[str, Any]
    ) -> None:
        path = write_model(tmp_path / "m.onnx", spec_of((16, 16), batch=4), **changes)
        error = self.refusal(path)
        assert "expected" in error.problem
        assert "edgecrack export" in error.remedy

    def test_a_fixed_batch_under_a_sidecar_that_promises_any(self, tmp_path: Path) -> None:
        path = write_model(tmp_path / "m.onnx", spec_of((16, 16)), batch=2)
        assert "expected" in self.refusal(path).problem

    def test_the_identity_graph_itself_is_fine(self, tmp_path: Path) -> None:
        with open_runner(write_model(tmp_path / "m.onnx"), threads=1) as runner:
            tiles = np.random.default_rng(0).integers(0, 256, (9, 1, 16, 16), dtype=np.uint8)
            np.testing.assert_array_equal(runner.infer(tiles), tiles)

    def test_a_checkpoint(self, tmp_path: Path) -> None:
        path = tmp_path / "best.safetensors"
        path.write_bytes(b"weights")
        write_sidecar(path, spec_of((0, 0), kind="checkpoint"))
        assert f"edgecrack export {path}" in self.refusal(path).remedy

    def write_engine(self, folder: Path, **info: Any) -> Path:
        path = folder / "m.engine"
        path.write_bytes(b"code")
        spec = dataclasses.replace(spec_of((16, 16), kind="engine"), engine=info or None)
        write_sidecar(path, spec)
        return path

    def test_an_engine_that_does_not_say_where_it_runs(self, tmp_path: Path) -> None:
        path = self.write_engine(tmp_path)
        with pytest.raises(ModelFileError, match="no engine field") as caught:
            open_runner(path)
        assert f"edgecrack build-engine m.onnx --target auto -o {path}" in caught.value.remedy

    def test_threads_for_an_engine(self, tmp_path: Path) -> None:
        path = self.write_engine(tmp_path)
        with pytest.raises(ConfigError, match="2 CPU threads were asked for") as caught:
            open_runner(path, threads=2)
        assert "leave the threads out" in caught.value.remedy

    def test_an_engine_with_one_flipped_bit(self, tmp_path: Path) -> None:
        path = self.write_engine(tmp_path, source="crack.onnx")
        path.write_bytes(b"codd")
        error = self.refusal(path)
        assert "does not match its sidecar" in error.problem
        assert "edgecrack build-engine crack.onnx" in error.remedy

    def test_nothing_is_loaded_before_the_hash_is_checked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_graph(tmp_path / "m.onnx")
        write_sidecar(path, spec_of((16, 16)))
        path.write_bytes(path.read_bytes() + b" ")
        monkeypatch.setattr(
            "onnxruntime.InferenceSession", lambda *a, **k: pytest.fail("it was loaded")
        )
        assert "does not match" in self.refusal(path).problem

    def copy_bundled(self, folder: Path, **changes: Any) -> Path:
        path = folder / "m.onnx"
        shutil.copy(BUNDLED_MODEL, path)
        document = json.loads(sidecar_path(BUNDLED_MODEL).read_text()) | changes
        sidecar_path(path).write_text(json.dumps(document))
        return path
