"""What a build tells NVIDIA's `tensorrt`, which is not on the index: by a stand-in for it.

The names that the stand-in has are held against the real versions by test_tensorrt_api.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgecrack.errors import ConfigError, ExportError
from edgecrack.export.engine.builder import EngineBuild, build_engine
from edgecrack.export.engine.config import EngineConfig
from edgecrack.export.engine.target_machines import parse_targets
from edgecrack.nvidia.engine_info import EngineInfo
from tests.export.engine.graphs import save, small_graph
from tests.export.fake_tensorrt import FakeTensorRT


@pytest.fixture
def orin(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    return FakeTensorRT(monkeypatch)


def build(folder: Path, precision: str = "fp16", **options: Any) -> EngineBuild:
    source = save(small_graph("fp16"), folder / "m.onnx", precision=precision)
    return build_engine(source, folder / "m.engine", EngineConfig(**options))


def test_an_engine_for_the_gpu_of_this_machine(orin: FakeTensorRT, tmp_path: Path) -> None:
    result = build(tmp_path)
    assert (tmp_path / "m.engine").read_bytes() == b"an engine"
    info = EngineInfo.from_dict(result.spec.engine)
    assert (info.flavour, info.version) == ("tensorrt", "10.3.0")
    assert info.compute_capabilities == ("8.7",)
    assert result.engine_types == {"HALF": 1}
    (profile,) = orin.config.profiles
    assert (profile.name, profile.shapes) == (
        "tiles",
        ((1, 1, 32, 32), (8, 1, 32, 32), (8, 1, 32, 32)),
    )
    assert orin.config.flags == []
    assert orin.config.limits == {}


def test_options_reach_the_builder(orin: FakeTensorRT, tmp_path: Path) -> None:
    result = build(tmp_path, workspace_mib=64, optimization_level=5, version_compatible=True)
    assert orin.config.limits == {7: 64 << 20}
    assert orin.config.builder_optimization_level == 5
    assert orin.config.flags == [12]
    assert EngineInfo.from_dict(result.spec.engine).version_compatible


def test_a_version_compatible_engine_is_loaded_as_host_code(
    orin: FakeTensorRT, tmp_path: Path
) -> None:
    build(tmp_path)
    assert not orin.runtime.engine_host_code_allowed
    build(tmp_path, version_compatible=True)
    assert orin.runtime.engine_host_code_allowed


def test_one_number_of_tiles_makes_a_fixed_shape(orin: FakeTensorRT, tmp_path: Path) -> None:
    result = build(tmp_path, batch=(2, 2, 2))
    assert tuple(orin.network.get_input(0).shape) == (2, 1, 32, 32)
    assert orin.config.profiles == []
    assert result.spec.batch == 2


def test_timings_are_kept_and_used_again(orin: FakeTensorRT, tmp_path: Path) -> None:
    cache = tmp_path / "m.engine.timing"
    build(tmp_path)
    assert cache.read_bytes() == b"+measured"
    build(tmp_path)
    assert orin.config.timings.content == b"+measured"
    assert cache.read_bytes() == b"+measured+measured"


def test_timings_of_another_machine_are_begun_anew(orin: FakeTensorRT, tmp_path: Path) -> None:
    cache = tmp_path / "kept"
    cache.write_bytes(b"of another GPU")
    result = build(tmp_path, timing_cache=cache)
    assert cache.read_bytes() == b"+measured"
    assert ["is replaced" in warning for warning in result.warnings] == [True]


def test_a_cache_that_cannot_be_written_costs_no_engine(orin: FakeTensorRT, tmp_path: Path) -> None:
    (tmp_path / "m.engine.timing").mkdir()
    result = build(tmp_path)
    assert result.path.exists()
    assert any("m.engine.timing" in warning for warning in result.warnings)


def test_timings_can_be_left_out(orin: FakeTensorRT, tmp_path: Path) -> None:
    build(tmp_path, use_timing_cache=False)
    assert orin.config.timings is None
    assert not (tmp_path / "m.engine.timing").exists()


def test_the_dla_runs_what_it_can_and_the_gpu_the_rest(orin: FakeTensorRT, tmp_path: Path) -> None:
    result = build(tmp_path, dla_core=1, batch=(1, 1, 1))
    assert (orin.config.default_device_type, orin.config.DLA_core) == ("dla", 1)
    assert orin.config.flags == [11]
    assert orin.runtime.DLA_core == 1
    assert EngineInfo.from_dict(result.spec.engine).dla_core == 1


@pytest.mark.parametrize(
    ("options", "precision", "words"),
    [
        ({"dla_core": 2, "batch": (1, 1, 1)}, "fp16", "this machine has 2"),
        ({"dla_core": 0}, "fp16", "fixed number"),
        ({"dla_core": 0, "batch": (1, 1, 1)}, "fp32", "neither FP32 nor INT8"),
        ({"dla_core": 0, "batch": (1, 1, 1)}, "int8", "neither FP32 nor INT8"),
        ({"hardware_compatible": True}, "fp16", "compute capability 8.7"),
    ],
)
def test_what_a_jetson_cannot_do_is_refused(
    orin: FakeTensorRT, options: dict[str, Any], precision: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        build(tmp_path, precision, **options)


@pytest.mark.parametrize(
    ("version", "supports"),
    [
        ("10.3.0", True),
        ("10.7.0", True),
        ("10.8.0", False),
        ("10.13.0.35", False),
        ("11.0.0", False),
        ("11.4.0.106", False),
        ("11.4.1", True),
        ("11.5.0", True),
    ],
)
def test_which_tensorrt_has_a_dla(
    monkeypatch: pytest.MonkeyPatch, version: str, supports: bool, tmp_path: Path
) -> None:
    FakeTensorRT(monkeypatch, version=version)
    if supports:
        assert build(tmp_path, dla_core=0, batch=(1, 1, 1)).path.exists()
    else:
        with pytest.raises(
            ConfigError, match=rf"tensorrt {version} does not support: TensorRT 10\.7"
        ):
            build(tmp_path, dla_core=0, batch=(1, 1, 1))


def test_thor_has_no_dla(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    FakeTensorRT(monkeypatch, "11.0", "10.13.0")
    with pytest.raises(ConfigError, match="Jetson Thor, which has no DLA"):
        build(tmp_path, dla_core=0, batch=(1, 1, 1))


def test_a_dla_that_runs_no_layer_is_no_dla_engine(orin: FakeTensorRT, tmp_path: Path) -> None:
    orin.dla_layers = ()
    with pytest.raises(ExportError, match="none of the 3 layers"):
        build(tmp_path, dla_core=0, batch=(1, 1, 1))


@pytest.mark.parametrize(("capability", "fits"), [("7.5", False), ("8.9", True), ("12.0", True)])
def test_hardware_compatibility_begins_with_ampere(
    monkeypatch: pytest.MonkeyPatch, capability: str, fits: bool, tmp_path: Path
) -> None:
    machine = FakeTensorRT(monkeypatch, capability)
    if fits:
        build(tmp_path, hardware_compatible=True)
        assert machine.config.hardware_compatibility_level == "ampere+"
    else:
        with pytest.raises(ConfigError, match=r"7\.5"):
            build(tmp_path, hardware_compatible=True)


def test_an_engine_that_computes_in_fp32_after_all_is_refused(
    orin: FakeTensorRT, tmp_path: Path
) -> None:
    orin.inspected = "Row major linear FP32"
    with pytest.raises(ExportError, match="FP32 alone"):
        build(tmp_path)
    assert not (tmp_path / "m.engine").exists()


@pytest.mark.parametrize("batch", [(1, 1, 1), (1, 8, 8), (2, 4, 6)])
def test_the_types_of_a_dynamic_engine_are_told_too(
    orin: FakeTensorRT, batch: tuple[int, int, int], tmp_path: Path
) -> None:
    result = build(tmp_path, batch=batch)
    assert result.engine_types == {"HALF": 1}
    assert result.warnings == ()


@pytest.mark.parametrize("batch", [(1, 1, 1), (1, 8, 8)])
def test_a_dynamic_engine_of_another_precision_is_refused_too(
    orin: FakeTensorRT, batch: tuple[int, int, int], tmp_path: Path
) -> None:
    orin.inspected = "Int8"
    with pytest.raises(ExportError, match="lower precision: 1 INT8"):
        build(tmp_path, batch=batch)


def test_an_engine_that_cannot_be_asked_is_a_warning(orin: FakeTensorRT, tmp_path: Path) -> None:
    orin.prepares = False
    (warning,) = build(tmp_path).warnings
    assert warning.startswith("the precision of the finished engine could not be checked: TensorRT")


def test_an_inspector_that_tells_no_type_is_a_warning(orin: FakeTensorRT, tmp_path: Path) -> None:
    orin.inspected = "N/A"
    result = build(tmp_path)
    assert result.engine_types is None
    assert ["names no type" in warning for warning in result.warnings] == [True]


def test_an_interruption_stops_tensorrt_at_its_next_step(
    orin: FakeTensorRT, tmp_path: Path
) -> None:
    orin.steps = 10**9

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "Timing tactics":
            raise KeyboardInterrupt

    source = save(small_graph("fp16"), tmp_path / "m.onnx", precision="fp16")
    with pytest.raises(KeyboardInterrupt):
        build_engine(source, tmp_path / "m.engine", None, stop)
    assert orin.taken < orin.steps
    assert not (tmp_path / "m.engine").exists()
    assert not (tmp_path / "m.engine.timing").exists()


def test_the_command_is_that_of_trtexec(orin: FakeTensorRT, tmp_path: Path) -> None:
    result = build(tmp_path, dla_core=0, batch=(1, 1, 1), workspace_mib=64, optimization_level=4)
    assert result.command.split() == [
        "trtexec",
        f"--onnx={tmp_path / 'm.onnx'}",
        f"--saveEngine={tmp_path / 'm.engine'}",
        "--stronglyTyped",
        *[f"--{which}Shapes=tiles:1x1x32x32" for which in ("min", "opt", "max")],
        "--memPoolSize=workspace:64",
        "--builderOptimizationLevel=4",
        "--useDLACore=0",
        "--allowGPUFallback",
        f"--timingCacheFile={tmp_path / 'm.engine.timing'}",
        "--profilingVerbosity=detailed",
        "--skipInference",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"flavour": "tensorflow"}, "'tensorflow'"),
        ({"batch": (0, 1, 2)}, "tiles per call"),
        ({"batch": (2, 1, 2)}, "tiles per call"),
        ({"batch": (1, 3, 2)}, "tiles per call"),
        ({"workspace_mib": 0}, "`workspace_mib` is 0; give"),
        ({"dla_core": -1}, "-1"),
        ({"optimization_level": 6}, "0 to 5"),
        ({"timing_cache": Path("t"), "use_timing_cache": False}, "disabled"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EngineConfig(parse_targets("sm86"), **options)
