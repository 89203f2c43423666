"""Exported graphs: only standard operators, torch's results, and nothing written when refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from edgecrack.artifacts import ModelSpec, read_verified_spec, sidecar_path
from edgecrack.errors import ConfigError, ExportError, ModelFileError, OutputError
from edgecrack.export import graph
from edgecrack.export.border import FUSED_SCALES
from edgecrack.export.graph import ExportConfig, export_checkpoint, measure_parity
from edgecrack.export.lowering import network_with_border
from edgecrack.model.unet import CrackUNet
from edgecrack.onnx_graph.tidy import ALLOWED_OPERATORS, check_operators
from edgecrack.preprocess import PreprocessConfig, preprocess
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from edgecrack.synthetic import Wall, WallConfig, generate_wall
from edgecrack.training.checkpoints import NETWORK_PREFIX, SPEC_KEY, SafetensorsCheckpointIO
from tests.export.exported import DYNAMIC, FIXED, MAX, STACKED, Case, exported, network_of
from tests.model import slow
from tests.model.networks import assert_spread, crack_by_torch, lively_network, random_tiles

# TensorRT 10.3 of JetPack 6 parses up to opset 20; ONNX Runtime 1.19 reads up to IR version 10.
NEWEST_OPSET, NEWEST_IR = 20, 10

CASES = [DYNAMIC, FIXED, STACKED, MAX]
each_case = pytest.mark.parametrize("case", CASES, ids=str)


def session_of(model: onnx.ModelProto | Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def crack_by_onnx(
    session: onnxruntime.InferenceSession, tiles: NDArray[np.uint8]
) -> NDArray[np.int64]:
    (output,) = session.run(["crack"], {"tiles": tiles})
    assert output.dtype == np.uint8
    assert output.shape == tiles.shape
    return np.asarray(output, dtype=np.int64)


def real_tiles(folder: Path, tile_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Preprocessed tiles from the middle of 3 road and 3 drone images, [6, 1, H, W]."""
    images = [
        path
        for pattern in ("cfd/images/*.jpg", "uav315/images/*.png")
        for path in sorted(folder.glob(pattern))[:3]
    ]
    if len(images) < 6:
        pytest.skip(f"{folder} holds no images in cfd/images and uav315/images")
    tiles = []
    for path in images:
        frame = preprocess(np.asarray(cv2.imread(str(path)), dtype=np.uint8))
        top, left = (frame.shape[0] - tile_hw[0]) // 2, (frame.shape[1] - tile_hw[1]) // 2
        tiles.append(frame[top : top + tile_hw[0], left : left + tile_hw[1]])
    return np.stack(tiles)[:, None]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of the dynamic case's network, as training leaves it."""
    path = tmp_path / "best.safetensors"
    spec = ModelSpec(
        kind="checkpoint",
        pooling="gated-scale",
        width=2,
        gate_bias=True,
        preprocess=PreprocessConfig(gamma=1.3),
        threshold=0.37,
        scores=({"data": "validation", "val_ods": 0.5},),
        extra={"training": {"seed": 3}},
    )
    state = exported(DYNAMIC)[0].state_dict()
    content = {
        "state_dict": {NETWORK_PREFIX + name: value for name, value in state.items()},
        SPEC_KEY: spec.to_dict(),
    }
    SafetensorsCheckpointIO().save_checkpoint(content, path)
    return path


@pytest.fixture
def ready_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """`export_checkpoint` finds its checkpoint's graph instead of tracing it again."""

    def find(network: CrackUNet, config: ExportConfig) -> onnx.ModelProto:
        assert config.tile_hw == DYNAMIC[1]
        return exported(("gated-scale", config.tile_hw, config.batch, config.border))[1]

    monkeypatch.setattr(graph, "build_onnx", find)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def interface(values: Any) -> list[tuple[str, int, list[int | str]]]:
    return [
        (
            value.name,
            value.type.tensor_type.elem_type,
            [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim],
        )
        for value in values
    ]


def assert_standard(model: onnx.ModelProto) -> None:
    """Nothing but what every ONNX reader knows, by the standard's own list."""
    onnx.checker.check_model(model, full_check=True)
    assert [item.domain for item in model.opset_import] in (["ai.onnx"], [""])
    opset = model.opset_import[0].version
    assert opset <= NEWEST_OPSET
    assert model.ir_version <= NEWEST_IR
    assert not model.functions
    for node in model.graph.node:
        assert node.domain in ("", "ai.onnx")
        assert node.op_type in ALLOWED_OPERATORS
        assert onnx.defs.has(node.op_type, opset, "")
        assert not any(item.type == onnx.AttributeProto.GRAPH for item in node.attribute)
    assert not any(item.external_data for item in model.graph.initializer)


@each_case
def test_graph_holds_only_listed_standard_operators(case: Case) -> None:
    _, model = exported(case)
    assert_standard(model)
    check_operators(model)


@each_case
def test_graph_takes_and_gives_bytes(case: Case) -> None:
    _, tile_hw, batch, _ = case
    _, model = exported(case)
    shape = [batch or "batch", 1, *tile_hw]
    assert interface(model.graph.input) == [("tiles", onnx.TensorProto.UINT8, shape)]
    assert interface(model.graph.output) == [("crack", onnx.TensorProto.UINT8, shape)]


@each_case
def test_graph_says_who_made_it_and_nothing_of_where(case: Case) -> None:
    _, model = exported(case)
    assert model.producer_name == "edgecrack"
    assert not model.metadata_props
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    assert str(Path(graph.__file__).parents[2]).encode() not in model.SerializeToString()


@each_case
def test_graph_gives_what_torch_gives_on_random_tiles(case: Case) -> None:
    _, tile_hw, batch, _ = case
    network, model = exported(case)
    session = session_of(model)
    fresh = int(np.random.SeedSequence().generate_state(1)[0])  # other tiles in every run
    for count in [batch] if batch else [1, 2, 5]:
        tiles = random_tiles(count, tile_hw, fresh)
        expected = crack_by_torch(network, tiles)
        assert_spread(expected)
        difference = np.abs(crack_by_onnx(session, tiles) - expected)
        assert difference.max() <= 1, f"seed {fresh}"


@each_case
def test_graph_gives_what_torch_gives_on_real_tiles(case: Case, data_folder: Path) -> None:
    _, tile_hw, batch, _ = case
    network, model = exported(case)
    tiles, session = real_tiles(data_folder, tile_hw), session_of(model)
    expected = crack_by_torch(network, tiles)
    assert_spread(expected)
    size = batch or len(tiles)
    chunks = [tiles[first : first + size] for first in range(0, len(tiles), size)]
    found = np.concatenate([crack_by_onnx(session, chunk) for chunk in chunks])
    assert np.abs(found - expected).max() <= 1


@each_case
@pytest.mark.parametrize("level", [0, 255])
def test_graph_gives_what_torch_gives_on_flat_tiles(case: Case, level: int) -> None:
    _, tile_hw, batch, _ = case
    network, model = exported(case)
    tiles = np.full((batch or 1, 1, *tile_hw), level, dtype=np.uint8)
    difference = crack_by_onnx(session_of(model), tiles) - crack_by_torch(network, tiles)
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(("case", "scales"), [(DYNAMIC, FUSED_SCALES), (FIXED, 0)], ids=str)
def test_graph_equals_the_network_written_out_in_numpy(case: Case, scales: int) -> None:
    network, model = exported(case)
    tiles = random_tiles(case[2] or 1, case[1], seed=2)
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    expected = slow.crack_levels(slow.crack_unet(tiles / 255, weights, "gated-scale", scales))
    assert_spread(expected)
    assert np.abs(crack_by_onnx(session_of(model), tiles) - expected).max() <= 1


@pytest.mark.parametrize("case", [DYNAMIC, FIXED], ids=str)
def test_a_tile_s_result_does_not_depend_on_its_neighbours(case: Case) -> None:
    session = session_of(exported(case)[1])
    tiles = random_tiles(case[2] or 4, case[1], seed=6)
    together = crack_by_onnx(session, tiles)
    reversed_order = crack_by_onnx(session, np.ascontiguousarray(tiles[::-1]))
    np.testing.assert_array_equal(reversed_order[::-1], together)
    others = random_tiles(len(tiles), case[1], seed=7)
    others[1] = tiles[1]
    np.testing.assert_array_equal(crack_by_onnx(session, others)[1], together[1])


def test_a_dynamic_graph_gives_a_tile_the_same_result_in_any_batch() -> None:
    session = session_of(exported(DYNAMIC)[1])
    tiles = random_tiles(3, DYNAMIC[1], seed=6)
    together = crack_by_onnx(session, tiles)
    one_by_one = np.concatenate([crack_by_onnx(session, tile[None]) for tile in tiles])
    assert np.abs(one_by_one - together).max() <= 1


@pytest.mark.parametrize("tile_hw", [(0, 64), (8, 64), (100, 64), (64, 20), (4104, 64), (-16, 16)])
def test_a_tile_size_that_no_network_takes_is_refused(tile_hw: tuple[int, int]) -> None:
    with pytest.raises(
        ConfigError, match=r"`tile_hw` is -?\d+; give sides that are multiples of 8"
    ):
        ExportConfig(tile_hw)


def test_a_border_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="`border` is 'fast'; give one of: fused, exact"):
        ExportConfig(border="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [0, -1, 4097])
def test_a_batch_out_of_range_is_refused(batch: int) -> None:
    with pytest.raises(ConfigError, match=f'`batch` is {batch}; give 1 to 4096, or "dynamic"'):
        ExportConfig(batch=batch)


def tampered(**change: str) -> onnx.ModelProto:
    """The dynamic case's graph with one node changed."""
    model = onnx.ModelProto()
    model.CopyFrom(exported(DYNAMIC)[1])
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    for name, value in change.items():
        setattr(node, name, value)
    return model


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"op_type": "Loop"}, "ai.onnx.Loop"),
        ({"op_type": "Gelu"}, "ai.onnx.Gelu"),
        ({"domain": "com.microsoft", "op_type": "FusedConv"}, "com.microsoft.FusedConv"),
        # A listed name in somebody else's domain is somebody else's operator.
        ({"domain": "com.microsoft"}, "com.microsoft.Relu"),
    ],
)
def test_a_foreign_operator_is_refused_by_name(change: dict[str, str], named: str) -> None:
    with pytest.raises(ExportError, match=f"outside the contract: {named};"):
        check_operators(tampered(**change))


def test_parity_counts_levels() -> None:
    """A constant shift of the logits that moves one half to sigmoid(ln 3) = three quarters."""
    network, model = exported(DYNAMIC)
    half = network_with_border(lively_network(gate_bias=True), "fused")
    half.load_state_dict(network.state_dict())
    config = ExportConfig(DYNAMIC[1])
    assert measure_parity(network, model.SerializeToString(), config) <= 1
    with torch.no_grad():
        assert half.fuse.bias is not None
        half.fuse.bias[1] += np.log(3)
    # The largest possible shift is from sigmoid(-ln 3 / 2) to sigmoid(ln 3 / 2): 0.366 to 0.634.
    assert measure_parity(half, model.SerializeToString(), config) == pytest.approx(68, abs=1)


def test_parity_is_checked_on_the_real_tiles_too() -> None:
    """A tile on which alone the graph differs must be found."""
    network, model = exported(DYNAMIC)

    class DiffersOnBlack(torch.nn.Module):
        def forward(self, tiles: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = network(tiles)
            return logits if tiles.any() else logits * torch.tensor([1.0, 9.0])[:, None, None]

    config, black = ExportConfig(DYNAMIC[1]), np.zeros(DYNAMIC[1], dtype=np.uint8)
    serialised = model.SerializeToString()
    assert measure_parity(DiffersOnBlack(), serialised, config, [black + 255]) <= 1
    assert measure_parity(DiffersOnBlack(), serialised, config, [black + 255, black]) > 1


def test_a_real_tile_of_another_size_is_refused() -> None:
    network, model = exported(DYNAMIC)
    wrong = np.zeros((32, 32), dtype=np.uint8)
    with pytest.raises(ConfigError, match=r"real tile has shape \(32, 32\); give \(32, 48\)"):
        measure_parity(network, model.SerializeToString(), ExportConfig(DYNAMIC[1]), [wrong])


def test_an_export_writes_the_graph_and_its_description(checkpoint: Path, tmp_path: Path) -> None:
    """The real way, from a checkpoint on the disk, with nothing replaced."""
    target = tmp_path / "crack.onnx"
    parent = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    real = [np.full((24, 16), 30, dtype=np.uint8)]
    returned = export_checkpoint(checkpoint, target, ExportConfig((24, 16), 2), real)
    assert files_in(tmp_path) == {
        "best.safetensors", "best.safetensors.json", "crack.onnx", "crack.onnx.json",
    }  # fmt: skip
    spec = read_verified_spec(target)
    assert spec == returned
    assert spec.sha256 == hashlib.sha256(target.read_bytes()).hexdigest()
    assert spec.parent_sha256 == parent
    assert (spec.kind, spec.precision, spec.tile_hw, spec.batch) == ("onnx", "fp32", (24, 16), 2)
    assert (spec.pooling, spec.width, spec.gate_bias) == ("gated-scale", 2, True)
    assert (spec.preprocess.gamma, spec.threshold) == (1.3, 0.37)
    assert spec.scores == ({"data": "validation", "val_ods": 0.5},)
    assert spec.extra["training"] == {"seed": 3}
    assert spec.extra["parity_levels"] in (0, 1)
    assert spec.extra["border"] == "fused"
    assert spec.extra["border_difference"]["tiles"] == 4 + len(real)

    tiles = random_tiles(2, (24, 16), seed=1)
    expected = crack_by_torch(exported(DYNAMIC)[0], tiles)
    assert np.abs(crack_by_onnx(session_of(target), tiles) - expected).max() <= 1


@pytest.mark.usefixtures("ready_graph")
def test_an_exact_export_computes_what_was_trained(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "crack.onnx"
    spec = export_checkpoint(checkpoint, target, ExportConfig(DYNAMIC[1], border="exact"))
    assert spec.extra["border"] == "exact"
    assert "border_difference" not in spec.extra
    trained = network_of(DYNAMIC)
    tiles = random_tiles(2, DYNAMIC[1], seed=1)
    expected = crack_by_torch(trained, tiles)
    assert np.abs(crack_by_onnx(session_of(target), tiles) - expected).max() <= 1
    fused = crack_by_torch(network_with_border(trained, "fused"), tiles)
    assert np.abs(fused - expected).max() > 1  # else nothing was tested


@pytest.mark.usefixtures("ready_graph")
def test_an_export_says_at_which_scales_and_threshold_the_model_runs(
    checkpoint: Path, tmp_path: Path
) -> None:
    target = tmp_path / "model.onnx"
    plain = export_checkpoint(checkpoint, target, ExportConfig(DYNAMIC[1]))
    assert (plain.scales, plain.merge) == ((1.0,), "max")
    config = ExportConfig(DYNAMIC[1], scales=(1.0, 0.5), merge="wide-max", threshold=0.4)
    export_checkpoint(checkpoint, target, config)
    spec = read_verified_spec(target)
    assert (spec.scales, spec.merge, spec.threshold) == ((1.0, 0.5), "wide-max", 0.4)


def test_a_temperature_divides_the_logits(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "cooler.onnx"
    config = ExportConfig((24, 16), 2, border="exact", temperature=2.0)
    spec = export_checkpoint(checkpoint, target, config)
    assert spec.temperature == 1  # folded in, so that no runtime has to divide
    assert spec.extra["folded_temperature"] == 2
    # The same pixels count: the logit of 0.37 is halved, too.
    assert spec.threshold == pytest.approx(1 / (1 + (0.63 / 0.37) ** 0.5), abs=1e-3)
    tiles = random_tiles(2, (24, 16), seed=3)
    with torch.no_grad():
        logits = lively_network(gate_bias=True, tile_hw=DYNAMIC[1])(torch.from_numpy(tiles) / 255)
    expected = np.rint(255 * torch.softmax(logits / 2, dim=1)[:, 1:].numpy())
    assert_spread(expected.astype(np.int64))
    assert np.abs(crack_by_onnx(session_of(target), tiles) - expected).max() <= 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"scales": (0.0,)}, "a scale is 0; give factors from 1/64 to 4"),
        ({"scales": (1.0, 1.0)}, "the scales are 1, 1; give each scale once"),
        ({"scales": ()}, "there is no scale"),
        ({"merge": ""}, "`merge` is ''"),
        ({"temperature": 1e-42}, "`temperature` is 1e-42"),
        ({"merge": "mean"}, "`merge` is 'mean'; give one of: max, wide-max"),
        ({"threshold": 1.0}, r"`threshold` is 1\.0; give a number above 0 and below 1"),
        ({"temperature": 0.0}, r"`temperature` is 0\.0; give a number from 0\.05 to 20"),
        ({"temperature": float("nan")}, "`temperature` is nan; give a number from 0.05 to 20"),
    ],
)
def test_what_no_model_can_run_with_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        ExportConfig(**change)


def without_ratio(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that is the same in the middle of a tile and computes something else at its border."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    ratios = [item for item in changed.graph.initializer if "ratio" in item.name]
    assert ratios
    for item in ratios:
        ones = np.ones(tuple(item.dims), np.float32)
        item.CopyFrom(onnx.numpy_helper.from_array(ones, item.name))
    return changed


def test_a_graph_that_forgets_the_border_ratio_is_refused(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetful = without_ratio(exported(DYNAMIC)[1])
    monkeypatch.setattr(graph, "build_onnx", lambda network, config: forgetful)
    before = files_in(tmp_path)
    with pytest.raises(ExportError, match=r"differs from torch by \d+/255"):
        export_checkpoint(checkpoint, tmp_path / "crack.onnx", ExportConfig(DYNAMIC[1]))
    assert files_in(tmp_path) == before


def test_a_graph_with_a_foreign_operator_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "build_onnx", lambda network, config: tampered(op_type="Gelu"))
    before = files_in(tmp_path)
    with pytest.raises(ExportError, match=r"ai\.onnx\.Gelu"):
        export_checkpoint(checkpoint, tmp_path / "crack.onnx", ExportConfig(DYNAMIC[1]))
    assert files_in(tmp_path) == before


@pytest.mark.usefixtures("ready_graph")
def test_a_refused_export_leaves_an_older_model_usable(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "crack.onnx"
    first = export_checkpoint(checkpoint, target, ExportConfig(DYNAMIC[1]))
    monkeypatch.setattr(graph, "measure_parity", lambda *arguments: 2)
    with pytest.raises(ExportError, match="by 2/255"):
        export_checkpoint(checkpoint, target, ExportConfig(DYNAMIC[1]))
    assert read_verified_spec(target) == first


@pytest.mark.usefixtures("ready_graph")
def test_a_folder_that_does_not_exist_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"missing/crack\.onnx"):
        export_checkpoint(checkpoint, tmp_path / "missing" / "crack.onnx", ExportConfig((32, 48)))


def test_a_damaged_checkpoint_is_refused_before_anything_is_read(
    checkpoint: Path, tmp_path: Path
) -> None:
    content = bytearray(checkpoint.read_bytes())
    content[-1] ^= 1
    checkpoint.write_bytes(content)
    before = files_in(tmp_path)
    with pytest.raises(ModelFileError, match="does not match its sidecar"):
        export_checkpoint(checkpoint, tmp_path / "crack.onnx")
    assert files_in(tmp_path) == before


def test_the_bundled_model_keeps_the_contract() -> None:
    spec = read_verified_spec(BUNDLED_MODEL)
    model = onnx.load(BUNDLED_MODEL)
    assert spec.kind == "onnx"
    assert_standard(model)
    check_operators(model)
    shape = [spec.batch or "batch", 1, *spec.tile_hw]
    assert interface(model.graph.input) == [("tiles", onnx.TensorProto.UINT8, shape)]
    assert interface(model.graph.output) == [("crack", onnx.TensorProto.UINT8, shape)]
    assert ExportConfig(spec.tile_hw, spec.batch).tile_hw == spec.tile_hw
    assert spec.parent_sha256 is not None
    assert len(bytes.fromhex(spec.parent_sha256)) == 32
    assert spec.scores
    assert all("data" in score for score in spec.scores)
    document = json.loads(sidecar_path(BUNDLED_MODEL).read_text())
    assert document["schema_version"] == 2


def test_the_bundled_model_runs_and_tells_cracks_from_blank_walls_and_straight_lines() -> None:
    spec = read_verified_spec(BUNDLED_MODEL)
    session = session_of(BUNDLED_MODEL)

    def flagged(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        tiles = np.repeat(preprocess(image, spec.preprocess)[None, None], spec.batch or 1, axis=0)
        return np.asarray(crack_by_onnx(session, tiles)[0, 0] >= spec.threshold * 255)

    def walls(cracks: int) -> list[Wall]:
        # Seeds that no model was trained on.
        seeds = range(7_100_000, 7_100_006)
        return [
            generate_wall(WallConfig(seed, spec.tile_hw, "concrete", cracks, 0)) for seed in seeds
        ]

    found = [flagged(wall.image)[wall.mask > 0] for wall in walls(1)]
    assert np.concatenate(found).mean() > 0.5
    assert np.mean([flagged(wall.image) for wall in walls(0)]) < 0.05
    noise = np.random.default_rng(1).normal(150, 6, spec.tile_hw)
    frame = np.clip(noise, 0, 255).astype(np.uint8)
    height, width = spec.tile_hw
    lined = frame.copy()
    cv2.line(lined, (width // 4, 0), (width // 2, height), 40, 3, cv2.LINE_AA)
    drawn = cv2.absdiff(frame, lined) > 50
    assert flagged(lined)[drawn].mean() < 0.5
