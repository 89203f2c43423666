"""Where a model file may be written, and that both of its files are written or neither."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecrack import artifacts
from edgecrack.artifacts import ModelSpec, read_verified_spec, sidecar_path, write_model
from edgecrack.errors import ConfigError, EdgecrackError, OutputError
from edgecrack.model_target import check_model_target

SPEC = ModelSpec(kind="onnx", pooling="max", width=8, tile_hw=(64, 64))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_written_model_is_verified(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    spec = write_model(model, b"graph", SPEC)
    assert read_verified_spec(model) == spec
    assert set(contents(tmp_path)) == {"model.onnx", "model.onnx.json"}


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize(
    "error", [OutputError("the disk is full", "free some"), KeyboardInterrupt()]
)
def test_a_failure_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool, error: BaseException
) -> None:
    model = tmp_path / "model.onnx"
    if old:
        write_model(model, b"older", SPEC)
    before = contents(tmp_path)

    def fail(*given: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(artifacts, "write_atomic", fail)
    with pytest.raises(type(error)):
        write_model(model, b"newer", SPEC)
    assert contents(tmp_path) == before


def test_a_sidecar_that_cannot_be_written_leaves_the_older_model(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"older")
    sidecar_path(model).mkdir()
    with pytest.raises(OutputError):
        write_model(model, b"newer", SPEC)
    assert model.read_bytes() == b"older"


def test_the_hash_is_of_the_bytes_that_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who swaps the file while it is written gets no sidecar that fits it."""
    model = tmp_path / "model.onnx"
    monkeypatch.setattr(artifacts, "write_atomic", lambda path, data: path.write_bytes(b"swapped"))
    write_model(model, b"graph", SPEC)
    with pytest.raises(EdgecrackError, match="does not match its sidecar"):
        read_verified_spec(model)
    assert json.loads(sidecar_path(model).read_text())["sha256"] != ""


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("model.engine", ConfigError, "ends in .onnx"),
        ("model", ConfigError, "ends in .onnx"),
        ("input.onnx", ConfigError, "would overwrite"),
        ("link.onnx", ConfigError, "would overwrite"),
        ("input.onnx.json", ConfigError, "would overwrite"),
        ("folder.onnx", OutputError, "it is a folder"),
        ("absent/model.onnx", OutputError, "its folder does not exist"),
        ("alien.onnx", OutputError, "did not write"),
    ],
)
def test_a_place_that_must_not_be_written_to(
    tmp_path: Path, name: str, error: type[EdgecrackError], words: str
) -> None:
    model = tmp_path / "input.onnx"
    write_model(model, b"graph", SPEC)
    (tmp_path / "link.onnx").symlink_to(model)
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "alien.onnx").write_text("precious")
    with pytest.raises(error, match=words):
        check_model_target(tmp_path / name, (".onnx",), [model], implied=True)


def test_places_that_may_be_written_to(tmp_path: Path) -> None:
    model = tmp_path / "input.onnx"
    write_model(model, b"graph", SPEC)
    write_model(tmp_path / "older.onnx", b"graph", SPEC)
    (tmp_path / "alien.onnx").write_text("named by the user, so it may go")
    check_model_target(tmp_path / "new.onnx", (".onnx",), [model])
    check_model_target(tmp_path / "older.onnx", (".onnx",), [model], implied=True)
    check_model_target(tmp_path / "alien.onnx", (".onnx",), [model])
    names = {"alien.onnx", "input.onnx", "input.onnx.json", "older.onnx", "older.onnx.json"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_loop_of_links_is_replaced(tmp_path: Path) -> None:
    loop = tmp_path / "loop.onnx"
    loop.symlink_to(loop)
    check_model_target(loop, (".onnx",), [])
    write_model(loop, b"graph", SPEC)
    assert read_verified_spec(loop).kind == "onnx"
