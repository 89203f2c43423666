"""Engines that are really built, by TensorRT for RTX and without a GPU."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgecrack.artifacts import file_sha256, read_verified_spec, sidecar_path, write_sidecar
from edgecrack.errors import ConfigError, EdgecrackError, ExportError, ModelFileError, OutputError
from edgecrack.export.engine.builder import EngineBuild, build_engine
from edgecrack.export.engine.config import EngineConfig
from edgecrack.export.engine.target_machines import parse_targets
from edgecrack.nvidia.engine_info import EngineInfo, current_platform
from edgecrack.onnx_graph.precision import to_half
from edgecrack.runtime.backends.open import BUNDLED_MODEL
from tests.export.engine.graphs import save, small_graph, unreadable_graph
from tests.waiting import PATIENCE_S

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")

REPOSITORY = Path(__file__).resolve().parents[3]
SM86 = EngineConfig(parse_targets("sm86"), "tensorrt_rtx")
Stages = list[tuple[str, int, int]]


def for_gpus(targets: str, **options: Any) -> EngineConfig:
    return dataclasses.replace(SM86, targets=parse_targets(targets), **options)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[EngineBuild, Stages]:
    """The bundled model as an engine for three GPUs, and what the build told of its progress."""
    stages: Stages = []
    output = tmp_path_factory.mktemp("engine") / "bundled.engine"
    config = for_gpus("sm86,sm89,sm120")
    build = build_engine(BUNDLED_MODEL, output, config, lambda *stage: stages.append(stage))
    return build, stages


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return save(small_graph("fp32"), tmp_path / "small.onnx")


def left_in(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if "onnx" not in item.name)


def test_the_sidecar_says_what_the_engine_is(built: tuple[EngineBuild, Stages]) -> None:
    build, _ = built
    spec, source = read_verified_spec(build.path), read_verified_spec(BUNDLED_MODEL)
    assert spec == build.spec
    assert (spec.kind, spec.precision, spec.parent_sha256) == ("engine", "fp32", source.sha256)
    assert (spec.tile_hw, spec.threshold, spec.preprocess, spec.batch) == (
        source.tile_hw, source.threshold, source.preprocess, None
    )  # fmt: skip
    info = EngineInfo.from_dict(spec.engine)
    assert info.flavour == "tensorrt_rtx"
    assert info.compute_capabilities == ("8.6", "8.9", "12.0")
    assert (info.batch, info.platform) == ((1, 8, 8), current_platform())
    assert info.source == "edgecrack-bundled.onnx"


def test_the_sidecar_holds_the_hash_of_the_engines_bytes(
    built: tuple[EngineBuild, Stages],
) -> None:
    build, _ = built
    assert build.spec.sha256 == file_sha256(build.path)
    assert build.size_bytes == build.path.stat().st_size > 1 << 20
    assert left_in(build.path.parent) == ["bundled.engine", "bundled.engine.json"]


def test_the_build_tells_how_far_it_is(built: tuple[EngineBuild, Stages]) -> None:
    _, stages = built
    assert stages
    assert all(name and 0 <= done <= total >= 1 for name, done, total in stages)
    assert len({name for name, _, _ in stages}) > 1


def test_what_the_network_computes_in_is_counted(built: tuple[EngineBuild, Stages]) -> None:
    build, _ = built
    assert dict(build.types.convolutions) == {"FLOAT": 45}
    assert build.spec.extra["convolutions"] == {"FLOAT": 45}


def test_the_command_names_the_same_shapes_and_gpus(built: tuple[EngineBuild, Stages]) -> None:
    build, _ = built
    words = build.command.split()
    assert words[:2] == ["tensorrt_rtx", f"--onnx={BUNDLED_MODEL}"]
    assert "--computeCapabilities=86,89,120" in words
    assert "--optShapes=tiles:8x1x256x256" in words


@pytest.mark.parametrize("target", ["sm75", "sm86", "sm89", "sm120"])
def test_each_gpu_gets_an_engine_of_its_own(small: Path, target: str, tmp_path: Path) -> None:
    build = build_engine(small, tmp_path / "one.engine", for_gpus(target))
    info = EngineInfo.from_dict(build.spec.engine)
    assert info.compute_capabilities == parse_targets(target).compute_capabilities


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_each_precision_builds(precision: str, tmp_path: Path) -> None:
    source = save(small_graph(precision), tmp_path / "m.onnx", precision=precision)
    build = build_engine(source, tmp_path / "m.engine", SM86)
    kind = {"fp32": "FLOAT", "fp16": "HALF", "int8": "INT8"}[precision]
    assert dict(build.types.convolutions) == {kind: 2}
    assert build.spec.precision == precision


def test_the_bundled_model_builds_in_half_precision(tmp_path: Path) -> None:
    half = to_half(onnx.load(BUNDLED_MODEL))
    source = read_verified_spec(BUNDLED_MODEL)
    (tmp_path / "half.onnx").write_bytes(half.SerializeToString())
    write_sidecar(tmp_path / "half.onnx", dataclasses.replace(source, precision="fp16"))
    build = build_engine(tmp_path / "half.onnx", tmp_path / "half.engine", SM86)
    assert dict(build.types.convolutions) == {"HALF": 45}
    assert "FLOAT" not in build.types.tensors


@pytest.mark.parametrize(
    ("graph_batch", "asked", "expected", "spec_batch"),
    [
        ("batch", None, (1, 8, 8), None),
        ("batch", (2, 3, 5), (2, 3, 5), None),
        ("batch", (4, 4, 4), (4, 4, 4), 4),
        (3, None, (3, 3, 3), 3),
        (3, (3, 3, 3), (3, 3, 3), 3),
    ],
)
def test_tiles_per_call(
    graph_batch: int | str,
    asked: tuple[int, int, int] | None,
    expected: tuple[int, int, int],
    spec_batch: int | None,
    tmp_path: Path,
) -> None:
    batch = graph_batch if isinstance(graph_batch, int) else None
    source = save(small_graph("fp32", graph_batch), tmp_path / "m.onnx", batch=batch)
    build = build_engine(source, tmp_path / "m.engine", for_gpus("sm86", batch=asked))
    assert EngineInfo.from_dict(build.spec.engine).batch == expected
    assert build.spec.batch == spec_batch


def test_another_batch_than_a_fixed_one_is_refused(tmp_path: Path) -> None:
    source = save(small_graph("fp32", 3), tmp_path / "m.onnx", batch=3)
    with pytest.raises(ConfigError, match="takes exactly 3"):
        build_engine(source, tmp_path / "m.engine", for_gpus("sm86", batch=(1, 2, 4)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dla_core": 0, "batch": (1, 1, 1)}, "DLA core"),
        ({"version_compatible": True}, "version-compatible"),
        ({"hardware_compatible": True}, "hardware-compatible"),
        ({"timing_cache": Path("timings")}, "timing cache"),
    ],
)
def test_what_tensorrt_for_rtx_has_not_is_refused_by_name(
    small: Path, options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words) as refusal:
        build_engine(small, tmp_path / "m.engine", for_gpus("sm86", **options))
    assert "tensorrt_rtx 1." in refusal.value.problem
    assert left_in(tmp_path) == []


def test_a_workspace_that_is_too_small_is_told_with_tensorrts_reason(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"memory|workspace") as refusal:
        build_engine(BUNDLED_MODEL, tmp_path / "m.engine", for_gpus("sm86", workspace_mib=1))
    assert "larger workspace" in refusal.value.remedy
    assert left_in(tmp_path) == []


def test_every_node_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    source = save(unreadable_graph(), tmp_path / "m.onnx")
    with pytest.raises(ExportError) as refusal:
        build_engine(source, tmp_path / "m.engine", SM86)
    for word in ("Frobnicate", "first_bad", "StringNormalizer", "second_bad", "tensorrt_rtx"):
        assert word in refusal.value.problem
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"no graph at all" * 9])
def test_a_file_that_is_no_graph_is_refused(content: bytes, tmp_path: Path) -> None:
    class Bytes:
        def SerializeToString(self) -> bytes:  # noqa: N802
            return content

    source = save(Bytes(), tmp_path / "m.onnx")  # type: ignore[arg-type]
    with pytest.raises((ExportError, ModelFileError)):
        build_engine(source, tmp_path / "m.engine", SM86)


@pytest.mark.parametrize("damage", ["cut", "edited", "other sidecar", "no sidecar"])
def test_a_file_that_is_not_its_sidecars_is_refused(
    small: Path, damage: str, tmp_path: Path
) -> None:
    whole = small.read_bytes()
    if damage == "cut":
        small.write_bytes(whole[:-100])
    elif damage == "edited":
        small.write_bytes(whole.replace(b"convolution1", b"convolution2"))
    elif damage == "other sidecar":
        text = sidecar_path(BUNDLED_MODEL).read_text(encoding="utf-8")
        sidecar_path(small).write_text(text, encoding="utf-8")
    else:
        sidecar_path(small).unlink()
    with pytest.raises(ModelFileError):
        build_engine(small, tmp_path / "m.engine", SM86)
    assert left_in(tmp_path) == []


def test_an_engine_is_no_source_of_an_engine(small: Path, tmp_path: Path) -> None:
    build = build_engine(small, tmp_path / "first.engine", SM86)
    with pytest.raises(ModelFileError, match="'engine'"):
        build_engine(build.path, tmp_path / "second.engine", SM86)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("missing/m.engine", OutputError),
        ("small.onnx/m.engine", OutputError),
        ("folder", OutputError),
        ("m.onnx", ConfigError),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_build(
    small: Path, name: str, error: type[EdgecrackError], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    told: Stages = []
    with pytest.raises(error):
        build_engine(small, tmp_path / name, SM86, lambda *stage: told.append(stage))
    assert told == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="Permission"):
        build_engine(small, folder / "m.engine", SM86)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_build_leaves_the_old_engine(
    error: type[BaseException], tmp_path: Path
) -> None:
    output = tmp_path / "m.engine"
    output.write_bytes(b"the old one")

    def stop(stage: str, done: int, total: int) -> None:
        raise error

    with pytest.raises(error):
        build_engine(BUNDLED_MODEL, output, SM86, stop)
    assert left_in(tmp_path) == ["m.engine"]
    assert output.read_bytes() == b"the old one"


CHILD = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from pathlib import Path
from edgecrack.export.engine.builder import build_engine
from edgecrack.export.engine.config import EngineConfig
from edgecrack.export.engine.target_machines import parse_targets
from edgecrack.onnx_graph.precision import to_half
from edgecrack.runtime.backends.open import BUNDLED_MODEL

def tell(stage, done, total):
    print("working", flush=True)
    sys.stdin.readline()

config = EngineConfig(parse_targets("sm86"), "tensorrt_rtx")
try:
    build_engine(BUNDLED_MODEL, Path(sys.argv[1]), config, tell)
except KeyboardInterrupt:
    sys.exit(77)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 77)])
def test_a_signal_in_mid_build_leaves_nothing(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path / "m.engine")]
    child = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "working\n"
        child.send_signal(number)
        assert child.wait(PATIENCE_S) == status
    assert left_in(tmp_path) == []


def test_a_sidecar_that_cannot_be_written_takes_the_engine_along(
    small: Path, tmp_path: Path
) -> None:
    (tmp_path / "m.engine.json").mkdir()
    with pytest.raises(OutputError):
        build_engine(small, tmp_path / "m.engine", SM86)
    assert left_in(tmp_path) == ["m.engine.json"]
