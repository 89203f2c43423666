"""Sidecars: they come back as written, and a file that is not theirs is refused in one sentence."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecrack.artifacts import (
    KINDS,
    LAYOUTS,
    POOLINGS,
    PRECISIONS,
    SCHEMA_VERSION,
    ModelSpec,
    file_sha256,
    read_verified_spec,
    sidecar_path,
    write_sidecar,
)
from edgecrack.errors import ModelFileError, OutputError
from edgecrack.extras import origin
from edgecrack.preprocess import PreprocessConfig

CONTENT = b"weights" * 1000
FULL = ModelSpec(
    kind="onnx",
    pooling="gated-scale",
    width=16,
    gate_bias=True,
    tile_hw=(256, 384),
    batch=4,
    preprocess=PreprocessConfig(
        clahe_clip=3.5,
        clahe_grid=4,
        gamma=0.9,
        stretch="percentile",
        low_percentile=0.5,
        high_percentile=98.0,
        stretch_margin=0.1,
    ),
    threshold=0.37,
    precision="int8",
    parent_sha256="ab" * 32,
    calibration={"sha256": "cd" * 32, "method": "entropy", "tiles": 200},
    engine={"flavour": "tensorrt", "version": "10.3.0", "compute_capability": "8.7"},
    scores=({"data": "CFD test", "ods": 0.93}, {"data": "uav315 test", "ods": 0.71}),
    scales=(1.0, 0.25),
    merge="wide-max",
    channels=3,
    layout="nhwc",
    temperature=1.5,
    extra={"training": {"seed": 1}, "from the future": [1, None]},
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file with its sidecar."""
    path = tmp_path / "crack.onnx"
    path.write_bytes(CONTENT)
    write_sidecar(path, FULL)
    return path


def rewrite(model: Path, **changes: Any) -> None:
    """Change fields of a sidecar; ... takes one away."""
    document = json.loads(sidecar_path(model).read_text())
    document.update(changes)
    kept = {key: value for key, value in document.items() if value is not ...}
    sidecar_path(model).write_text(json.dumps(kept))


def refusal(model: Path) -> ModelFileError:
    """The error on reading; its sentence must name the file and say what to do."""
    with pytest.raises(ModelFileError) as caught:
        read_verified_spec(model)
    error = caught.value
    assert model.name in error.problem
    assert error.remedy
    assert str(error) == f"{error.problem}; {error.remedy}."
    assert "\n" not in str(error)
    return error


def test_a_description_comes_back_as_written(model: Path) -> None:
    expected = dataclasses.replace(FULL, sha256=hashlib.sha256(CONTENT).hexdigest())
    assert read_verified_spec(model) == expected


def test_a_checkpoint_needs_no_tile(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    path.write_bytes(b"")
    written = write_sidecar(path, ModelSpec(kind="checkpoint", pooling="max", width=8))
    assert read_verified_spec(path) == written


def test_the_sidecar_is_plain_json_beside_the_file(model: Path) -> None:
    path = sidecar_path(model)
    assert path == model.parent / "crack.onnx.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["schema_version"] == SCHEMA_VERSION == 2
    assert document["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert document["tile_hw"] == [256, 384]
    assert document["preprocess"] == {
        "clahe_clip": 3.5,
        "clahe_grid": 4,
        "gamma": 0.9,
        "stretch": "percentile",
        "low_percentile": 0.5,
        "high_percentile": 98.0,
        "stretch_margin": 0.1,
    }
    assert (document["scales"], document["channels"]) == ([1.0, 0.25], 3)
    assert (document["layout"], document["temperature"]) == ("nhwc", 1.5)
    assert document["from the future"] == [1, None]
    assert "extra" not in document


@given(
    st.builds(
        ModelSpec,
        kind=st.sampled_from(KINDS),
        pooling=st.sampled_from(POOLINGS),
        width=st.integers(1, 256),
        gate_bias=st.booleans(),
        tile_hw=st.tuples(*[st.integers(1, 2048).map(lambda cells: 8 * cells)] * 2),
        batch=st.none() | st.integers(1, 4096),
        preprocess=st.builds(
            PreprocessConfig,
            clahe_clip=st.floats(0.01, 100),
            clahe_grid=st.integers(1, 64),
            gamma=st.floats(0.1, 10),
            stretch=st.sampled_from(["percentile", "minmax"]),
            low_percentile=st.floats(0, 49),
            high_percentile=st.floats(50, 100),
            stretch_margin=st.floats(0, 10),
        ),
        threshold=st.floats(0.001, 0.999),
        precision=st.sampled_from(PRECISIONS),
        sha256=st.text("0123456789abcdef", max_size=64),
        scales=st.lists(st.floats(1 / 64, 4), min_size=1, max_size=8, unique=True).map(tuple),
        merge=st.sampled_from(["max", "wide-max"]),
        channels=st.sampled_from([1, 3]),
        layout=st.sampled_from(LAYOUTS),
        temperature=st.floats(0, 1e6, exclude_min=True),
        extra=st.dictionaries(
            st.text(max_size=8).map(lambda name: f"x-{name}"),
            st.none() | st.integers() | st.text() | st.lists(st.floats(-1, 1)),
            max_size=3,
        ),
    )
)
def test_every_description_survives_json(spec: ModelSpec) -> None:
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_keys_of_later_versions_are_kept(model: Path) -> None:
    rewrite(model, licence="CC0", nested={"a": [1, 2]})
    spec = read_verified_spec(model)
    assert spec.extra == {**FULL.extra, "licence": "CC0", "nested": {"a": [1, 2]}}
    write_sidecar(model, dataclasses.replace(spec, threshold=0.5))
    assert read_verified_spec(model).extra == spec.extra


def test_fields_with_a_default_may_be_absent(model: Path) -> None:
    rewrite(model, batch=..., threshold=..., scores=..., calibration=..., engine=..., gate_bias=...)
    spec = read_verified_spec(model)
    assert (spec.batch, spec.threshold, spec.scores) == (None, 0.5, ())


def version_1(model: Path, **changes: Any) -> None:
    """Make a sidecar one of version 1, which knew nothing of these fields."""
    later = {name: ... for name in ("scales", "merge", "channels", "layout", "temperature")}
    preparation = {"clahe_clip": 3.5, "clahe_grid": 4, "gamma": 0.9}
    rewrite(model, **{"schema_version": 1, "preprocess": preparation, **later, **changes})


def test_version_1_means_what_it_meant(model: Path) -> None:
    version_1(model)
    spec = read_verified_spec(model)
    assert spec.preprocess == PreprocessConfig(
        clahe_clip=3.5, clahe_grid=4, gamma=0.9, stretch="minmax"
    )
    assert (spec.scales, spec.channels, spec.layout, spec.temperature) == ((1.0,), 1, "nchw", 1.0)
    assert spec.extra == FULL.extra


def test_version_1_becomes_version_2_when_it_is_written_again(model: Path) -> None:
    version_1(model)
    spec = read_verified_spec(model)
    write_sidecar(model, spec)
    assert json.loads(sidecar_path(model).read_text())["schema_version"] == 2
    assert read_verified_spec(model) == spec


def test_without_a_word_on_it_the_stretch_is_that_of_version_1(model: Path) -> None:
    rewrite(model, preprocess={"gamma": 1.2})
    assert read_verified_spec(model).preprocess.stretch == "minmax"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"scales": [1.0]}, "'scales'"),
        ({"scales": [0.5, 1.0]}, "'scales'"),
        ({"merge": "max"}, "'merge'"),
        ({"channels": 1}, "'channels'"),
        ({"layout": "nhwc"}, "'layout'"),
        ({"temperature": 21}, "'temperature'"),
        ({"preprocess": {"stretch": "percentile"}}, "'preprocess.stretch'"),
        ({"preprocess": {"low_percentile": 1}}, "'preprocess.low_percentile'"),
        ({"preprocess": {"stretch_margin": 0}}, "'preprocess.stretch_margin'"),
    ],
    ids=str,
)
def test_version_1_with_a_field_of_version_2_is_refused(
    model: Path, changes: dict[str, Any], named: str
) -> None:
    version_1(model, **changes)
    error = refusal(model)
    assert f"schema version 1 and contains {named}" in error.problem
    assert error.remedy == 'remove it, or write "schema_version": 2 if it is intended'


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_hash_of_a_file_is_sha256(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xa5" * size)
    assert file_sha256(path) == hashlib.sha256(b"\xa5" * size).hexdigest()


@pytest.mark.parametrize(
    "content",
    [CONTENT[:-1], b"", CONTENT + b"\0", b"W" + CONTENT[1:]],
    ids=["truncated", "emptied", "grown", "edited"],
)
def test_a_changed_file_is_refused(model: Path, content: bytes) -> None:
    model.write_bytes(content)
    error = refusal(model)
    assert "does not match its sidecar" in error.problem
    assert hashlib.sha256(content).hexdigest()[:12] in error.problem
    assert hashlib.sha256(CONTENT).hexdigest()[:12] in error.problem
    assert error.remedy == "copy both files again from where they were made"


def test_another_model_s_sidecar_is_refused(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(b"other weights")
    sidecar_path(other).write_bytes(sidecar_path(model).read_bytes())
    assert "does not match its sidecar" in refusal(other).problem


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path / "absent.onnx")
    assert "absent.onnx does not exist" in error.problem


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.onnx").mkdir()
    refusal(tmp_path / "folder.onnx")


def test_a_missing_sidecar_is_refused(model: Path) -> None:
    sidecar_path(model).unlink()
    error = refusal(model)
    assert "has no sidecar crack.onnx.json" in error.problem
    assert "edgecrack export" in error.remedy


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"[]", b"null", b'"text"', b'{"width": }', b"\xff\xfe{}"),
        b'{"schema_version": 1',
        b"[" * 100_000,
        b'{"extra": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        *(b'{"threshold": %s}' % word for word in (b"NaN", b"Infinity", b"-Infinity", b"1e400")),
        b'{"width": 1' + b"0" * 400 + b"}",
        b" " * (1 << 24) + b"{}",
    ],
    ids=lambda text: text[:20],
)
def test_a_damaged_sidecar_is_refused(model: Path, text: bytes) -> None:
    sidecar_path(model).write_bytes(text)
    error = refusal(model)
    assert "cannot read sidecar" in error.problem
    assert "edgecrack export" in error.remedy


def test_a_truncated_sidecar_is_refused_wherever_it_ends(model: Path) -> None:
    whole = sidecar_path(model).read_bytes().rstrip()
    for length in range(0, len(whole), 37):
        sidecar_path(model).write_bytes(whole[:length])
        refusal(model)


def test_a_newer_schema_asks_for_an_update(model: Path) -> None:
    rewrite(model, schema_version=SCHEMA_VERSION + 1)
    error = refusal(model)
    assert "schema version 3, this program supports 2" in error.problem
    assert error.remedy == origin().update()


@pytest.mark.parametrize("version", [..., None, "1", 0, -1, 1.0, True])
def test_a_sidecar_without_a_schema_is_refused(model: Path, version: object) -> None:
    rewrite(model, schema_version=version)
    assert "schema_version" in refusal(model).problem


@pytest.mark.parametrize("field", ["kind", "pooling", "width", "preprocess", "sha256"])
def test_a_missing_field_is_refused_by_name(model: Path, field: str) -> None:
    rewrite(model, **{field: ...})
    assert field in refusal(model).problem


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", 3),
        ("kind", ["onnx"]),
        ("pooling", None),
        ("width", "16"),
        ("width", 16.5),
        ("width", True),
        ("gate_bias", "yes"),
        ("tile_hw", 256),
        ("tile_hw", "88"),
        ("tile_hw", [256]),
        ("tile_hw", [256, 256, 1]),
        ("tile_hw", [256.0, 256.0]),
        ("tile_hw", ["256", "256"]),
        ("batch", "4"),
        ("batch", 1.5),
        ("batch", False),
        ("preprocess", None),
        ("preprocess", [2.0, 8, 1.2]),
        ("preprocess", {"gamma": 1.2, "sharpen": 3}),
        ("preprocess", {"clahe_clip": "2"}),
        ("preprocess", {"clahe_grid": 8.5}),
        ("preprocess", {"stretch": ["minmax"]}),
        ("preprocess", {"stretch": None}),
        ("preprocess", {"low_percentile": "1"}),
        ("threshold", "0.5"),
        ("threshold", None),
        ("precision", 16),
        ("sha256", None),
        ("sha256", 12),
        ("parent_sha256", 12),
        ("calibration", "entropy"),
        ("engine", ["tensorrt"]),
        ("scores", {"ods": 0.9}),
        ("scores", "abc"),
        ("scores", [0.9]),
        ("scales", 1.0),
        ("scales", "1"),
        ("scales", ["1"]),
        ("scales", [True]),
        ("scales", None),
        ("scales", [10**400]),
        ("merge", 1),
        ("merge", None),
        ("channels", "3"),
        ("channels", 3.0),
        ("channels", True),
        ("layout", 1),
        ("layout", None),
        ("temperature", "1"),
        ("temperature", True),
        ("temperature", None),
    ],
    ids=str,
)
def test_a_field_of_the_wrong_type_is_refused(model: Path, field: str, value: object) -> None:
    rewrite(model, **{field: value})
    refusal(model)


WRONG_VALUES: list[tuple[str, Any, str]] = [
    ("kind", "tflite", "kind 'tflite'"),
    ("pooling", "average", "pooling 'average'"),
    ("precision", "int4", "precision 'int4'"),
    ("threshold", 0.0, "threshold 0.0"),
    ("threshold", 1.0, "threshold 1.0"),
    ("threshold", float("nan"), "threshold nan"),
    ("tile_hw", [0, 0], "tile 0x0 px"),
    ("tile_hw", [250, 256], "tile 256x250 px"),
    ("tile_hw", [256, -8], "tile -8x256 px"),
    ("tile_hw", [32768, 256], "tile 256x32768 px"),
    ("batch", 0, "batch 0"),
    ("width", 0, "width 0"),
    ("width", 10**12, "width 1000000000000"),
    ("batch", 10**12, "batch 1000000000000"),
    ("scales", [], "scales "),
    ("scales", [1.0, 0.0], "scales 0.0"),
    ("scales", [-1.0], "scales -1.0"),
    ("scales", [4.5], "scales 4.5"),
    ("scales", [0.01], "scales 0.01"),
    ("scales", [float("nan")], "scales nan"),
    ("scales", [1.0, 1.0], "a scale given twice, [1.0, 1.0]"),
    ("merge", "mean", "merge 'mean'"),
    ("channels", 0, "channels 0"),
    ("channels", 2, "channels 2"),
    ("layout", "chwn", "layout 'chwn'"),
    ("temperature", 0.0, "temperature 0.0"),
    ("temperature", -1.0, "temperature -1.0"),
    ("temperature", float("inf"), "temperature inf"),
    ("temperature", float("nan"), "temperature nan"),
    ("preprocess", {"stretch": "median"}, "stretch is 'median'"),
    ("preprocess", {"low_percentile": 99.9}, "the percentiles are 99.9 and"),
    ("preprocess", {"gamma": 0.0}, "gamma is 0.0"),
    ("preprocess", {"clahe_grid": 0}, "clahe_grid is 0"),
]


def is_json(value: object) -> bool:
    """NaN and infinity are none, and refused before anybody asks what they are for."""
    try:
        return bool(json.dumps(value, allow_nan=False))
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("field", "value", "named"), [row for row in WRONG_VALUES if is_json(row[1])], ids=str
)
def test_a_value_out_of_range_is_refused_by_value(
    model: Path, field: str, value: object, named: str
) -> None:
    rewrite(model, **{field: value})
    assert named in refusal(model).problem


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [row for row in WRONG_VALUES if row[0] != "preprocess"],
    ids=str,
)
def test_a_description_out_of_range_cannot_be_made(field: str, value: Any, named: str) -> None:
    value = tuple(value) if isinstance(value, list) else value
    with pytest.raises(ModelFileError, match=re.escape(named)):
        dataclasses.replace(FULL, **{field: value})


class TestRemediesForEngines:
    """An engine is not exported but built, so what to do about it is another command."""

    @pytest.fixture(params=["crack.engine", "crack.PLAN"])
    def engine(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        path: Path = tmp_path / request.param
        path.write_bytes(CONTENT)
        spec = dataclasses.replace(FULL, kind="engine", engine={"source": "walls.onnx"})
        write_sidecar(path, spec)
        return path

    def command(self, engine: Path, source: str = "crack.onnx") -> str:
        return f"edgecrack build-engine {source} --target auto -o {engine}"

    def test_a_missing_sidecar(self, engine: Path) -> None:
        sidecar_path(engine).unlink()
        assert refusal(engine).remedy == (
            f"copy it along with the model, or build the engine again: {self.command(engine)}"
        )

    def test_a_damaged_sidecar(self, engine: Path) -> None:
        sidecar_path(engine).write_text("{")
        assert refusal(engine).remedy == f"build the engine again: {self.command(engine)}"

    def test_a_missing_field(self, engine: Path) -> None:
        rewrite(engine, pooling=...)
        assert refusal(engine).remedy == f"build the engine again: {self.command(engine)}"

    def test_a_newer_schema_still_asks_for_an_update(self, engine: Path) -> None:
        rewrite(engine, schema_version=SCHEMA_VERSION + 1)
        assert origin().update() in refusal(engine).remedy

    @pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x"], ids=["cut", "grown"])
    def test_a_changed_file(self, engine: Path, content: bytes) -> None:
        engine.write_bytes(content)
        error = refusal(engine)
        assert "does not match its sidecar" in error.problem
        assert error.remedy == (
            "copy both files again from where they were made, or build the engine again: "
            + self.command(engine, "walls.onnx")
        )

    def test_a_forged_hash(self, engine: Path) -> None:
        rewrite(engine, sha256="0" * 64, engine=None)
        error = refusal(engine)
        assert "expected 000000000000..." in error.problem
        assert self.command(engine) in error.remedy


def test_no_sidecar_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read model file .*absent\.onnx"):
        write_sidecar(tmp_path / "absent.onnx", FULL)
    assert not list(tmp_path.iterdir())


def test_a_sidecar_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    path = tmp_path / "crack.onnx"
    path.write_bytes(CONTENT)
    sidecar_path(path).mkdir()
    with pytest.raises(OutputError, match=r"crack\.onnx\.json"):
        write_sidecar(path, FULL)


def test_a_sidecar_is_replaced_whole(model: Path) -> None:
    model.write_bytes(b"trained longer")
    written = write_sidecar(model, FULL)
    assert read_verified_spec(model) == written
    assert {path.name for path in model.parent.iterdir()} == {"crack.onnx", "crack.onnx.json"}
