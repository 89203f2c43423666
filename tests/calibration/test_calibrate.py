"""From an FP32 file and images to an INT8 file that has passed the gate, or to none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edgecrack.artifacts import ModelSpec, read_verified_spec, sidecar_path
from edgecrack.calibration import held_out, quantize
from edgecrack.calibration.calibrating import Calibration, calibrate
from edgecrack.calibration.config import CalibrationConfig
from edgecrack.calibration.defaults import METHOD
from edgecrack.calibration.gate import FLAGGED, Gate, Judged, Kind, Verdict
from edgecrack.calibration.held_out import HeldOut
from edgecrack.calibration.sampler import SamplerConfig
from edgecrack.calibration.summary import calibration_dict, calibration_text, gate_text
from edgecrack.errors import AccuracyError, ConfigError, DataError, ModelFileError, OutputError
from edgecrack.export.model_scores import Scored
from edgecrack.files import write_png
from edgecrack.onnx_graph.precision import float32_tensors
from edgecrack.preprocess import preprocess
from edgecrack.runtime.backends.open import BUNDLED_MODEL, open_runner
from edgecrack.runtime.backends.openvino_runner import OpenVINORunner
from edgecrack.synthetic import WallConfig, generate_wall, write_dataset
from tests.calibration.small import TILE_HW, save_model, small_graph

FEW = SamplerConfig(64, 48)
ANYTHING = Gate(100, 100)


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled dataset with splits, large enough for tiles of 256 px."""
    folder = tmp_path_factory.mktemp("walls")
    write_dataset(folder, 28, (512, 512), 5, {"train": 17 / 28, "val": 10 / 28, "test": 1 / 28})
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images without labels, enough of them to confirm a choice of layers."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(54):
        write_png(folder / f"{seed:02}.png", generate_wall(WallConfig(seed, (96, 160))).image)
    return folder


@pytest.fixture
def small_model(tmp_path: Path) -> Path:
    return save_model(small_graph(), tmp_path / "small.onnx")


@pytest.fixture
def few_layers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Six layers alone can be in INT8, so that a search for a mix is soon at its end."""
    layers = quantize.quantizable_layers(small_graph())[1:7]
    monkeypatch.setattr(quantize, "quantizable_layers", lambda model: layers)
    return layers


@dataclasses.dataclass
class Made:
    done: Calibration
    target: Path
    stages: list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def bundled(walls: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The bundled model in INT8."""
    target = tmp_path_factory.mktemp("int8") / "wall.int8.onnx"
    stages: list[tuple[str, int, int]] = []
    config = CalibrationConfig(walls, gate=Gate(6.0), sampler=FEW)
    done = calibrate(BUNDLED_MODEL, target, config, lambda *told: stages.append(told))
    return Made(done, target, stages)


def easy(data: Path, **change: Any) -> CalibrationConfig:
    """Any INT8 file passes."""
    return CalibrationConfig(data, **{"gate": ANYTHING, "sampler": FEW, **change})


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_the_bundled_model_is_as_good_in_int8(bundled: Made) -> None:
    """Nearly all of it: what was kept may be a few layers, never most of the work."""
    done = bundled.done
    assert done.layers == 34
    assert done.int8_share > 0.9
    assert done.reference.ods > 50
    assert done.accuracy.ods >= done.reference.ods - 2
    assert done.accuracy.thin_recall >= done.reference.thin_recall - 2
    assert done.reference.largest_difference == 0
    assert 0 < done.accuracy.largest_difference <= 255


@pytest.mark.slow
def test_the_sidecar_says_how_the_file_came_about(bundled: Made, walls: Path) -> None:
    parent = read_verified_spec(BUNDLED_MODEL)
    spec = read_verified_spec(bundled.target)
    assert spec == bundled.done.spec
    assert (spec.precision, spec.kind, spec.parent_sha256) == ("int8", "onnx", parent.sha256)
    for name in ("pooling", "width", "tile_hw", "batch", "preprocess", "threshold", "extra"):
        assert getattr(spec, name) == getattr(parent, name)
    record = dict(spec.calibration or {})
    hashes = {record.pop("set_sha256"), record.pop("held_out_sha256")}
    assert {len(item) for item in hashes} == {64}
    assert len(hashes) == 2
    assert record.pop("int8_layers") == 34 - len(bundled.done.kept)
    share, costs = record.pop("int8_share_of_multiplications"), record.pop("cost_of_layers")
    assert share == pytest.approx(bundled.done.int8_share, abs=1e-4)
    kept = record.pop("kept_fp16")
    assert tuple(kept) == bundled.done.kept
    assert not kept or kept == list(costs)[: len(kept)]
    with_crack = (record.pop("tiles_with_crack"), record.pop("held_out_tiles_with_crack"))
    assert 0 < with_crack[0] <= 64
    assert 0 < with_crack[1] <= 64
    gate = record.pop("gate")
    assert gate.pop("search") is None or kept  # layers are chosen on one half of the images
    assert gate == bundled.done.verdict.to_dict()
    halves = 2 if kept else 1
    assert gate["kind"] == "labels"
    assert 10 // halves <= gate["images"] <= 10
    assert set(gate["scores"]) == {"ods", "strict_f1", "thin_recall", FLAGGED}
    assert all(item["drop"] <= item["upper"] <= item["limit"] for item in gate["scores"].values())
    assert record.pop("held_out_tiles") >= 40  # and those of reduced frames, if it runs on them
    assert record == {
        "data": walls.name,
        "made_for": "tensorrt",
        "truth": "labels",
        "parts": "train split for the ranges, val split held out",
        "method": METHOD,
        "seed": 0,
        "tiles": 64,
        "held_out_images": 10,
    }
    assert spec.scores[: len(parent.scores)] == parent.scores
    for entry, name, scores in zip(
        spec.scores[len(parent.scores) :],
        ("fp32", "int8"),
        (bundled.done.reference, bundled.done.accuracy),
        strict=True,
    ):
        data = f"held-out tiles of {walls.name}"
        assert entry == {"data": data, "precision": name, **scores.to_dict()}
        assert Scored.from_mapping(entry).name == name


@pytest.mark.slow
def test_the_file_runs_and_finds_what_the_fp32_file_finds(bundled: Made) -> None:
    spec = read_verified_spec(BUNDLED_MODEL)
    wall = generate_wall(WallConfig(77, spec.tile_hw, "concrete", 2, 0))
    pixels = preprocess(wall.image, spec.preprocess)[None, None]
    with open_runner(BUNDLED_MODEL) as runner:
        expected = runner.infer(pixels)
    with open_runner(bundled.target) as runner:
        found = runner.infer(pixels)
    level = 255 * spec.threshold
    both = ((expected >= level) & (found >= level)).sum()
    assert both > 100
    assert both / ((expected >= level) | (found >= level)).sum() > 0.9
    assert float32_tensors(onnx.load(str(bundled.target))) == []
    assert bundled.target.stat().st_size < BUNDLED_MODEL.stat().st_size


@pytest.mark.slow
def test_every_stage_is_told_of_and_comes_to_its_end(bundled: Made) -> None:
    names = [name for name, _, _ in bundled.stages]
    assert names[0] == "sampling tiles"
    assert "collecting ranges" in names
    for name in dict.fromkeys(names):
        last = [told for told in bundled.stages if told[0] == name][-1]
        if name != "keeping layers in FP16":  # which stops at the first that passes
            assert last[1] == last[2], name
    assert all(0 <= done <= total for _, done, total in bundled.stages)


@pytest.mark.slow
def test_what_is_printed_has_the_scores_the_gate_and_the_next_step(
    bundled: Made, walls: Path
) -> None:
    text = calibration_text(bundled.done, bundled.target)
    for words in (
        f"{bundled.done.reference.ods:.2f}",
        f"{bundled.done.accuracy.ods:.2f}",
        f"{bundled.done.accuracy.thin_recall:.2f}",
        "flagged where there is no crack",
        "gate: labels; ",
        f"images of {walls.name}",
        "at most: with 95 % confidence",
        f"{METHOD}, from 64 tiles",
        "next: edgecrack build-engine",
    ):
        assert words in text
    document = json.loads(json.dumps(calibration_dict(bundled.done, bundled.target)))
    assert document["gate"] == "labels"
    assert document["int8"] == bundled.done.accuracy.to_dict()
    assert document["onnx"] == str(bundled.target)


def test_images_without_labels_are_judged_by_the_fp32_model(
    small_model: Path, photos: Path, tmp_path: Path
) -> None:
    done = calibrate(small_model, tmp_path / "int8.onnx", easy(photos))
    record = dict(done.spec.calibration or {})
    assert record["truth"] == "fp32 model"
    assert record["gate"]["kind"] == done.verdict.kind == "agreement"
    assert set(record["gate"]["scores"]) - {FLAGGED} == {"tolerant_f1", "thin_recall"}
    # The FP32 model agrees with itself.
    assert (done.reference.strict_f1, done.reference.thin_recall) == (100.0, 100.0)
    assert done.accuracy.strict_f1 < 100
    assert done.kept == ()
    assert 0.9 < done.int8_share < 1  # what is never INT8 does the rest
    text = calibration_text(done, tmp_path / "int8.onnx")
    for words in (
        "gate: agreement with FP32, since the data have no labels; 48 held-out tiles",
        "agreement with FP32 within 2 px",
        f"agreement to the pixel, not judged: {done.accuracy.strict_f1:.2f}",
    ):
        assert words in text
    assert calibration_dict(done, tmp_path / "int8.onnx")["gate"] == "agreement"


@pytest.mark.parametrize("method", ["entropy", "percentile", "minmax", "mse"])
def test_each_method_makes_a_file_of_its_own(
    small_model: Path, photos: Path, tmp_path: Path, method: Any
) -> None:
    target = tmp_path / f"{method}.onnx"
    done = calibrate(small_model, target, easy(photos, method=method))
    assert (done.spec.calibration or {})["method"] == method
    with open_runner(target) as runner:
        assert runner.infer(np.zeros((1, 1, *TILE_HW), np.uint8)).shape == (1, 1, *TILE_HW)


def test_the_same_data_and_seed_give_the_same_bytes(
    small_model: Path, photos: Path, tmp_path: Path
) -> None:
    targets = [tmp_path / name for name in ("a.onnx", "b.onnx", "c.onnx")]
    for target, seed in zip(targets, (1, 1, 2), strict=True):
        calibrate(small_model, target, easy(photos, sampler=SamplerConfig(64, 16, seed)))
    first, second, other = (path.read_bytes() for path in targets)
    assert first == second
    assert first != other
    first_sidecar, second_sidecar = (sidecar_path(path).read_bytes() for path in targets[:2])
    assert first_sidecar == second_sidecar


@pytest.fixture(scope="module")
def of_a_free_batch(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    folder = tmp_path_factory.mktemp("free")
    free = save_model(small_graph(), folder / "free.onnx")
    return calibrate(free, folder / "free.int8.onnx", easy(photos))


@pytest.mark.parametrize("batch", [2, 3, 65])
def test_a_model_of_a_fixed_batch_is_calibrated_whatever_the_number_of_tiles(
    photos: Path, of_a_free_batch: Calibration, tmp_path: Path, batch: int
) -> None:
    """Not even as few tiles as fill no batch are left out of the ranges."""
    expected = of_a_free_batch
    fixed = save_model(small_graph(batch), tmp_path / "fixed.onnx", batch=batch)
    target = tmp_path / "fixed.int8.onnx"
    done = calibrate(fixed, target, easy(photos))
    assert done.spec.batch == batch
    assert done.accuracy.ods == pytest.approx(expected.accuracy.ods, abs=0.5)
    assert done.accuracy.strict_f1 == pytest.approx(expected.accuracy.strict_f1, abs=1)
    with open_runner(target) as runner:
        assert runner.infer(np.zeros((3, 1, *TILE_HW), np.uint8)).shape == (3, 1, *TILE_HW)


class Verdicts:
    """Stands in for the gate: a verdict in turn exceeds its limit of 1 point by so much."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *excesses: float) -> None:
        self._excesses, self.parts = excesses, list[HeldOut]()
        monkeypatch.setattr(HeldOut, "judge", self._judge_of())

    def _judge_of(self) -> Any:
        def judge(part: HeldOut, gate: Gate, output: NDArray[np.uint8], seed: int) -> Verdict:
            excess = self._excesses[min(len(self.parts), len(self._excesses) - 1)]
            self.parts.append(part)
            after = 89.0 - excess
            scores = (Judged("ods", 90.0, after, 90.0 - after, 90.0 - after, 1.0),)
            return Verdict(part.kind, len(part.tiles), part.tiles.images, scores)

        return judge

    @property
    def images(self) -> list[frozenset[int]]:
        """The images that each verdict was of."""
        return [frozenset(part.tiles.frame.tolist()) for part in self.parts]


def test_a_model_that_loses_too_much_is_not_written(
    small_model: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    few_layers: list[str],
) -> None:
    """And an older file of that name is left as it is."""
    Verdicts(monkeypatch, 9.0)
    target = save_model(small_graph(), tmp_path / "int8.onnx")
    before, names = (target.read_bytes(), sidecar_path(target).read_bytes()), files_in(tmp_path)
    stages: list[str] = []
    with pytest.raises(AccuracyError) as caught:
        calibrate(
            small_model,
            target,
            CalibrationConfig(photos, sampler=FEW),
            lambda stage, done, total: stages.append(stage),
        )
    assert files_in(tmp_path) == names
    assert (target.read_bytes(), sidecar_path(target).read_bytes()) == before
    assert "ODS 90.00 -> 80.00 (+10.00, at most +10.00, 1 allowed)" in caught.value.problem
    assert len(few_layers) == 6
    assert f"5 of 5 mixes with FP16 tried, {METHOD} ranges" in caught.value.problem
    assert stages.count("ranking layers") == 6
    assert stages.count("keeping layers in FP16") == 5


def test_the_layers_that_cost_most_are_kept_and_no_more_of_them_than_needed(
    small_model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = Verdicts(monkeypatch, 9.0, 4.0, 3.0, -0.5, -0.2)
    target = tmp_path / "int8.onnx"
    done = calibrate(small_model, target, CalibrationConfig(photos, sampler=FEW))
    assert len(verdicts.parts) == 5
    assert len(done.kept) == 3
    record = dict(done.spec.calibration or {})
    costs = record["cost_of_layers"]
    assert set(costs) == set(quantize.quantizable_layers(small_graph()))
    assert list(costs.values()) == sorted(costs.values(), reverse=True)
    assert tuple(costs)[:3] == done.kept
    assert 0 < done.int8_share < 1
    written = onnx.load(str(target))
    producers = {node.output[0]: node.op_type for node in written.graph.node}
    kept = {
        node.name
        for node in written.graph.node
        if node.name in costs and producers.get(node.input[0]) != "DequantizeLinear"
    }
    assert kept == set(done.kept)
    assert f"({len(kept)} of 34 layers" in calibration_text(done, target)


@pytest.mark.usefixtures("few_layers")
def test_what_a_search_chose_is_judged_on_images_that_it_never_saw(
    small_model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict, its record and the scores are of those images alone."""
    verdicts = Verdicts(monkeypatch, 2.0, 1.0, -0.5, -0.25)
    target = tmp_path / "int8.onnx"
    done = calibrate(small_model, target, CalibrationConfig(photos, sampler=FEW))
    everything, first, second, confirming = verdicts.images
    assert first == second
    assert not first & confirming
    assert first | confirming == everything
    record = dict(done.spec.calibration or {})
    assert record["gate"]["images"] == len(confirming)
    assert record["gate"]["scores"]["ods"]["int8"] == 89.25 == done.verdict.judged[0].after
    search = record["gate"]["search"]
    assert (search["tried"], search["images"]) == (2, len(first))
    assert search["scores"]["ods"]["int8"] == 89.5
    assert record["held_out_images"] == len(everything)
    assert done.spec.scores[-1]["data"] == f"confirmation tiles of {photos.name}"
    part = verdicts.parts[-1]
    assert done.reference == part.accuracy(part.expected)
    words = f"tiles not used to choose layers ({len(first)} other images), of"
    assert words in calibration_text(done, target)


@pytest.mark.usefixtures("few_layers")
def test_a_choice_that_is_not_confirmed_is_refused(
    small_model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Verdicts(monkeypatch, 2.0, 1.0, -0.5, 0.25)
    names = files_in(tmp_path)
    with pytest.raises(AccuracyError) as caught:
        calibrate(small_model, tmp_path / "int8.onnx", CalibrationConfig(photos, sampler=FEW))
    problem = caught.value.problem
    assert problem.startswith("the chosen layers fail on tiles that were not used to choose them")
    assert "ODS 90.00 -> 88.75" in problem
    assert "2 of 5 mixes" in problem
    assert files_in(tmp_path) == names


def test_too_few_images_to_choose_layers_by_are_refused_before_a_search(
    small_model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "few"
    data.mkdir()
    for path in sorted(photos.iterdir())[:27]:
        (data / path.name).symlink_to(path)
    verdicts = Verdicts(monkeypatch, 2.0)
    with pytest.raises(AccuracyError, match="all layers in INT8") as caught:
        calibrate(small_model, tmp_path / "int8.onnx", CalibrationConfig(data, sampler=FEW))
    assert "16 held-out images or more" in caught.value.remedy
    assert len(verdicts.parts) == 1
    assert not (tmp_path / "int8.onnx").exists()


def test_too_few_images_to_judge_by_are_refused(
    small_model: Path, photos: Path, tmp_path: Path
) -> None:
    data = tmp_path / "fewer"
    data.mkdir()
    for path in sorted(photos.iterdir())[:12]:
        (data / path.name).symlink_to(path)
    with pytest.raises(DataError, match="the held-out tiles of fewer are of 4 images, too few"):
        calibrate(small_model, tmp_path / "int8.onnx", easy(data))


def test_a_sidecar_of_an_older_version_is_said_to_have_had_another_gate() -> None:
    assert "older version" in gate_text({"max_drop": 0.5})


@pytest.mark.parametrize("kind", ["labels", "agreement"])
def test_what_was_not_judged_is_said(kind: Kind) -> None:
    verdict = Verdict(kind, 30, 9, (Judged("ods", 1, 1, 0, 0, 1),), ("thin_recall", FLAGGED))
    text = gate_text({"data": "walls", "gate": {**verdict.to_dict(), "search": None}})
    assert text.endswith("not judged: no thin crack, none free of cracks among them")


def test_a_file_for_cpus_leaves_what_openvino_gets_wrong_in_fp32(
    small_model: Path, photos: Path
) -> None:
    target = small_model.with_name("small.cpu.onnx")
    done = calibrate(small_model, target, easy(photos, made_for="cpu"))
    graph = onnx.load(target)
    spared = set(quantize.layers_after_concat(small_graph()))
    quantized = {name.input[0] for name in graph.graph.node if name.op_type == "QuantizeLinear"}
    inputs = quantize.layer_inputs(small_graph())
    assert spared
    assert done.layers == len(inputs) - len(spared)
    assert not quantized & {inputs[name] for name in spared}
    assert quantized >= {inputs[name] for name in set(inputs) - spared - set(done.kept)}


def test_a_file_for_cpus_is_judged_on_openvino_too(small_model: Path, photos: Path) -> None:
    pytest.importorskip("openvino", reason="openvino is of the cpu extra, on x86-64")
    target = small_model.with_name("small.cpu.onnx")
    done = calibrate(small_model, target, easy(photos, made_for="cpu"))
    assert done.openvino is not None
    assert done.openvino.passed
    assert done.openvino.verdict is not None
    assert done.openvino.verdict.tiles == done.verdict.tiles
    record = (read_verified_spec(target).calibration or {})["openvino"]
    assert record == json.loads(json.dumps(done.openvino.to_dict()))
    assert "passes the same gate with it" in calibration_text(done, target)
    for_gpu = calibrate(small_model, small_model.with_name("gpu.onnx"), easy(photos))
    assert for_gpu.openvino is None
    assert "openvino" not in (for_gpu.spec.calibration or {})


def test_what_openvino_loses_is_said_and_kept_from_it(
    small_model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a processor on which it overflows: the file is good, and not for OpenVINO."""
    pytest.importorskip("openvino", reason="openvino is of the cpu extra, on x86-64")
    monkeypatch.setattr(OpenVINORunner, "infer", lambda self, given: 0 * given)
    target = small_model.with_name("small.cpu.onnx")
    done = calibrate(small_model, target, easy(photos, made_for="cpu", gate=Gate(99, 100)))
    assert done.verdict.passed
    assert done.openvino is not None
    assert not done.openvino.passed
    assert (done.spec.calibration or {})["openvino"]["passed"] is False
    assert "loses too much with it and is not used for it: " in calibration_text(done, target)


def test_a_machine_without_openvino_judges_without(
    small_model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "has_openvino", lambda: False)
    done = calibrate(small_model, small_model.with_name("i.onnx"), easy(photos, made_for="cpu"))
    assert done.openvino is None


@pytest.mark.usefixtures("few_layers")
def test_no_drop_at_all_is_either_kept_to_or_refused(
    small_model: Path, photos: Path, tmp_path: Path
) -> None:
    target = tmp_path / "int8.onnx"
    try:
        done = calibrate(small_model, target, easy(photos, gate=Gate(0)))
    except AccuracyError:
        assert not target.exists()
        assert not sidecar_path(target).exists()
    else:
        assert all(item.upper <= 0 for item in done.verdict.judged if item.score != FLAGGED)
        assert target.exists()


@pytest.mark.parametrize(
    ("spec", "problem", "remedy"),
    [
        ({"precision": "fp16"}, "is FP16 and FP32 is needed", "give the FP32 file"),
        ({"precision": "int8"}, "is INT8 and FP32 is needed", "give the FP32 file"),
        ({"kind": "checkpoint"}, "kind 'checkpoint'", "export it first: edgecrack export"),
        ({"kind": "engine"}, "kind 'engine'", "give an ONNX file"),
    ],
)
def test_another_kind_of_model_is_refused(
    photos: Path, tmp_path: Path, spec: dict[str, str], problem: str, remedy: str
) -> None:
    model = save_model(small_graph(), tmp_path / "model.onnx", **spec)
    with pytest.raises(ModelFileError) as caught:
        calibrate(model, tmp_path / "int8.onnx", easy(photos))
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert files_in(tmp_path) == {"model.onnx", "model.onnx.json"}


def test_a_file_that_is_no_onnx_is_refused(photos: Path, tmp_path: Path) -> None:
    from edgecrack.artifacts import write_sidecar

    model = tmp_path / "model.onnx"
    model.write_bytes(b"no graph at all")
    write_sidecar(model, ModelSpec("onnx", "max", 2, tile_hw=TILE_HW))
    with pytest.raises(ModelFileError, match=r"model\.onnx is no ONNX file"):
        calibrate(model, tmp_path / "int8.onnx", easy(photos))


def test_a_model_that_was_changed_is_refused(
    small_model: Path, photos: Path, tmp_path: Path
) -> None:
    small_model.write_bytes(small_model.read_bytes() + b"\0")
    with pytest.raises(ModelFileError, match="does not match its sidecar"):
        calibrate(small_model, tmp_path / "int8.onnx", easy(photos))


@pytest.mark.parametrize(
    ("name", "error", "problem"),
    [
        ("small.onnx", ConfigError, r"would overwrite .*small\.onnx; give another name"),
        ("../here/small.onnx", ConfigError, "would overwrite"),
        ("int8.txt", ConfigError, "give a name that ends in .onnx"),
        ("folder", OutputError, "folder: it is a folder; give the path of a file"),
        ("none/int8.onnx", OutputError, "its folder does not exist; create the folder"),
    ],
)
def test_a_target_that_cannot_be_is_refused_before_anything_runs(
    photos: Path, tmp_path: Path, name: str, error: type[Exception], problem: str
) -> None:
    here = tmp_path / "here"
    (here / "folder").mkdir(parents=True)
    model = save_model(small_graph(), here / "small.onnx")
    before = model.read_bytes()
    stages: list[str] = []
    with pytest.raises(error, match=problem):
        calibrate(model, here / name, easy(photos), lambda stage, _, __: stages.append(stage))
    assert not stages
    assert model.read_bytes() == before
    assert files_in(here) == {"folder", "small.onnx", "small.onnx.json"}


def test_data_without_a_crack_are_refused(
    small_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "bare"
    for kind in ("images", "masks"):
        (data / kind).mkdir(parents=True)
    for seed in range(9):
        wall = generate_wall(WallConfig(seed, (96, 160), None, 0))
        write_png(data / "images" / f"{seed}.png", wall.image)
        write_png(data / "masks" / f"{seed}.png", wall.mask)
    with pytest.raises(DataError, match=r"none of the \d+ calibration tiles of bare has a crack"):
        calibrate(small_model, tmp_path / "int8.onnx", easy(data))


def test_an_unknown_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`method` is 'kl'; give one of"):
        CalibrationConfig(tmp_path, method="kl")  # type: ignore[arg-type]


def test_a_file_for_cpus_has_no_fp16_and_says_so(small_model: Path, photos: Path) -> None:
    target = small_model.with_name("small.cpu.onnx")
    done = calibrate(small_model, target, easy(photos, made_for="cpu"))
    types = {each.data_type for each in onnx.load(target).graph.initializer}
    assert onnx.TensorProto.INT8 in types
    assert onnx.TensorProto.FLOAT16 not in types
    assert (read_verified_spec(target).calibration or {})["made_for"] == "cpu"
    text = calibration_text(done, target)
    assert "kept in FP32" in text
    assert "next: edgecrack stream --model" in text
    with open_runner(target, threads=1) as runner:
        assert runner.infer(np.zeros((1, 1, *TILE_HW), np.uint8)).shape == (1, 1, *TILE_HW)
    with pytest.raises(ConfigError, match="`made_for` is 'gpu'; give one of: tensorrt, cpu"):
        easy(photos, made_for="gpu")
