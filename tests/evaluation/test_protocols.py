"""Every protocol against another way to the same map, and what cannot be run says so."""

from __future__ import annotations

import dataclasses
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack.artifacts import read_verified_spec, write_sidecar
from edgecrack.errors import ConfigError, ModelFileError
from edgecrack.evaluation.open_model import OpenModel, open_model
from edgecrack.evaluation.protocols import (
    PredictionConfig,
    Protocol,
    parse_command_words,
    parse_protocol,
)
from edgecrack.preprocess import preprocess
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from tests.data.test_patch_grid import slow_mean
from tests.evaluation.checkpoints import write_checkpoint
from tests.model.networks import assert_spread

pytest.importorskip("lightning", reason="checkpoints need the train extra")
import torch

from edgecrack.training.predictor import (
    CheckpointNetwork,
    CheckpointPredictor,
    CheckpointRunner,
    PatchPredictor,
)

Image = NDArray[np.uint8]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "best.safetensors")


def frame(height: int, width: int, seed: int = 3) -> Image:
    """A frame with structure at all scales, so that maps are not flat."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    fine = generator.integers(-40, 40, (height, width, 3))
    grown = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    return np.asarray(np.clip(grown + fine, 0, 255), np.uint8)


def opened(model: Path, stack: ExitStack, text: str, **options: Any) -> OpenModel:
    return open_model(model, PredictionConfig(parse_protocol(text), **options), stack)


def difference(one: Image, other: Image) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def levels_by_hand(checkpoint: Path) -> Any:
    """One patch after the other through the bare network, float64, 0 to 255."""
    from edgecrack.training.checkpoints import load_network

    network, _ = load_network(checkpoint)

    def infer(window: Image) -> NDArray[np.float64]:
        with torch.no_grad():
            logits = network(torch.from_numpy(window.astype(np.float32) / 255)[None, None])
        values = logits[0].numpy().astype(np.float64)
        background, crack = np.exp(values - values.max(axis=0))
        result: NDArray[np.float64] = 255 * crack / (background + crack)
        return result

    return infer


@pytest.mark.parametrize(
    ("hw", "patch", "stride"),
    [((24, 29), 16, 1), ((40, 52), 24, 5), ((48, 48), 48, 8), ((37, 70), 32, 32)],
)
def test_patches_of_a_checkpoint_are_those_of_plain_loops(
    checkpoint: Path, hw: tuple[int, int], patch: int, stride: int
) -> None:
    image = frame(*hw)
    with ExitStack() as stack:
        model = opened(checkpoint, stack, f"patch-stride-{stride}", patch_px=patch, device="cpu")
        found = model.predict(image)
    expected = slow_mean(preprocess(image), patch, stride, levels_by_hand(checkpoint))
    assert_spread(np.rint(expected).astype(np.int64))
    np.testing.assert_allclose(found, expected, atol=0.501)  # one rounding, and float32 inside
    assert f"{patch}x{patch} px patches at stride {stride} px, torch" in model.protocol


def test_batches_do_not_show(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecrack.data.patches import PatchStride

    network, image = CheckpointNetwork(checkpoint, device="cpu"), frame(40, 44)
    whole = PatchPredictor(network, PatchStride(16, 3))(image)
    monkeypatch.setattr(CheckpointNetwork, "batch_px", 3 * 16 * 16)
    assert difference(PatchPredictor(network, PatchStride(16, 3))(image), whole) <= 1


def test_an_image_smaller_than_a_patch(checkpoint: Path) -> None:
    with ExitStack() as stack:
        found = opened(checkpoint, stack, "patch-stride-8", device="cpu").predict(frame(20, 60))
    assert found.shape == (20, 60)


@pytest.mark.parametrize(("precision", "levels"), [("bf16", 40), ("16", 6)])
def test_half_precision_is_near(checkpoint: Path, precision: str, levels: int) -> None:
    """This network's softmax is far steeper than a trained one's: there bf16 differs by 5."""
    image = frame(40, 48)
    full = CheckpointPredictor(CheckpointNetwork(checkpoint, device="cpu"))(image)
    network = CheckpointNetwork(checkpoint, device="cpu", precision=precision)
    assert 0 < difference(CheckpointPredictor(network)(image), full) <= levels


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's network for tiles of 256 px, exported once: that takes seconds."""
    pytest.importorskip("onnxscript", reason="export needs the export extra")
    from edgecrack.export.graph import ExportConfig, export_checkpoint

    folder = tmp_path_factory.mktemp("exported")
    checkpoint, target = write_checkpoint(folder / "best.safetensors"), folder / "model.onnx"
    export_checkpoint(checkpoint, target, ExportConfig((256, 256), None, border="exact"))
    return target


def test_tiles_of_a_checkpoint_are_those_of_its_onnx_file(
    onnx_file: Path, checkpoint: Path
) -> None:
    image = frame(270, 300)
    with ExitStack() as stack:
        torch_model = opened(checkpoint, stack, "tiled", device="cpu")
        onnx_model = opened(onnx_file, stack, "tiled")
        by_torch, by_onnx = torch_model.predict(image), onnx_model.predict(image)
    assert_spread(by_torch.astype(np.int64))
    assert difference(by_torch, by_onnx) <= 1
    assert onnx_model.protocol in torch_model.protocol
    assert "256x256 px tiles" in onnx_model.protocol


def test_patches_of_an_onnx_file_are_those_of_its_checkpoint(
    onnx_file: Path, checkpoint: Path
) -> None:
    image = frame(262, 275)
    with ExitStack() as stack:
        torch_model = opened(checkpoint, stack, "patch-stride-7", patch_px=256, device="cpu")
        onnx_model = opened(onnx_file, stack, "patch-stride-7", patch_px=256)
        by_torch, by_onnx = torch_model.predict(image), onnx_model.predict(image)
    assert difference(by_torch, by_onnx) <= 1


def test_a_checkpoint_for_colour_is_refused(checkpoint: Path) -> None:
    spec = dataclasses.replace(read_verified_spec(checkpoint), channels=3)
    write_sidecar(checkpoint, spec)
    with ExitStack() as stack, pytest.raises(ModelFileError, match="asks for channels 3"):
        opened(checkpoint, stack, "whole")


def test_tiles_are_of_all_scales_that_the_checkpoint_asks_for(checkpoint: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (120, 150, 3), dtype=np.uint8)
    with ExitStack() as stack:
        one = opened(checkpoint, stack, "tiled").predict(image)
        spec = dataclasses.replace(read_verified_spec(checkpoint), scales=(1.0, 0.5))
        write_sidecar(checkpoint, spec)
        both = opened(checkpoint, stack, "tiled").predict(image)
    assert (both >= one).all()
    assert (both > one).any()


def test_the_patch_is_that_of_the_training(tmp_path: Path) -> None:
    recipe = {"training": {"patches": {"patch_px": 32}}}
    trained = write_checkpoint(tmp_path / "trained.safetensors", extra=recipe)
    unknown = write_checkpoint(tmp_path / "unknown.safetensors")
    with ExitStack() as stack:
        assert "32x32" in opened(trained, stack, "patch-stride-8").protocol
        assert "16x16" in opened(trained, stack, "patch-stride-8", patch_px=16).protocol
        assert "48x48" in opened(unknown, stack, "patch-stride-8").protocol


def test_the_runner_keeps_the_contract(checkpoint: Path) -> None:
    with CheckpointRunner(CheckpointNetwork(checkpoint, device="cpu"), (16, 24)) as runner:
        tiles = np.random.default_rng(0).integers(0, 256, (5, 1, 16, 24)).astype(np.uint8)
        together = runner.infer(tiles)
        assert together.dtype == np.uint8
        assert runner.spec.tile_hw == (16, 24)
        for index in range(5):
            assert difference(runner.infer(tiles[index : index + 1])[0], together[index]) <= 1


@pytest.mark.parametrize(
    ("text", "stride", "expected"),
    [
        ("tiled", None, Protocol("tiled")),
        ("whole", None, Protocol("whole")),
        ("patch-stride-8", None, Protocol("patch-stride", 8)),
        ("patch-stride 8", None, Protocol("patch-stride", 8)),
        ("patch-stride", 4, Protocol("patch-stride", 4)),
    ],
)
def test_a_protocol_in_words(text: str, stride: int | None, expected: Protocol) -> None:
    assert parse_protocol(text, stride) == expected


@pytest.mark.parametrize(
    ("text", "stride", "message"),
    [
        ("patch-stride", None, "no stride"),
        ("patch-stride-0", None, "0 px"),
        ("patch-stride-8", 4, "one stride"),
        ("patch-stride-x", None, "patch-stride-x"),
        ("patch-stride--1", None, "patch-stride--1"),
        ("tiled", 4, "tiled with stride 4"),
        ("sliding", None, "'sliding'.*tiled, whole"),
        ("", None, "''"),
    ],
)
def test_a_protocol_that_is_none(text: str, stride: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_protocol(text, stride)


def test_the_stride_may_stand_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `evaluate best.x --protocol patch-stride 8` the parser takes 8 for a model."""
    monkeypatch.chdir(tmp_path)
    models = [Path("a.x"), Path("b.x")]
    for words in (["8", "a.x", "b.x"], ["a.x", "b.x", "8"]):
        assert parse_command_words(words, "patch-stride", None) == (
            models,
            Protocol("patch-stride", 8),
        )
    assert parse_command_words(["8"], "patch-stride", 4)[0] == [Path("8")]
    assert parse_command_words(["8", "9"], "tiled", None)[0] == [Path("8"), Path("9")]
    Path("8").write_text("a model of that name")
    with pytest.raises(ConfigError, match="no stride"):
        parse_command_words(["8", "a.x"], "patch-stride", None)
    with pytest.raises(ConfigError, match="no model"):
        parse_command_words(["9"], "patch-stride", None)
    with pytest.raises(ConfigError, match="`stride_px` is 8"):
        parse_command_words(["a.x"], None, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": Protocol("whole")}, "whole images.*`protocol` tiled"),
        ({"protocol": Protocol("patch-stride", 8), "patch_px": 48}, "256x256.*`tile_hw` 48"),
        ({"device": "cuda"}, "`device` cuda.*leave out"),
        ({"precision": "bf16"}, "`precision` bf16.*leave out"),
    ],
)
def test_what_an_onnx_file_cannot(options: dict[str, Any], message: str) -> None:
    with ExitStack() as stack, pytest.raises(ConfigError, match=message):
        open_model(BUNDLED_MODEL, PredictionConfig(**options), stack)


def test_what_a_checkpoint_cannot(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for options, message in (
        ({"device": "cuda"}, "'cuda'.*`device` cpu"),
        ({"device": "gpu"}, "'gpu'.*auto, cpu, cuda"),
        ({"precision": "8"}, "'8'.*bf16"),
    ):
        with ExitStack() as stack, pytest.raises(ConfigError, match=message):
            open_model(checkpoint, PredictionConfig(**options), stack)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="without patches"):
        PredictionConfig(Protocol("tiled"), patch_px=48)
    assert json.loads(Path(f"{checkpoint}.json").read_text())["kind"] == "checkpoint"


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(checkpoint: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    image = frame(100, 130)
    for text in ("whole", "tiled", "patch-stride-5"):
        with ExitStack() as stack:
            on_cpu = opened(checkpoint, stack, text, device="cpu").predict(image)
            on_gpu = opened(checkpoint, stack, text, device="cuda").predict(image)
        assert difference(on_cpu, on_gpu) <= 1
