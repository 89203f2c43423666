"""`build-engine` as a whole: a checkpoint or an ONNX file in, an engine and its table out."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecrack import cli
from edgecrack.artifacts import ModelFile, Precision, read_model_file, read_verified_spec
from edgecrack.calibration import quantize
from edgecrack.calibration.config import CalibrationConfig
from edgecrack.calibration.gate import Gate, Judged, Verdict
from edgecrack.calibration.sampler import SamplerConfig
from edgecrack.errors import (
    AccuracyError,
    ConfigError,
    DataError,
    DeviceError,
    EdgecrackError,
    ExportError,
    ModelFileError,
    OutputError,
)
from edgecrack.export import model_scores
from edgecrack.export.build import BuildConfig, BuildReport, build, report_text
from edgecrack.export.engine.config import EngineConfig
from edgecrack.export.engine.target_machines import parse_targets
from edgecrack.export.model_scores import NotRun
from edgecrack.nvidia.cuda import open as cuda_open
from edgecrack.nvidia.engine_info import EngineInfo
from edgecrack.onnx_graph.graph_file import read_graph
from edgecrack.runtime.backends import open as runner_module
from edgecrack.runtime.backends import preflight
from edgecrack.runtime.backends.open import BUNDLED_MODEL, open_runner
from edgecrack.synthetic import write_dataset
from tests.calibration.small import save_model, small_graph
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__")


def need_rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed (extra rtx)")


def config(precision: Precision | None = None, target: str = "sm86", **more: Any) -> BuildConfig:
    return BuildConfig(precision, engine=EngineConfig(targets=parse_targets(target)), **more)


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgecrack", "build-engine", *map(str, words)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


# Few tiles for a test's sake.
FEW = SamplerConfig(tiles=64, held_out=40)


def make_walls(folder: Path, hw: tuple[int, int]) -> Path:
    """A labelled dataset of generated walls: 16 for the ranges, 10 to judge by."""
    fractions = {"train": 16 / 27, "val": 10 / 27, "test": 1 / 27}
    write_dataset(folder / "walls", 27, hw, seed=50, split_fractions=fractions)
    return folder / "walls"


@pytest.fixture(scope="session")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_walls(tmp_path_factory.mktemp("walls"), (96, 160))


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    return save_model(small_graph(), tmp_path_factory.mktemp("small") / "small.onnx")


def build_int8(model: Path, folder: Path, data: CalibrationConfig) -> tuple[BuildReport, list[str]]:
    need_rtx()
    stages: list[str] = []
    report = build(
        model,
        folder / "robot.engine",
        config("int8", calibration=data),
        lambda stage, done, total: stages.append(stage),
    )
    return report, stages


@pytest.fixture(scope="session")
def int8(
    small_model: Path, walls: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BuildReport, list[str]]:
    """A random network, of which any INT8 file will do."""
    data = CalibrationConfig(walls, gate=Gate(100), sampler=FEW)
    return build_int8(small_model, tmp_path_factory.mktemp("int8"), data)


@pytest.fixture
def wall_count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """How many generated walls models are scored on."""
    model_scores._walls.cache_clear()
    monkeypatch.setattr(model_scores, "WALLS", request.param)
    yield request.param
    model_scores._walls.cache_clear()


@pytest.mark.parametrize(
    ("target", "wall_count"),
    [
        ("sm86", 4),
        pytest.param("sm89", 4, marks=pytest.mark.slow),
        ("sm120", 4),
        pytest.param("sm86", model_scores.WALLS, marks=pytest.mark.slow),
    ],
    indirect=["wall_count"],
)
def test_the_command_builds_a_real_engine(
    target: str,
    wall_count: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    need_rtx()
    output = tmp_path / "made" / "robot.engine"
    words = ["build-engine", str(BUNDLED_MODEL), "--target", target, "-o", str(output)]
    monkeypatch.setattr(sys, "argv", ["edgecrack", *words])
    cli.main()
    done = capsys.readouterr()
    spec = read_verified_spec(output)
    info = EngineInfo.from_dict(spec.engine)
    capability = {"sm86": "8.6", "sm89": "8.9", "sm120": "12.0"}[target]
    assert info.compute_capabilities == (capability,)
    assert (spec.kind, spec.precision, info.flavour) == ("engine", "fp16", "tensorrt_rtx")
    source = output.with_suffix(".fp16.onnx")
    assert spec.parent_sha256 == read_verified_spec(source).sha256
    assert {path.name for path in output.parent.iterdir()} == {
        "robot.engine",
        "robot.engine.json",
        "robot.fp16.onnx",
        "robot.fp16.onnx.json",
    }
    for pattern in (
        r"FP32 +\d\d\.\d\d +\d\d\.\d\d +\d\d\.\d\d +0/255",
        r"FP16 +\d\d\.\d\d +\d\d\.\d\d +\d\d\.\d\d +\d+/255",
        f"measured on: {wall_count} generated walls",
        rf"for +SM{target[2:]}; tensorrt_rtx",
        r"built in +\d+\.\d s",
        rf"sidecar +{re.escape(str(output))}\.json",
        rf"--onnx={re.escape(str(source))}",
    ):
        assert re.search(pattern, done.out), (pattern, done.out)
    assert "scoring" in done.err  # the stages, for there is no terminal to draw a bar on


@pytest.mark.slow
def test_json_is_all_that_is_printed(tmp_path: Path) -> None:
    need_rtx()
    output = tmp_path / "robot.engine"
    done = command(BUNDLED_MODEL, "--target", "sm86,sm89", "-o", output, "--json")
    document = json.loads(done.stdout)
    assert document["precision"] == "fp16"
    assert document["size_bytes"] == output.stat().st_size
    assert document["target"]["compute_capabilities"] == ["8.6", "8.9"]
    rows = {row["precision"]: row for row in document["scores"]}
    assert abs(rows["fp16"]["ods"] - rows["fp32"]["ods"]) < 0.2
    assert rows["fp16"]["largest_difference"] <= 16


@pytest.mark.slow
def test_the_bundled_model_goes_through_calibration_and_gate(tmp_path: Path) -> None:
    # Few tiles, hence the wide gate; calibrate's own tests narrow it.
    data = CalibrationConfig(make_walls(tmp_path, (512, 512)), gate=Gate(8.0, 1.0), sampler=FEW)
    report, stages = build_int8(BUNDLED_MODEL, tmp_path, data)
    fp32, quantized = (item.accuracy for item in report.scores)
    assert fp32.ods - quantized.ods <= 3.0
    assert fp32.thin_recall - quantized.thin_recall <= 3.0
    check_int8(report, stages)


def test_int8_goes_through_calibration_and_gate(int8: tuple[BuildReport, list[str]]) -> None:
    check_int8(*int8)


def check_int8(report: BuildReport, stages: list[str]) -> None:
    spec = report.engine.spec
    assert spec.precision == "int8"
    assert [path.name for path in report.written] == ["robot.int8.onnx", "robot.engine"]
    assert spec.calibration is not None
    assert spec.calibration["tiles"] == 64
    assert list(report.kept_fp16) == spec.calibration["kept_fp16"]
    counts = report.engine.types.convolutions
    assert counts["INT8"] == spec.calibration["int8_layers"] == 34 - len(report.kept_fp16)
    assert counts["HALF"] == 45 - counts["INT8"]  # transposed, depthwise, one channel, and kept
    assert "FLOAT" not in counts
    names = [item.name for item in report.scores]
    assert names == ["fp32", "int8"]
    for stage in ("sampling tiles", "collecting ranges", "scoring"):
        assert stage in stages
    text = report_text(report)
    assert "INT8, verified from the network: convolutions" in text
    assert "kept in FP16" in text


def test_the_int8_file_runs_on_the_cpu_too(int8: tuple[BuildReport, list[str]]) -> None:
    with open_runner(int8[0].onnx_file) as runner:
        assert runner.spec.precision == "int8"


def test_an_int8_file_needs_no_data_and_keeps_its_scores(
    int8: tuple[BuildReport, list[str]], tmp_path: Path
) -> None:
    source = int8[0].onnx_file
    report = build(source, tmp_path / "again.engine", config())
    assert report.engine.spec.precision == "int8"
    assert report.scores == int8[0].scores
    assert report.onnx_file == source
    assert [path.name for path in report.written] == ["again.engine"]


def test_an_engine_comes_straight_from_a_checkpoint(tmp_path: Path) -> None:
    need_rtx()
    pytest.importorskip("torch")
    from edgecrack.artifacts import ModelSpec
    from edgecrack.training.checkpoints import NETWORK_PREFIX, SPEC_KEY, SafetensorsCheckpointIO
    from tests.model.networks import lively_network

    network = lively_network()
    state = network.state_dict().items()
    content = {
        "state_dict": {NETWORK_PREFIX + name: value for name, value in state},
        SPEC_KEY: ModelSpec(kind="checkpoint", pooling="gated-scale", width=2).to_dict(),
    }
    checkpoint = tmp_path / "best.safetensors"
    SafetensorsCheckpointIO().save_checkpoint(content, checkpoint)
    report = build(checkpoint, tmp_path / "robot.engine", config("fp32", tile_hw=(64, 64)))
    assert [path.name for path in report.written] == ["robot.fp32.onnx", "robot.engine"]
    assert report.engine.spec.tile_hw == (64, 64)


def test_a_robot_without_torch_and_onnx_builds_from_a_finished_file(
    int8: tuple[BuildReport, list[str]], tmp_path: Path
) -> None:
    output = tmp_path / "robot.engine"
    words = ["build-engine", str(int8[0].onnx_file), "--target", "sm86", "-o", str(output)]
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'onnx', 'onnxscript', 'lightning']))\n"
        f"sys.argv = ['edgecrack', *{words!r}]\n"
        "from edgecrack.cli import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert read_verified_spec(output).precision == "int8"


def test_an_engine_that_computes_something_else_is_removed(
    int8: tuple[BuildReport, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong:
        def __enter__(self) -> Wrong:
            return self

        def __exit__(self, *ended: object) -> None:
            pass

        def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return np.full_like(tiles, 200)

    real = runner_module.open_runner

    def open_any(model: ModelFile) -> Any:
        return Wrong() if model.path.suffix == ".engine" else real(model)

    monkeypatch.setattr(runner_module, "open_runner", open_any)
    monkeypatch.setattr(preflight, "check_engine", lambda path, spec: None)
    monkeypatch.setattr(cuda_open, "open_cuda", lambda: None)
    with pytest.raises(ExportError, match=r"differs from robot.int8.onnx by .*removed"):
        build(int8[0].onnx_file, tmp_path / "robot.engine", config())
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_was_built_and_does_not_run_here_is_removed(
    int8: tuple[BuildReport, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runner_module.open_runner

    def open_any(model: ModelFile) -> Any:
        if model.path.suffix == ".engine":
            raise DeviceError("the GPU fell off the bus", "start again")
        return real(model)

    monkeypatch.setattr(runner_module, "open_runner", open_any)
    monkeypatch.setattr(preflight, "check_engine", lambda path, spec: None)
    monkeypatch.setattr(cuda_open, "open_cuda", lambda: None)
    with pytest.raises(ExportError, match=r"does not run: the GPU fell off the bus"):
        build(int8[0].onnx_file, tmp_path / "robot.engine", config())
    assert list(tmp_path.iterdir()) == []


def test_an_engine_for_this_machine_that_did_not_run_is_said_loudly(
    int8: tuple[BuildReport, list[str]],
) -> None:
    why = NotRun("no cuda-python is installed", "install it", is_for_here=True)
    report = dataclasses.replace(int8[0], parity=None, not_run=why)
    text = report_text(report)
    assert "run here        NO, although it is for this machine: see the warning" in text
    assert f"warning: {why}" in text
    assert report.to_dict()["not_run_because"] == str(why)
    assert report.to_dict()["warnings"][-1] == str(why)


class TestRefusals:
    def test_a_target_that_nothing_here_builds_for_comes_before_any_work(
        self, tmp_path: Path
    ) -> None:
        absent = CalibrationConfig(tmp_path / "absent")
        with pytest.raises(ConfigError) as caught:
            build(
                BUNDLED_MODEL,
                tmp_path / "robot.engine",
                config("int8", "orin", calibration=absent),
            )
        assert "orin" in caught.value.problem.lower() or "8.7" in caught.value.problem
        assert "build-engine" in caught.value.remedy
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("precision", "name", "kind", "words"),
        [
            ("int8", "robot.engine", ConfigError, "`data`"),
            ("fp16", "robot.onnx", ConfigError, "ends in .engine"),
        ],
    )
    def test_what_does_not_fit(
        self,
        precision: Precision,
        name: str,
        kind: type[EdgecrackError],
        words: str,
        tmp_path: Path,
    ) -> None:
        need_rtx()
        with pytest.raises(kind) as caught:
            build(BUNDLED_MODEL, tmp_path / name, config(precision))
        assert words in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_a_file_of_somebody_else_s_is_not_overwritten_on_the_way(self, tmp_path: Path) -> None:
        need_rtx()
        precious = tmp_path / "robot.fp16.onnx"
        precious.write_text("precious")
        with pytest.raises(OutputError, match="did not write"):
            build(BUNDLED_MODEL, tmp_path / "robot.engine", config("fp16"))
        assert precious.read_text() == "precious"

    def test_the_model_is_not_overwritten_on_the_way(self, tmp_path: Path) -> None:
        need_rtx()
        model = tmp_path / "robot.fp16.onnx"
        for suffix in ("", ".json"):
            source = BUNDLED_MODEL.with_name(BUNDLED_MODEL.name + suffix)
            model.with_name(model.name + suffix).write_bytes(source.read_bytes())
        with pytest.raises(ConfigError, match="would overwrite"):
            build(model, tmp_path / "robot.engine", config("fp16"))
        assert read_verified_spec(model).precision == "fp32"

    def test_data_that_cannot_be_read_leave_no_engine(self, tmp_path: Path) -> None:
        need_rtx()
        absent = CalibrationConfig(tmp_path / "absent")
        with pytest.raises(DataError, match="does not exist"):
            build(BUNDLED_MODEL, tmp_path / "robot.engine", config(calibration=absent))
        assert list(tmp_path.iterdir()) == []

    def test_a_tile_belongs_to_a_checkpoint(self, tmp_path: Path) -> None:
        need_rtx()
        with pytest.raises(ConfigError, match="leave out `tile_hw`"):
            build(BUNDLED_MODEL, tmp_path / "robot.engine", config(tile_hw=(64, 64)))

    def test_what_the_tensorrt_cannot_do_is_refused_before_calibrating(
        self, tmp_path: Path
    ) -> None:
        need_rtx()
        absent = CalibrationConfig(tmp_path / "absent")
        engine = EngineConfig(targets=parse_targets("sm86"), dla_core=0, batch=(1, 1, 1))
        with pytest.raises(ConfigError, match="a DLA core was asked for"):
            build(
                BUNDLED_MODEL,
                tmp_path / "robot.engine",
                BuildConfig("int8", calibration=absent, engine=engine),
            )

    def test_a_precision_of_no_name(self) -> None:
        with pytest.raises(ConfigError, match=r"'int4'.*fp32, fp16, int8"):
            BuildConfig("int4")  # type: ignore[arg-type]

    def test_int8_is_not_rounded_again(
        self, int8: tuple[BuildReport, list[str]], tmp_path: Path
    ) -> None:
        with pytest.raises(ModelFileError, match="INT8 and FP16 was requested"):
            build(int8[0].onnx_file, tmp_path / "robot.engine", config("fp16"))

    def test_an_engine_is_not_built_from_an_engine(
        self, int8: tuple[BuildReport, list[str]], tmp_path: Path
    ) -> None:
        with pytest.raises(ModelFileError, match="is already an engine"):
            build(int8[0].engine.path, tmp_path / "robot.engine", config())

    def test_a_gate_that_nothing_passes_leaves_no_engine(
        self, small_model: Path, walls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        need_rtx()

        class Shut(Gate):
            def judge(self, *given: Any) -> Verdict:
                return Verdict("labels", 40, 10, (Judged("ods", 90.0, 80.0, 10.0, 10.0, 1.0),))

        # Three layers, so that the search for a mix that passes is soon at its end.
        layers = quantize.quantizable_layers(read_graph(read_model_file(small_model), "fp32"))[1:4]
        monkeypatch.setattr(quantize, "quantizable_layers", lambda model: layers)
        shut = CalibrationConfig(walls, gate=Shut(), sampler=FEW)
        with pytest.raises(AccuracyError):
            build(small_model, tmp_path / "robot.engine", config("int8", calibration=shut))
        assert list(tmp_path.iterdir()) == []
